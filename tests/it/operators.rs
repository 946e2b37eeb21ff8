//! Operations: limits, shutdown, reload, revocation, log, metrics, TLS and link inspection.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rowlink::config::revocations_file;
use rowlink::service::QuotaLimits;
use serde_json::{Value, json};

use crate::harness::command::free_port;
use crate::harness::process::{FAR_FUTURE, PUBLIC_URL, Rowlink};
use crate::harness::tls::{create_certificates, create_server_certificate};
use crate::harness::{
    API_KEY, Call, SIGNING_KEY, TestServer, UNLIMITED, begin, begin_with, exports, is_whole, parts,
    token, token_for, wait_for,
};

const OTHER_KEY: &str = "t2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

fn numbers(n: u64) -> Value {
    json!({"export": "numbers", "format": "csv", "filters": {"n": n}})
}

fn limited(limits: QuotaLimits) -> TestServer {
    TestServer::with(|deployment| deployment.limits = limits)
}

/// Starts a download and does not read it.
pub fn hold(server: &TestServer, url: &str) -> TcpStream {
    let running = server.state.service.downloads();
    let stream = begin(url);
    wait_for("the download", Duration::from_secs(10), || {
        server.state.service.downloads() > running
    });
    stream
}

#[test]
fn a_replica_at_its_download_limit_returns_503_immediately_and_recovers() {
    let server = limited(QuotaLimits {
        downloads: 2,
        ..UNLIMITED
    });
    let holders = [(); 2].map(|()| hold(&server, &server.link(numbers(9_000_000))));
    let asked = Instant::now();
    let full = Call::new("GET", server.link(numbers(1))).send();
    assert_eq!(full.problem(), (503, "replica-limit".into()));
    assert_eq!(full.header("retry-after"), "2");
    assert!(asked.elapsed() < Duration::from_secs(1));
    drop(holders);
    wait_for("a free slot", Duration::from_secs(10), || {
        server.state.service.downloads() == 0
    });
    assert_eq!(Call::new("GET", server.link(numbers(1))).send().status, 200);
}

#[test]
fn limits_per_user_and_per_link_do_not_affect_others() {
    let limits = QuotaLimits {
        downloads_per_user: 2,
        downloads_per_link: 1,
        ..UNLIMITED
    };
    let server = limited(limits);
    let link = server.link(numbers(9_000_000));
    let _first = hold(&server, &link);
    let twice = Call::new("GET", link.clone()).send();
    assert_eq!(twice.problem(), (429, "link-limit".into()));
    assert_eq!(
        Call::new("HEAD", link).send().status,
        200,
        "a HEAD runs no query"
    );
    let _second = hold(&server, &server.link(numbers(9_000_000)));
    let third = Call::new("GET", server.link(numbers(1))).send();
    assert_eq!(
        (third.problem().1.as_str(), third.header("retry-after")),
        ("user-limit", "2")
    );
    let bob = token_for(&json!({"sub": "bob", "exp": server.now() + 60}));
    let bobs = server.issue_with(&bob, numbers(1)).json()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(Call::new("GET", bobs).send().status, 200);
}

#[test]
fn links_per_second_are_limited_per_user() {
    let server = limited(QuotaLimits {
        links_per_second: 3,
        ..UNLIMITED
    });
    let statuses = [(); 4].map(|()| server.issue(numbers(1)).status);
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(server.issue(numbers(1)).header("retry-after"), "1");
    let refused =
        server.issue(json!({"export": "numbers", "format": "csv", "filters": {"n": "x"}}));
    assert_eq!(refused.status, 422, "an invalid request counted");
    let for_bob = json!({"export": "orders", "format": "csv", "user": "bob", "filters": {"from": "2026-01-01"}});
    assert_eq!(server.issue_with(API_KEY, for_bob).status, 200);
    server.set_clock(server.now() + 1);
    assert_eq!(server.issue(numbers(1)).status, 200);
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_connection_without_a_request_head_is_closed_after_five_seconds() {
    let server = TestServer::start();
    let mut stream = TcpStream::connect(server.origin.trim_start_matches("http://")).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    let begun = Instant::now();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert!(
        (4..9).contains(&begun.elapsed().as_secs()),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn links_issued_before_a_watermark_are_revoked() {
    let server = TestServer::start();
    let link = server.link(numbers(1));
    let refuses = |file: String| {
        let revocations = revocations_file::parse(&file).unwrap();
        server.state.service.set_revocations(revocations);
        let answer = Call::new("GET", link.clone()).send();
        assert!(answer.status == 200 || answer.problem() == (410, "link-revoked".into()));
        answer.status == 410
    };
    let (then, later) = ("2026-01-31T10:00:00Z", "2026-01-31T10:00:01Z");
    assert!(refuses(format!("issued_before = {later}")));
    assert!(!refuses(format!("issued_before = {then}")));
    assert!(refuses(format!("[users]\nalice = {later}")));
    assert!(!refuses(format!("[users]\nbob = {later}")));
    assert!(refuses(format!("[keys]\nt1 = {later}")));
    assert!(!refuses(format!("[keys]\nt2 = {later}")));
    assert!(!refuses(String::new()));
    // A forged link does not reveal revocations.
    let forged = link.replace("rl_user=alice", "rl_user=mallory");
    refuses("[users]\nmallory = 2100-01-01T00:00:00Z".to_owned());
    assert_eq!(
        Call::new("GET", forged).send().problem(),
        (403, "bad-signature".into())
    );
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_file_that_was_cut_while_it_was_written_changes_nothing_until_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let revoked = "[keys]\nt9 = 2026-01-01T00:00:00Z\n[users]\nalice = 2100-01-01T00:00:00Z\n";
    fs::write(path("revocations"), revoked).unwrap();
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("token"));
    let key = format!("[keys.k]\nsha256 = '{hash}'\nuser = 'bob'\n");
    let narrow = format!("{key}exports = ['orders']\n");
    fs::write(path("api-keys"), &narrow).unwrap();
    let files = ["revocations", "api-keys"].map(|name| path(name).to_str().unwrap().to_owned());
    let rowlink = Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_REVOCATIONS_FILE", files[0].as_str()),
            ("ROWLINK_API_KEYS_FILE", files[1].as_str()),
        ],
    );
    let link = rowlink.link(numbers(1));
    let opens = || Call::new("GET", link.clone()).send().status;
    let issues = || {
        let issue = Call::new("POST", format!("{}/v1/links", rowlink.origin()));
        issue.bearer("token").json(&numbers(1)).send().status
    };
    let failed = |what: &str, count: usize| {
        let line = format!("rowlink_reloads_failed_total{{what=\"{what}\"}} {count}");
        wait_for("the refusal of the file", Duration::from_secs(10), || {
            let metrics = Call::new("GET", format!("{}/metrics", rowlink.origin()));
            metrics.send().text().contains(&line)
        });
    };
    assert_eq!((opens(), issues()), (410, 403));
    for (count, cut) in ["", "[keys]\nt9 = 2026-01-01T00:00:00Z\n"]
        .iter()
        .enumerate()
    {
        fs::write(path("revocations"), cut).unwrap();
        rowlink.reload();
        failed("revocations", count + 1);
        assert_eq!(opens(), 410);
    }
    fs::write(path("api-keys"), &key).unwrap();
    failed("API keys", 1);
    assert_eq!(issues(), 403);

    fs::write(path("revocations"), "# end\n").unwrap();
    wait_for("the empty file", Duration::from_secs(10), || opens() == 200);
    fs::write(path("api-keys"), format!("{key}# end\n")).unwrap();
    wait_for("the wider key", Duration::from_secs(10), || issues() == 200);
    fs::write(path("revocations"), revoked).unwrap();
    wait_for("a revocation in place", Duration::from_secs(10), || {
        opens() == 410
    });
    let log = rowlink.stop();
    assert!(
        log.contains("written in place without the revocation of `alice`"),
        "{log}"
    );
}

#[test]
#[ignore = "takes seconds: make test"]
fn files_are_reloaded_on_change_and_on_sighup_and_invalid_ones_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        // Atomically, as a mounted secret changes.
        fs::write(path.with_extension("new"), text).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let api_key = |token: &str| {
        use sha2::Digest as _;
        let hash = hex::encode(sha2::Sha256::digest(token));
        format!("[keys.k]\nsha256 = '{hash}'\nuser = 'alice'\n")
    };
    let (keys, api_keys, revocations) = (
        file("keys", SIGNING_KEY),
        file("api-keys", &api_key("first")),
        file("revocations", "# none\n"),
    );
    let rowlink = Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_SIGNING_KEYS", ""),
            ("ROWLINK_SIGNING_KEYS_FILE", &keys),
            ("ROWLINK_API_KEYS_FILE", &api_keys),
            ("ROWLINK_REVOCATIONS_FILE", &revocations),
        ],
    );
    let origin = rowlink.origin().to_owned();
    let issue = |credential: &str| {
        Call::new("POST", format!("{origin}/v1/links"))
            .bearer(credential)
            .json(&numbers(1))
            .send()
    };
    let old_link = rowlink.link(numbers(1));
    let opens = |link: &str| Call::new("GET", link).send().status;
    let soon = |what: &str, condition: &mut dyn FnMut() -> bool| {
        wait_for(what, Duration::from_secs(10), condition);
    };

    file("keys", &format!("{OTHER_KEY}\n{SIGNING_KEY}\n"));
    soon("the new key signs", &mut || {
        rowlink.link(numbers(1)).contains("rl_key=t2")
    });
    assert_eq!(opens(&old_link), 200, "the old key verifies");
    file("keys", OTHER_KEY);
    soon("the old key is retired", &mut || opens(&old_link) == 403);

    assert_eq!(issue("first").status, 200);
    file("api-keys", &api_key("second"));
    soon("the second API key", &mut || issue("second").status == 200);
    assert_eq!(issue("first").status, 401);

    let link = rowlink.link(numbers(1));
    file("revocations", "[users]\nalice = 2100-01-01T00:00:00Z\n");
    rowlink.reload();
    soon("the revocation", &mut || opens(&link) == 410);

    file("keys", "t3:short");
    file("revocations", "alice");
    rowlink.reload();
    fs::remove_file(&api_keys).unwrap();
    soon("the old rules after bad files", &mut || {
        issue("second").status == 200
    });
    assert_eq!(opens(&link), 410);
    assert!(rowlink.link(numbers(1)).contains("rl_key=t2"));
    let log = rowlink.stop();
    assert!(
        log.contains("reload failed; keeping the previous version what=\"signing keys\""),
        "{log}"
    );
    assert!(
        !log.contains("t3:short") && !log.contains("MDEyMzQ1"),
        "{log}"
    );
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_draining_replica_fails_readiness_immediately_and_keeps_serving_during_the_delay() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_DRAIN_DELAY_SECONDS", "3")]);
    let ready = format!("{}/readyz", rowlink.origin());
    assert_eq!(Call::new("GET", ready.clone()).send().status, 200);
    let link = rowlink.link(numbers(1));
    rowlink.terminate();
    wait_for("not ready", Duration::from_secs(2), || {
        Call::new("GET", ready.clone()).send().problem() == (503, "draining".into())
    });
    let served = Call::new("GET", link).send();
    assert_eq!(served.status, 200);
    assert_eq!(served.header("connection"), "close");
    let alive = Call::new("GET", format!("{}/healthz", rowlink.origin())).send();
    assert_eq!(alive.status, 200);
    rowlink.link(numbers(1));
    rowlink.stop();
}

#[test]
fn a_download_longer_than_the_drain_is_visibly_aborted() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_DRAIN_SECONDS", "1")]);
    let mut stream = begin(&rowlink.link(numbers(40_000_000)));
    let mut received = vec![0; 100_000];
    stream.read_exact(&mut received).unwrap();
    let asked = Instant::now();
    rowlink.terminate();
    let _ = stream.read_to_end(&mut received);
    assert!(!is_whole(&received), "a final chunk was sent");
    assert!(asked.elapsed() < Duration::from_secs(10));
    let log = rowlink.stop();
    assert!(log.contains("outcome=\"shutdown\""), "{log}");
}

#[test]
fn an_idle_connection_does_not_delay_a_stop() {
    let rowlink = Rowlink::serve(&exports());
    let mut idle = TcpStream::connect(rowlink.origin().trim_start_matches("http://")).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).unwrap();
    let asked = Instant::now();
    rowlink.stop();
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
}

fn json_lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn json_log_lines_share_the_link_id_and_name_client_and_trace() {
    let variables = [
        ("ROWLINK_LOG_FORMAT", "json"),
        ("ROWLINK_TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    let url = rowlink.link(numbers(5_000));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = Call::new("GET", url.clone())
        .header("x-forwarded-for", "203.0.113.9, 127.0.0.2")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .send();
    let log = rowlink.stop();
    let lines = json_lines(&log);
    let line = |message: &str| {
        let mut found = lines.iter().filter(|line| line["message"] == message);
        found
            .next()
            .unwrap_or_else(|| panic!("no {message} in {log}"))
    };
    let (issued, ended) = (line("link issued"), line("download ended"));
    assert_eq!(issued["link_id"], ended["link_id"]);
    assert_eq!(issued["credential"], "jwt");
    assert_eq!(
        (&ended["user"], &ended["export"], &ended["format"]),
        (&json!("alice"), &json!("numbers"), &json!("csv"))
    );
    assert_eq!(
        (&ended["rows"], &ended["bytes"]),
        (&json!(5000), &json!(answer.body.len()))
    );
    assert_eq!(
        (&ended["outcome"], &ended["client"]),
        (&json!("complete"), &json!("203.0.113.9"))
    );
    assert_eq!(ended["trace_id"], trace);
    assert_eq!(ended["request_id"], answer.header("x-request-id"));
    assert!(ended["milliseconds"].is_u64() && ended["first_byte_milliseconds"].is_u64());
    let signature = url.split("rl_signature=").nth(1).unwrap();
    assert!(!log.contains(signature) && !log.contains("rl_signature"));
}

#[test]
fn audit_lines_are_written_at_every_level_and_to_a_file_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.log");
    std::fs::write(&file, "before\n").unwrap();
    let variables = [
        ("ROWLINK_LOG", "error,rowlink::cli=info"),
        ("ROWLINK_AUDIT_LOG", file.to_str().unwrap()),
    ];
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    assert_eq!(
        Call::new("GET", rowlink.link(numbers(5))).send().status,
        200
    );
    let log = rowlink.stop();
    let audit = std::fs::read_to_string(&file).unwrap();
    assert!(!log.contains("link issued"), "{log}");
    let lines: Vec<&str> = audit.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "before"), "{audit}");
    assert!(lines[1].contains("link issued") && lines[2].contains("download ended"));
    let id = |line: &str| line.split("request_id=").nth(1).unwrap()[..36].to_owned();
    assert!(
        id(lines[1]).parse::<uuid::Uuid>().is_ok() && id(lines[2]).parse::<uuid::Uuid>().is_ok()
    );
    assert!(lines[2].contains("filters=\"n\""), "{audit}");
}

#[test]
fn a_refusal_is_logged_with_who_asked_for_what_and_nothing_secret() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_LOG_FORMAT", "json")]);
    let url = rowlink.link(numbers(1));
    let link_id = url.split("rl_link=").nth(1).unwrap()[..36].to_owned();
    let signature = url.split("rl_signature=").nth(1).unwrap().to_owned();
    let get = |url: String| Call::new("GET", url).send().status;
    assert_eq!(get(url.replace("rl_user=alice", "rl_user=bob")), 403);
    assert_eq!(get(url.replace("rl_signature=", "rl_signature%3D")), 400);
    assert_eq!(get(url.replace("rl_signature=", "rl_signature")), 400);
    let mut short = numbers(1);
    short["expires_in"] = json!(1);
    let expired = rowlink.issue(short);
    let expired = rowlink.link_in(&expired);
    wait_for("the end of a link", Duration::from_secs(10), || {
        get(expired.clone()) == 410
    });
    let unknown: BTreeMap<String, Value> = (0..100)
        .map(|number| (format!("{}{number}", "x".repeat(500)), json!(1)))
        .collect();
    let many = json!({"export": "numbers", "format": "csv", "filters": unknown});
    let answer = rowlink.issue(many);
    assert_eq!(answer.status, 422);
    assert!(answer.body.len() < 50_000, "{} bytes", answer.body.len());
    let long = json!({"export": "y".repeat(60_000), "format": "csv"});
    assert!(rowlink.issue(long).body.len() < 2_000);
    let log = rowlink.stop();
    let refusals: Vec<Value> = json_lines(&log)
        .into_iter()
        .filter(|line| line["message"] == "request refused")
        .collect();
    let of = |code: &str| refusals.iter().find(|line| line["code"] == code).unwrap();
    let forged = of("bad-signature");
    assert_eq!(
        (&forged["link_id"], &forged["user"]),
        (&json!(link_id), &json!(""))
    );
    assert_eq!(
        (&forged["client"], &forged["method"]),
        (&json!("127.0.0.1"), &json!("GET"))
    );
    assert_eq!(forged["route"], "/v1/exports/{export}.{format}");
    assert_eq!(of("link-expired")["user"], "alice");
    let invalid = of("invalid-values");
    assert_eq!(
        (&invalid["user"], &invalid["credential"]),
        (&json!("alice"), &json!("jwt"))
    );
    assert!(
        refusals.iter().all(|line| line.to_string().len() < 4_000),
        "{log}"
    );
    assert!(!log.contains(&signature) && !log.contains(&signature[..32]));
}

#[test]
fn a_response_and_its_log_lines_share_one_request_id() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_LOG_FORMAT", "json")]);
    let fails = json!({"export": "numbers", "format": "csv", "filters": {"n": 1, "fail_at": 1}});
    let issued = rowlink.issue(fails);
    let url = rowlink.link_in(&issued);
    let failed = Call::new("GET", url.clone()).send();
    let forged = Call::new("GET", url.replace("rl_user=alice", "rl_user=bob")).send();
    let oversized = Call::new("GET", format!("{url}&x={}", "x".repeat(9000))).send();
    assert_eq!(
        (failed.status, forged.status, oversized.status),
        (500, 403, 414)
    );
    let log = rowlink.stop();
    let lines = json_lines(&log);
    for (answer, messages) in [
        (issued, vec!["link issued"]),
        (failed, vec!["download ended", "request failed"]),
        (forged, vec!["request refused"]),
        (oversized, vec!["request refused"]),
    ] {
        let id = answer.header("x-request-id");
        let of_response = lines.iter().filter(|line| line["request_id"] == id);
        let mut found: Vec<&str> = of_response
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, messages, "{log}");
    }
}

#[test]
#[ignore = "needs curl: make test"]
fn metrics_count_events_and_can_have_their_own_port() {
    let server = TestServer::start();
    let long = server.link(numbers(9_000_000));
    server.download(numbers(100));
    Call::new("GET", format!("{}x", server.link(numbers(1)))).send();
    server.issue(json!({"export": "none", "format": "csv"}));
    server.call("GET", "/nowhere/at/all").send();
    let holder = hold(&server, &long);
    let metrics = || server.call("GET", "/metrics").send().text();
    let text = metrics();
    for line in [
        "rowlink_links_issued_total{export=\"numbers\",format=\"csv\"} 3",
        "rowlink_downloads_total{export=\"numbers\",format=\"csv\",outcome=\"complete\"} 1",
        "rowlink_download_rows_total{export=\"numbers\",format=\"csv\"} 100",
        "rowlink_requests_refused_total{route=\"/v1/exports/{export}.{format}\",code=\"malformed-link\"} 1",
        "rowlink_requests_refused_total{route=\"/v1/links\",code=\"unknown-export\"} 1",
        "rowlink_requests_refused_total{route=\"\",code=\"unknown-path\"} 1",
        "rowlink_download_duration_seconds_count 1",
        "rowlink_download_first_byte_seconds_count 1",
        "rowlink_downloads_in_flight 1",
        "rowlink_draining 0",
        "rowlink_signing_key_first_seen_timestamp_seconds{key=\"t1\",signs=\"true\"} 1769853600",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    drop(holder);
    wait_for("the disconnect", Duration::from_secs(10), || {
        metrics().contains("outcome=\"client_gone\"} 1")
    });

    let port = free_port();
    let separate = format!("127.0.0.1:{port}");
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_METRICS_BIND", &separate)]);
    let at = |origin: &str, path: &str| Call::new("GET", format!("{origin}{path}")).send().status;
    let separate = format!("http://{separate}");
    assert_eq!(
        (
            at(&separate, "/metrics"),
            at(&separate, "/readyz"),
            at(&separate, "/healthz")
        ),
        (200, 200, 200)
    );
    assert_eq!(at(rowlink.origin(), "/healthz"), 200);
    let public = Command::new("curl")
        .args(["-s", &format!("{}/metrics", rowlink.origin())])
        .output();
    assert!(String::from_utf8_lossy(&public.unwrap().stdout).contains("unknown-path"));
    let files = Command::new("curl")
        .args(["-s", &format!("{separate}/v1/exports")])
        .output();
    assert!(String::from_utf8_lossy(&files.unwrap().stdout).contains("unknown-path"));
    rowlink.stop();
}

#[test]
#[ignore = "needs Bash, curl and OpenSSL: make test"]
fn tls_is_terminated_with_a_certificate_and_a_new_one_is_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    create_certificates(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let rowlink = Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_TLS_CERT_FILE", &path("server.pem")),
            ("ROWLINK_TLS_KEY_FILE", &path("server.key")),
        ],
    );
    let origin = rowlink
        .origin()
        .replace("http://127.0.0.1", "https://localhost");
    let curl = |arguments: &[&str], root: &str, target: &str| {
        let url = format!("{origin}{target}");
        let run = Command::new("curl")
            .args(["-sS", "--cacert", &path(root)])
            .args(arguments)
            .arg(url)
            .output();
        let run = run.unwrap();
        (run.status.code(), run.stdout)
    };
    assert_eq!(
        curl(&[], "other.pem", "/healthz").0,
        Some(60),
        "another root"
    );
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
    let bearer = format!("Authorization: Bearer {token}");
    let link = |request: &Value| {
        let (code, body) = curl(
            &["--http2", "-H", &bearer, "-d", &request.to_string()],
            "ca.pem",
            "/v1/links",
        );
        assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&body));
        let issued: Value = serde_json::from_slice(&body).unwrap();
        issued["url"]
            .as_str()
            .unwrap()
            .strip_prefix(PUBLIC_URL)
            .unwrap()
            .to_owned()
    };
    let (_, refusal) = curl(&["-X", "GE<T"], "ca.pem", "/healthz");
    let refusal: Value = serde_json::from_slice(&refusal).unwrap();
    assert_eq!(refusal["code"], "malformed-request");
    let (code, file) = curl(&[], "ca.pem", &link(&numbers(200_000)));
    assert_eq!(code, Some(0));
    assert!(file.ends_with(b"\r\n200000,,row 200000 of alice\r\n"));
    let failing = json!({"export": "numbers", "format": "csv", "filters": {"n": 200_000, "fail_at": 150_000}});
    let (code, part) = curl(&[], "ca.pem", &link(&failing));
    assert!(
        matches!(code, Some(18 | 56)) && !part.is_empty(),
        "{code:?}: truncation was not detected"
    );

    let served = || {
        let script = format!(
            "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -serial",
            parts(&format!("{}/", rowlink.origin())).0
        );
        Command::new("bash")
            .args(["-c", &script])
            .output()
            .unwrap()
            .stdout
    };
    let before = served();
    assert!(before.starts_with(b"serial="));
    create_server_certificate(folder.path());
    wait_for("the new certificate", Duration::from_secs(10), || {
        served() != before
    });
    fs::write(path("server.pem"), "broken").unwrap();
    rowlink.reload();
    assert_eq!(curl(&[], "ca.pem", "/healthz").0, Some(0));
    rowlink.stop();
}

#[test]
fn an_inspection_explains_the_validity_of_a_link_and_the_string_to_sign() {
    let server = TestServer::start();
    let token = token(server.now());
    let inspect = |url: &str| {
        let call = server.call("POST", "/v1/links/inspect").bearer(&token);
        call.json(&json!({"url": url})).send().json()
    };
    let link = server.link(json!({
        "export": "orders", "format": "csv", "filename": "März",
        "filters": {"from": "2026-01-01", "status": ["paid"]},
    }));
    let good = inspect(&link);
    assert_eq!(
        (&good["valid"], &good["code"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(good["link"]["user"], "alice");
    assert_eq!(good["link"]["seconds_left"], 60);
    assert_eq!(good["link"]["expires_at"], "2026-01-31T10:01:00Z");
    assert_eq!(good["link"]["filename"], "März");
    assert!(
        good["link"]["filters"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "status", "value": "paid"}))
    );
    let text = good["string_to_sign"].as_str().unwrap();
    assert!(
        text.starts_with("ROWLINK1-HMAC-SHA256\n/v1/exports/orders.csv\nfrom=2026-01-01&"),
        "{text}"
    );
    let target = link.strip_prefix(&server.origin).unwrap();
    assert_eq!(
        inspect(&format!("https://elsewhere.example/prefix{target}#x"))["valid"],
        true
    );
    for (changed, code) in [
        (
            link.replace("rl_user=alice", "rl_user=bob"),
            "bad-signature",
        ),
        (link.replace("rl_key=t1", "rl_key=t9"), "bad-signature"),
        (link.replace("&rl_key=t1", ""), "malformed-link"),
        (
            format!("{}/v1/exports/orders.csv", server.origin),
            "malformed-link",
        ),
    ] {
        let bad = inspect(&changed);
        assert_eq!(
            (&bad["valid"], &bad["code"]),
            (&json!(false), &json!(code)),
            "{changed}"
        );
    }
    for (url, code) in [
        ("https://elsewhere.example/orders.csv", "unknown-path"),
        ("/v1/exports/orders.doc?rl_key=t1", "unknown-format"),
    ] {
        let call = server.call("POST", "/v1/links/inspect").bearer(&token);
        let answer = call.json(&json!({"url": url})).send();
        assert_eq!(answer.problem(), (404, code.into()), "{url}");
    }
    server.set_clock(server.now() + 90);
    let late = inspect(&link);
    assert_eq!(
        (&late["code"], &late["link"]["seconds_left"]),
        (&json!("link-expired"), &json!(-30))
    );
    assert_eq!(late["detail"], "the link expired 30 s ago");
    let anonymous = server
        .call("POST", "/v1/links/inspect")
        .json(&json!({"url": link}))
        .send();
    assert_eq!(anonymous.status, 401);
    assert_eq!(server.state.service.downloads(), 0);
}

#[test]
fn only_trusted_proxies_can_set_the_client_address() {
    let rowlink = Rowlink::serve(&exports());
    let mut stream = begin_with(
        &rowlink.link(numbers(1)),
        "X-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n",
    );
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let log = rowlink.stop();
    assert!(!log.contains("203.0.113.9"), "{log}");
    assert!(log.contains("client=\"127.0.0.1\""), "{log}");
}

#[test]
fn the_dashboard_uses_only_existing_metrics() {
    let dashboard = include_str!("../../deploy/grafana/rowlink.json");
    let _: Value = serde_json::from_str(dashboard).unwrap();
    let server = TestServer::start();
    server.download(numbers(1));
    server.issue(json!({}));
    let mut exported = server.call("GET", "/metrics").send().text();
    // SQLite has no connection pool, no export fails, no query is slow, no spool is full, and nothing is stored. Other tests
    // read these.
    exported.push_str(
        "rowlink_database_connections_in_use rowlink_database_connections_max rowlink_failed_exports \
         rowlink_downloads_begun_by_heartbeat_total rowlink_spool_obstacles_total \
         rowlink_uploads_total rowlink_store_errors_total",
    );
    let used: std::collections::BTreeSet<&str> = dashboard
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("rowlink_"))
        .collect();
    assert!(used.len() > 10, "{used:?}");
    for name in used {
        assert!(exported.contains(name), "{name} is not exported");
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_slow_body_times_out_and_without_a_credential_is_not_read() {
    let server = TestServer::start();
    let send = |credential: &str| {
        let mut stream = TcpStream::connect(server.origin.trim_start_matches("http://")).unwrap();
        let head = format!(
            "POST /v1/links HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9000\r\n\
             Authorization: Bearer {credential}\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let begun = Instant::now();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        (answer, begun.elapsed())
    };
    let (answer, waited) = send(&token(server.now()));
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("body-too-slow"),
        "{answer}"
    );
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    let (answer, waited) = send("unknown");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(waited < Duration::from_secs(4), "{waited:?}");
}

#[test]
fn a_slow_reader_does_not_extend_a_query_beyond_the_maximum_duration() {
    let server = TestServer::with(|deployment| deployment.download_max = Duration::from_secs(2));
    let url = server.link(numbers(9_000_000));
    let mut stream = hold(&server, &url);
    let mut piece = [0; 512];
    // The reader never stalls, but never empties a buffer either.
    wait_for("a free slot", Duration::from_secs(10), || {
        stream.read_exact(&mut piece).unwrap();
        server.state.service.downloads() == 0
    });
    let metrics = server.call("GET", "/metrics").send().text();
    assert!(metrics.contains("outcome=\"timed_out\"} 1"), "{metrics}");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a final chunk was sent");
}

#[test]
fn an_interrupt_ends_a_drain_immediately() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_DRAIN_DELAY_SECONDS", "60")]);
    let mut stream = begin(&rowlink.link(numbers(40_000_000)));
    let mut received = vec![0; 100_000];
    stream.read_exact(&mut received).unwrap();
    rowlink.terminate();
    let ready = format!("{}/readyz", rowlink.origin());
    wait_for("not ready", Duration::from_secs(5), || {
        Call::new("GET", ready.clone()).send().status == 503
    });
    rowlink.interrupt();
    wait_for("the end", Duration::from_secs(5), || !rowlink.is_alive());
    let _ = stream.read_to_end(&mut received);
    assert!(!is_whole(&received), "a final chunk was sent");
}

#[test]
fn misplaced_secrets_are_not_logged() {
    let rowlink = Rowlink::serve(&exports());
    let link =
        rowlink.link(json!({"export": "echo", "format": "csv", "filters": {"text": "hush"}}));
    let signature = link.split("rl_signature=").nth(1).unwrap().to_owned();
    let token = token_for(&json!({"sub": "a user=\"b\" outcome=\"c\"", "exp": FAR_FUTURE}));
    let inspect =
        || Call::new("POST", format!("{}/v1/links/inspect", rowlink.origin())).bearer(&token);
    assert_eq!(inspect().json(&json!(link)).send().status, 422);
    assert_eq!(inspect().json(&json!({"url": [link]})).send().status, 422);
    let escaped = link.replacen('?', "%3F", 1);
    assert_eq!(Call::new("GET", escaped.clone()).send().status, 404);
    inspect().json(&json!({"url": escaped})).send();
    let issued = Call::new("POST", format!("{}/v1/links", rowlink.origin())).bearer(&token);
    let request = json!({"export": "echo", "format": "csv", "filters": {"text": "x"}});
    assert_eq!(issued.json(&request).send().status, 200);
    let log = rowlink.stop();
    assert!(!log.contains(&signature) && !log.contains("hush"), "{log}");
    assert!(
        log.contains(r#"user="a user=\"b\" outcome=\"c\"""#),
        "{log}"
    );
}
