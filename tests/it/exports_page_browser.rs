//! The page of exports in Chromium: with and without script, with the keyboard, on small screens.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rowlink::spool::Spool;
use rowlink::store::StoreUrl;
use serde_json::{Value, json};

use crate::harness::command::free_port;
use crate::harness::process::Rowlink;
use crate::harness::{TestServer, browse, exports, token, tool};

fn server_with(exports: Vec<(&str, &str)>) -> TestServer {
    TestServer::with(|deployment| {
        deployment.exports = exports;
        deployment.http_config.has_exports_page = true;
        deployment.http_config.jwt_cookie = Some("session".into());
    })
}

/// Returns a task for a browser that is signed in to the application.
fn with_cookie(server: &TestServer) -> Value {
    json!({"origin": server.origin, "cookie": {"name": "session", "value": token(server.now())}})
}

/// Checks that a page has reported nothing, has requested nothing of other hosts, and has put no token into a URL.
fn assert_quiet(seen: &Value, origins: &[&str], token: &str) {
    assert_eq!(seen["errors"], json!([]), "{seen}");
    let urls = seen["urls"].as_array().unwrap();
    assert!(!urls.is_empty());
    for url in urls.iter().map(|url| url.as_str().unwrap()) {
        let is_own = origins.iter().any(|origin| url.starts_with(origin));
        assert!(is_own || url == "data:,", "{url}");
        assert!(!url.contains(token), "{url}");
    }
}

const PAID: &str = "1,2026-01-05T10:00:00Z,paid,12.5,plain";

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_person_with_a_token_signs_in_and_uses_everything_that_needs_the_script() {
    let server = server_with(exports());
    let token = token(server.now());
    let task = json!({"origin": server.origin, "token": token});
    let seen = browse(&json!({"exports_by_token": task}));
    assert_quiet(&seen["seen"], &[&server.origin], &token);
    assert_eq!(seen["refused"], "This token is not valid, or has expired.");
    assert_eq!(seen["focused"], "H1");
    assert_eq!(
        (&seen["found"], &seen["count"]),
        (&json!(["Numbers"]), &json!("1 export"))
    );
    let estimate = seen["estimate"].as_str().unwrap();
    assert!(estimate.starts_with("6 rows"), "{estimate}");
    let rows = seen["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    assert_eq!(
        rows[0],
        json!(["id", "created_at", "status", "Amount (EUR)", "note"])
    );
    assert_eq!(
        rows[1],
        json!(["1", "2026-01-05T10:00:00Z", "paid", "12.5", "plain"])
    );
    assert_eq!(rows[2][4], "with \"quotes\", commas");
    assert_eq!(seen["rowsFocused"], "rows-heading");
    let python = seen["python"].as_str().unwrap();
    let expected = format!(
        "Rowlink(\"{}\", os.environ[\"ROWLINK_TOKEN\"])",
        server.origin
    );
    assert!(python.contains(&expected), "{python}");
    assert!(python.contains("\"from\":\"2026-01-01\"") && python.contains("\"status\":\"paid\""));
    assert!(
        python.contains("columns=[\"id\",\"created_at\",\"status\",\"amount\"]"),
        "{python}"
    );
    assert!(
        !python.contains(&token) && !python.contains("rl_"),
        "{python}"
    );
    let curl = seen["curl"].as_str().unwrap();
    assert!(
        curl.starts_with("curl --fail -o 'orders.csv' 'http://127.0.0.1:"),
        "{curl}"
    );
    assert_eq!(seen["file"]["name"], "orders.csv");
    let content = seen["file"]["content"].as_str().unwrap();
    let (header, rows) = content.split_once("\r\n").unwrap();
    assert_eq!(header, "id,created_at,status,Amount (EUR)");
    assert_eq!(rows.lines().count(), 4, "{content}");
    assert_eq!(seen["said"], "Your browser downloads orders.csv.");
    assert_eq!(seen["overflows"], false);
    let error = seen["error"].as_str().unwrap();
    assert!(error.starts_with("expected text that matches"), "{error}");
    assert_eq!(
        (&seen["invalid"], &seen["errorFocused"]),
        (&json!("filter-a_text"), &json!("filter-a_text"))
    );
    assert_eq!(seen["added"], "filter-integers-4");
    assert_eq!(seen["stored"], 0);
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_browser_without_script_downloads_by_the_plain_link() {
    let server = server_with(exports());
    let seen = browse(&json!({"exports_without_script": with_cookie(&server)}));
    assert_quiet(&seen["seen"], &[&server.origin], &token(server.now()));
    assert_eq!(seen["found"], json!(["Orders"]));
    assert_eq!(seen["hidden"], 0);
    assert_eq!(seen["file"]["name"], "orders.csv");
    let content = seen["file"]["content"].as_str().unwrap();
    assert!(
        content.contains(PAID) && !content.contains("pending"),
        "{content}"
    );
    let refused = seen["refused"].as_str().unwrap();
    assert!(
        refused.contains("filters.a_text: expected text that matches"),
        "{refused}"
    );
    assert_eq!(seen["back"], format!("{}/exports/types", server.origin));
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_keyboard_reaches_everything_and_its_focus_is_visible() {
    let server = server_with(exports());
    let seen = browse(&json!({"exports_by_keyboard": with_cookie(&server)}));
    assert_quiet(&seen["seen"], &[&server.origin], &token(server.now()));
    assert_eq!(seen["invisible"], json!([]), "{seen}");
    let content = seen["file"]["content"].as_str().unwrap();
    assert!(
        content.contains(PAID) && !content.contains("pending"),
        "{content}"
    );
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn hostile_rows_are_text_and_filters_may_have_the_names_of_a_form_s_properties() {
    let filters = [
        "id",
        "action",
        "dataset",
        "submit",
        "checkValidity",
        "querySelector",
        "addEventListener",
        "elements",
        "getAttribute",
        "matches",
        "closest",
        "__proto__",
        "toString",
    ];
    let declared: String = filters
        .iter()
        .map(|name| format!("[filters.{name}]\ntype = 'text'\n"))
        .collect();
    let used: Vec<String> = filters.iter().map(|name| format!(":{name}")).collect();
    let text =
        "<img src=x onerror=\"globalThis.alerts = 1\"><script>globalThis.alerts = 2</script>";
    let sql = format!(
        "/*---\ntitle = '<script>globalThis.alerts = 3</script>'\n{declared}---*/\n\
         select '{text}' as \"<b>\", 12345678901234567890.5 as amount, {} as given, :user as owner",
        used.join(" || ' ' || ")
    );
    let server = server_with(vec![("hostile.sql", &sql)]);
    let mut task = with_cookie(&server);
    task["filters"] = json!(filters);
    let seen = browse(&json!({"exports_hostile": task}));
    assert_quiet(&seen["seen"], &[&server.origin], &token(server.now()));
    assert_eq!(seen["marks"], json!({"alerts": 0, "images": 0}));
    let rows = &seen["rows"];
    assert_eq!(rows[0], json!(["<b>", "amount", "given", "owner"]));
    assert_eq!(
        (&rows[1][0], &rows[1][2]),
        (&json!(text), &json!(filters.join(" ")))
    );
    let sent = seen["sent"].as_object().unwrap();
    assert_eq!(sent.len(), filters.len(), "{sent:?}");
    let content = seen["file"]["content"].as_str().unwrap();
    assert!(content.contains(&filters.join(" ")), "{content}");
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_page_works_below_the_path_of_a_proxy() {
    let server = server_with(exports());
    let (token, port) = (token(server.now()), free_port());
    let task = json!({"origin": server.origin, "token": token, "port": port});
    let seen = browse(&json!({"exports_below_a_path": task}));
    let proxy = format!("http://127.0.0.1:{port}/data/");
    assert_quiet(&seen["seen"], &[&proxy, &server.origin], &token);
    assert_eq!(seen["rows"], 7);
    assert_eq!(seen["file"]["name"], "orders.csv");
    assert_eq!(seen["url"], format!("{proxy}exports"));
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_file_is_prepared_before_its_download() {
    let folder = tempfile::tempdir().unwrap();
    let sql = "/*---\n[store]\nmode = 'always'\n---*/\nselect 7 as n where :user = 'alice'";
    let store = StoreUrl::parse(&format!("file://{}", folder.path().display())).unwrap();
    let spool = Spool::new(folder.path().to_owned(), 1 << 20);
    let server = TestServer::with(|deployment| {
        deployment.exports = vec![("stored.sql", sql)];
        deployment.http_config.has_exports_page = true;
        deployment.http_config.jwt_cookie = Some("session".into());
        (deployment.spool, deployment.store) = (Some(spool), Some(store.connect([]).unwrap()));
    });
    let seen = browse(&json!({"exports_prepared": with_cookie(&server)}));
    assert_quiet(&seen["seen"], &[&server.origin], &token(server.now()));
    assert_eq!(seen["file"]["content"], "n\r\n7\r\n");
    let said = seen["said"].as_array().unwrap();
    assert!(
        said.iter()
            .any(|text| text == "Your browser downloads stored.csv."),
        "{seen}"
    );
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_page_is_accessible_and_fits_at_three_sizes_in_both_schemes() {
    let server = server_with(exports());
    let mut task = with_cookie(&server);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/exports-page");
    task["folder"] = json!(folder);
    let seen = browse(&json!({"exports_looks": task}));
    let pages = seen.as_array().unwrap();
    assert_eq!(pages.len(), 5 * 3 * 2);
    for page in pages {
        assert!(page["rules"].as_u64().unwrap() > 5, "{page}");
        assert_eq!(page["violations"], json!([]), "{page}");
        assert_eq!(page["overflows"], false, "{page}");
    }
}

/// An OpenID Connect provider in which every login is right.
struct Provider {
    process: Child,
    /// Stays open: the provider writes warnings, and would end with its reader.
    output: BufReader<ChildStdout>,
}

impl Provider {
    /// Starts it, for a page with this redirect URI.
    fn start(port: u16, redirect_uri: &str) -> Provider {
        let script = "tests/it/browser/oidc_provider.mjs";
        let child = Command::new("node")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .args([&port.to_string(), redirect_uri])
            .arg(tool("browser"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = child.unwrap();
        let output = process.stdout.take().unwrap();
        let mut provider = Provider {
            process,
            output: BufReader::new(output),
        };
        let mut line = String::new();
        provider.output.read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        provider
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_person_signs_in_at_an_openid_connect_provider() {
    let (port, provider_port) = (free_port(), free_port());
    let origin = format!("http://127.0.0.1:{port}");
    let issuer = format!("http://127.0.0.1:{provider_port}");
    let _provider = Provider::start(provider_port, &format!("{origin}/exports"));
    let rowlink = Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_BIND", &format!("127.0.0.1:{port}")),
            ("ROWLINK_PUBLIC_URL", &origin),
            ("ROWLINK_PAGE", "on"),
            ("ROWLINK_PAGE_OIDC_ISSUER", &issuer),
            ("ROWLINK_PAGE_OIDC_CLIENT_ID", "page"),
            ("ROWLINK_JWT_HS256_SECRET", ""),
            ("ROWLINK_JWT_JWKS_URL", &format!("{issuer}/jwks")),
            ("ROWLINK_JWT_ISSUER", &issuer),
            ("ROWLINK_JWT_AUDIENCE", "rowlink"),
        ],
    );
    let seen = browse(&json!({"exports_by_account": {"origin": origin, "issuer": issuer}}));
    assert_eq!(seen["seen"]["errors"], json!([]));
    let policy = seen["policy"].as_str().unwrap();
    let requests = format!("; connect-src 'self' {issuer};");
    assert!(policy.contains(&requests), "{policy}");
    // The form that the person had opened, filled in.
    assert_eq!(seen["url"], format!("{origin}/exports/numbers?filter.n=3"));
    assert_eq!(seen["user"], "Signed in as alice");
    let content = seen["file"]["content"].as_str().unwrap();
    assert!(content.contains("3,,row 3 of alice\r\n"), "{content}");
    // No secret: what proves the code is the verifier of its request.
    let exchange = seen["exchange"].as_object().unwrap();
    let names: Vec<&str> = exchange.keys().map(String::as_str).collect();
    let expected = [
        "grant_type",
        "code",
        "redirect_uri",
        "client_id",
        "code_verifier",
    ];
    assert_eq!(names, expected);
    assert_eq!(seen["stored"], 1, "only the token");
    let code = exchange["code"].as_str().unwrap();
    let urls = seen["seen"]["urls"].as_array().unwrap();
    for url in urls.iter().map(|url| url.as_str().unwrap()) {
        assert!(!url.starts_with(&origin) || !url.contains(code), "{url}");
    }
    let failed = json!(["Signing in has failed. Try again.", "", 0]);
    assert_eq!(seen["refused"], json!(vec![failed; 5]));
    let log = rowlink.stop();
    assert!(!log.contains(code), "{log}");
}
