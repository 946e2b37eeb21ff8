//! The contract in `openapi.yaml`: every documented status and code occurs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use rowlink::auth::{JwtKey, JwtRules, JwtVerifier};
use rowlink::catalog::Catalog;
use rowlink::config::revocations_file;
use rowlink::service::{ExportsToDescribe, QuotaLimits};
use rowlink::spool::Spool;
use rowlink::store::StoreUrl;
use rowlink_link::{Keyring, Link, Seal, UserId, sign};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::conditions::link_outside_its_scope;
use crate::harness::command::run;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{
    API_KEY, Call, Contract, Deployment, SIGNING_KEY, TestServer, UNLIMITED, begin,
    sample_database, sqlite, sqlite_url, token, token_for, tool, wait, wait_for,
};

/// Statuses that every route returns for requests over a length limit.
const EVERYWHERE: [u16; 2] = [414, 431];

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn every_documented_status_and_code_occurs() {
    let folder = tempfile::tempdir().unwrap();
    let database = sample_database(folder.path());
    let server = TestServer::over(&database, crate::harness::exports());
    let token = token(server.now());
    let orders = json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}});
    let good = server.link(orders.clone());
    let failing = json!({"export": "numbers", "format": "csv", "filters": {"n": 1, "fail_at": 1}});
    let to_confirm = |mut request: Value| {
        request["confirm"] = json!(true);
        request
    };
    let (good_to_confirm, failing_to_confirm) = (
        server.link(to_confirm(orders.clone())),
        server.link(to_confirm(failing.clone())),
    );
    let failing = server.link(failing);
    let no_scope = token_for(&json!({"sub": "alice", "exp": server.now() + 60}));

    let mut returned = BTreeSet::new();
    let mut codes = BTreeSet::new();
    let mut call = |method: &'static str, path: &str, call: Call| {
        let answer = call.send();
        returned.insert((method.to_owned(), path.to_owned(), answer.status));
        if answer.status >= 400 && method != "HEAD" {
            codes.insert(answer.problem().1);
        }
        answer.status
    };

    let links = "/v1/links";
    let post = || server.call("POST", links).bearer(&token);
    call("POST", links, post().json(&orders));
    call("POST", links, post().body("{"));
    call("POST", links, server.call("POST", links));
    call("POST", links, server.call("POST", links).bearer("wrong"));
    call(
        "POST",
        links,
        server.call("POST", links).bearer(&no_scope).json(&orders),
    );
    call(
        "POST",
        links,
        post().json(&json!({"export": "by_org", "format": "csv"})),
    );
    let mut for_org = orders.clone();
    for_org["claims"] = json!({"org_id": 8});
    call("POST", links, post().json(&for_org));
    let mut for_bob = orders.clone();
    for_bob["user"] = json!("bob");
    call("POST", links, post().json(&for_bob));
    call(
        "POST",
        links,
        server.call("POST", links).bearer(API_KEY).json(&for_bob),
    );
    call(
        "POST",
        links,
        post().json(&json!({"export": "none", "format": "csv"})),
    );
    call(
        "POST",
        links,
        post().json(&json!({"export": "orders", "format": "none"})),
    );
    call(
        "POST",
        links,
        post().json(&json!({"export": "orders", "format": "csv"})),
    );
    call(
        "POST",
        links,
        post().json(
            &json!({"export": "echo", "format": "csv", "filters": {"text": "x".repeat(5000)}}),
        ),
    );
    call("POST", links, post().body(vec![b' '; 70_000]));
    let with_cookies = TestServer::with(|deployment| {
        deployment.http_config.jwt_cookie = Some("session".into());
    });
    let from_elsewhere = with_cookies
        .call("POST", links)
        .header("cookie", format!("session={token}"))
        .header("origin", "https://elsewhere.example.com");
    call("POST", links, from_elsewhere.json(&orders));

    let inspect = "/v1/links/inspect";
    let ask = || server.call("POST", inspect).bearer(&token);
    call("POST", inspect, ask().json(&json!({"url": good})));
    call("POST", inspect, ask().body("{"));
    call("POST", inspect, server.call("POST", inspect));
    call(
        "POST",
        inspect,
        ask().json(&json!({"url": "/v1/exports/orders.pdf"})),
    );
    call("POST", inspect, ask().body(vec![b' '; 70_000]));
    call("POST", inspect, ask().json(&json!({"link": good})));

    let folder_of_store = tempfile::tempdir().unwrap();
    let sql = "/*---\n[store]\nmode = 'always'\n---*/\nselect 1 as n where :user = 'alice'";
    let stored = |url: &str, variables: &[(&str, &str)]| {
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| (name.to_string(), value.to_string()));
        let store = StoreUrl::parse(url).unwrap().connect(variables).unwrap();
        let spool = Spool::new(folder_of_store.path().to_owned(), 1 << 20);
        TestServer::with(|deployment| {
            deployment.exports = vec![("it.sql", sql)];
            (deployment.spool, deployment.store) = (Some(spool), Some(store));
        })
    };
    let with_store = stored(&format!("file://{}", folder_of_store.path().display()), &[]);
    let no_store = stored(
        "s3://none",
        &[
            ("AWS_ENDPOINT", "http://127.0.0.1:9"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
        ],
    );
    let without_store = TestServer::with_exports(vec![("it.sql", sql)]);
    let request = json!({"export": "it", "format": "csv"});
    let file = "/v1/exports/{export}.{format}";
    let once = with_store.link(json!({"export": "it", "format": "csv", "single_use": true}));
    for expected in [200, 410] {
        assert_eq!(call("GET", file, Call::new("GET", once.clone())), expected);
    }
    let unrecorded = once.replace(&with_store.origin, &without_store.origin);
    assert_eq!(call("GET", file, Call::new("GET", unrecorded)), 503);
    for path in ["/v1/links/status", "/v1/links/cancel"] {
        let ask = |url: &str| with_store.call("POST", path).json(&json!({"url": url}));
        let link = with_store.link(request.clone());
        assert_eq!(call("POST", path, ask(&link)), 200);
        call("POST", path, with_store.call("POST", path).body("{"));
        call("POST", path, ask(&link[..link.len() - 1]));
        call("POST", path, ask(&link.replace("rl_key=t1", "rl_key=t2")));
        call("POST", path, ask("/v1/exports/it.pdf"));
        call("POST", path, with_store.call("POST", path).json(&json!({})));
        let long = format!("{link}&x={}", "x".repeat(5000));
        call("POST", path, ask(&long));
        call(
            "POST",
            path,
            with_store.call("POST", path).body(vec![b' '; 70_000]),
        );
        with_store.set_clock(with_store.now() + 60);
        call("POST", path, ask(&link));
        let link = with_store.link(request.clone());
        for _ in 0..5 {
            call("POST", path, ask(&link));
        }
        let link = json!({"url": no_store.link(request.clone())});
        assert_eq!(
            call("POST", path, no_store.call("POST", path).json(&link)),
            503
        );
    }

    let (list, one) = ("/v1/exports", "/v1/exports/{export}");
    call("GET", list, server.call("GET", list).bearer(&token));
    call("GET", list, server.call("GET", list));
    call(
        "GET",
        one,
        server.call("GET", "/v1/exports/orders").bearer(&token),
    );
    call(
        "GET",
        one,
        server.call("GET", "/v1/exports/none").bearer(&token),
    );
    call("GET", one, server.call("GET", "/v1/exports/orders"));
    call("GET", one, server.call("POST", "/v1/exports/orders"));

    // A catalog that has changed since the link was issued.
    let changed = vec![("orders.sql", "select id from orders where user_id = :user")];
    let changed = TestServer::over(&database, changed);
    let on_changed = good.replace(&server.origin, &changed.origin);
    let removed = failing.replace(&server.origin, &changed.origin);
    let unknown_key = good.replace("rl_key=t1", "rl_key=t2");
    for method in ["GET", "HEAD"] {
        let open = |url: &str| Call::new(method, url);
        call(method, file, open(&good));
        let plain = "/v1/exports/orders.csv?from=2026-01-01";
        call(method, file, server.call(method, plain).bearer(&token));
        call(method, file, server.call(method, plain));
        call(method, file, open(&good[..good.len() - 1]));
        call(method, file, open(&unknown_key));
        call(
            method,
            file,
            open(&good.replace("orders.csv", "orders.pdf")),
        );
        call(method, file, open(&removed));
        call(method, file, open(&on_changed));
        server.set_clock(server.now() + 60);
        call(method, file, open(&good));
        server.set_clock(server.now() - 60 - 31);
        call(method, file, open(&good));
        server.set_clock(server.now() + 31);
    }
    call("GET", file, Call::new("GET", failing.clone()));
    call(
        "GET",
        file,
        Call::new("GET", good.clone()).header("range", "bytes=5-"),
    );
    call("GET", file, Call::new("GET", good_to_confirm.clone()));
    let post = |url: &str| Call::new("POST", url);
    let elsewhere = |url: &str| url.replace(&server.origin, &changed.origin);
    assert_eq!(call("POST", file, post(&good_to_confirm)), 200);
    call("POST", file, post(&good));
    let long = post(&good_to_confirm).body(vec![b' '; 70_000]);
    call("POST", file, long);
    let upgrade = post(&good_to_confirm).header("upgrade", "websocket");
    call("POST", file, upgrade);
    call(
        "POST",
        file,
        post(&good_to_confirm.replace("rl_key=t1", "rl_key=t2")),
    );
    call("POST", file, post(&elsewhere(&good_to_confirm)));
    call("POST", file, post(&elsewhere(&failing_to_confirm)));
    call("POST", file, post(&failing_to_confirm));
    server.set_clock(server.now() + 60);
    call("POST", file, post(&good_to_confirm));
    server.set_clock(server.now() - 60);
    let mut bound = orders.clone();
    bound["bind"] = json!("cookie");
    call("GET", file, Call::new("GET", server.link(bound)));
    let measured = server.link(json!({
        "export": "orders", "format": "csv", "length": "exact", "filters": {"from": "2026-01-01"}
    }));
    let whole = Call::new("GET", measured.clone()).send();
    let tag = whole.header("etag").to_owned();
    for (range, tag) in [
        ("bytes=5-", tag.as_str()),
        ("bytes=999999-", tag.as_str()),
        ("bytes=5-", "\"another\""),
        ("bytes=5-", tag.as_str()),
        ("bytes=5-", tag.as_str()),
        ("bytes=5-", tag.as_str()),
    ] {
        let part = Call::new("GET", measured.clone()).header("range", range);
        call("GET", file, part.header("if-match", tag));
    }
    call(
        "GET",
        file,
        Call::new("GET", good.clone()).header("sec-purpose", "prefetch"),
    );
    call(
        "GET",
        file,
        Call::new("GET", good.clone()).header("sec-fetch-dest", "image"),
    );

    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) \
                   select count(*) as n from n where :user = 'alice'";
    let mut slow = Deployment::over(sqlite_url(&database), vec![("slow.sql", endless)]);
    slow.download_max = Duration::from_secs(1);
    let slow = slow.start();
    let request = json!({"export": "slow", "format": "csv"});
    call("GET", file, Call::new("GET", slow.link(request.clone())));
    call("POST", file, post(&slow.link(to_confirm(request))));

    let noise = "select hex(randomblob(abs(random()) % 30000)) as noise where :user = 'alice'";
    let nondeterministic = TestServer::over(&database, vec![("noise.sql", noise)]);
    let link = nondeterministic
        .link(json!({"export": "noise", "format": "csv", "length": "exact", "estimate": true}));
    call("GET", file, Call::new("GET", link));

    let sql = "select printf('%.*c', 40000, 'x') as cell where :user = 'alice'";
    for row_bytes_max in [50_000, 30_000] {
        let mut long = Deployment::over(sqlite_url(&database), vec![("long.sql", sql)]);
        long.row_bytes_max = row_bytes_max;
        let long = long.start();
        let link = long.link(json!({"export": "long", "format": "xlsx"}));
        call("GET", file, Call::new("GET", link));
    }

    let url = Cluster::shared().database("contract", "");
    let sleep = "select pg_sleep(60)::text as slept where :user = 'alice'";
    let mut busy = Deployment::over(url, vec![("sleep.sql", sleep)]);
    busy.connections = 1;
    let busy = busy.start();
    let link = busy.link(json!({"export": "sleep", "format": "csv"}));
    let holder = begin(&link);
    wait_for("the first download", Duration::from_secs(10), || {
        Cluster::shared().running("contract") == 1
    });
    call("GET", file, Call::new("GET", link.clone()));
    assert_eq!(busy.call("GET", "/readyz").send().status, 200);
    drop(holder);

    for limits in [
        QuotaLimits {
            downloads: 1,
            ..UNLIMITED
        },
        QuotaLimits {
            downloads_per_user: 1,
            ..UNLIMITED
        },
        QuotaLimits {
            downloads_per_link: 1,
            ..UNLIMITED
        },
    ] {
        let mut limited = Deployment::over(sqlite_url(&database), crate::harness::exports());
        limited.limits = limits;
        let limited = limited.start();
        let long = json!({"export": "numbers", "format": "csv", "filters": {"n": 9_000_000}});
        let link = limited.link(long);
        let _holder = begin(&link);
        wait_for("the first download", Duration::from_secs(10), || {
            limited.state.service.downloads() == 1
        });
        call("GET", file, Call::new("GET", link));
        let small = json!({"export": "numbers", "format": "csv", "filters": {"n": 3}});
        call("POST", file, post(&limited.link(to_confirm(small))));
    }

    let sql = "/*---\n[limits]\nmax_downloads = 1\n---*/\nwith recursive n(i) as \
               (select 1 union all select i + 1 from n) select i from n where :user = 'alice'";
    let limited = TestServer::over(&database, vec![("long.sql", sql)]);
    let link = limited.link(json!({"export": "long", "format": "csv"}));
    let _holder = begin(&link);
    wait_for("the first download", Duration::from_secs(10), || {
        limited.state.service.downloads() == 1
    });
    call("GET", file, Call::new("GET", link));

    let mut limited = Deployment::over(sqlite_url(&database), crate::harness::exports());
    limited.limits.links_per_second = 1;
    let limited = limited.start();
    let again = || limited.call("POST", links).bearer(&token).json(&orders);
    assert_eq!(call("POST", links, again()), 200);
    call("POST", links, again());
    let plain = "/v1/exports/orders.csv?from=2026-01-01";
    for method in ["GET", "HEAD"] {
        call(method, file, limited.call(method, plain).bearer(&token));
    }

    let revoked = TestServer::over(&database, crate::harness::exports());
    let watermark = revocations_file::parse("issued_before = 2100-01-01T00:00:00Z").unwrap();
    revoked.state.service.set_revocations(watermark);
    call("GET", file, Call::new("GET", revoked.link(orders.clone())));

    for condition in [json!({"ip": "192.0.2.7"}), json!({"max_rows": 1})] {
        let mut request = json!({"export": "numbers", "format": "csv", "filters": {"n": 3}});
        let condition = condition.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(condition);
        call("GET", file, Call::new("GET", server.link(request)));
    }
    let outside = link_outside_its_scope(server.now());
    call("GET", file, server.call("GET", &outside));

    let mut silent = Deployment::over(sqlite_url(&database), crate::harness::exports());
    let unreachable = JwtKey::KeySetUrl("http://127.0.0.1:9/keys".into());
    silent.http_config.has_exports_page = true;
    silent.issuers = vec![JwtVerifier::new(unreachable, JwtRules::default()).unwrap()];
    let silent = silent.start();
    let unverifiable = "eyJhbGciOiJSUzI1NiJ9.e30.AA";
    call(
        "POST",
        links,
        silent.call("POST", links).bearer(unverifiable),
    );
    for (method, path, target) in [
        ("POST", inspect, inspect),
        ("GET", list, list),
        ("GET", one, "/v1/exports/orders"),
        ("GET", "/exports", "/exports"),
        ("GET", "/exports/{export}", "/exports/orders"),
        ("HEAD", file, plain),
    ] {
        let status = call(
            method,
            path,
            silent.call(method, target).bearer(unverifiable),
        );
        assert_eq!(status, 503);
    }
    silent.state.drain();
    call("GET", "/readyz", silent.call("GET", "/readyz"));

    for path in ["/healthz", "/readyz", "/openapi.yaml", "/metrics"] {
        assert_eq!(call("GET", path, server.call("GET", path)), 200);
    }
    documents(&mut call);
    exports_page(&mut call);
    fs::rename(&database, folder.path().join("away")).unwrap();
    call("GET", "/readyz", server.call("GET", "/readyz"));
    call("GET", file, Call::new("GET", good));

    for (method, path, status) in Contract::shared().documented() {
        if !EVERYWHERE.contains(&status) {
            continue;
        }
        let method: &'static str = ["GET", "HEAD", "POST"]
            .into_iter()
            .find(|it| *it == method)
            .unwrap();
        let target = path
            .replace("{export}", "orders")
            .replace("{format}", "csv");
        let request = match status {
            414 => server.call(method, &format!("{target}?{}", "x".repeat(5000))),
            _ => server
                .call(method, &target)
                .header("x-long", "x".repeat(20_000)),
        };
        assert_eq!(call(method, &path, request), status);
    }
    call("GET", "/", server.call("GET", "/"));
    call("DELETE", links, server.call("DELETE", links));
    let minted = minted_elsewhere(server.now(), server.now() + 3601);
    call("GET", file, server.call("GET", &minted));
    let broken = Catalog::parse([("broken.sql", "select 1 as n")], &sqlite());
    wait(
        server
            .state
            .service
            .update_exports(&broken, ExportsToDescribe::Changed),
    );
    let request = server.call("GET", "/v1/exports/broken").bearer(&token);
    assert_eq!(call("GET", "/v1/exports/{export}", request), 503);

    // Other tests cover these: with a raw socket, and with an object store.
    let elsewhere = [
        ("GET", 505),
        ("HEAD", 505),
        ("POST", 505),
        ("POST", 408),
        ("POST", 303),
    ];
    let mut missing: Vec<_> = Contract::shared()
        .documented()
        .difference(&returned)
        .cloned()
        .collect();
    missing.retain(|(method, _, status)| !elsewhere.contains(&(method.as_str(), *status)));
    assert_eq!(missing, [], "documented, but never returned");
    // Raw sockets in other tests cover the first two. The third answers an incomplete body, whose sender has
    // disconnected. The fourth takes another test 20 seconds, and the last would be a bug.
    let elsewhere = [
        "http-version-not-supported",
        "body-too-slow",
        "malformed-request",
        "file-unfinished",
        "internal",
    ];
    let mut missing: Vec<_> = Contract::shared()
        .codes()
        .difference(&codes)
        .cloned()
        .collect();
    missing.retain(|code| !elsewhere.contains(&code.as_str()));
    assert_eq!(missing, [] as [&str; 0], "documented, but never returned");
}

/// Returns the target of a link that was signed outside the server.
fn minted_elsewhere(issued: u64, expires: u64) -> String {
    let link = Link {
        export: "echo".into(),
        format: Some("csv".into()),
        user: UserId::parse("alice").unwrap(),
        id: Uuid::nil(),
        issued,
        expires,
        conditions: Default::default(),
        filename: None,
        claims: BTreeMap::new(),
        reveal: Vec::new(),
        options: BTreeMap::new(),
        filters: Vec::new(),
    };
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let signed = sign(link, &keyring, Seal::Open).unwrap();
    signed.path_and_query().to_owned()
}

#[test]
fn the_server_serves_openapi_yaml() {
    let server = TestServer::start();
    let answer = server.call("GET", "/openapi.yaml").send();
    assert_eq!(answer.header("content-type"), "application/yaml");
    assert_eq!(answer.text(), include_str!("../../openapi.yaml"));
}

#[test]
#[ignore = "needs Schemathesis: make test"]
fn schemathesis_finds_no_violation() {
    let page = [("ROWLINK_PAGE", "on")];
    let rowlink = Rowlink::serve_with(&crate::harness::exports(), &page);
    let token =
        token_for(&json!({"sub": "alice", "exp": 4_000_000_000u64, "scope": "orders:read"}));
    let report = run(Command::new(tool("venv").join("bin/schemathesis"))
        .args(["run", &format!("{}/openapi.yaml", rowlink.origin())])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", "all"])
        // A request that follows the schema can still be refused, for example for an unknown column.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--max-examples", "40", "--seed", "1", "--no-color"])
        .current_dir(tempfile::tempdir().unwrap().path()));
    println!("{}", String::from_utf8_lossy(&report.stdout));
}

/// Requests the page of exports in every way that has a status of its own.
fn exports_page(call: &mut impl FnMut(&'static str, &str, Call) -> u16) {
    let (list, form, file) = (
        "/exports",
        "/exports/{export}",
        "/exports/{export}.{format}",
    );
    let server = TestServer::with(|deployment| {
        deployment.http_config.has_exports_page = true;
        deployment.http_config.jwt_cookie = Some("session".into());
    });
    let without = TestServer::start();
    let session = format!("session={}", token(server.now()));
    for (route, target) in [(list, "/exports"), (form, "/exports/orders")] {
        let ask = || server.call("GET", target);
        assert_eq!(call("GET", route, ask().header("cookie", &session)), 200);
        assert_eq!(call("GET", route, ask()), 401);
        let framed = ask().header("cookie", &session);
        let framed = framed.header("sec-fetch-site", "cross-site");
        assert_eq!(call("GET", route, framed), 403);
        assert_eq!(call("GET", route, without.call("GET", target)), 404);
    }
    let named = server.call("GET", "/exports?export=orders");
    assert_eq!(call("GET", list, named), 303);
    let ask = |target: &str| server.call("GET", target);
    assert_eq!(call("GET", file, ask("/exports/orders.csv")), 303);
    assert_eq!(
        call("GET", file, ask("/exports/orders.csv?rl_user=bob")),
        400
    );
    assert_eq!(call("GET", file, ask("/exports/a.b.csv")), 404);
}

/// Requests stored documents in every way that has a status of its own.
fn documents(call: &mut impl FnMut(&'static str, &str, Call) -> u16) {
    let route = "/v1/files/{export}";
    let folder = tempfile::tempdir().unwrap();
    let objects = tempfile::tempdir().unwrap();
    fs::write(objects.path().join("a.txt"), "a document").unwrap();
    let export =
        |sql: &str| format!("/*---\nkind = 'file'\n[file]\nstore = 'documents'\n---*/\n{sql}");
    let of = |key: &str| export(&format!("select '{key}' as object where :user <> ''"));
    let (good, absent, invalid) = (of("a.txt"), of("b.txt"), of("../a.txt"));
    let several = export("select 'a.txt' as object where :user <> '' union all select 'a.txt'");
    let damaged = export("select 'a.txt' as object, 7 as size where :user <> ''");
    let slow = export(
        "with recursive m(i) as (select 1 union all select i + 1 from m) select i as object from m where i < 0 and :user <> ''",
    );
    let database = sample_database(folder.path());
    let mut deployment = Deployment::over(
        sqlite_url(&database),
        vec![
            ("good.sql", &good),
            ("absent.sql", &absent),
            ("invalid.sql", &invalid),
            ("several.sql", &several),
            ("damaged.sql", &damaged),
            ("slow.sql", &slow),
        ],
    );
    let store_url = StoreUrl::parse(&format!("file://{}", objects.path().display())).unwrap();
    deployment.document_stores = vec![("documents", store_url.connect([]).unwrap())];
    deployment.query_max = Duration::from_millis(500);
    let server = deployment.start();
    let link = |export: &str| server.link(json!({"export": export}));
    let url = link("good");
    let get = |url: &str| Call::new("GET", url);
    assert_eq!(call("GET", route, get(&url)), 200);
    assert_eq!(call("HEAD", route, Call::new("HEAD", &url)), 200);
    let tag = get(&url).send().header("etag").to_owned();
    let part = |range: &str, condition| {
        get(&url)
            .header("range", range)
            .header(condition, tag.clone())
    };
    assert_eq!(call("GET", route, part("bytes=2-", "if-range")), 206);
    assert_eq!(call("GET", route, part("bytes=99-", "if-range")), 416);
    assert_eq!(
        call("GET", route, get(&url).header("range", "bytes=2-")),
        400
    );
    let malformed = format!("{url}&rl_x=1");
    let forged = url.replace("rl_user=alice", "rl_user=bob");
    let confirmed = server.link(json!({"export": "good", "confirm": true}));
    let page = get(&confirmed).header("accept", "text/html");
    assert_eq!(call("GET", route, page), 200);
    for method in ["GET", "HEAD"] {
        let ask = |url: &str| Call::new(method, url);
        let plain = |name: &str| server.call(method, &format!("/v1/files/{name}"));
        assert_eq!(call(method, route, ask(&malformed)), 400);
        assert_eq!(call(method, route, ask(&forged)), 403);
        assert_eq!(call(method, route, plain("good")), 401);
        let token = token(server.now());
        assert_eq!(call(method, route, plain("good").bearer(&token)), 303);
        for (export, status) in [
            ("absent", 404),
            ("several", 422),
            ("invalid", 500),
            ("damaged", 500),
            ("slow", 504),
        ] {
            assert_eq!(
                call(method, route, ask(&link(export))),
                status,
                "{method} {export}"
            );
        }
    }
    assert_eq!(call("POST", route, Call::new("POST", &confirmed)), 200);
    for (url, status) in [
        (confirmed.replace("rl_user=alice", "rl_user=bob"), 403),
        (
            server.link(json!({"export": "absent", "confirm": true})),
            404,
        ),
        (
            server.link(json!({"export": "several", "confirm": true})),
            422,
        ),
        (
            server.link(json!({"export": "invalid", "confirm": true})),
            500,
        ),
        (server.link(json!({"export": "slow", "confirm": true})), 504),
        (url.clone(), 405),
    ] {
        assert_eq!(call("POST", route, Call::new("POST", url)), status);
    }
    let large = Call::new("POST", &confirmed).body(vec![b' '; 70_000]);
    assert_eq!(call("POST", route, large), 413);
    let upgrade = Call::new("POST", &confirmed).header("upgrade", "websocket");
    assert_eq!(call("POST", route, upgrade), 400);
    let mut full = Deployment::over(sqlite_url(&database), vec![("good.sql", &good)]);
    full.document_stores = vec![("documents", store_url.connect([]).unwrap())];
    full.limits = QuotaLimits {
        downloads_per_user: 0,
        ..UNLIMITED
    };
    let full = full.start();
    for method in ["GET", "HEAD", "POST"] {
        let link = full.link(json!({"export": "good", "confirm": method == "POST"}));
        assert_eq!(call(method, route, Call::new(method, link)), 429);
    }
    fs::write(objects.path().join("a.txt"), "another document").unwrap();
    assert_eq!(call("GET", route, part("bytes=2-", "if-match")), 412);
    fs::remove_dir_all(objects.path()).unwrap();
    fs::write(objects.path(), "a file in the place of the folder").unwrap();
    for (method, url) in [("GET", &url), ("HEAD", &url), ("POST", &confirmed)] {
        call(method, route, Call::new(method, url));
    }
    server.set_clock(server.now() + 3600);
    for (method, url) in [("GET", &url), ("HEAD", &url), ("POST", &confirmed)] {
        assert_eq!(call(method, route, Call::new(method, url)), 410);
    }
}
