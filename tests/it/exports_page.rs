//! The page of exports, as a browser without script uses it.

use regex::Regex;
use rowlink::store::StoreUrl;
use serde_json::json;
use url::Url;

use crate::harness::{Answer, Call, TestServer, exports, metric, token, token_for};

const NAVIGATION: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Texts that end elements, attributes and scripts, or change the direction of what follows.
const HOSTILE: &str = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";

fn server() -> TestServer {
    server_with(exports())
}

/// Serves the page to callers with a cookie.
fn server_with(exports: Vec<(&str, &str)>) -> TestServer {
    TestServer::with(|deployment| {
        deployment.exports = exports;
        deployment.http_config.has_exports_page = true;
        deployment.http_config.jwt_cookie = Some("session".into());
        deployment.http_config.return_url = Some("https://shop.example.com/?a=1&b=2".into());
    })
}

fn navigation(server: &TestServer, target: &str) -> Call {
    server.call("GET", target).header("accept", NAVIGATION)
}

/// Opens a page as alice, signed in to the application.
fn open(server: &TestServer, target: &str) -> Answer {
    let cookie = format!("session={}", token(server.now()));
    navigation(server, target).header("cookie", cookie).send()
}

fn html(server: &TestServer, target: &str) -> String {
    let page = open(server, target);
    assert_eq!(page.status, 200, "{}", page.text());
    page.text()
}

/// Returns the first group of each match.
fn matches(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let found = pattern.captures_iter(text);
    found.map(|groups| groups[1].to_owned()).collect()
}

fn assert_has(html: &str, expected: &[&str]) {
    for expected in expected {
        assert!(html.contains(expected), "no {expected} in {html}");
    }
}

/// Returns the URL of a redirect, which may be relative.
fn redirect_of(url: &str, answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let base = Url::parse(url).unwrap();
    base.join(answer.header("location")).unwrap().into()
}

#[test]
fn the_page_is_off_unless_it_is_configured() {
    let server = TestServer::start();
    for target in [
        "/exports",
        "/exports/orders",
        "/exports/orders.csv",
        "/exports/page.js",
    ] {
        let call = server.call("GET", target).bearer(&token(server.now()));
        let answer = call.send_elsewhere();
        assert_eq!(answer.problem(), (404, "unknown-path".into()), "{target}");
    }
}

#[test]
fn the_list_has_the_caller_s_exports_in_the_order_of_the_catalog() {
    let server = server();
    let page = open(&server, "/exports");
    assert_eq!(page.status, 200);
    let html = page.text();
    let names = matches(r#"<a href="exports/([a-z_]+)">"#, &html);
    assert_eq!(names, ["by_org", "echo", "numbers", "orders", "types"]);
    assert_has(
        &html,
        &[
            "<html lang=\"en\">",
            "<title>Exports</title>",
            "<span>Signed in as <bdi>alice</bdi></span>",
            "<p id=\"found\" class=\"hint\" role=\"status\">5 exports</p>",
            "<a href=\"exports/numbers\"><bdi>Numbers</bdi></a></h2>\n<p><bdi>Rows 1 to n; can fail at one of them.</bdi></p>",
            "CSV, Excel workbook",
        ],
    );
    let no_scope = token_for(&json!({"sub": "bob", "exp": server.now() + 60}));
    let call = navigation(&server, "/exports").header("cookie", format!("session={no_scope}"));
    let html = call.send().text();
    assert_has(&html, &["<bdi>bob</bdi>", "4 exports"]);
    assert!(!html.contains("orders"), "{html}");
}

#[test]
fn every_page_has_a_strict_policy_and_is_not_kept() {
    let server = server();
    let signed_out = navigation(&server, "/exports/orders").send();
    assert_eq!(signed_out.status, 401);
    let pages = [
        open(&server, "/exports"),
        open(&server, "/exports/orders"),
        signed_out,
    ];
    for page in pages {
        for (name, expected) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-robots-tag", "noindex"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("content-language", "en"),
            ("vary", "Accept, Accept-Language"),
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                 base-uri 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(page.header(name), expected);
        }
        let html = page.text();
        // Data, and a file.
        assert_eq!(matches("(<script[^>]*)", &html).len(), 2, "{html}");
        for inline in ["<style", " style=", " onclick=", "javascript:"] {
            assert!(!html.contains(inline), "{inline} in {html}");
        }
    }
}

#[test]
fn every_url_of_the_page_is_relative_so_that_a_proxy_may_serve_it_below_a_path() {
    let server = server();
    for (target, root) in [("/exports", ""), ("/exports/orders", "../")] {
        let html = html(&server, target);
        let urls = matches(r#" (?:href|src|action|formaction)="([^"]*)""#, &html);
        assert!(urls.len() > 4, "{urls:?}");
        for url in urls.iter().filter(|url| *url != "data:,") {
            let rest = url.strip_prefix(root);
            assert!(
                rest.is_some_and(|rest| rest.starts_with("exports")),
                "{url}"
            );
        }
        let signed_out = navigation(&server, target).send().text();
        let script = format!("src=\"{root}exports/page.js\"");
        assert!(signed_out.contains(&script), "{signed_out}");
    }
    for (path, content_type) in [("page.css", "text/css"), ("page.js", "text/javascript")] {
        let file = server
            .call("GET", &format!("/exports/{path}"))
            .send_elsewhere();
        assert_eq!(file.status, 200);
        assert!(file.header("content-type").starts_with(content_type));
        assert!(file.text().len() > 1000);
    }
}

#[test]
fn a_search_shows_the_exports_that_have_all_its_words() {
    let server = server();
    let shown = |query: &str| {
        let html = html(&server, &format!("/exports?q={query}"));
        let names = matches(r#"<li data-name="([a-z_]+)">"#, &html);
        let hidden = matches(r#"<li data-name="([a-z_]+)" hidden>"#, &html);
        assert_eq!(names.len() + hidden.len(), 5, "{html}");
        (names, matches(r#"role="status">([^<]*)</p>"#, &html))
    };
    let text = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    assert_eq!(shown("ORD"), (text(&["orders"]), text(&["1 export"])));
    assert_eq!(
        shown("rows+FAIL"),
        (text(&["numbers"]), text(&["1 export"]))
    );
    assert_eq!(
        shown("rows+nothing"),
        (text(&[]), text(&["No export has these words."]))
    );
    assert_eq!(shown("").0.len(), 5);
    assert_eq!(shown("%20").0.len(), 5);
    let quoted = html(&server, "/exports?q=%22%3E%3Cscript%3E");
    assert!(
        quoted.contains("value=\"&quot;&gt;&lt;script&gt;\""),
        "{quoted}"
    );
}

#[test]
fn the_form_has_a_control_for_each_filter_by_its_type() {
    let server = server();
    let orders = html(&server, "/exports/orders");
    assert_has(
        &orders,
        &[
            "<h1><bdi>Orders</bdi></h1>",
            "<a href=\"../exports\">All exports</a>",
            "<label for=\"filter-from\">from</label>\n<input id=\"filter-from\" name=\"from\" type=\"date\" value=\"\" autocomplete=\"off\" required",
            "<fieldset class=\"field\" id=\"filter-status\" aria-describedby=\"filter-status-error\">\n<legend>status (optional)</legend>",
            "<input type=\"checkbox\" name=\"status\" value=\"refunded\"><bdi>refunded</bdi>",
            "<input id=\"filter-limit\" name=\"limit\" type=\"number\" step=\"1\" value=\"100\" autocomplete=\"off\" min=\"1\" max=\"100\" aria-describedby=\"filter-limit-hint filter-limit-error\">",
            "<p class=\"hint\" id=\"filter-limit-hint\">From 1 to 100.</p>",
            "<button class=\"button\" formaction=\"../exports/orders.csv\" data-format=\"csv\">CSV</button>",
            "<button class=\"button second\" formaction=\"../exports/orders.xlsx\" data-format=\"xlsx\">Excel workbook</button>",
            "<input type=\"checkbox\" data-column=\"amount\" checked><bdi>Amount (EUR)</bdi>",
        ],
    );
    // Only filters have names.
    let mut names = matches(r#" name="([^"]*)""#, &orders);
    names.retain(|name| !["viewport", "color-scheme", "robots"].contains(&name.as_str()));
    names.dedup();
    assert_eq!(names, ["from", "status", "limit"]);
    let types = html(&server, "/exports/types");
    assert_has(
        &types,
        &[
            "At most 10 characters.",
            "-5 or more.",
            "9.5 or less.",
            "2020-01-01 or more.",
            "name=\"a_date\" type=\"date\" value=\"\" autocomplete=\"off\" min=\"2020-01-01\"",
            "name=\"a_decimal\" type=\"text\" inputmode=\"decimal\"",
            "<select id=\"filter-a_boolean\" name=\"a_boolean\" aria-describedby=\"filter-a_boolean-error\">\n<option value=\"\">any</option>\n<option value=\"true\" dir=\"auto\">yes</option>",
            "With an offset from UTC",
            "<bdi>Any UUID.</bdi>",
            "<label class=\"spoken\" for=\"filter-integers-3\">Value 3</label>\n<input id=\"filter-integers-3\" name=\"integers\" type=\"number\"",
        ],
    );
    let labels = matches(r#"<label[^>]* for="([^"]*)""#, &types);
    for control in matches(r#"<(?:input|select) id="([^"]*)""#, &types) {
        assert!(labels.contains(&control), "no label of {control}");
    }
}

#[test]
fn a_form_without_script_leads_to_the_file_and_empty_fields_are_left_out() {
    let server = server();
    let session = format!("session={}", token(server.now()));
    let follow = |target: &str| {
        let url = format!("{}{target}", server.origin);
        let plain = redirect_of(&url, &Call::new("GET", &url).send());
        let issued = Call::new("GET", &plain).header("cookie", &session).send();
        let signed = redirect_of(&plain, &issued);
        (plain, Call::new("GET", signed).send())
    };
    let form = "/exports/orders.csv?from=2026-01-01&status=paid&status=refunded&limit=";
    let (plain, file) = follow(form);
    let expected = "/v1/exports/orders.csv?from=2026-01-01&status=paid&status=refunded";
    assert_eq!(plain, format!("{}{expected}", server.origin));
    let by_link = server.download(json!({
        "export": "orders", "format": "csv",
        "filters": {"from": "2026-01-01", "status": ["paid", "refunded"]},
    }));
    assert_eq!((file.status, file.text()), (200, by_link.text()));
    // A plain link would take the empty text for a value.
    let (plain, file) = follow("/exports/echo.csv?text=");
    assert!(plain.ends_with("/v1/exports/echo.csv"), "{plain}");
    assert_eq!(file.rows()[1], ["alice", "", ""]);
    let (plain, file) = follow("/exports/types.csv?integers=&integers=2&integers=&a_text=a+b");
    assert!(plain.ends_with("?integers=2&a_text=a%20b"), "{plain}");
    assert_eq!(file.rows()[1][..2], ["alice", "a b"]);
    let (plain, file) = follow("/exports/echo.csv?text=a%26b%3D%C3%BC+%22");
    assert!(plain.ends_with("?text=a%26b%3D%C3%BC%20%22"), "{plain}");
    assert_eq!(file.rows()[1][1], "a&b=ü \"");
}

#[test]
fn a_form_below_the_path_of_a_proxy_leads_to_the_link_there() {
    let server = server();
    let answer = server
        .call("GET", "/exports/orders.csv?from=2026-01-01")
        .send();
    let behind = "https://shop.example.com/data/exports/orders.csv?from=2026-01-01";
    assert_eq!(
        redirect_of(behind, &answer),
        "https://shop.example.com/data/v1/exports/orders.csv?from=2026-01-01"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    // The error page of a refused link leads back to the form.
    assert_eq!(answer.header("referrer-policy"), "same-origin");
}

#[test]
fn only_the_filters_of_a_form_are_redirected() {
    let server = server();
    let ask = |target: &str| server.call("GET", target).send().problem();
    let malformed = || (400, "malformed-request".to_owned());
    assert_eq!(ask("/exports/orders.csv?rl_user=bob"), malformed());
    assert_eq!(ask("/exports/orders.csv?rl%5Fuser=bob"), malformed());
    assert_eq!(
        ask("/exports/orders.csv?x=%zz"),
        (400, "malformed-link".into())
    );
    for target in [
        "/exports/or%2Fders.csv",
        "/exports/..csv",
        "/exports/a.b.csv",
    ] {
        assert_eq!(ask(target), (404, "unknown-path".into()), "{target}");
    }
    let answer = server.call("POST", "/exports/orders.csv").send();
    assert_eq!(answer.problem(), (405, "method-not-allowed".into()));
}

#[test]
fn stored_documents_have_one_button() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "a document").unwrap();
    let store = StoreUrl::parse(&format!("file://{}", folder.path().display())).unwrap();
    let sql = "/*---\ntitle = 'Invoice'\nkind = 'file'\n[filters.note]\ntype = 'text'\n[file]\nstore = 'documents'\n---*/\n\
               select 'a.txt' as object where :user <> '' and :note is null";
    let server = TestServer::with(|deployment| {
        deployment.exports = vec![("invoice.sql", sql)];
        deployment.http_config.has_exports_page = true;
        deployment.document_stores = vec![("documents", store.connect([]).unwrap())];
    });
    let alice = token(server.now());
    let form = navigation(&server, "/exports/invoice")
        .bearer(&alice)
        .send();
    let html = form.text();
    assert_eq!(
        matches(r#"formaction="([^"]*)""#, &html),
        ["../exports/invoice.file"]
    );
    assert!(
        html.contains(" data-format=\"\">Document</button>"),
        "{html}"
    );
    assert!(
        !html.contains("data-column") && !html.contains("data-estimated"),
        "{html}"
    );
    let url = format!("{}/exports/invoice.file?note=", server.origin);
    let plain = redirect_of(&url, &Call::new("GET", &url).send());
    assert_eq!(plain, format!("{}/v1/files/invoice", server.origin));
    let issued = Call::new("GET", &plain).bearer(&alice).send();
    let file = Call::new("GET", redirect_of(&plain, &issued)).send();
    assert_eq!(file.text(), "a document");
}

#[test]
fn a_page_without_a_credential_tells_how_to_sign_in() {
    let server = server();
    let refused = "rowlink_requests_refused_total{route=\"/exports\",code=\"credential-missing\"} ";
    let page = navigation(&server, "/exports").send();
    assert_eq!(page.status, 401);
    assert_eq!(page.header("www-authenticate"), "Bearer");
    let html = page.text();
    assert_has(
        &html,
        &[
            "<h1>Sign in to see your exports</h1>",
            "<p>Sign in to the application, then reload this page.</p>",
            "<a class=\"button\" href=\"https://shop.example.com/?a=1&amp;b=2\">Back to the application</a>",
            "<form id=\"sign-in\" method=\"post\" hidden>",
        ],
    );
    // What a form sends has a name: the token never becomes part of a URL.
    let token_field = matches(r#"(<input type="password"[^>]*>)"#, &html);
    assert!(
        token_field.len() == 1 && !token_field[0].contains(" name="),
        "{html}"
    );
    assert!(!html.contains("data-signed-in"), "{html}");
    assert_eq!(metric(&server.origin, refused), 1);
    let ended = navigation(&server, "/exports")
        .header("cookie", "session=nonsense")
        .send();
    assert_eq!(ended.status, 401);
    let html = ended.text();
    assert_has(
        &html,
        &[
            "<h1>You are not signed in any more</h1>",
            "401 credential-refused",
            ended.header("x-request-id"),
        ],
    );
    assert!(!html.contains("nonsense"), "{html}");
    for target in ["/exports", "/exports/orders"] {
        let program = server.call("GET", target).send();
        assert_eq!(program.problem(), (401, "credential-missing".into()));
    }
    let without_cookie =
        TestServer::with(|deployment| deployment.http_config.has_exports_page = true);
    let html = navigation(&without_cookie, "/exports").send().text();
    assert_has(
        &html,
        &["<noscript><p>Signing in here needs JavaScript.</p></noscript>"],
    );
    assert!(!html.contains("Sign in to the application"), "{html}");
}

#[test]
fn a_token_in_the_header_gets_the_same_page_as_a_cookie() {
    let server = server();
    for target in ["/exports", "/exports/orders?filter.from=2026-01-01"] {
        let by_cookie = html(&server, target);
        let by_header = navigation(&server, target)
            .bearer(&token(server.now()))
            .send();
        assert_eq!(by_header.text(), by_cookie);
        assert!(by_cookie.contains("<main data-root=") && by_cookie.contains(" data-signed-in>"));
    }
}

#[test]
fn an_export_that_the_caller_may_not_use_has_no_form() {
    let server = server();
    let no_scope = token_for(&json!({"sub": "bob", "exp": server.now() + 60}));
    for (target, token) in [
        ("/exports/orders", &no_scope),
        ("/exports/none", &token(server.now())),
        ("/exports/%3Cscript%3E", &token(server.now())),
    ] {
        let call = server.call("GET", target).bearer(token);
        assert_eq!(
            call.send().problem(),
            (404, "unknown-export".into()),
            "{target}"
        );
        let page = navigation(&server, target).bearer(token).send();
        assert_eq!(page.status, 404);
        assert!(!page.text().contains("<script"), "{}", page.text());
    }
}

#[test]
fn the_query_of_the_page_fills_in_its_form() {
    let server = server();
    let query = "format=xlsx&filter.from=2026-02-03&filter.status=paid&filter.status=x&filter.limit=%22%3E%3Cb%3E&other=1";
    let html = html(&server, &format!("/exports/orders?{query}"));
    assert_has(
        &html,
        &[
            "name=\"from\" type=\"date\" value=\"2026-02-03\"",
            "value=\"paid\" checked>",
            "name=\"limit\" type=\"number\" step=\"1\" value=\"&quot;&gt;&lt;b&gt;\"",
            "<button class=\"button\" formaction=\"../exports/orders.xlsx\"",
            "action=\"../exports/orders.xlsx\"",
        ],
    );
    assert!(!html.contains("value=\"pending\" checked"), "{html}");
    assert_eq!(open(&server, "/exports/orders?x=%zz").status, 200);
    // As an error page adds it to `ROWLINK_RETURN_URL`.
    let url = format!("{}/exports?export=orders&{query}", server.origin);
    let form = redirect_of(&url, &Call::new("GET", &url).send());
    let expected = "/exports/orders?format=xlsx&filter.from=2026-02-03&filter.status=paid&filter.status=x&filter.limit=%22%3E%3Cb%3E&other=1";
    assert_eq!(form, format!("{}{expected}", server.origin));
    let elsewhere = navigation(&server, "/exports?export=//evil.example").send();
    assert_eq!(elsewhere.status, 401);
}

#[test]
fn hostile_texts_values_and_columns_are_only_text() {
    let toml = |text: &str| serde_json::to_string(text).unwrap();
    let hostile = toml(HOSTILE);
    let sql = format!(
        "/*---\ntitle = {hostile}\ndescription = {hostile}\n\
         [filters.a]\ntype = 'text'\ndescription = {hostile}\nvalues = [{hostile}, 'b']\nlist = true\n\
         [filters.b]\ntype = 'text'\nvalues = [{hostile}]\ndefault = {hostile}\n\
         [filters.c]\ntype = 'text'\ndefault = {hostile}\n\
         [columns.n]\nlabel = {hostile}\n---*/\n\
         select :user as n, 'b' in (:a) as m, :b as o, :c as \"<script>alert(2)</script>\""
    );
    let server = server_with(vec![("hostile.sql", &sql)]);
    let mut found = 0;
    for target in ["/exports", "/exports/hostile", "/exports?q=alert"] {
        let html = html(&server, target);
        assert_eq!(matches("(<script)", &html).len(), 2, "{html}");
        for markup in ["<script>", "<img", "</script><", "alert(1)\"", "\"'>"] {
            let count = html.matches(markup).count();
            assert_eq!(count, 0, "{markup} in {html}");
        }
        // It cannot reverse what follows: its element, attribute or option ends it.
        for after in html.split('\u{202e}').skip(1) {
            let is_ended = ["</bdi>", "\"", "</option>", "</title>"]
                .iter()
                .any(|end| after.starts_with(end));
            assert!(is_ended, "{after}");
            found += 1;
        }
    }
    assert!(found > 10, "{found}");
}

#[test]
fn the_page_is_in_the_language_of_the_browser_and_marks_texts_in_another_one() {
    let both =
        "/*---\ntitle = { de = 'Bestellungen', en = 'Orders' }\n---*/\nselect :user as owner";
    let german = "/*---\ntitle.de = 'Rechnungen'\n---*/\nselect :user as owner";
    let neutral = "/*---\ntitle = 'KPI'\n---*/\nselect :user as owner";
    let exports = vec![("a.sql", both), ("b.sql", german), ("c.sql", neutral)];
    let server = server_with(exports);
    let session = format!("session={}", token(server.now()));
    let open = |target: &str, languages: &str| {
        let call = navigation(&server, target).header("cookie", &session);
        let page = call.header("accept-language", languages).send();
        assert_eq!(page.status, 200);
        (page.header("content-language").to_owned(), page.text())
    };
    let (language, html) = open("/exports", "de-AT,de;q=0.9,en;q=0.5");
    assert_eq!(language, "de");
    assert_has(
        &html,
        &[
            "<html lang=\"de\">",
            "<h1>Exporte</h1>",
            "Angemeldet als <bdi>alice</bdi>",
            "<bdi>Bestellungen</bdi>",
            "<bdi>Rechnungen</bdi>",
            "<bdi>KPI</bdi>",
            "CSV, Excel-Arbeitsmappe",
        ],
    );
    let (language, html) = open("/exports", "fr");
    assert_eq!(language, "en");
    assert_has(
        &html,
        &[
            "<bdi>Orders</bdi>",
            "<bdi lang=\"de\">Rechnungen</bdi>",
            "<bdi>KPI</bdi>",
        ],
    );
    let (_, html) = open("/exports/a", "de");
    assert_has(
        &html,
        &["<h1><bdi>Bestellungen</bdi></h1>", ">Herunterladen</h2>"],
    );
    let (_, main) = html.split_once("<main").unwrap();
    assert!(!main.contains('{'), "a placeholder in {main}");
    let signed_out = navigation(&server, "/exports")
        .header("accept-language", "de")
        .send();
    assert_has(&signed_out.text(), &["<h1>Melden Sie sich an"]);
}

#[test]
fn a_page_of_another_site_cannot_show_the_page_with_the_cookie() {
    let server = server();
    let session = format!("session={}", token(server.now()));
    let open = |headers: &[(&'static str, &str)]| {
        let mut call = server
            .call("GET", "/exports/orders")
            .header("cookie", &session);
        for (name, value) in headers {
            call = call.header(name, *value);
        }
        call.send()
    };
    let followed = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
        ("sec-fetch-user", "?1"),
    ];
    assert_eq!(open(&followed).status, 200, "a person has followed a link");
    let mut framed = followed;
    framed[2].1 = "iframe";
    let mut fetched = followed;
    (fetched[1].1, fetched[2].1) = ("cors", "empty");
    let mut opened = followed;
    opened[3].1 = "?0";
    for headers in [framed, fetched, opened] {
        assert_eq!(
            open(&headers).problem(),
            (403, "cross-site".into()),
            "{headers:?}"
        );
    }
}

#[test]
fn an_export_that_needs_a_reason_says_that_it_needs_the_script() {
    let sql = "/*---\nreason = 'required'\n---*/\nselect :user as owner";
    let server = server_with(vec![("a.sql", sql)]);
    let html = html(&server, "/exports/a");
    assert_has(
        &html,
        &[
            "<noscript><p class=\"error\">This export needs a reason",
            "<div class=\"field script\" hidden>\n<label for=\"reason\">Reason</label>",
            "<input type=\"text\" id=\"reason\" required",
        ],
    );
}
