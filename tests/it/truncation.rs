//! Truncated files: the connection is reset, so that clients that do not check the chunks notice, too.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::command::run;
use crate::harness::process::{FAR_FUTURE, PUBLIC_URL, Rowlink};
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::tls::create_certificates;
use crate::harness::{
    TestServer, begin, begin_with, exports, is_whole, parts, token_for, unchunked, wait_for,
};
use crate::overload::head;

fn numbers(n: u64) -> Value {
    json!({"export": "numbers", "format": "csv", "filters": {"n": n}})
}

/// How a response ended, and what was read of it.
struct End {
    answer: Vec<u8>,
    is_reset: bool,
}

/// Reads until the server ends the connection.
fn read_to_end(stream: &mut TcpStream) -> End {
    let mut answer = Vec::new();
    let is_reset = match stream.read_to_end(&mut answer) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{error}"),
    };
    End { answer, is_reset }
}

/// Reads some rows of an endless file.
fn begin_endless(url: &str) -> TcpStream {
    let mut stream = begin(url);
    stream.read_exact(&mut [0; 300_000]).unwrap();
    stream
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_query_that_fails_resets_the_connection() {
    let server = TestServer::start();
    for (format, length) in [("csv", "chunked"), ("xlsx", "chunked"), ("csv", "exact")] {
        let mut request = json!({
            "export": "numbers", "format": format, "filters": {"n": 900_000, "fail_at": 800_000},
        });
        if length == "exact" {
            // Nothing fails while the rows are counted.
            request["filters"] = json!({"n": 3_000_000});
            request["length"] = json!("exact");
        }
        let mut stream = begin(&server.link(request));
        if length == "exact" {
            stream.read_exact(&mut [0; 300_000]).unwrap();
            server.state.abort_downloads();
        }
        let end = read_to_end(&mut stream);
        assert!(end.is_reset, "{format}, {length}");
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_time_limit_resets_the_connection_of_a_reader_and_of_a_stalled_client() {
    let server = TestServer::with(|deployment| deployment.download_max = Duration::from_secs(3));
    let url = server.link(numbers(9_000_000_000));
    let mut stalled = begin_endless(&url);
    let end = read_to_end(&mut begin(&url));
    assert!(end.is_reset && !is_whole(&end.answer));
    let end = read_to_end(&mut stalled);
    assert!(end.is_reset && !is_whole(&end.answer));
}

#[test]
fn a_client_that_closes_only_its_side_does_not_get_a_file_that_ends_in_good_order() {
    let server = TestServer::start();
    let mut stream = begin_endless(&server.link(numbers(9_000_000_000)));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).is_reset);
}

#[test]
fn a_killed_server_resets_its_downloads() {
    let rowlink = Rowlink::serve(&exports());
    let mut stream = begin_endless(&rowlink.link(numbers(9_000_000_000)));
    drop(rowlink);
    let end = read_to_end(&mut stream);
    assert!(end.is_reset && !is_whole(&end.answer));
}

#[test]
#[ignore = "needs OpenSSL and curl: make test"]
fn a_killed_server_resets_its_downloads_over_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    create_certificates(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("server.pem"), path("server.key"));
    let variables = [
        ("ROWLINK_TLS_CERT_FILE", certificate.as_str()),
        ("ROWLINK_TLS_KEY_FILE", key.as_str()),
    ];
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    let origin = rowlink
        .origin()
        .replace("http://127.0.0.1", "https://localhost");
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
    let curl = || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert", &path("ca.pem")]);
        curl
    };
    let bearer = format!("Authorization: Bearer {token}");
    let body = numbers(9_000_000_000).to_string();
    let links = format!("{origin}/v1/links");
    let issued = run(curl().args(["-H", &bearer, "-d", &body, &links]));
    let issued: Value = serde_json::from_slice(&issued.stdout).unwrap();
    let url = issued["url"]
        .as_str()
        .unwrap()
        .replacen(PUBLIC_URL, &origin, 1);
    let file = folder.path().join("file.csv");
    let download = curl()
        .arg("-o")
        .arg(&file)
        .arg(url)
        .stderr(Stdio::piped())
        .spawn();
    let download = download.unwrap();
    wait_for("the first rows", Duration::from_secs(20), || {
        fs::metadata(&file).is_ok_and(|file| file.len() > 200_000)
    });
    drop(rowlink);
    let download = download.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&download.stderr);
    assert!(
        !download.status.success() && said.contains("reset"),
        "{said}"
    );
}

#[test]
fn a_complete_file_ends_in_good_order_also_for_a_slow_reader() {
    let server = TestServer::start();
    let url = server.link(numbers(300_000));
    let mut stream = begin_with(&url, "Connection: close\r\n");
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).unwrap();
    // The server has written all that the socket takes, and waits.
    wait_for("a server that waits", Duration::from_secs(10), || {
        let before = queued(&stream);
        thread::sleep(Duration::from_millis(50));
        before > 0 && queued(&stream) == before
    });
    let mut end = read_to_end(&mut stream);
    answer.append(&mut end.answer);
    assert!(!end.is_reset && is_whole(&answer));
}

/// Returns how many bytes wait to be read.
fn queued(stream: &TcpStream) -> usize {
    let mut buffer = vec![0; 1 << 24];
    stream.peek(&mut buffer).unwrap()
}

#[test]
fn a_connection_serves_on_after_a_complete_file() {
    let server = TestServer::start();
    let url = server.link(numbers(100_000));
    let (address, target) = parts(&url);
    let mut stream = TcpStream::connect(address).unwrap();
    for last in ["keep-alive", "close"] {
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: {last}\r\n\r\n"
        )
        .unwrap();
    }
    let end = read_to_end(&mut stream);
    let heads = end.answer.windows(15).filter(|it| it == b"HTTP/1.1 200 OK");
    assert_eq!((heads.count(), end.is_reset), (2, false));
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_request_for_another_protocol_gets_a_file_with_chunks_or_none() {
    let server = TestServer::start();
    // Rows that look like the chunks of a complete response.
    let sql =
        "select '5' as \"5\", :user as user union all select 'hello', '' union all select '0', ''";
    let server_of_chunks = TestServer::with_exports(vec![("chunks.sql", sql)]);
    let chunks = json!({"export": "chunks", "format": "csv"});
    for (server, request) in [(&server, numbers(20_000)), (&server_of_chunks, chunks)] {
        let url = server.link(request);
        for upgrade in ["websocket", "h2c, WebSocket", "h2c", "TLS/1.0", ""] {
            for connection in ["Upgrade", "keep-alive, upgrade", "close"] {
                let headers = format!("Upgrade: {upgrade}\r\nConnection: {connection}\r\n");
                let end = read_to_end(&mut begin_with(&url, &headers));
                check_framing(&end.answer, &headers);
            }
        }
    }
}

/// Checks that the head of a response says how its body ends.
fn check_framing(answer: &[u8], headers: &str) {
    let text = String::from_utf8_lossy(answer);
    if text.starts_with("HTTP/1.1 400 ") {
        assert!(headers.to_lowercase().contains("websocket"), "{headers}");
        assert!(text.contains("malformed-request") && text.contains("content-length: "));
        return;
    }
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n"),
        "{headers}: {text:.200}"
    );
    match text.contains("transfer-encoding: chunked") {
        true => assert!(unchunked(answer).1, "{headers}"),
        false => assert!(text.contains("content-length: "), "{headers}"),
    }
}

#[test]
fn while_a_replica_drains_files_do_not_announce_the_end_of_their_connection() {
    let server = TestServer::start();
    let (large, small) = (server.link(numbers(200_000)), server.link(numbers(1)));
    server.state.drain();
    let head_of = |url: &str| head(&begin(url)).1.to_lowercase();
    let head = head_of(&large);
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("connection: close"));
    let head = head_of(&small);
    assert!(head.contains("content-length: ") && head.contains("connection: close"));
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_stopping_server_closes_idle_connections_and_those_whose_file_is_complete() {
    let server = TestServer::start();
    let mut idle = begin(&format!("{}/healthz", server.origin));
    idle.read_exact(&mut [0; 15]).unwrap();
    let mut downloading = begin(&server.link(numbers(300_000)));
    downloading.read_exact(&mut [0; 1000]).unwrap();
    server.state.stop();
    assert!(!read_to_end(&mut idle).is_reset);
    let end = read_to_end(&mut downloading);
    assert!(!end.is_reset && end.answer.ends_with(b"\r\n0\r\n\r\n"));
}

/// Commands that save `$URL` to `$FILE`, and fail if they notice that it is truncated.
/// Programs that download `$URL` into `$FILE`.
pub(crate) const CLIENTS: [(&str, &[&str]); 6] = [
    ("curl", &["curl", "-sS", "--fail", "-o", "$FILE", "$URL"]),
    ("wget", &["wget", "-q", "--tries=1", "-O", "$FILE", "$URL"]),
    (
        "slow wget",
        &[
            "wget",
            "-q",
            "--tries=1",
            "--limit-rate=2m",
            "-O",
            "$FILE",
            "$URL",
        ],
    ),
    ("node fetch", &["node", "-e", FETCH]),
    (
        "php copy",
        &[
            "php",
            "-r",
            "exit(copy(getenv('URL'), getenv('FILE')) ? 0 : 1);",
        ],
    ),
    (
        "webkitgtk",
        &[
            "xvfb-run",
            "-a",
            "dbus-run-session",
            "python3",
            "tests/it/browser/webkit_download.py",
        ],
    ),
];

const FETCH: &str = "import('node:fs').then(async fs => {
    const out = fs.createWriteStream(process.env.FILE);
    for await (const chunk of (await fetch(process.env.URL)).body) {
        if (!out.write(chunk)) await new Promise(done => out.once('drain', done));
    }
})";

/// The ways from the server to a client.
pub(crate) const WAYS: [(&str, Option<StartProxy>); 4] = [
    ("directly", None),
    ("nginx", Some(Proxy::nginx)),
    ("haproxy", Some(Proxy::haproxy)),
    ("envoy", Some(Proxy::envoy)),
];

pub(crate) type StartProxy = fn(&[u16], Protocol) -> Proxy;

/// Runs a client, kills the server under its download, and returns whether the client accepts the truncated file.
pub(crate) fn accepts(client: &[&str], proxy: Option<StartProxy>, request: Value) -> bool {
    let rowlink = Rowlink::serve(&exports());
    let port = rowlink
        .origin()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let proxy = proxy.map(|start| start(&[port; 3], Protocol::Http1));
    let url = rowlink.link(request);
    let url = match &proxy {
        Some(proxy) => url.replacen(rowlink.origin(), &proxy.origin(), 1),
        None => url,
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file.csv");
    let mut client = start(client, &url, &file);
    wait_for("the first rows", Duration::from_secs(60), || {
        fs::metadata(&file).is_ok_and(|file| file.len() > 200_000)
    });
    drop(rowlink);
    client.wait().unwrap().success()
}

/// Starts a download of a URL into a file.
fn start(client: &[&str], url: &str, file: &Path) -> Child {
    let path = file.to_str().unwrap();
    let arguments = client
        .iter()
        .map(|it| it.replace("$URL", url).replace("$FILE", path));
    let arguments: Vec<String> = arguments.collect();
    Command::new(&arguments[0])
        .args(&arguments[1..])
        .envs([("URL", url), ("FILE", path), ("no_proxy", "*")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "needs curl, wget, Node.js, PHP and WebKitGTK: make test"]
fn clients_accept_a_complete_file() {
    let server = TestServer::start();
    for (name, client) in CLIENTS {
        let folder = tempfile::tempdir().unwrap();
        let url = server.link(numbers(100_000));
        let mut client = start(client, &url, &folder.path().join("file.csv"));
        assert!(client.wait().unwrap().success(), "{name}");
    }
}

#[test]
#[ignore = "needs curl, wget, Node.js, PHP, WebKitGTK and proxies: make test"]
fn clients_notice_that_the_server_was_killed_as_documented() {
    for (client, command) in CLIENTS {
        for (way, proxy) in WAYS {
            let accepted = || accepts(command, proxy, numbers(9_000_000_000));
            let accepted = [accepted(), accepted()];
            let expected = match (client, way) {
                // It reads a connection that was reset like one that has ended.
                ("php copy", _) => true,
                // So does this browser with one that ends between two chunks, and no proxy resets it.
                ("webkitgtk", way) => way != "directly",
                _ => false,
            };
            assert_eq!(accepted, [expected; 2], "{client}, {way}");
        }
    }
}

#[test]
#[ignore = "needs wget, WebKitGTK and proxies: make test"]
fn clients_notice_a_short_file_of_an_exact_length_through_every_proxy() {
    let mut request = numbers(4_000_000);
    request["length"] = json!("exact");
    let of_interest = |(name, _): &(&str, &[&str])| ["slow wget", "webkitgtk"].contains(name);
    for (client, command) in CLIENTS.into_iter().filter(of_interest) {
        for (way, proxy) in WAYS {
            let is_accepted = accepts(command, proxy, request.clone());
            assert!(!is_accepted, "{client}, {way}");
        }
    }
}
