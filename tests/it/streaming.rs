//! Streaming: failures are visible, and the first rows arrive early.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::process::Rowlink;
use crate::harness::{TestServer, begin, is_whole, parts, read_aborted, wait_for};

const ENDLESS: &str = "with recursive n(i) as (select 1 union all select i + 1 from n) \
                       select count(*) as n, :user as user from n";

/// Returns a link to a query that fails in a later row.
fn failing_link(server: &TestServer, fail_at: u64) -> String {
    server.link(json!({
        "export": "numbers", "format": "csv", "filters": {"n": 1_000_000, "fail_at": fail_at},
    }))
}

#[test]
fn a_failure_after_the_first_byte_sends_no_final_chunk_and_no_error_text() {
    let server = TestServer::start();
    for fail_at in [5_000, 20_000, 200_001] {
        let answer = read_aborted(&failing_link(&server, fail_at));
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(text.contains("transfer-encoding: chunked"));
        assert!(text.contains("\r\n1,,row 1 of alice\r\n"));
        assert!(!is_whole(&answer), "a final chunk was sent");
        assert!(!text.contains("JSON"), "the error text is in the file");
        assert!(!text.contains(&format!("\r\n{fail_at},")));
    }
}

#[test]
fn a_failure_before_the_first_byte_is_an_error_status() {
    let server = TestServer::start();
    let answer = crate::harness::Call::new("GET", failing_link(&server, 1)).send();
    assert_eq!(answer.problem(), (500, "export-failed".into()));
}

#[test]
#[ignore = "needs curl: make test"]
fn curl_detects_a_truncated_download_and_accepts_a_complete_one() {
    let server = TestServer::start();
    let curl = |url: &str| {
        let run = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", url])
            .status();
        run.unwrap().code()
    };
    assert_eq!(curl(&failing_link(&server, 500_000)), Some(56));
    assert_eq!(curl(&failing_link(&server, 2_000_000)), Some(0));
}

#[test]
fn the_first_rows_arrive_before_the_query_ends() {
    // Row 2,000 takes forever. The rows before it must not wait for it.
    let sql = format!(
        "with recursive m(j) as (select 1 union all select j + 1 from m where j < 2000)\n\
         select j, case when j = 2000 then ({}) end as n, :user as user from m",
        ENDLESS.replace(", :user as user", "")
    );
    let server = TestServer::with_exports(vec![("slow.sql", &sql)]);
    let url = server.link(json!({"export": "slow", "format": "csv"}));
    let mut stream = begin(&url);
    let mut received = Vec::new();
    let mut buffer = [0; 65536];
    while !String::from_utf8_lossy(&received).contains("\r\n1999,,alice\r\n") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the stream ended");
        received.extend_from_slice(&buffer[..count]);
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_terminated_server_finishes_its_downloads() {
    let rowlink = Rowlink::serve(&crate::harness::exports());
    let url = rowlink.link(json!({
        "export": "numbers", "format": "csv", "filters": {"n": 1_000_000},
    }));
    let mut stream = begin(&url);
    let mut received = vec![0; 100_000];
    stream.read_exact(&mut received).unwrap();
    rowlink.terminate();
    wait_for("the closed listener", Duration::from_secs(10), || {
        TcpStream::connect(parts(&url).0).is_err()
    });
    stream.read_to_end(&mut received).unwrap();
    let text = String::from_utf8_lossy(&received);
    assert!(text.contains("\r\n1000000,,row 1000000 of alice\r\n"));
    assert!(is_whole(&received), "no final chunk came");
    let log = rowlink.stop();
    assert!(log.contains("outcome=\"complete\""), "{log}");
}

#[test]
fn http_1_0_is_refused_because_truncation_would_be_invisible() {
    let server = TestServer::start();
    let url = failing_link(&server, 2_000_000);
    let (address, target) = parts(&url);
    for method in ["GET", "HEAD", "POST"] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "{method} {target} HTTP/1.0\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap();
        assert_eq!(status, "505", "{answer}");
        assert_eq!(
            answer.contains("http-version-not-supported"),
            method != "HEAD",
            "{answer}"
        );
    }
}
