//! Links whose download a person confirms: the page, its button, and what programs do.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rowlink::service::QuotaLimits;
use rowlink::spool::Spool;
use rowlink::store::StoreUrl;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::faults::BreakingProxy;
use crate::harness::object_store::ObjectStore;
use crate::harness::{Answer, Call, TestServer, UNLIMITED, browse, metric, wait_for};

const NAVIGATION: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const QUERIES: &str = "rowlink_download_database_seconds_count ";

fn numbers(more: Value) -> Value {
    let mut request = json!({
        "export": "numbers", "format": "csv", "filters": {"n": 3}, "confirm": true, "expires_in": 600,
    });
    let fields = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(fields);
    request
}

fn open_page(url: &str) -> Answer {
    Call::new("GET", url).header("accept", NAVIGATION).send()
}

fn confirm(url: &str) -> Answer {
    let form = ("content-type", "application/x-www-form-urlencoded");
    Call::new("POST", url)
        .header(form.0, form.1)
        .body("")
        .send()
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[test]
fn a_browser_gets_a_page_that_runs_no_query_and_its_button_downloads_the_file() {
    let server = TestServer::start();
    let plain = server.download(json!({"export": "numbers", "format": "csv", "filters": {"n": 3}}));
    for seal in [false, true] {
        let queries = metric(&server.origin, QUERIES);
        let url = server.link(numbers(json!({"seal": seal, "filename": "R&D 'q1'"})));
        let page = open_page(&url);
        assert_eq!(page.status, 200, "{}", page.text());
        for (name, expected) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-robots-tag", "noindex"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(page.header(name), expected);
        }
        assert!(!page.headers.contains_key("content-disposition"));
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-")
                && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        let text = page.text();
        for expected in [
            "<h1>Download this file?</h1>",
            "R&amp;D &#39;q1&#39;.csv</bdi></strong><br>CSV</p>",
            "<form method=\"post\">",
            "for another 10 minutes, until <time datetime=\"2026-01-31T10:10:00Z\">",
        ] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
        assert!(
            !text.contains("<script") && !text.contains("rl_") && !text.contains("alice"),
            "{text}"
        );
        assert_eq!(metric(&server.origin, QUERIES), queries);

        let file = confirm(&url);
        assert_eq!((file.status, file.text()), (200, plain.text()));
        let disposition = file.header("content-disposition");
        assert!(disposition.starts_with("attachment; "), "{disposition}");
        assert_eq!(file.header("cache-control"), "private, no-store");
    }
    let workbook = server.link(numbers(json!({"format": "xlsx"})));
    assert!(
        open_page(&workbook)
            .text()
            .contains("<br>Excel workbook</p>")
    );
}

#[test]
fn a_program_is_told_to_confirm_by_post_and_gets_no_page_as_its_file() {
    let server = TestServer::start();
    for seal in [false, true] {
        let issued = server.issue(numbers(json!({"seal": seal}))).json();
        assert_eq!(issued["methods"], json!(["GET", "HEAD", "POST"]));
        let url = issued["url"].as_str().unwrap();
        for accept in ["*/*", "text/csv", "application/json, text/html;q=0.5"] {
            let refused = Call::new("GET", url).header("accept", accept).send();
            assert_eq!(refused.problem(), (403, "confirmation-required".into()));
            let detail = refused.json()["detail"].to_string();
            assert!(detail.contains("send a POST to the same URL"), "{detail}");
        }
        assert_eq!(Call::new("HEAD", url).send().status, 200);
        assert_eq!(Call::new("POST", url).send().status, 200);
        // A body says nothing.
        let form = Call::new("POST", url).body("confirm=no&format=xlsx").send();
        assert_eq!(form.rows().len(), 4);
        let long = Call::new("POST", url).body(vec![b'x'; 70_000]).send();
        assert_eq!(long.problem(), (413, "body-too-long".into()));
    }
    let request = numbers(json!({"confirm": false}));
    let methods = server.issue(request).json()["methods"].clone();
    assert_eq!(methods, json!(["GET", "HEAD"]));
    let wrong = server.issue(numbers(json!({"confirm": "yes"})));
    assert_eq!(wrong.fields(), ["confirm"]);
}

#[test]
fn links_that_need_no_confirmation_refuse_the_method_as_before() {
    let server = TestServer::start();
    let open = server.link(numbers(json!({"confirm": null})));
    let sealed = server.link(numbers(json!({"confirm": null, "seal": true})));
    let forged = open.replace("rl_user=alice", "rl_user=bob");
    let sealed_to_confirm = server.link(numbers(json!({"seal": true})));
    // Its contents cannot be read.
    let changed = sealed_to_confirm.replace("rl_sealed=", "rl_sealed=A");
    let plain = format!("{}/v1/exports/numbers.csv?n=3", server.origin);
    let unknown = format!("{}/v1/exports/numbers.pdf?rl_confirm=true", server.origin);
    let refuse = |url: &str| {
        let answer = Call::new("POST", url).send();
        assert_eq!(
            answer.problem(),
            (405, "method-not-allowed".into()),
            "{url}"
        );
        assert_eq!(answer.header("allow"), "GET, HEAD");
    };
    for url in [&open, &sealed, &forged, &changed, &plain, &unknown] {
        refuse(url);
    }
    server.set_clock(server.now() + 600);
    for url in [&open, &sealed] {
        refuse(url);
    }
}

#[test]
fn a_link_is_verified_before_its_page_is_shown() {
    let server = TestServer::start();
    let refuse = |url: &str, expected: (u16, &str)| {
        for call in [Call::new("GET", url), Call::new("POST", url)] {
            let answer = call.send();
            assert_eq!(
                answer.problem(),
                (expected.0, expected.1.to_owned()),
                "{url}"
            );
        }
        assert_eq!(open_page(url).status, expected.0);
    };
    let url = server.link(numbers(json!({})));
    refuse(
        &url.replace("rl_user=alice", "rl_user=bob"),
        (403, "bad-signature"),
    );
    let elsewhere = server.link(numbers(json!({"ip": "192.0.2.0/24", "seal": true})));
    refuse(&elsewhere, (403, "wrong-address"));
    let later = server.link(numbers(json!({"not_before": "2026-01-31T10:00:30Z"})));
    refuse(&later, (403, "link-not-yet-valid"));
    for (name, value, expected) in [
        ("sec-purpose", "prefetch", (503, "prefetch-refused")),
        ("sec-fetch-dest", "image", (403, "embedding-refused")),
    ] {
        for method in ["GET", "POST"] {
            let answer = Call::new(method, &url).header(name, value).send();
            assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()));
        }
    }
    let sealed = server.link(numbers(json!({"seal": true})));
    server.set_clock(server.now() + 600);
    refuse(&url, (410, "link-expired"));
    refuse(&sealed, (410, "link-expired"));
}

#[test]
fn a_download_that_was_confirmed_is_continued_by_get() {
    let server = TestServer::start();
    let url = server.link(numbers(json!({"length": "exact", "filters": {"n": 500}})));
    let file = Call::new("POST", &url).header("range", "bytes=5-").send();
    assert_eq!(file.status, 200, "ranges are for GET");
    let part = |accept: &str, tag: &str| {
        let call = Call::new("GET", &url).header("accept", accept);
        call.header("range", "bytes=100-")
            .header("if-range", tag)
            .send()
    };
    let tag = file.header("etag");
    for accept in ["*/*", NAVIGATION] {
        let rest = part(accept, tag);
        assert_eq!(rest.status, 206);
        assert!(rest.body == file.body[100..]);
    }
    let refused = part("*/*", "\"another\"");
    assert_eq!(refused.problem(), (403, "confirmation-required".into()));
    let page = part(NAVIGATION, "\"another\"");
    assert_eq!(
        (page.status, page.header("cache-control")),
        (200, "no-store")
    );
}

#[test]
fn a_refused_confirmation_leads_back_to_the_page() {
    let server = TestServer::with(|deployment| {
        deployment.limits = QuotaLimits {
            downloads_per_user: 0,
            ..UNLIMITED
        };
    });
    for seal in [false, true] {
        let url = server.link(numbers(json!({"seal": seal})));
        assert_eq!(open_page(&url).status, 200);
        let refused = Call::new("POST", &url).header("accept", NAVIGATION).send();
        assert_eq!(refused.status, 429);
        let text = refused.text();
        assert!(text.contains("href=\"\">Try again</a>"), "{text}");
        assert!(
            text.contains("role=\"timer\"") && !text.contains("http-equiv"),
            "{text}"
        );
    }
}

const SETTINGS: &str = "/*---\n[filters.below]\ntype = 'integer'\ndefault = 20000\n[store]\nmode = 'auto'\n\
                        reuse_seconds = 300\n---*/\n";
/// Rows that differ each time.
const RANDOM_ROWS: &str =
    "with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
    select i as n, hex(randomblob(30)) as word from m where :user <> ''";

/// A server with a store.
struct Stored {
    server: TestServer,
    _folder: TempDir,
}

impl Stored {
    fn serve(sql: &str, url: &str, variables: &[(String, String)]) -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreUrl::parse(url).unwrap().connect(variables.to_vec());
        let sql = format!("{SETTINGS}{sql}");
        let server = TestServer::with(|deployment| {
            deployment.exports = vec![("it.sql", &sql)];
            deployment.spool = Some(Spool::new(folder.path().to_owned(), 1 << 30));
            deployment.store = Some(store.unwrap());
        });
        Stored {
            server,
            _folder: folder,
        }
    }

    fn in_directory(sql: &str, directory: &TempDir) -> Stored {
        Stored::serve(sql, &format!("file://{}", directory.path().display()), &[])
    }

    fn in_bucket(bucket: &str) -> Stored {
        let variables = ObjectStore::seaweedfs().bucket(bucket);
        Stored::serve(RANDOM_ROWS, &variables[0].1, &variables)
    }

    fn link(&self, more: Value) -> String {
        let mut request =
            json!({"export": "it", "format": "csv", "confirm": true, "expires_in": 600});
        let fields = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(fields);
        self.server.link(request)
    }

    /// Returns the state of a prepared file when it is final, and lets the limit of requests per second start anew.
    fn final_state(&self, link: &str) -> Value {
        let mut state = json!("preparing");
        wait_for("a prepared file", Duration::from_secs(120), || {
            let question = json!({"url": link, "wait": 25});
            let asked = self.server.call("POST", "/v1/links/status").json(&question);
            state = asked.send().json()["state"].clone();
            self.server.set_clock(self.server.now() + 1);
            state != "preparing"
        });
        state
    }
}

#[test]
fn the_page_of_a_prepared_file_has_its_size_and_that_of_one_in_progress_reloads_itself() {
    let directory = tempfile::tempdir().unwrap();
    let stored = Stored::in_directory(RANDOM_ROWS, &directory);
    let link = stored.link(json!({"prepare": true}));
    assert_eq!(stored.final_state(&link), "ready");
    let queries = || metric(&stored.server.origin, QUERIES);
    assert_eq!(queries(), 1);
    let page = open_page(&link).text();
    assert!(page.contains("<h1>Your file is ready</h1>"), "{page}");
    // 20,000 rows of a number, 60 digits, a comma and a line end.
    assert!(page.contains("<br>CSV, 1.3 MB, 20,000 rows</p>"), "{page}");
    assert!(page.contains("<form method=\"post\">") && !page.contains("http-equiv"));
    let file = confirm(&link);
    assert_eq!(file.rows().len(), 20_001);
    assert_eq!(file.header("content-length"), file.body.len().to_string());
    assert_eq!(queries(), 1);

    let endless = json!({"prepare": true, "filters": {"below": 1_000_000_000}});
    let link = stored.link(endless);
    let page = open_page(&link).text();
    assert!(
        page.contains("<h1>Your file is being prepared</h1>"),
        "{page}"
    );
    assert!(page.contains(" rows so far</p>"), "{page}");
    assert!(
        page.contains("<meta http-equiv=\"refresh\" content=\"5\">"),
        "{page}"
    );
    assert!(!page.contains("<form"), "{page}");
    let cancel = stored.server.call("POST", "/v1/links/cancel");
    assert_eq!(
        cancel.json(&json!({"url": link})).send().json()["state"],
        "cancelled"
    );
    wait_for("the end of the query", Duration::from_secs(20), || {
        stored.server.state.service.downloads() == 0
    });
    stored.server.set_clock(stored.server.now() + 1);
    assert!(open_page(&link).text().contains("Download this file?"));
}

#[test]
fn a_file_that_is_not_prepared_or_failed_has_the_plain_page() {
    let directory = tempfile::tempdir().unwrap();
    let stored = Stored::in_directory(RANDOM_ROWS, &directory);
    let page = open_page(&stored.link(json!({}))).text();
    assert!(page.contains("Download this file?"), "{page}");
    assert_eq!(metric(&stored.server.origin, QUERIES), 0);

    let failing = "select abs(-9223372036854775807 - 1) as n where :user <> '' and :below > 0";
    let directory = tempfile::tempdir().unwrap();
    let stored = Stored::in_directory(failing, &directory);
    let link = stored.link(json!({"prepare": true}));
    assert_eq!(stored.final_state(&link), "failed");
    let page = open_page(&link).text();
    assert!(page.contains("Download this file?"), "{page}");
}

#[test]
fn a_store_that_does_not_answer_costs_no_page() {
    let variables = [
        ("AWS_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let stored = Stored::serve(RANDOM_ROWS, "s3://none", &variables);
    let page = open_page(&stored.link(json!({})));
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Download this file?"));
    assert!(metric(&stored.server.origin, "rowlink_store_errors_total ") >= 1);
}

fn get(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    let command = command.arg("get").args(arguments).current_dir(folder);
    command.output().unwrap()
}

#[test]
fn rowlink_get_confirms_the_download_and_continues_it() {
    let server = TestServer::start();
    let proxy = BreakingProxy::before(server.port());
    for seal in [false, true] {
        let more = json!({"seal": seal, "length": "exact", "filters": {"n": 30_000}});
        let url = server.link(numbers(more));
        let expected = confirm(&url).body;
        let folder = tempfile::tempdir().unwrap();
        let output = get(folder.path(), &[&url]);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}");
        assert!(fs::read(folder.path().join("numbers.csv")).unwrap() == expected);

        let limit = (expected.len() as u64 / 2 + 2000) | 1;
        proxy.limit.store(limit, Ordering::SeqCst);
        let broken = proxy.through(&url);
        let output = get(folder.path(), &[&broken, "--output", "continued.csv"]);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}");
        assert!(printed.contains("continued 1 times"), "{printed}");
        assert!(fs::read(folder.path().join("continued.csv")).unwrap() == expected);
    }
}

/// Checks that the page's Content-Security-Policy has allowed all that it did.
fn assert_no_violation(seen: &Value) {
    let console = seen["console"].to_string();
    assert!(!console.contains("Security Policy"), "{console}");
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_click_on_the_button_downloads_the_file_in_chromium() {
    let server = TestServer::start();
    for seal in [false, true] {
        let url = server.link(numbers(json!({"seal": seal, "filename": "Größe"})));
        let expected = sha256(&confirm(&url).body);
        for (width, scheme) in [(390, "light"), (1280, "dark")] {
            let task = json!({"url": url, "width": width, "colorScheme": scheme});
            let seen = browse(&json!({"confirmed": task}));
            assert_eq!(
                (&seen["status"], &seen["scripts"]),
                (&json!(200), &json!(0))
            );
            let text = seen["text"].as_str().unwrap();
            assert!(
                text.contains("Größe.csv") && text.contains("10 minutes"),
                "{text}"
            );
            assert_eq!(seen["overflows"], false);
            assert_no_violation(&seen);
            assert_eq!(
                (&seen["name"], &seen["sha256"], &seen["failure"]),
                (&json!("Größe.csv"), &json!(expected), &Value::Null)
            );
        }
    }
}

#[test]
#[ignore = "needs Chromium, Node and an object store: make test"]
fn the_button_of_a_prepared_file_leads_to_the_store_of_another_origin() {
    let stored = Stored::in_bucket("confirm");
    let link = stored.link(json!({"prepare": true}));
    assert_eq!(stored.final_state(&link), "ready");
    let redirect = confirm(&link);
    assert_eq!(redirect.status, 303);
    let location = redirect.header("location");
    assert!(!location.starts_with(&stored.server.origin), "{location}");
    let file = Call::new("GET", location).send_elsewhere();
    let task = json!({"url": link, "width": 800, "colorScheme": "light"});
    let seen = browse(&json!({"confirmed": task}));
    let text = seen["text"].as_str().unwrap();
    assert!(text.contains("Your file is ready"), "{text}");
    assert!(text.contains("CSV, 1.3 MB, 20,000 rows"), "{text}");
    assert_no_violation(&seen);
    assert_eq!(
        (&seen["name"], &seen["sha256"], &seen["failure"]),
        (&json!("it.csv"), &json!(sha256(&file.body)), &Value::Null)
    );
}
