//! Columns that need a scope: left out or masked, whatever way a caller tries to read them.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use rowlink::catalog::Catalog;
use rowlink::spool::Spool;
use rowlink::store::StoreUrl;
use rowlink_link::{Keyring, Link, Seal, UserId, sign};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::books::entries;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::{Rowlink, command, configured_folder};
use crate::harness::{
    Answer, Call, Deployment, SIGNING_KEY, TestServer, database_tests, metric, sqlite as dialects,
    sqlite_url, token_for, wait_for,
};

const FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];
/// What only holders of the scopes may read.
const SECRETS: [&str; 2] = ["@secret.example", "555-01"];
const MASKED: &str = "id,name,E-Mail\r\n2,Ben,a***\r\n1,Ann,z***\r\n3,Cid,z***\r\n";
const REVEALED: &str = "id,name,E-Mail,phone\r\n2,Ben,adam@secret.example,555-012\r\n\
                        3,Cid,zed@secret.example,555-013\r\n1,Ann,zoe@secret.example,555-011\r\n";

const PEOPLE: &str = "
create table people (id integer, name varchar(20), email varchar(40), phone varchar(20));
insert into people values (1, 'Ann', 'zoe@secret.example', '555-011');
insert into people values (2, 'Ben', 'adam@secret.example', '555-012');
insert into people values (3, 'Cid', 'zed@secret.example', '555-013');";

/// A database with people, and a mask in its dialect.
struct Subject {
    name: &'static str,
    url: String,
    mask: &'static str,
    folder: TempDir,
}

fn sqlite() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(PEOPLE).unwrap();
    Subject {
        name: "SQLite",
        url: sqlite_url(&path),
        mask: "substr(c.email, 1, 1) || '***'",
        folder,
    }
}

fn servers(database: &str) -> [Subject; 2] {
    let postgres = Subject {
        name: "PostgreSQL",
        url: Cluster::shared().database(database, PEOPLE),
        mask: "left(c.email, 1) || '***'",
        folder: tempfile::tempdir().unwrap(),
    };
    let mariadb = Subject {
        name: "MariaDB",
        url: MariaDb::shared().database(database, PEOPLE),
        mask: "concat(left(c.email, 1), '***')",
        folder: tempfile::tempdir().unwrap(),
    };
    [postgres, mariadb]
}

impl Subject {
    /// Returns an export of the people, with further settings. Its mask may use the table of the query.
    fn export(&self, settings: &str) -> String {
        let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
        let mask = self.mask;
        format!(
            "/*---\nunscoped = true\nformats = [{formats}]\n{settings}\n\
             [columns.email]\nlabel = 'E-Mail'\nscope = 'pii:read'\nmask = \"{mask}\"\n\
             [columns.phone]\nscope = 'pii:phone'\n---*/\n\
             with c as (select id, name, email, phone from people)\n\
             select c.id as id, c.name as name, c.email as email, c.phone as phone from c order by email, id"
        )
    }

    fn serve(&self, settings: &str, change: impl FnOnce(&mut Deployment)) -> TestServer {
        let export = self.export(settings);
        let mut deployment = Deployment::over(self.url.clone(), vec![("people.sql", &export)]);
        change(&mut deployment);
        deployment.start()
    }
}

fn token_with(server: &TestServer, scopes: &str) -> String {
    token_for(&json!({"sub": "alice", "exp": server.now() + 3600, "scope": scopes}))
}

const ALL_SCOPES: &str = "pii:read pii:phone";

fn request(fields: Value) -> Value {
    let mut request = json!({"export": "people", "format": "csv"});
    let fields = fields.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    request
}

/// Returns the URL of a link for the holder of some scopes.
fn link(server: &TestServer, scopes: &str, fields: Value) -> String {
    let answer = server.issue_with(&token_with(server, scopes), request(fields));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["url"].as_str().unwrap().to_owned()
}

fn get(url: &str) -> Answer {
    Call::new("GET", url).send()
}

/// Returns what a file says, without its compression.
fn contents(format: &str, file: Vec<u8>) -> String {
    match format {
        "xlsx" => {
            let mut archive = zip::ZipArchive::new(Cursor::new(file)).unwrap();
            let mut all = String::new();
            for index in 0..archive.len() {
                archive
                    .by_index(index)
                    .unwrap()
                    .read_to_string(&mut all)
                    .unwrap();
            }
            all
        }
        "parquet" => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("people.parquet");
            std::fs::write(&path, file).unwrap();
            let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
            let rows = reader.get_row_iter(None).unwrap();
            rows.map(|row| row.unwrap().to_string() + "\n").collect()
        }
        _ => String::from_utf8(file).unwrap(),
    }
}

fn assert_secret(contents: &str, what: &str) {
    for secret in SECRETS {
        assert!(!contents.contains(secret), "{what}: {contents}");
    }
}

database_tests! {
    each_format_has_only_what_the_callers_scopes_reveal in "columns_formats";
    each_set_of_scopes_has_its_own_columns in "columns_scopes";
    a_mask_that_the_database_refuses_prevents_the_start_with_its_line in "columns_wrong";
}

fn each_format_has_only_what_the_callers_scopes_reveal(subject: Subject) {
    let server = subject.serve("", |_| ());
    for format in FORMATS {
        let what = format!("{} as {format}", subject.name);
        for length in [json!(null), json!("exact")] {
            let fields = json!({"format": format, "length": length});
            let hidden = get(&link(&server, "other", fields.clone()));
            let hidden = contents(format, hidden.body);
            assert_secret(&hidden, &what);
            assert!(!hidden.contains("phone"), "{what}: {hidden}");
            assert!(hidden.contains("z***"), "{what}: {hidden}");
            let shown = contents(format, get(&link(&server, ALL_SCOPES, fields)).body);
            assert!(SECRETS.iter().all(|it| shown.contains(it)), "{what}");
            assert!(!shown.contains("***"), "{what}: {shown}");
        }
    }
}

fn each_set_of_scopes_has_its_own_columns(subject: Subject) {
    let server = subject.serve("", |_| ());
    let file = |scopes, fields| get(&link(&server, scopes, fields)).text();
    let name = subject.name;
    assert_eq!(file("other", json!({})), MASKED, "{name}");
    assert_eq!(file(ALL_SCOPES, json!({})), REVEALED, "{name}");
    assert!(file("pii:read", json!({})).starts_with("id,name,E-Mail\r\n2,Ben,adam@"));
    assert!(
        file("pii:phone", json!({})).starts_with("id,name,E-Mail,phone\r\n2,Ben,a***,555-012\r\n")
    );
    let chosen = json!({"columns": ["email", "id"]});
    assert_eq!(
        file("other", chosen.clone()),
        "E-Mail,id\r\na***,2\r\nz***,1\r\nz***,3\r\n"
    );
    assert!(file("pii:read", chosen).starts_with("E-Mail,id\r\nadam@secret.example,2\r\n"));
    // The order of a column that is not in the file.
    assert_eq!(
        file("other", json!({"columns": ["id"]})),
        "id\r\n2\r\n1\r\n3\r\n"
    );
    assert_eq!(
        file("pii:read", json!({"columns": ["id"]})),
        "id\r\n2\r\n3\r\n1\r\n"
    );
}

fn a_mask_that_the_database_refuses_prevents_the_start_with_its_line(mut subject: Subject) {
    for mask in ["c.missing", "no_such_function(1)", "1 +"] {
        subject.mask = mask;
        let export = subject.export("");
        let deployment = Deployment::over(subject.url.clone(), vec![("people.sql", &export)]);
        let errors = deployment.errors();
        assert_eq!(errors.len(), 1, "{}: {errors:?}", subject.name);
        let line = 1 + export
            .lines()
            .position(|it| it.starts_with("mask"))
            .unwrap();
        let expected = format!("people.sql:{line}: `mask` of `email`: ");
        assert!(
            errors[0].starts_with(&expected),
            "{}: {errors:?}",
            subject.name
        );
    }
}

#[test]
fn a_request_cannot_bring_a_column_back() {
    let subject = sqlite();
    let server = subject.serve("", |_| ());
    let token = token_with(&server, "other");
    let refused = server.issue_with(&token, request(json!({"columns": ["id", "phone"]})));
    assert_eq!(refused.problem(), (422, "invalid-values".into()));
    assert_eq!(refused.fields(), ["columns"]);
    assert!(
        refused
            .text()
            .contains("`phone` needs the scope `pii:phone`")
    );
    let unknown = server.issue_with(&token, request(json!({"columns": ["mail"]})));
    assert!(
        unknown.text().contains("the columns are id, name, email\""),
        "{}",
        unknown.text()
    );
    let wanted = server.issue_with(&token, request(json!({"reveal": ["email"]})));
    assert_eq!(
        (wanted.status, wanted.fields()),
        (422, vec!["reveal".to_owned()])
    );
    let granted = server.issue_with(
        &token_with(&server, ALL_SCOPES),
        request(json!({"reveal": ["email"]})),
    );
    assert_eq!(granted.status, 422);

    let url = link(&server, "other", json!({}));
    assert!(!url.contains("rl_reveal"), "{url}");
    let shown = link(&server, ALL_SCOPES, json!({}));
    for forged in [
        format!("{url}&rl_reveal=email"),
        format!("{url}&rl_columns=phone"),
        shown.replace("rl_reveal=email%2Cphone&", ""),
        shown.replace("rl_reveal=email%2Cphone", "rl_reveal=email"),
    ] {
        assert_ne!(forged, shown);
        assert_eq!(
            get(&forged).problem(),
            (403, "bad-signature".into()),
            "{forged}"
        );
    }
}

#[test]
fn a_link_that_is_signed_elsewhere_reveals_nothing_by_itself() {
    let subject = sqlite();
    let server = subject.serve("", |_| ());
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let signed = |change: &dyn Fn(&mut Link)| {
        let user = UserId::parse("alice").unwrap();
        let mut link = Link::new("people", "csv", user, server.now(), 60);
        change(&mut link);
        let signed = sign(link, &keyring, Seal::Sealed).unwrap();
        format!("{}{}", server.origin, signed.path_and_query())
    };
    assert_eq!(get(&signed(&|_| ())).text(), MASKED);
    let named = signed(&|link| drop(link.options.insert("columns".into(), "phone".into())));
    let named = get(&named);
    assert_eq!(
        (named.status, named.fields()),
        (422, vec!["columns".to_owned()])
    );
    let both = signed(&|link| link.reveal = vec!["phone".into(), "email".into()]);
    assert_eq!(get(&both).text(), REVEALED);
    // A column without a scope now, or none at all.
    let others = signed(&|link| link.reveal = vec!["name".into(), "gone".into(), "EMAIL".into()]);
    assert_eq!(get(&others).text(), MASKED);
}

#[test]
fn every_other_route_withholds_the_same() {
    let subject = sqlite();
    let server = subject.serve("", |_| ());
    let token = token_with(&server, "other");
    // A plain link.
    let redirect = server
        .call("GET", "/v1/exports/people.csv")
        .bearer(&token)
        .send();
    assert_eq!(redirect.status, 303);
    assert_eq!(get(redirect.header("location")).text(), MASKED);
    // An estimate, which counts the bytes of the same file.
    let estimate = |scopes| {
        let wanted = request(json!({"format": "ndjson", "estimate": true}));
        let answer = server
            .issue_with(&token_with(&server, scopes), wanted)
            .json();
        let file = get(answer["url"].as_str().unwrap());
        assert_eq!(
            answer["estimated_bytes"],
            json!(file.body.len()),
            "{answer}"
        );
        file.body.len()
    };
    assert!(estimate("other") < estimate(ALL_SCOPES));
    // The length of a file that is measured.
    let exact = link(&server, "other", json!({"length": "exact"}));
    assert_eq!(
        get(&exact).header("content-length"),
        MASKED.len().to_string()
    );
    assert_eq!(Call::new("HEAD", &exact).send().body, b"");
    // The list of exports.
    let listed = |scopes: &str| {
        let token = token_with(&server, scopes);
        let all = server
            .call("GET", "/v1/exports")
            .bearer(&token)
            .send()
            .json();
        let one = server
            .call("GET", "/v1/exports/people")
            .bearer(&token)
            .send()
            .json();
        assert_eq!(all["exports"][0], one);
        let columns = one["columns"].as_array().unwrap().clone();
        let names = columns
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed("other"), ["id", "name", "email"]);
    assert_eq!(listed("pii:phone"), ["id", "name", "email", "phone"]);
    // An inspection.
    let inspected = |url: &str, scopes: &str| {
        let token = token_with(&server, scopes);
        let question = json!({"url": url});
        let answer = server
            .call("POST", "/v1/links/inspect")
            .bearer(&token)
            .json(&question)
            .send();
        assert_eq!(answer.json()["valid"], true);
        answer.json()["link"].clone()
    };
    let sealed = link(&server, ALL_SCOPES, json!({"seal": true}));
    assert_eq!(
        inspected(&sealed, ALL_SCOPES)["reveal"],
        json!(["email", "phone"])
    );
    assert_eq!(inspected(&sealed, "pii:read")["reveal"], Value::Null);
    assert_eq!(inspected(&sealed, "pii:read")["user"], Value::Null);
    let masked = link(&server, "other", json!({"seal": true}));
    assert_eq!(inspected(&masked, "other")["reveal"], json!([]));
}

#[test]
fn a_download_of_more_columns_is_not_continued_by_a_link_to_fewer() {
    let subject = sqlite();
    let spool = Spool::new(subject.folder.path().to_owned(), 1 << 30);
    let server = subject.serve("", |deployment| {
        deployment.spool = Some(spool.with_keep(Duration::from_secs(600)));
    });
    for length in [json!("exact"), json!(null)] {
        let shown = get(&link(&server, ALL_SCOPES, json!({"length": length})));
        let Some(tag) = shown.headers.get("etag") else {
            assert!(length.is_null());
            continue;
        };
        let masked = link(&server, "other", json!({"length": length}));
        let rest = Call::new("GET", &masked)
            .header("range", "bytes=3-")
            .header("if-range", tag.to_str().unwrap())
            .send();
        assert_eq!((rest.status, rest.text()), (200, MASKED.to_owned()));
    }
}

#[test]
fn a_stored_file_is_reused_only_for_the_same_columns() {
    let subject = sqlite();
    let store = tempfile::tempdir().unwrap();
    let url = StoreUrl::parse(&format!("file://{}", store.path().display())).unwrap();
    let spool = Spool::new(subject.folder.path().to_owned(), 1 << 30);
    let server = subject.serve(
        "[store]\nmode = 'always'\nreuse_seconds = 600",
        |deployment| {
            deployment.spool = Some(spool);
            deployment.store = Some(url.connect(Vec::new()).unwrap());
        },
    );
    let queries = || metric(&server.origin, "rowlink_download_database_seconds_count ");
    let records = || {
        let names = std::fs::read_dir(store.path()).unwrap();
        let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".record")).count()
    };
    for (scopes, expected, files) in [
        (ALL_SCOPES, REVEALED, 1),
        ("other", MASKED, 2),
        ("pii:other", MASKED, 2),
        (ALL_SCOPES, REVEALED, 2),
    ] {
        assert_eq!(
            get(&link(&server, scopes, json!({}))).text(),
            expected,
            "{scopes}"
        );
        wait_for("the record", Duration::from_secs(60), || records() == files);
    }
    // Equal files are reused.
    assert_eq!(queries(), 2);
}

#[test]
fn a_file_without_any_column_is_refused() {
    let export = "/*---\nunscoped = true\n[columns.email]\nscope = 'pii:read'\n---*/\nselect * from (select email from people) x";
    let subject = sqlite();
    let server = Deployment::over(subject.url.clone(), vec![("people.sql", export)]).start();
    let refused = server.issue_with(&token_with(&server, "other"), request(json!({})));
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["columns".to_owned()])
    );
    assert!(
        refused
            .text()
            .contains("every column needs a scope: pii:read")
    );
    let file = get(&link(&server, "pii:read", json!({}))).text();
    assert!(file.starts_with("email\r\n"), "{file}");
}

#[test]
fn a_mask_has_the_values_of_the_link() {
    let mut subject = sqlite();
    subject.mask = "case when c.name = :user or c.id in (:own) then c.email else :claim.mask end";
    let settings = "[filters.own]\ntype = 'integer'\nlist = true";
    let server = subject.serve(settings, |_| ());
    let claims = json!({"sub": "Ann", "mask": "?", "exp": server.now() + 3600});
    let token = token_for(&claims);
    let fields = request(json!({"columns": ["id", "email"], "filters": {"own": [3]}}));
    let answer = server.issue_with(&token, fields);
    let file = get(answer.json()["url"].as_str().unwrap()).text();
    assert_eq!(
        file,
        "id,E-Mail\r\n2,?\r\n3,zed@secret.example\r\n1,zoe@secret.example\r\n"
    );
    // The claim is pinned also where no column is masked.
    let without =
        token_for(&json!({"sub": "Ann", "exp": server.now() + 3600, "scope": ALL_SCOPES}));
    assert_eq!(server.issue_with(&without, request(json!({}))).status, 403);
}

#[test]
fn several_masks_hold_together_and_apart() {
    let subject = sqlite();
    let export = "/*---\nunscoped = true\n[columns.a]\nscope = 'a'\nmask = \"'~'\"\n[columns.b]\nscope = 'b'\nmask = '0'\n\
                  [columns.c]\nscope = 'c'\nmask = 'null'\n---*/\nselect 'A' as a, 7 as b, 'C' as c";
    let server = Deployment::over(subject.url.clone(), vec![("people.sql", export)]).start();
    for (scopes, expected) in [
        ("none", "~,0,"),
        ("a", "A,0,"),
        ("b", "~,7,"),
        ("c", "~,0,C"),
        ("a b", "A,7,"),
        ("a c", "A,0,C"),
        ("b c", "~,7,C"),
        ("a b c", "A,7,C"),
    ] {
        let file = get(&link(&server, scopes, json!({}))).text();
        assert_eq!(file, format!("a,b,c\r\n{expected}\r\n"), "{scopes}");
    }
}

#[test]
fn settings_of_columns_that_cannot_hold_are_errors_with_their_line() {
    let errors = |columns: &str, sql: &str| -> Vec<String> {
        let text = format!("/*---\nunscoped = true\n{columns}\n---*/\n{sql}");
        let catalog = Catalog::parse([("x.sql", text.as_str())], &dialects());
        catalog.errors().iter().map(ToString::to_string).collect()
    };
    let masked = |mask: &str, sql: &str| {
        errors(
            &format!("[columns.email]\nscope = 'a'\nmask = \"{mask}\""),
            sql,
        )
    };
    let plain = "select c.email from c";
    assert_eq!(masked("'-'", plain), Vec::<String>::new());
    let long = format!("[columns.{}]\nscope = 'a'", "a".repeat(129));
    let found = errors(&long, plain);
    assert!(
        found[0].starts_with("x.sql:4: `scope` of `aaa"),
        "{found:?}"
    );
    assert!(found[0].contains("at most 128 bytes"), "{found:?}");
    for (found, expected) in [
        (masked("'-'", "select * from c"), "has a `*`"),
        (masked("'-'", "select id from c"), "no column `email`"),
        (
            masked("'-'", "select email from c union select 1"),
            "one `select`",
        ),
        (masked("a, b", plain), "one expression"),
        (masked("1) as x, (2", plain), "balanced"),
        (masked("1 -- x", plain), "comment"),
        (masked("'a", plain), "`mask` of `email`: "),
        (masked(":status", plain), "`:status` is not declared"),
        (masked("?1", plain), "unsupported placeholder"),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("x.sql:5: ") && found[0].contains(expected),
            "{found:?}"
        );
    }
    let alone = errors("[columns.email]\nmask = '1'", plain);
    assert!(
        alone[0].starts_with("x.sql:3: `mask` of `email`: has no effect without `scope`"),
        "{alone:?}"
    );
    let empty = errors("[columns.email]\nscope = ''", plain);
    assert!(
        empty[0].starts_with("x.sql:4: `scope` of `email`: "),
        "{empty:?}"
    );
    let five: String = ["a", "b", "c", "d", "e"]
        .map(|name| format!("[columns.{name}]\nscope = 's'\nmask = '0'\n"))
        .concat();
    let five = errors(&five, "select 1 as a, 1 as b, 1 as c, 1 as d, 1 as e");
    assert!(
        five.len() == 1 && five[0].contains("at most 4 columns"),
        "{five:?}"
    );
    // A mask restricts no rows, and documents have no columns.
    let text = "/*---\n[columns.email]\nscope = 'a'\nmask = ':user'\n---*/\nselect c.email from c";
    let catalog = Catalog::parse([("x.sql", text)], &dialects());
    assert!(
        catalog.errors()[0]
            .to_string()
            .contains("every caller would get every row")
    );
    let text = "/*---\nkind = 'file'\n[file]\nstore = 's'\n[columns.object]\nscope = 'a'\n---*/\nselect :user as object";
    let catalog = Catalog::parse([("x.sql", text)], &dialects());
    assert!(
        catalog.errors()[0]
            .to_string()
            .contains("`columns`: unsupported for stored documents")
    );
}

#[test]
fn the_holder_of_a_key_reveals_only_what_it_names() {
    let subject = sqlite();
    let exports = subject.export("");
    let server = subject.serve("", |_| ());
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    server.set_clock(seconds);
    let folder = configured_folder(&[("people.sql", &exports)]);
    let run = |arguments: &[&str]| {
        let output = command(folder.path())
            .env("ROWLINK_DATABASE_URL", &subject.url)
            .args(arguments)
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        (
            output.status.success(),
            out,
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let sign = |further: &[&str]| run(&[&["sign", "people", "--user", "alice"], further].concat());
    let follow = |signed: (bool, String, String)| {
        assert!(signed.0, "{}", signed.2);
        let target = signed.1.trim().find("/v1/").unwrap();
        get(&format!("{}{}", server.origin, &signed.1.trim()[target..])).text()
    };
    assert_eq!(follow(sign(&[])), MASKED);
    assert_eq!(
        follow(sign(&["--reveal", "email", "--reveal", "phone"])),
        REVEALED
    );
    let checked = folder.path().join("exports");
    let checked = ["--exports", checked.to_str().unwrap()];
    let unknown = sign(&[&["--reveal", "name"][..], &checked].concat());
    assert!(
        !unknown.0
            && unknown
                .2
                .contains("reveal: `name` is no column with a scope"),
        "{}",
        unknown.2
    );
    let hidden = sign(&[&["--columns", "phone"][..], &checked].concat());
    assert!(
        !hidden.0 && hidden.2.contains("columns: `phone` needs the scope"),
        "{}",
        hidden.2
    );
    // A child key reveals what its scope names.
    let child = |further: &[&str]| {
        let key = run(&[&["keygen", "--child", "--export", "people"], further].concat());
        assert!(key.0, "{}", key.2);
        let signed = command(folder.path())
            .env("ROWLINK_SIGNING_KEYS", key.1.trim())
            .args(["sign", "people", "--user", "alice", "--reveal", "email"])
            .output()
            .unwrap();
        let out = String::from_utf8(signed.stdout).unwrap();
        (
            signed.status.success(),
            out,
            String::from_utf8(signed.stderr).unwrap(),
        )
    };
    assert!(!child(&[]).0);
    assert!(follow(child(&["--reveal", "email"])).contains("adam@secret.example"));
    // The holder of the database's password may read every row, and every column.
    let file = run(&["export", "people", "--user", "alice"]);
    assert_eq!((file.0, file.1.as_str()), (true, REVEALED), "{}", file.2);
}

#[test]
fn a_book_withholds_and_masks_the_columns_of_each_sheet() {
    let subject = sqlite();
    let people = "/*---\nunscoped = true\n[columns.email]\nscope = 'pii:read'\nmask = \"'***'\"\n\
                  [columns.phone]\nscope = 'pii:phone'\n---*/\n\
                  select id, email, phone from people where id = 1";
    let phones = "/*---\nunscoped = true\n[columns.phone]\nscope = 'pii:phone'\nmask = \"'none'\"\n---*/\n\
                  select name, phone from people where id = 1";
    let files = vec![
        ("staff/book.toml", "title = 'Staff'"),
        ("staff/1_people.sql", people),
        ("staff/2_phones.sql", phones),
    ];
    let server = Deployment::over(subject.url.clone(), files).start();
    let book = |format: &str| json!({"export": "staff", "format": format});
    for (scopes, expected) in [
        (
            "other",
            ["id,email\r\n1,***\r\n", "name,phone\r\nAnn,none\r\n"],
        ),
        (
            "pii:read",
            [
                "id,email\r\n1,zoe@secret.example\r\n",
                "name,phone\r\nAnn,none\r\n",
            ],
        ),
        (
            "pii:phone",
            [
                "id,email,phone\r\n1,***,555-011\r\n",
                "name,phone\r\nAnn,555-011\r\n",
            ],
        ),
        (
            ALL_SCOPES,
            [
                "id,email,phone\r\n1,zoe@secret.example,555-011\r\n",
                "name,phone\r\nAnn,555-011\r\n",
            ],
        ),
    ] {
        let files = entries(get(&link(&server, scopes, book("zip"))).body);
        let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, expected, "{scopes}");
    }
    let workbook = get(&link(&server, "other", book("xlsx"))).body;
    assert_secret(&contents("xlsx", workbook), "a workbook of two sheets");
    // A request that names no column of a sheet has all that its caller may see.
    let named = |columns: Value| {
        let mut request = book("zip");
        request["columns"] = columns;
        request
    };
    let phones = get(&link(&server, ALL_SCOPES, named(json!(["phones.phone"]))));
    let phones = entries(phones.body);
    assert_eq!(
        phones[0].1,
        "id,email,phone\r\n1,zoe@secret.example,555-011\r\n"
    );
    assert_eq!(phones[1].1, "phone\r\n555-011\r\n");
    let withheld = server.issue_with(
        &token_with(&server, "pii:read"),
        request(named(json!(["people.phone"]))),
    );
    assert_eq!(
        (withheld.status, withheld.fields()),
        (422, vec!["columns".to_owned()])
    );
    let call = server.call("GET", "/v1/exports/staff");
    let described = call.bearer(&token_with(&server, "other")).send().json();
    let names = |sheet: usize| {
        let columns = described["sheets"][sheet]["columns"].as_array().unwrap();
        let names = columns
            .iter()
            .map(|column| column["name"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(
        (names(0), names(1)),
        (
            vec!["id".into(), "email".into()],
            vec!["name".into(), "phone".into()]
        )
    );
}

#[test]
fn the_log_names_the_columns_that_a_link_reveals() {
    let subject = sqlite();
    let export = subject.export("");
    let rowlink = Rowlink::serve_with(
        &[("people.sql", &export)],
        &[("ROWLINK_DATABASE_URL", &subject.url)],
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let user = UserId::parse("alice").unwrap();
    let mut link = Link::new("people", "csv", user, now.as_secs(), 60);
    link.reveal = vec!["phone".into()];
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let signed = sign(link, &keyring, Seal::Open).unwrap();
    let file = get(&format!("{}{}", rowlink.origin(), signed.path_and_query()));
    assert!(file.text().contains("555-011"), "{}", file.text());
    let log = rowlink.stop();
    assert!(log.contains("reveal=\"phone\""), "{log}");
}
