//! The receipt of a file: trailer fields of a streamed one, header fields of one that is known before.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use rowlink::spool::Spool;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::command::run;
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::{Call, Deployment, TestServer, begin_with, is_whole, metric, parts, wait_for};
use crate::stored;

const CLOSED: &str = "TE: trailers\r\nConnection: close\r\n";
const TIME: Duration = Duration::from_secs(60);

fn numbers(format: &str, n: u64) -> Value {
    json!({"export": "numbers", "format": format, "filters": {"n": n}})
}

fn hash(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// A response as it was sent.
struct Received {
    head: String,
    content: Vec<u8>,
    trailers: String,
}

impl Received {
    /// Parses the first response of these bytes; returns the rest, too.
    fn parse(bytes: &[u8]) -> (Received, &[u8]) {
        let (head, mut rest) = split(bytes, b"\r\n\r\n");
        let head = String::from_utf8(head.to_vec()).unwrap() + "\r\n";
        let mut received = Received {
            head,
            content: Vec::new(),
            trailers: String::new(),
        };
        if let Some(length) = received.field("content-length") {
            let (content, rest) = rest.split_at(length.parse().unwrap());
            received.content = content.to_vec();
            return (received, rest);
        }
        assert_eq!(received.field("transfer-encoding"), Some("chunked"));
        loop {
            let (size, following) = split(rest, b"\r\n");
            let size = usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).unwrap();
            if size == 0 {
                rest = following;
                break;
            }
            received.content.extend_from_slice(&following[..size]);
            assert_eq!(&following[size..size + 2], b"\r\n");
            rest = &following[size + 2..];
        }
        loop {
            let (line, following) = split(rest, b"\r\n");
            rest = following;
            if line.is_empty() {
                return (received, rest);
            }
            received.trailers += std::str::from_utf8(line).unwrap();
            received.trailers += "\n";
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn has_trailers(&self, rows: u64, file: &[u8]) -> bool {
        let sha256 = hash(file);
        self.field("trailer") == Some("rowlink-rows, rowlink-sha256")
            && self.field("rowlink-sha256").is_none()
            && self.trailers == format!("rowlink-rows: {rows}\nrowlink-sha256: {sha256}\n")
    }
}

fn split<'b>(bytes: &'b [u8], end: &[u8]) -> (&'b [u8], &'b [u8]) {
    let at = bytes.windows(end.len()).position(|it| it == end);
    let at = at.unwrap_or_else(|| panic!("truncated: {}", String::from_utf8_lossy(bytes)));
    (&bytes[..at], &bytes[at + end.len()..])
}

/// Downloads a file on a connection of its own.
fn receive(url: &str, headers: &str) -> Received {
    let mut answer = Vec::new();
    begin_with(url, headers).read_to_end(&mut answer).unwrap();
    let (received, rest) = Received::parse(&answer);
    assert!(rest.is_empty());
    received
}

fn gunzip(content: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    GzDecoder::new(content).read_to_end(&mut decoded).unwrap();
    decoded
}

#[test]
fn a_streamed_file_ends_with_its_row_count_and_hash() {
    let server = TestServer::start();
    for format in ["csv", "tsv", "ndjson", "json", "xlsx"] {
        let received = receive(&server.link(numbers(format, 100_000)), CLOSED);
        assert!(
            received.has_trailers(100_000, &received.content),
            "{format}: {}{}",
            received.head,
            received.trailers
        );
    }
    let mut with_line = numbers("csv", 100_000);
    with_line["end_line"] = json!(true);
    let received = receive(&server.link(with_line), CLOSED);
    assert!(String::from_utf8_lossy(&received.content).contains("\r\n#rowlink-end,rows=100000,"));
    assert!(received.has_trailers(100_000, &received.content));
}

#[test]
fn the_hash_is_that_of_the_decoded_file() {
    let server = TestServer::start();
    let expected = server.download(numbers("csv", 100_000)).body;
    let headers = format!("{CLOSED}Accept-Encoding: gzip\r\n");
    let received = receive(&server.link(numbers("csv", 100_000)), &headers);
    assert_eq!(received.field("content-encoding"), Some("gzip"));
    let decoded = gunzip(&received.content);
    assert!(decoded == expected && received.has_trailers(100_000, &decoded));
}

#[test]
fn a_client_that_does_not_ask_gets_no_receipt() {
    let server = TestServer::start();
    for n in [2, 100_000] {
        for te in ["", "TE: gzip\r\n"] {
            let headers = format!("{te}Connection: close\r\n");
            let received = receive(&server.link(numbers("csv", n)), &headers);
            assert!(
                !received.head.contains("rowlink-sha256"),
                "{}",
                received.head
            );
            assert_eq!(received.trailers, "");
        }
    }
}

#[test]
fn a_truncated_file_has_no_receipt_and_no_last_chunk() {
    let server = TestServer::start();
    for fail_at in [5_000, 20_000, 200_001] {
        let mut request = numbers("csv", 1_000_000);
        request["filters"]["fail_at"] = json!(fail_at);
        let mut answer = Vec::new();
        let ended = begin_with(&server.link(request), "TE: trailers\r\n").read_to_end(&mut answer);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("trailer: rowlink-rows, rowlink-sha256\r\n"));
        assert!(!text.contains("rowlink-sha256: ") && !is_whole(&answer));
    }
}

#[test]
fn requests_after_a_trailer_section_are_served_on_the_same_connection() {
    let server = TestServer::start();
    let urls = [100_000, 3, 90_000, 2].map(|n| (n, server.link(numbers("csv", n))));
    let (address, _) = parts(&urls[0].1);
    let mut stream = TcpStream::connect(address).unwrap();
    let mut requests = String::new();
    for (n, url) in &urls {
        let te = if *n == 90_000 { "" } else { "TE: trailers\r\n" };
        let close = if *n == 2 { "Connection: close\r\n" } else { "" };
        let target = parts(url).1;
        requests += &format!("GET {target} HTTP/1.1\r\nHost: x\r\n{te}{close}\r\n");
    }
    // All at the same time: the last chunk and the next head may be written together.
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    let mut rest = &answers[..];
    for (n, url) in &urls {
        let (received, following) = Received::parse(rest);
        rest = following;
        assert!(received.content == Call::new("GET", url).send().body, "{n}");
        match n {
            90_000 => assert_eq!(received.trailers, ""),
            100_000 => assert!(received.has_trailers(*n, &received.content)),
            _ => assert_eq!(
                received.field("rowlink-sha256"),
                Some(&*hash(&received.content))
            ),
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn a_file_whose_length_is_known_has_its_receipt_in_the_head() {
    let server = TestServer::start();
    let coded = format!("{CLOSED}Accept-Encoding: gzip\r\n");
    let small = server.link(numbers("csv", 3));
    let mut exact = numbers("csv", 100_000);
    exact["length"] = json!("exact");
    let exact = server.link(exact);
    for (url, headers, n) in [
        (&small, CLOSED, 3),
        (&small, &coded, 3),
        (&exact, CLOSED, 100_000),
    ] {
        let received = receive(url, headers);
        let file = match received.field("content-encoding") {
            Some(_) => gunzip(&received.content),
            None => received.content.clone(),
        };
        assert_eq!(received.field("rowlink-rows"), Some(&*n.to_string()));
        assert_eq!(received.field("rowlink-sha256"), Some(&*hash(&file)));
        assert_eq!(received.field("trailer"), None);
    }
    let tag = receive(&exact, CLOSED).field("etag").unwrap().to_owned();
    let part = format!("{CLOSED}Range: bytes=9-\r\nIf-Range: {tag}\r\n");
    let part = receive(&exact, &part);
    assert!(part.head.starts_with("HTTP/1.1 206 "));
    assert_eq!(part.field("rowlink-sha256"), None);
}

#[test]
fn a_head_response_has_no_receipt() {
    let server = TestServer::start();
    let url = server.link(numbers("csv", 100_000));
    let answer = Call::new("HEAD", url).header("te", "trailers").send();
    assert_eq!(answer.status, 200);
    for name in ["trailer", "rowlink-rows", "rowlink-sha256"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
}

#[test]
fn a_slow_reader_gets_the_receipt_through_the_spool() {
    for is_kept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::with(|deployment| {
            let spool = Spool::new(folder.path().to_owned(), 1 << 30);
            deployment.spool = Some(match is_kept {
                true => spool.with_keep(TIME),
                false => spool,
            });
        });
        let mut stream = begin_with(&server.link(numbers("csv", 2_000_000)), CLOSED);
        wait_for("spooled bytes", TIME, || {
            metric(&server.origin, "rowlink_spool_bytes ") > 0
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let (received, _) = Received::parse(&answer);
        assert!(
            received.has_trailers(2_000_000, &received.content),
            "{is_kept}"
        );
    }
}

#[test]
fn a_stored_file_has_the_receipt_of_its_record() {
    let (subject, folder) = (stored::directory(), tempfile::tempdir().unwrap());
    let sql = "/*---\n[store]\nmode = 'always'\nreuse_seconds = 300\n---*/\n\
               with recursive m(i) as (select 1 union all select i + 1 from m where i < 50000)\n\
               select i, :user as user from m";
    let database = crate::harness::sample_database(folder.path());
    let database = crate::harness::sqlite_url(&database);
    let mut deployment = Deployment::over(database, vec![("it.sql", sql)]);
    deployment.spool = Some(Spool::new(folder.path().to_owned(), 1 << 30));
    deployment.store = Some(subject.store());
    let server = deployment.start();
    let link = || server.link(json!({"export": "it", "format": "csv", "expires_in": 600}));
    let streamed = receive(&link(), CLOSED);
    assert!(streamed.has_trailers(50_000, &streamed.content));
    let uploads = "rowlink_uploads_total{export=\"it\",format=\"csv\",outcome=\"complete\"} ";
    wait_for("an upload", TIME, || metric(&server.origin, uploads) == 1);
    let stored = receive(&link(), CLOSED);
    assert!(stored.content == streamed.content);
    assert_eq!(stored.field("rowlink-rows"), Some("50000"));
    assert_eq!(
        stored.field("rowlink-sha256"),
        Some(&*hash(&stored.content))
    );
}

fn rowlink(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    (
        status.code(),
        String::from_utf8([stdout, stderr].concat()).unwrap(),
    )
}

#[test]
#[ignore = "needs curl: make test"]
fn check_file_reads_the_receipt_that_curl_has_written() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    for n in [3, 100_000] {
        let curl = |headers: &[&str]| {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-D", "headers", "-o", "orders.csv"]);
            let url = server.link(numbers("csv", n));
            run(curl.args(headers).arg(url).current_dir(folder.path()));
        };
        let check = || {
            rowlink(
                folder.path(),
                &["check-file", "orders.csv", "--receipt", "headers"],
            )
        };
        for compressed in [&[][..], &["--compressed"]] {
            curl(&[&["-H", "TE: trailers"], compressed].concat());
            assert_eq!(
                check(),
                (Some(0), format!("orders.csv: complete, {n} rows\n"))
            );
        }
        let file = folder.path().join("orders.csv");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        let (code, said) = check();
        assert!(
            code == Some(2) && said.contains("does not match the receipt"),
            "{said}"
        );
        curl(&[]);
        let (code, said) = check();
        assert!(
            code == Some(2) && said.contains("no `rowlink-sha256`"),
            "{said}"
        );
    }
}

#[test]
#[ignore = "needs nginx, HAProxy and Envoy: make test"]
fn a_receipt_passes_haproxy_and_envoy_and_not_nginx() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let (headers, file) = (folder.path().join("headers"), folder.path().join("file"));
    let [headers, file] = [headers, file].map(|path| path.display().to_string());
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (start, passes) in [
            (Proxy::haproxy as fn(&[u16], Protocol) -> Proxy, true),
            (Proxy::envoy, true),
            (Proxy::nginx, false),
        ] {
            let proxy = start(&[server.port(); 3], protocol);
            let url = server.link(numbers("csv", 100_000));
            let url = url.replacen(&server.origin, &proxy.origin(), 1);
            let curl = proxy.curl(&["-D", &headers, "-o", &file, "-H", "TE: trailers", &url]);
            let output = curl.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{proxy}: {errors}");
            let (code, said) = rowlink(
                folder.path(),
                &["check-file", "file", "--receipt", "headers"],
            );
            let expected = match passes {
                true => "file: complete, 100000 rows\n",
                false => "no `rowlink-sha256`",
            };
            assert!(said.contains(expected), "{proxy}: {said}");
            assert_eq!(code == Some(0), passes, "{proxy}");
        }
    }
}

#[test]
fn check_file_compares_a_file_with_a_hash() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.parquet"), "content").unwrap();
    let check = |arguments: &[&str]| {
        rowlink(
            folder.path(),
            &[&["check-file", "a.parquet"], arguments].concat(),
        )
    };
    let right = hash(b"content");
    assert_eq!(
        check(&["--sha256", &right]),
        (Some(0), "a.parquet: complete\n".to_owned())
    );
    assert_eq!(
        check(&["--sha256", &right.to_uppercase(), "--rows", "7"]),
        (Some(0), "a.parquet: complete, 7 rows\n".to_owned())
    );
    assert_eq!(check(&["--sha256", &hash(b"other")]).0, Some(2));
    assert!(
        check(&["--sha256", "abc"])
            .1
            .contains("64 hexadecimal digits")
    );
    assert_eq!(check(&["--rows", "7"]).0, Some(2));
}

#[test]
fn get_checks_the_receipt_of_a_streamed_file() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    for n in [3, 100_000] {
        let name = format!("{n}.csv");
        let url = server.link(numbers("csv", n));
        let (code, said) = rowlink(folder.path(), &["get", &url, "--output", &name]);
        let rows = if n == 3 { "3 rows" } else { "100,000 rows" };
        assert!(code == Some(0) && said.contains(rows), "{said}");
    }
}

#[test]
fn get_refuses_a_file_that_differs_from_its_receipt() {
    let folder = tempfile::tempdir().unwrap();
    for (receipt, expected) in [(hash(b"hello"), 0), (hash(b"hullo"), 3)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/exports/a.csv", listener.local_addr().unwrap());
        // Another server sends a changed file: Rowlink sends none.
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !request.ends_with("\r\n\r\n") {
                assert!(reader.read_line(&mut request).unwrap() > 0);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\ntrailer: rowlink-rows, rowlink-sha256\r\ntransfer-encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\nrowlink-rows: 1\r\nrowlink-sha256: {receipt}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
            request.to_lowercase()
        });
        let (code, said) = rowlink(folder.path(), &["get", &url, "--output", "a.csv"]);
        let request = server.join().unwrap();
        assert!(
            request.contains("\r\nte: trailers\r\n") && request.contains("\r\nconnection: te\r\n")
        );
        assert_eq!(code, Some(expected), "{said}");
        assert_eq!(said.contains("does not match"), expected == 3, "{said}");
        assert_eq!(folder.path().join("a.csv").exists(), expected == 0);
        let _ = fs::remove_file(folder.path().join("a.csv"));
    }
}
