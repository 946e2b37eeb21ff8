//! Attacks on one replica over loopback, and what they achieve: `make attack` prints the table of docs/security.md.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::harness::command::free_port;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{Call, Stop, exports, parts};
use crate::truncation::{CLIENTS, WAYS, accepts};

/// The addresses of the attackers. Genuine requests come from another one.
const ATTACKERS: [&str; 8] = [
    "127.0.1.1",
    "127.0.1.2",
    "127.0.1.3",
    "127.0.1.4",
    "127.0.1.5",
    "127.0.1.6",
    "127.0.1.7",
    "127.0.1.8",
];
/// Connections from each of them: somewhat fewer than are allowed, and together more than most machines get.
const CONNECTIONS_EACH: usize = 500;

/// A replica with an operators' port.
struct Target {
    rowlink: Rowlink,
    operators: String,
    idle_mib: u64,
}

impl Target {
    fn start() -> Target {
        Target::serve(&exports(), &[])
    }

    fn serve(exports: &[(&str, &str)], variables: &[(&str, &str)]) -> Target {
        let operators = format!("127.0.0.1:{}", free_port());
        let mut all = vec![("ROWLINK_METRICS_BIND", operators.as_str())];
        all.extend(variables);
        let rowlink = Rowlink::serve_with(exports, &all);
        let url = rowlink.link(small());
        assert_eq!(Call::new("GET", url).send().status, 200);
        Target {
            idle_mib: rowlink.resident_kib() / 1024,
            rowlink,
            operators,
        }
    }

    fn peak(&self) -> String {
        format!("{} → {} MiB", self.idle_mib, self.rowlink.peak_kib() / 1024)
    }

    fn connect(&self, from: &str) -> TcpStream {
        let to: SocketAddr = parts(&format!("{}/", self.rowlink.origin()))
            .0
            .parse()
            .unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from: SocketAddr = format!("{from}:0").parse().unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }

    /// Opens as many connections as the attackers have, and sends the same on each.
    fn hold(&self, bytes: &[u8]) -> Vec<TcpStream> {
        let mut held = Vec::new();
        for from in ATTACKERS {
            for _ in 0..CONNECTIONS_EACH {
                let mut stream = self.connect(from);
                let _ = stream.write_all(bytes);
                held.push(stream);
            }
        }
        held
    }

    /// Returns the longest time of a genuine download and of a probe while something happens.
    fn meanwhile(&self, attack: impl FnOnce()) -> (Duration, Duration) {
        let stopped = AtomicBool::new(false);
        let mut longest = Duration::ZERO;
        let mut longest_probe = Duration::ZERO;
        thread::scope(|scope| {
            let genuine = scope.spawn(|| {
                let (mut longest, mut longest_probe) = (Duration::ZERO, Duration::ZERO);
                while !stopped.load(Ordering::SeqCst) {
                    let start = Instant::now();
                    let url = self.rowlink.link(small());
                    assert_eq!(Call::new("GET", url).send().status, 200);
                    longest = longest.max(start.elapsed());
                    let start = Instant::now();
                    let probe = format!("http://{}/healthz", self.operators);
                    assert_eq!(Call::new("GET", probe).send().status, 200);
                    longest_probe = longest_probe.max(start.elapsed());
                    thread::sleep(Duration::from_millis(20));
                }
                (longest, longest_probe)
            });
            {
                let _stop = Stop(&stopped);
                attack();
            }
            (longest, longest_probe) = genuine.join().unwrap();
        });
        (longest, longest_probe)
    }
}

fn small() -> serde_json::Value {
    json!({"export": "numbers", "format": "csv", "filters": {"n": 10}})
}

/// Waits until the server has ended the connection.
fn wait_for_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // Also by a reset.
    let _ = stream.read_to_end(&mut rest);
}

/// Prints a line of the table.
fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}

#[test]
#[ignore = "takes minutes: make attack"]
fn the_replica_holds_its_limits() {
    rlimit::increase_nofile_limit(20_000).unwrap();
    println!();
    row(&[
        "attack",
        "what it achieves",
        "memory of the process",
        "slowest genuine download, probe",
    ]);
    row(&["---", "---", "---", "---"]);
    idle_connections();
    unfinished_heads();
    unread_answers();
    unread_body();
    forged_links();
    huge_rows();
    killed_downloads();
}

fn milliseconds((download, probe): (Duration, Duration)) -> String {
    format!("{}, {} ms", download.as_millis(), probe.as_millis())
}

fn idle_connections() {
    let target = Target::start();
    let mut longest = Duration::ZERO;
    let times = target.meanwhile(|| {
        let start = Instant::now();
        let held = target.hold(b"");
        held.into_iter()
            .for_each(|mut stream| wait_for_end(&mut stream));
        longest = start.elapsed();
    });
    assert!(longest < Duration::from_secs(30), "{longest:?}");
    assert!(times.0 < Duration::from_secs(2), "{times:?}");
    let achieved = format!("all are closed after {} s", longest.as_secs());
    row(&[
        "4,000 connections that send nothing",
        &achieved,
        &target.peak(),
        &milliseconds(times),
    ]);
}

fn unfinished_heads() {
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(60_000));
    let target = Target::start();
    let mut longest = Duration::ZERO;
    let times = target.meanwhile(|| {
        let start = Instant::now();
        let held = target.hold(head.as_bytes());
        held.into_iter()
            .for_each(|mut stream| wait_for_end(&mut stream));
        longest = start.elapsed();
    });
    assert!(longest < Duration::from_secs(40), "{longest:?}");
    assert!(target.rowlink.peak_kib() < 1024 * 1024);
    let achieved = format!("all are closed after {} s", longest.as_secs());
    row(&[
        "4,000 heads of 60 kB that never end",
        &achieved,
        &target.peak(),
        &milliseconds(times),
    ]);
}

fn unread_answers() {
    let requests = "GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let target = Target::start();
    let times = target.meanwhile(|| {
        let held = target.hold(requests.as_bytes());
        thread::sleep(Duration::from_secs(2));
        drop(held);
    });
    assert!(target.rowlink.peak_kib() < 1024 * 1024);
    row(&[
        "4,000 × 200 requests whose answers are not read",
        "each waits for its client",
        &target.peak(),
        &milliseconds(times),
    ]);
}

fn unread_body() {
    let target = Target::start();
    let mut accepted = 0;
    let times = target.meanwhile(|| {
        let mut stream = target.connect(ATTACKERS[0]);
        stream
            .write_all(b"POST /v1/links HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            .unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        while accepted < 1 << 30 && stream.write_all(&chunk).is_ok() {
            accepted += chunk.len();
        }
    });
    assert!(accepted < 16 << 20, "{accepted}");
    let achieved = format!(
        "the connection is closed after {} MB, most of it in the sockets",
        accepted / 1_000_000
    );
    row(&[
        "an endless body without a credential",
        &achieved,
        &target.peak(),
        &milliseconds(times),
    ]);
}

/// Changes a byte of the query of a genuine link. The same number gives the same change.
fn forged(link: &str, number: usize) -> String {
    let query = link.find('?').unwrap() + 1;
    let mut bytes = link.as_bytes().to_vec();
    let at = query + (number * 7919) % (bytes.len() - query);
    let with = b"0123456789abcdefABCDEF&=%-_.~xyz"[number % 32];
    match number % 3 {
        0 if bytes[at] != with => bytes[at] = with,
        1 => bytes.insert(at, with),
        _ => drop(bytes.remove(at)),
    }
    String::from_utf8(bytes).unwrap()
}

fn forged_links() {
    const LINKS: usize = 20_000;
    let target = Target::start();
    let link = target.rowlink.link(small());
    let (_, target_path) = parts(&link);
    let (mut accepted, mut elapsed) = (0, Duration::ZERO);
    let times = target.meanwhile(|| {
        let start = Instant::now();
        let mut stream = target.connect(ATTACKERS[0]);
        for number in 0..LINKS {
            let path = forged(target_path, number);
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let (status, keeps_open) = read_answer(&mut stream);
            accepted += usize::from(status < 400);
            if !keeps_open {
                stream = target.connect(ATTACKERS[0]);
            }
        }
        elapsed = start.elapsed();
    });
    assert_eq!(accepted, 0);
    let memory = target.peak();
    let log_bytes = target.rowlink.stop().len();
    let achieved = format!(
        "{accepted} are accepted in {} s; the log grows by {} kB",
        elapsed.as_secs(),
        log_bytes / 1000
    );
    row(&[
        "20,000 changed links",
        &achieved,
        &memory,
        &milliseconds(times),
    ]);
}

/// Reads a response with a length; returns its status and whether the connection stays open.
fn read_answer(stream: &mut TcpStream) -> (u16, bool) {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        let status = || {
            text.get(9..12)
                .and_then(|status| status.parse().ok())
                .unwrap_or(0)
        };
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            match count {
                0 => return (status(), false),
                _ => continue,
            }
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        // Only a file has no length, and then the link was accepted.
        let Some(length) = length else {
            return (status(), false);
        };
        if body.len() >= length || count == 0 {
            return (status(), count > 0 && !head.contains("connection: close"));
        }
    }
}

fn huge_rows() {
    let url = Cluster::shared().database("attack_rows", "create table nothing (n int)");
    let sql = "select n, case n when 2 then repeat('x', 600 << 20) else '-' end as cell \
               from generate_series(1, 10) as n where :user = 'alice'";
    let sql = format!("/*---\ndatabase = 'big'\n---*/\n{sql}");
    let mut all = exports();
    all.push(("huge.sql", &sql));
    let databases = format!("big={url}");
    let target = Target::serve(&all, &[("ROWLINK_DATABASES", &databases)]);
    let times = target.meanwhile(|| {
        let url = target
            .rowlink
            .link(json!({"export": "huge", "format": "csv"}));
        assert_eq!(
            Call::new("GET", url).send().problem(),
            (422, "row-too-large".into())
        );
    });
    assert!(target.rowlink.peak_kib() / 1024 < target.idle_mib + 64);
    row(&[
        "a row of 600 MB",
        "422, with its row and column",
        &target.peak(),
        &milliseconds(times),
    ]);
}

fn killed_downloads() {
    const TIMES: usize = 5;
    let endless =
        json!({"export": "numbers", "format": "csv", "filters": {"n": 9_000_000_000_u64}});
    for (client, command) in CLIENTS {
        let counts: Vec<String> = WAYS
            .iter()
            .map(|(way, proxy)| {
                let accepted = (0..TIMES)
                    .filter(|_| accepts(command, *proxy, endless.clone()))
                    .count();
                format!("{way} {accepted} of {TIMES}")
            })
            .collect();
        let attack = format!("`kill -9` under downloads by {client}");
        let achieved = format!("truncated files that it accepts: {}", counts.join(", "));
        row(&[&attack, &achieved, "", ""]);
    }
}
