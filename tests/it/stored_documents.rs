//! Exports whose rows name stored documents: one file, or an archive of all.

use std::io::Read as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::harness::command::run;
use crate::harness::object_store::ObjectStore;
use crate::harness::process::{Rowlink, command};
use crate::harness::{
    Answer, Call, Deployment, TestServer, begin, begin_with, metric, python, sample_database,
    sqlite_url, token, token_for, wait,
};
use crate::stored::{Subject, connected, directory, server};

/// Above `proxy_up_to` of the tests.
const LARGE: usize = 3_000_000;

macro_rules! document_tests {
    ($($name:ident in $bucket:literal;)*) => {
        mod in_directory {
            $(
                #[test]
                fn $name() {
                    super::$name(&super::directory());
                }
            )*
        }

        mod in_server {
            $(
                #[test]
                #[ignore = "needs an object store: make test"]
                fn $name() {
                    super::$name(&super::server(super::ObjectStore::seaweedfs(), $bucket));
                }
            )*
        }
    };
}

document_tests! {
    a_document_has_its_name_type_length_and_hash in "doc-head";
    a_document_is_continued_by_its_entity_tag in "doc-range";
    clients_are_redirected_to_large_documents_in_a_store_that_signs_urls in "doc-large";
    a_user_gets_only_the_documents_of_the_query in "doc-query";
    a_wrong_object_is_never_sent_as_a_whole_file in "doc-wrong";
    an_archive_has_all_documents_with_different_names in "doc-zip";
    an_archive_without_an_object_ends_visibly in "doc-gone";
    a_link_that_works_once_gives_one_document in "doc-once";
    a_document_is_confirmed_and_bound_to_a_browser in "doc-bind";
    a_document_without_bytes_is_complete_unless_its_hash_is_another_one in "doc-zero";
}

/// Serves exports over objects of the store.
struct Site {
    server: TestServer,
    _folder: TempDir,
}

fn serve(subject: &Subject, exports: &[(&str, &str)]) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite_url(&sample_database(folder.path()));
    let mut deployment = Deployment::over(database, exports.to_vec());
    deployment.document_stores = vec![("documents", subject.store())];
    // It records the uses of links that work once.
    deployment.store = Some(subject.store());
    Site {
        server: deployment.start(),
        _folder: folder,
    }
}

/// Returns an export of this kind, with more lines of `[file]`.
fn export(kind: &str, more: &str, sql: &str) -> String {
    format!("/*---\nkind = '{kind}'\n[file]\nstore = 'documents'\n{more}\n---*/\n{sql}")
}

fn put(subject: &Subject, key: &str, content: &[u8]) {
    wait(subject.store().write_small(key, content.to_vec())).unwrap();
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn get(url: &str) -> Answer {
    Call::new("GET", url).send()
}

fn link(site: &Site, fields: Value) -> String {
    let mut request = json!({"export": "it", "expires_in": 600});
    let fields = fields.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    site.server.link(request)
}

fn a_document_has_its_name_type_length_and_hash(subject: &Subject) {
    let bytes = content(10_000);
    put(subject, "alice/2026/x y.pdf", &bytes);
    let hash = hex::encode(Sha256::digest(&bytes));
    let sql = format!(
        "select :user || '/2026/x y.pdf' as object, 'Rechnung März 1/2.pdf' as filename,
                'application/pdf' as content_type, 10000 as size, '{hash}' as sha256"
    );
    let site = serve(subject, &[("it.sql", &export("file", "", &sql))]);
    let url = link(&site, json!({}));
    assert!(url.contains("/v1/files/it?rl_"), "{url}");
    let answer = get(&url);
    assert_eq!((answer.status, &answer.body), (200, &bytes));
    let names = "attachment; filename=\"Rechnung M_rz 1_2.pdf\"; filename*=UTF-8''Rechnung%20M%C3%A4rz%201_2.pdf";
    let headers = |answer: &Answer| {
        let names = [
            "content-type",
            "content-disposition",
            "content-length",
            "etag",
            "accept-ranges",
            "repr-digest",
            "cache-control",
            "x-content-type-options",
        ];
        names.map(|name| answer.header(name).to_owned())
    };
    let expected = headers(&answer);
    assert_eq!(expected[..3], ["application/pdf", names, "10000"]);
    assert_eq!(expected[6..], ["private, no-store", "nosniff"]);
    assert!(expected[5].starts_with("sha-256=:"));
    let head = Call::new("HEAD", &url).send();
    assert_eq!((head.status, headers(&head)), (200, expected));
    let named = get(&link(&site, json!({"filename": "Kopie"})));
    let disposition = named.header("content-disposition");
    assert!(
        disposition.contains("filename=\"Kopie.pdf\""),
        "{disposition}"
    );
    let sealed = link(&site, json!({"seal": true}));
    assert_eq!(get(&sealed).body, bytes);
    let by = "rowlink_downloads_served_total{export=\"it\",format=\"file\",served_by=\"store\"}";
    assert_eq!(metric(&site.server.origin, by), 3);
}

fn a_document_is_continued_by_its_entity_tag(subject: &Subject) {
    let bytes = content(100_000);
    put(subject, "a.bin", &bytes);
    let sql = "select 'a.bin' as object where :user <> ''";
    let site = serve(subject, &[("it.sql", &export("file", "", sql))]);
    let url = link(&site, json!({"resume_seconds": 60, "expires_in": 60}));
    let tag = get(&url).header("etag").to_owned();
    let part = |tag: &str, range: &str, condition: &'static str| {
        let call = Call::new("GET", &url).header("range", range);
        call.header(condition, tag).send()
    };
    let rest = part(&tag, "bytes=70000-", "if-range");
    assert_eq!((rest.status, &rest.body[..]), (206, &bytes[70_000..]));
    assert_eq!(rest.header("content-range"), "bytes 70000-99999/100000");
    let outside = part(&tag, "bytes=100000-", "if-range");
    assert_eq!(outside.problem(), (416, "range-outside".into()));
    let unconditional = Call::new("GET", &url).header("range", "bytes=7-").send();
    assert_eq!(unconditional.problem(), (400, "range-not-supported".into()));

    put(subject, "a.bin", &content(100_001));
    let other = part(&tag, "bytes=70000-", "if-range");
    assert_eq!((other.status, other.body.len()), (200, 100_001));
    let changed = part(&tag, "bytes=70000-", "if-match");
    assert_eq!(changed.problem(), (412, "file-changed".into()));

    let tag = get(&url).header("etag").to_owned();
    site.server.set_clock(site.server.now() + 90);
    let late = part(&tag, "bytes=70000-", "if-range");
    assert_eq!((late.status, late.body.len()), (206, 30_001));
    assert_eq!(get(&url).problem(), (410, "link-expired".into()));
}

fn clients_are_redirected_to_large_documents_in_a_store_that_signs_urls(subject: &Subject) {
    let bytes = content(LARGE);
    put(subject, "large.bin", &bytes);
    put(subject, "small.bin", &bytes[..1_000_000]);
    let sql = "select :name || '.bin' as object, :name || '.pdf' as filename, 'application/pdf' as content_type
               where :user <> ''";
    let sql = format!(
        "/*---\nkind = 'file'\n[filters.name]\ntype = 'text'\n[file]\nstore = 'documents'\nproxy_up_to = '1MB'\n---*/\n{sql}"
    );
    let site = serve(subject, &[("it.sql", &sql)]);
    let url = |name: &str, more: Value| {
        let mut fields = json!({"filters": {"name": name}});
        let more = more.as_object().unwrap().clone();
        fields.as_object_mut().unwrap().extend(more);
        link(&site, fields)
    };
    assert_eq!(get(&url("small", json!({}))).body, bytes[..1_000_000]);
    let answer = get(&url("large", json!({})));
    if subject.redirects() {
        assert_eq!(answer.status, 303, "{}", answer.text());
        let file = Call::new("GET", answer.header("location")).send_elsewhere();
        assert_eq!((file.status, &file.body), (200, &bytes));
        assert_eq!(file.header("content-type"), "application/pdf");
        let disposition = file.header("content-disposition");
        assert!(
            disposition.contains("filename=\"large.pdf\""),
            "{disposition}"
        );
    } else {
        assert_eq!((answer.status, &answer.body), (200, &bytes));
    }
    // Its URL would work from other addresses too.
    let bound = get(&url("large", json!({"ip": "127.0.0.0/8"})));
    assert_eq!((bound.status, &bound.body), (200, &bytes));
    let refused = get(&url("large", json!({"max_bytes": LARGE - 1})));
    assert_eq!(refused.problem(), (422, "file-too-large".into()));
}

fn a_user_gets_only_the_documents_of_the_query(subject: &Subject) {
    put(subject, "tenants/7/a.txt", b"of 7");
    put(subject, "tenants/8/a.txt", b"of 8");
    let sql = "select value as object from json_each(:keys) where :user = 'alice' and :claim.org_id <> ''";
    let filter = "[filters.keys]\ntype = 'text'\n[file]\nstore = 'documents'\nprefix = 'tenants/{claim.org_id}/'";
    let sql = format!("/*---\nkind = 'file'\n{filter}\n---*/\n{sql}");
    let site = serve(subject, &[("it.sql", &sql)]);
    let org = token_for(&json!({"sub": "alice", "org_id": "7", "exp": site.server.now() + 60}));
    let url = |keys: &[&str]| {
        let filters = json!({"keys": json!(keys).to_string()});
        let request = json!({"export": "it", "expires_in": 600, "filters": filters});
        let answer = site.server.issue_with(&org, request);
        answer.json()["url"].as_str().unwrap().to_owned()
    };
    assert_eq!(get(&url(&["tenants/7/a.txt"])).body, b"of 7");
    for (keys, status, code) in [
        (&[][..], 404, "file-missing"),
        (&["tenants/7/none.txt"], 404, "file-missing"),
        (
            &["tenants/7/a.txt", "tenants/7/a.txt"],
            422,
            "several-files",
        ),
        (&["tenants/8/a.txt"], 500, "invalid-document"),
        (&["tenants/70/a.txt"], 500, "invalid-document"),
        (&["tenants/7/../8/a.txt"], 500, "invalid-document"),
        (&["/tenants/7/a.txt"], 500, "invalid-document"),
        (&["tenants/7/"], 500, "invalid-document"),
        (&[""], 500, "invalid-document"),
        (&["tenants/7/a\n.txt"], 500, "invalid-document"),
    ] {
        let answer = get(&url(keys));
        assert_eq!(answer.problem(), (status, code.into()), "{keys:?}");
        assert!(!answer.text().contains("tenants"), "{}", answer.text());
    }
    let link = url(&["tenants/7/a.txt"]);
    let other = Call::new("GET", link.replace("rl_user=alice", "rl_user=bob")).send();
    assert_eq!(other.problem(), (403, "bad-signature".into()));
    site.server.set_clock(site.server.now() + 600);
    assert_eq!(get(&link).problem(), (410, "link-expired".into()));
}

fn a_wrong_object_is_never_sent_as_a_whole_file(subject: &Subject) {
    put(subject, "a.bin", &content(200_000));
    let hash = hex::encode(Sha256::digest(content(200_001)));
    let size = "select 'a.bin' as object, 200001 as size where :user <> ''";
    let hash = format!("select 'a.bin' as object, '{hash}' as sha256 where :user <> ''");
    for kind in ["file", "files"] {
        let (size, hash) = (export(kind, "", size), export(kind, "", &hash));
        let site = serve(subject, &[("size.sql", &size), ("hash.sql", &hash)]);
        let url = |name: &str| site.server.link(json!({"export": name}));
        assert_eq!(get(&url("size")).problem(), (500, "file-damaged".into()));
        let mut answer = Vec::new();
        let ended = begin(&url("hash")).read_to_end(&mut answer);
        assert!(ended.is_err(), "{kind}: the file ended in good order");
        assert!(
            answer.len() < 200_000 + 500,
            "{kind}: {} bytes",
            answer.len()
        );
    }
}

fn an_archive_has_all_documents_with_different_names(subject: &Subject) {
    let sizes = [0, 5, 70_000, LARGE];
    for (index, size) in sizes.iter().enumerate() {
        put(subject, &format!("d/{index}"), &content(*size));
    }
    let rows = |columns: &str| {
        format!(
            "with d(i, name, bytes) as (values (0, 'a.txt', 0), (1, 'A.txt', 5), (2, '../ä.txt', 70000), (3, 'large', {LARGE}))
             select 'd/' || i as object, name as filename{columns} from d where :user <> ''"
        )
    };
    let known = export("files", "", &rows(", bytes as size"));
    let unknown = export("files", "", &rows(""));
    let site = serve(subject, &[("known.sql", &known), ("unknown.sql", &unknown)]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["known", "unknown"] {
        let url = site.server.link(json!({"export": name}));
        let answer = get(&url);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/zip");
        let disposition = answer.header("content-disposition");
        assert!(disposition.contains(&format!("filename=\"{name}.zip\"")));
        let head = Call::new("HEAD", &url).send();
        let lengths = [&answer, &head].map(|it| it.headers.get("content-length").cloned());
        let expected = (name == "known").then(|| answer.body.len().to_string());
        let expected = expected.map(|length| length.parse().unwrap());
        assert_eq!(lengths, [expected.clone(), expected]);
        let path = folder.path().join(name);
        std::fs::write(&path, &answer.body).unwrap();
        let read = python("read_archive.py", &[path.as_os_str()]);
        let read: Value = serde_json::from_str(&read).unwrap();
        let names = ["a.txt", "A (2).txt", ".._ä.txt", "large"];
        let expected = names
            .iter()
            .zip(sizes)
            .map(|(name, size)| json!([name, size, 0, hex::encode(Sha256::digest(content(size)))]));
        assert_eq!(read, expected.collect::<Value>(), "{name}");
    }
    let small = site
        .server
        .link(json!({"export": "unknown", "max_rows": 3}));
    assert_eq!(get(&small).problem(), (422, "file-too-large".into()));
    let small = site
        .server
        .link(json!({"export": "known", "max_bytes": 70_000}));
    assert_eq!(get(&small).problem(), (422, "file-too-large".into()));
    let files = "rowlink_download_rows_total{export=\"known\",format=\"file\"}";
    assert_eq!(metric(&site.server.origin, files), 4);
}

fn an_archive_without_an_object_ends_visibly(subject: &Subject) {
    put(subject, "d/0", &content(1000));
    let rows = |first: usize, columns: &str| {
        let sql = format!(
            "with d(i) as (values ({first}), (0), (1)) select 'd/' || i as object{columns} from d where :user <> ''"
        );
        export("files", "", &sql)
    };
    let (missing, known, unknown) = (rows(7, ""), rows(0, ", 1000 as size"), rows(0, ""));
    let exports = [
        ("missing.sql", &*missing),
        ("known.sql", &known),
        ("unknown.sql", &unknown),
    ];
    let site = serve(subject, &exports);
    let url = |name: &str| site.server.link(json!({"export": name}));
    assert_eq!(get(&url("missing")).problem(), (404, "file-missing".into()));
    for name in ["known", "unknown"] {
        let mut answer = Vec::new();
        let ended = begin(&url(name)).read_to_end(&mut answer);
        assert!(ended.is_err(), "{name}: the archive ended in good order");
        assert!(!answer.windows(4).any(|it| it == b"PK\x05\x06"), "{name}");
    }
    let outcome =
        "rowlink_downloads_total{export=\"known\",format=\"file\",outcome=\"file_missing\"}";
    assert_eq!(metric(&site.server.origin, outcome), 1);
}

fn a_link_that_works_once_gives_one_document(subject: &Subject) {
    put(subject, "a.bin", &content(5000));
    let sql = "select 'a.bin' as object where :user <> ''";
    // Other links lead to the store, if that can sign URLs.
    let file = export("file", "proxy_up_to = '10B'", sql);
    let files = export("files", "", sql);
    let site = serve(subject, &[("it.sql", &file), ("files.sql", &files)]);
    let once = json!({"single_use": true, "resume_seconds": 60});
    let url = link(&site, once);
    let head = Call::new("HEAD", &url).send();
    assert_eq!((head.status, head.headers.get("etag")), (200, None));
    let answers = std::thread::scope(|scope| {
        let threads = [0; 8].map(|_| scope.spawn(|| get(&url)));
        threads.map(|thread| thread.join().unwrap())
    });
    let whole: Vec<&Answer> = answers.iter().filter(|it| it.status == 200).collect();
    assert_eq!((whole.len(), &whole[0].body), (1, &content(5000)));
    let refused = answers.iter().filter(|it| it.status != 200);
    for answer in refused {
        assert_eq!(answer.problem(), (410, "link-used".into()));
    }
    let tag = whole[0].header("etag").to_owned();
    let part = |range: &str| {
        let call = Call::new("GET", &url).header("range", range);
        call.header("if-range", tag.clone()).send()
    };
    let rest = part("bytes=4000-");
    assert_eq!((rest.status, &rest.body[..]), (206, &content(5000)[4000..]));
    assert_eq!(part("bytes=0-").problem(), (410, "link-used".into()));
    put(subject, "a.bin", &content(6000));
    assert_eq!(part("bytes=4000-").problem(), (410, "link-used".into()));

    let archive = site
        .server
        .link(json!({"export": "files", "single_use": true}));
    let other = Call::new("GET", &archive)
        .header("if-match", "\"x\"")
        .send();
    assert_eq!(other.problem(), (412, "file-changed".into()));
    assert_eq!(get(&archive).status, 200);
    assert_eq!(get(&archive).problem(), (410, "link-used".into()));
}

fn a_document_is_confirmed_and_bound_to_a_browser(subject: &Subject) {
    put(subject, "a.bin", &content(5000));
    let sql = "select 'a.bin' as object where :user <> ''";
    let file = export("file", "proxy_up_to = '10B'", sql);
    let site = serve(subject, &[("it.sql", &file)]);
    let url = link(&site, json!({"confirm": true, "filename": "Vertrag"}));
    let required = (403, "confirmation-required".to_owned());
    assert_eq!(get(&url).problem(), required);
    assert_eq!(Call::new("HEAD", &url).send().status, 403);
    let page = Call::new("GET", &url).header("accept", "text/html").send();
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<bdi>Vertrag</bdi>") && page.text().contains("Document"));
    let ended = "rowlink_downloads_total{export=\"it\",";
    assert_eq!(metric(&site.server.origin, ended), 0, "a query ran");
    let confirmed = Call::new("POST", &url).send();
    let confirmed = match confirmed.status {
        303 => Call::new("GET", confirmed.header("location")).send_elsewhere(),
        _ => confirmed,
    };
    assert_eq!((confirmed.status, &confirmed.body), (200, &content(5000)));

    let request = json!({"export": "it", "bind": "cookie"});
    let answer = site.server.issue(request);
    let cookie = answer
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let url = answer.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(get(&url).problem(), (403, "wrong-browser".into()));
    let own = Call::new("GET", &url).header("cookie", cookie).send();
    assert_eq!((own.status, &own.body), (200, &content(5000)));
}

fn a_document_without_bytes_is_complete_unless_its_hash_is_another_one(subject: &Subject) {
    put(subject, "empty", b"");
    let hash = hex::encode(Sha256::digest(b""));
    let rows =
        |hash: &str| format!("select 'empty' as object, '{hash}' as sha256 where :user <> ''");
    let (right, wrong) = (rows(&hash), rows(&"0".repeat(64)));
    for kind in ["file", "files"] {
        let (right, wrong) = (export(kind, "", &right), export(kind, "", &wrong));
        let site = serve(subject, &[("right.sql", &right), ("wrong.sql", &wrong)]);
        let answer = get(&site.server.link(json!({"export": "right"})));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body.is_empty(), kind == "file");
        let complete =
            "rowlink_downloads_total{export=\"right\",format=\"file\",outcome=\"complete\"}";
        assert_eq!(metric(&site.server.origin, complete), 1, "{kind}");
        let answer = get(&site.server.link(json!({"export": "wrong"})));
        assert_eq!(answer.problem(), (500, "file-damaged".into()), "{kind}");
    }
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_store_that_stops_answering_refuses_documents_and_pauses_those_begun() {
    let store = ObjectStore::start();
    let subject = connected(store.bucket("files"));
    let bytes = content(20_000_000);
    put(&subject, "large.bin", &bytes);
    put(&subject, "small.bin", &bytes[..10]);
    let sql = "select :key as object where :user <> ''";
    let file = export(
        "file",
        "proxy_up_to = '100MB'\n[filters.key]\ntype = 'text'",
        sql,
    );
    let site = serve(&subject, &[("it.sql", &file)]);
    let url = |key: &str| link(&site, json!({"filters": {"key": key}}));
    let mut begun = begin_with(&url("large.bin"), "Connection: close\r\n");
    let mut answer = vec![0; 10_000];
    begun.read_exact(&mut answer).unwrap();
    store.pause();
    let refused = get(&url("small.bin"));
    assert_eq!(refused.problem(), (503, "store-unavailable".into()));
    store.resume();
    begun.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&bytes));
    assert_eq!(get(&url("small.bin")).body, bytes[..10]);
}

#[test]
fn many_documents_with_one_long_name_are_one_archive() {
    let subject = directory();
    put(&subject, "x", b"x");
    let name = format!("{}.pdf", "ü".repeat(146));
    let sql = format!(
        "with recursive d(i) as (select 0 union all select i + 1 from d where i < 50)
         select 'x' as object, '{name}' as filename from d where :user <> ''"
    );
    let site = serve(&subject, &[("it.sql", &export("files", "", &sql))]);
    let answer = get(&link(&site, json!({})));
    let archive = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    assert_eq!(archive.len(), 51);
}

#[test]
fn ten_thousand_documents_are_one_archive() {
    let subject = directory();
    for index in 0..100 {
        put(
            &subject,
            &format!("d/{index}"),
            format!("document {index}").as_bytes(),
        );
    }
    let sql = "with recursive d(i) as (select 0 union all select i + 1 from d where i < 9999)
               select 'd/' || (i % 100) as object, 'x.txt' as filename from d where :user <> ''";
    let site = serve(&subject, &[("it.sql", &export("files", "", sql))]);
    let answer = get(&link(&site, json!({})));
    assert_eq!(answer.status, 200);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    assert_eq!(archive.len(), 10_000);
    for (index, name) in [(0, "x.txt"), (1, "x (2).txt"), (9999, "x (10000).txt")] {
        let mut file = archive.by_index(index).unwrap();
        assert_eq!(file.name().unwrap(), name);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("document {}", index % 100));
    }
}

#[test]
fn a_request_for_documents_has_no_format_and_one_for_rows_has_one() {
    let subject = directory();
    put(&subject, "a.txt", b"a document");
    let document = export("file", "", "select 'a.txt' as object where :user <> ''");
    let rows = "select 1 as n where :user <> ''";
    let site = serve(&subject, &[("it.sql", &document), ("rows.sql", rows)]);
    let server = &site.server;
    let answer = server.issue(json!({"export": "it"}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let issued = answer.json();
    assert_eq!(
        (&issued["filename"], &issued["content_type"]),
        (&json!("it"), &json!("application/octet-stream"))
    );
    for (request, field) in [
        (json!({"export": "it", "format": "csv"}), "format"),
        (json!({"export": "it", "format": 7}), "format"),
        (json!({"export": "rows"}), "format"),
        (json!({"export": "it", "columns": ["object"]}), "columns"),
        (json!({"export": "it", "delivery": "stored"}), "delivery"),
        (json!({"export": "it", "prepare": true}), "prepare"),
        (json!({"export": "it", "csv": {"bom": true}}), "csv.bom"),
    ] {
        let answer = server.issue(request.clone());
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{request}"
        );
    }
    let estimated = server
        .issue(json!({"export": "it", "estimate": true}))
        .json();
    assert_eq!(estimated["estimated_rows"], Value::Null);

    let listed = server
        .call("GET", "/v1/exports")
        .bearer(&token(server.now()))
        .send()
        .json();
    let kinds = listed["exports"].as_array().unwrap().iter();
    let kinds: Vec<_> = kinds
        .map(|it| (&it["name"], &it["kind"], &it["columns"]))
        .collect();
    assert_eq!(kinds[0], (&json!("it"), &json!("file"), &json!([])));
    assert_eq!((kinds[1].0, kinds[1].1), (&json!("rows"), &json!("rows")));

    let plain = |path: &str| server.call("GET", path).bearer(&token(server.now())).send();
    let redirect = plain("/v1/files/it");
    assert_eq!(redirect.status, 303);
    assert_eq!(get(redirect.header("location")).body, b"a document");
    assert_eq!(plain("/v1/files/rows").fields(), ["format"]);
    assert_eq!(
        plain("/v1/files/none").problem(),
        (404, "unknown-export".into())
    );
    assert_eq!(plain("/v1/exports/it.csv").fields(), ["format"]);
    let post = server.call("POST", "/v1/files/it").send();
    assert_eq!(post.problem(), (405, "method-not-allowed".into()));

    let url = issued["url"].as_str().unwrap();
    let moved = url.replace("/v1/files/it", "/v1/exports/it.csv");
    assert_eq!(get(&moved).problem(), (403, "bad-signature".into()));
    let ask = |path: &str| {
        server
            .call("POST", path)
            .bearer(&token(server.now()))
            .json(&json!({"url": url}))
            .send()
    };
    let explained = ask("/v1/links/inspect").json();
    assert_eq!(explained["valid"], true);
    assert_eq!(explained["link"]["format"], Value::Null);
    assert_eq!(ask("/v1/links/status").json()["state"], "absent");
    let prefetch = Call::new("GET", url)
        .header("sec-purpose", "prefetch")
        .send();
    assert_eq!(prefetch.problem().1, "prefetch-refused");
    let begun = begin_with(
        url,
        "If-Range: \"x\"\r\nRange: bytes=3-\r\nConnection: close\r\n",
    );
    let mut text = String::new();
    { begun }.read_to_string(&mut text).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("a document"),
        "{text}"
    );
}

#[test]
fn an_export_of_documents_is_checked_at_the_start() {
    let subject = directory();
    let rows = "select 'a' as object where :user <> ''";
    for (settings, sql, expected) in [
        (
            "kind = 'file'",
            rows,
            "it.sql:2: `kind`: stored documents need the table [file] with `store`",
        ),
        (
            "[file]\nstore = 'documents'",
            rows,
            "it.sql:2: [file] has no effect without `kind",
        ),
        (
            "kind = 'files'\n[file]\nstore = 'other'",
            rows,
            "it.sql:3: `store` in [file]: unknown store `other`",
        ),
        (
            "kind = 'file'\nformats = ['csv']\n[file]\nstore = 'documents'",
            rows,
            "it.sql:3: `formats`: unsupported",
        ),
        (
            "kind = 'file'\ntimezone = 'UTC'\n[file]\nstore = 'documents'",
            rows,
            "it.sql:3: `timezone`: unsupported",
        ),
        (
            "kind = 'file'\n[file]\nstore = 'documents'\n[csv]\nbom = true",
            rows,
            "`csv`: unsupported",
        ),
        (
            "kind = 'file'\n[file]\nstore = 'documents'\n[store]\nmode = 'always'",
            rows,
            "`store`: unsupported",
        ),
        (
            "kind = 'file'\n[file]\nstore = 'documents'\nprefix = '{org}/'",
            rows,
            "`prefix` in [file]: `{org}`: expected",
        ),
        (
            "kind = 'file'\n[file]\nstore = 'documents'\nbucket = 'x'",
            rows,
            "unknown field `bucket`",
        ),
        ("kind = 'document'", rows, "unknown variant `document`"),
        (
            "kind = 'file'\n[file]\nstore = 'documents'",
            "select 1 as size where :user <> ''",
            "expected a column `object`",
        ),
        (
            "kind = 'file'\n[file]\nstore = 'documents'",
            "select 'a' as object, 1 as bytes where :user <> ''",
            "unknown column `bytes`",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = sqlite_url(&sample_database(folder.path()));
        let sql = format!("/*---\n{settings}\n---*/\n{sql}");
        let mut deployment = Deployment::over(database, vec![("it.sql", &sql)]);
        deployment.document_stores = vec![("documents", subject.store())];
        let errors = deployment.errors();
        assert!(
            errors.len() == 1 && errors[0].contains(expected),
            "{errors:?}"
        );
    }
}

#[test]
fn a_server_reads_its_stores_from_the_configuration() {
    let subject = directory();
    put(&subject, "a.txt", b"a document");
    let sql = export("file", "", "select 'a.txt' as object where :user <> ''");
    let url = subject.url();
    let stores = format!("documents={url}, other=file:///tmp");
    let server = Rowlink::serve_with(&[("it.sql", &sql)], &[("ROWLINK_STORES", &stores)]);
    let link = server.link(json!({"export": "it"}));
    assert_eq!(get(&link).body, b"a document");
    let mut sign = command(server.folder());
    sign.args([
        "sign",
        "it",
        "--documents",
        "--user",
        "42",
        "--expires-in",
        "60",
    ]);
    let signed = String::from_utf8(run(&mut sign).stdout).unwrap();
    assert!(signed.contains("/v1/files/it?"), "{signed}");
}
