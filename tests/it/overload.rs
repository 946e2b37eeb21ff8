//! Overload: excess requests get 503 immediately, and replicas recover.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::command::run;
use crate::harness::process::Rowlink;
use crate::harness::{Call, begin, exports, wait_for};

/// Reads the head of a response; returns its status and text.
pub fn head(stream: &TcpStream) -> (u16, String) {
    let mut lines = BufReader::new(stream.take(16 * 1024));
    let mut head = String::new();
    while lines.read_line(&mut head).unwrap() > 2 {}
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}")), head)
}

#[test]
fn with_a_limit_of_twenty_180_of_200_downloads_get_503_immediately() {
    let rowlink = Rowlink::serve_with(&exports(), &[("ROWLINK_MAX_DOWNLOADS", "20")]);
    let endless = json!({"export": "numbers", "format": "csv", "filters": {"n": 9_000_000_000u64}});
    let links: Vec<String> = (0..200).map(|_| rowlink.link(endless.clone())).collect();
    let before = rowlink.resident_kib();
    let readers: Vec<_> = links
        .into_iter()
        .map(|link| {
            thread::spawn(move || {
                let begun = Instant::now();
                let stream = begin(&link);
                let (status, head) = head(&stream);
                (status, head.to_lowercase(), begun.elapsed(), stream)
            })
        })
        .collect();
    let answers: Vec<_> = readers.into_iter().map(|it| it.join().unwrap()).collect();
    let (running, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.0 == 200);
    assert_eq!((running.len(), refused.len()), (20, 180));
    for (status, head, elapsed, _) in &refused {
        assert!(
            *status == 503 && head.contains("\r\nretry-after: "),
            "{head}"
        );
        assert!(*elapsed < Duration::from_secs(5), "{elapsed:?}");
    }
    // The twenty are not read, so each has reached its maximum memory.
    let grown = rowlink.resident_kib().saturating_sub(before);
    println!("20 of 200 downloads run in {grown} KiB");
    assert!(grown < 20 * 2 * 1024 + 8 * 1024, "{grown} KiB");
    let begun = Instant::now();
    rowlink.link(endless.clone());
    println!("issuing a link meanwhile took {:?}", begun.elapsed());
    drop(answers);
    let small = json!({"export": "numbers", "format": "csv", "filters": {"n": 1}});
    let url = rowlink.link(small);
    wait_for("a free slot", Duration::from_secs(10), || {
        Call::new("GET", url.clone()).send().status == 200
    });
}

#[test]
#[ignore = "needs prlimit: make test"]
fn a_replica_recovers_within_seconds_from_running_out_of_descriptors() {
    let rowlink = Rowlink::serve(&exports());
    run(Command::new("prlimit").args(["--pid", &rowlink.pid().to_string(), "--nofile=64:64"]));
    let address = rowlink.origin().strip_prefix("http://").unwrap();
    let held: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    wait_for("the last descriptor", Duration::from_secs(10), || {
        rowlink.descriptors() >= 64
    });
    drop(held);
    let link = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        std::io::Write::write_all(
            &mut stream,
            b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 200")
    };
    let recovery = wait_for("a replica that serves", Duration::from_secs(5), link);
    println!("recovered after {recovery:?}");
}
