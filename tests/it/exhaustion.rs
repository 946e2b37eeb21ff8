//! Clients without a credential that take what they can: connections, memory and time.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rowlink::http::{ConnectionLimits, HttpConfig};

use crate::harness::command::free_port;
use crate::harness::process::{Rowlink, command, configured_folder, send_signal};
use crate::harness::{Call, TestServer, exports, parts, wait_for};

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

fn connect(origin: &str) -> TcpStream {
    let stream = TcpStream::connect(parts(&format!("{origin}/")).0).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
}

/// Reads a response whose body is a JSON object.
fn read_json(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
    }
}

/// Waits until the server ends the connection; returns how long that took.
fn time_until_end(stream: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => begun.elapsed(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => begun.elapsed(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn an_unfinished_head_ends_its_connection_within_ten_seconds_first_or_not() {
    let server = TestServer::start();
    let unfinished = ["G", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", "\r\n"];
    let mut held: Vec<TcpStream> = Vec::new();
    for requests in [0, 1, 2] {
        for rest in unfinished {
            let mut stream = connect(&server.origin);
            for _ in 0..requests {
                stream.write_all(HEALTHZ.as_bytes()).unwrap();
                read_json(&mut stream);
            }
            stream.write_all(rest.as_bytes()).unwrap();
            held.push(stream);
        }
    }
    // A byte now and then is not progress.
    let mut trickling = connect(&server.origin);
    trickling.write_all(HEALTHZ.as_bytes()).unwrap();
    read_json(&mut trickling);
    let begun = Instant::now();
    trickling
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    wait_for(
        "the end of a trickling client",
        Duration::from_secs(14),
        || {
            let _ = trickling.write_all(b"x");
            match trickling.read(&mut [0; 1024]) {
                Ok(count) => count == 0,
                Err(error) => error.kind() == ErrorKind::ConnectionReset,
            }
        },
    );
    assert!(begun.elapsed() > Duration::from_secs(3));
    for mut stream in held {
        let waited = time_until_end(&mut stream) + begun.elapsed();
        assert!(waited < Duration::from_secs(15), "{waited:?}");
    }
}

#[test]
fn a_body_that_nobody_reads_is_not_read_without_limit() {
    let server = TestServer::start();
    for (target, status) in [
        ("/v1/links", "401"),
        ("/nowhere", "404"),
        ("/v1/exports", "405"),
    ] {
        let mut stream = connect(&server.origin);
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
             Content-Type: application/json\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer[9..], status.as_bytes());
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        let mut sent = 0;
        while sent < 100 << 20 && stream.write_all(&chunk).is_ok() {
            sent += chunk.len();
        }
        // The sockets' buffers hold most of it.
        assert!(sent < 16 << 20, "{target}: {sent} bytes");
    }
}

#[test]
fn a_client_that_pipelines_and_reads_nothing_holds_little_memory() {
    let rowlink = Rowlink::serve(&exports());
    let before = rowlink.resident_kib();
    let request = "GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let held: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = connect(rowlink.origin());
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut health = connect(rowlink.origin());
    health.write_all(HEALTHZ.as_bytes()).unwrap();
    read_json(&mut health);
    let mut last = 0;
    wait_for("memory that does not grow", Duration::from_secs(30), || {
        std::thread::sleep(Duration::from_millis(300));
        std::mem::replace(&mut last, rowlink.resident_kib()) == rowlink.resident_kib()
    });
    let each = last.saturating_sub(before) / held.len() as u64;
    println!("{each} KiB for each connection");
    // The responses have 7 MB. How far buffers have grown depends on how the size of one fits them.
    assert!(each < 400, "{each} KiB");
}

#[test]
fn connections_have_a_limit_per_client_and_the_operators_port_answers_beyond_it() {
    let operators = format!("127.0.0.1:{}", free_port());
    let variables = [
        ("ROWLINK_MAX_CONNECTIONS_PER_CLIENT", "20"),
        ("ROWLINK_METRICS_BIND", &operators),
    ];
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    let mut held: Vec<TcpStream> = (0..20).map(|_| connect(rowlink.origin())).collect();
    for stream in &mut held {
        stream.write_all(HEALTHZ.as_bytes()).unwrap();
        read_json(stream);
    }
    assert!(time_until_end(&mut connect(rowlink.origin())) < Duration::from_secs(2));
    let metrics = Call::new("GET", format!("http://{operators}/metrics"));
    let metrics = metrics.send().text();
    assert!(
        metrics.contains(r#"rowlink_connections_refused_total{limit="per_client"} 1"#),
        "{metrics}"
    );
    drop(held);
    wait_for("a free connection", Duration::from_secs(5), || {
        let mut stream = connect(rowlink.origin());
        let _ = stream.write_all(HEALTHZ.as_bytes());
        stream.read(&mut [0; 100]).is_ok_and(|count| count > 0)
    });
}

#[test]
fn a_trusted_proxy_is_limited_by_the_common_limit_only() {
    let config = HttpConfig {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        connection_limits: ConnectionLimits {
            total: 5,
            per_client: 1,
        },
        ..HttpConfig::default()
    };
    let server = TestServer::with(|deployment| deployment.http_config = config);
    let mut held: Vec<TcpStream> = (0..5).map(|_| connect(&server.origin)).collect();
    for stream in &mut held {
        stream.write_all(HEALTHZ.as_bytes()).unwrap();
        read_json(stream);
    }
    assert!(time_until_end(&mut connect(&server.origin)) < Duration::from_secs(2));
}

/// A server whose log nobody reads. Killed when dropped.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_neither_requests_nor_the_shutdown() {
    let (public, operators) = (free_port(), free_port());
    let folder = configured_folder(&exports());
    let server = command(folder.path())
        .arg("serve")
        .env("ROWLINK_BIND", format!("127.0.0.1:{public}"))
        .env("ROWLINK_METRICS_BIND", format!("127.0.0.1:{operators}"))
        // Several lines per request.
        .env("ROWLINK_LOG", "info,actix_http=trace")
        .stderr(Stdio::piped())
        .spawn();
    let mut server = Unread(server.unwrap());
    wait_for("the server", Duration::from_secs(20), || {
        TcpStream::connect(("127.0.0.1", public)).is_ok()
    });
    // More lines than the pipe and the queue hold.
    let mut stream = connect(&format!("http://127.0.0.1:{public}"));
    for _ in 0..12_000 {
        stream
            .write_all(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        read_json(&mut stream);
    }
    let metrics = Call::new("GET", format!("http://127.0.0.1:{operators}/metrics"));
    let metrics = metrics.send().text();
    let refused = "rowlink_requests_refused_total{route=\"\",code=\"unknown-path\"} 12000";
    assert!(metrics.contains(refused), "{metrics}");
    let lost = metrics
        .split("rowlink_log_lines_lost_total{log=\"other\"} ")
        .nth(1);
    let lost: u64 = lost.unwrap().lines().next().unwrap().parse().unwrap();
    assert!(lost > 1000, "{lost} lines");
    send_signal(&server.0, "-TERM");
    wait_for("the end", Duration::from_secs(10), || {
        server.0.try_wait().unwrap().is_some()
    });
}

/// Returns the value of a metric.
fn metric(origin: &str, series: &str) -> u64 {
    let metrics = Call::new("GET", format!("{origin}/metrics")).send().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_request_that_has_no_valid_head_is_answered_counted_and_logged_under_one_id() {
    let rowlink = Rowlink::serve(&exports());
    let mut ids = Vec::new();
    let mut refuse = |head: &str, expected: (u16, &str)| {
        let mut stream = connect(rowlink.origin());
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (answer_head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            answer_head.starts_with(&format!("HTTP/1.1 {} ", expected.0)),
            "{answer}"
        );
        assert!(
            answer_head.contains("content-type: application/problem+json"),
            "{answer}"
        );
        assert!(
            answer_head.contains(&format!("content-length: {}\r\n", body.len())),
            "{answer}"
        );
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["code"], expected.1);
        let id = problem["request_id"].as_str().unwrap().to_owned();
        assert!(
            answer_head.contains(&format!("x-request-id: {id}")),
            "{answer}"
        );
        ids.push(id);
    };
    let malformed = (400, "malformed-request");
    for head in [
        "GE<T / HTTP/1.1\r\n\r\n",
        "GET /v1/exports/ü.csv HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/exports/orders.csv?name=\"a\" HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v1/exports/orders.csv?name=<a> HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        refuse(head, malformed);
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(140_000));
    refuse(&long, (431, "header-too-long"));
    refuse("GET / HTTP/1.1\r\nHost: ", (408, "request-too-slow"));
    // A connection on which nothing is sent is no request.
    time_until_end(&mut connect(rowlink.origin()));
    // One that is never complete, on a connection that has served another.
    let mut late = connect(rowlink.origin());
    late.write_all(HEALTHZ.as_bytes()).unwrap();
    read_json(&mut late);
    late.write_all(b"GET /").unwrap();
    time_until_end(&mut late);
    let refused = |code: &str| {
        let series = format!("rowlink_requests_refused_total{{route=\"\",code=\"{code}\"}}");
        metric(rowlink.origin(), &series)
    };
    wait_for("the metrics", Duration::from_secs(5), || {
        let codes = ["malformed-request", "header-too-long", "request-too-slow"];
        codes.map(refused) == [6, 1, 2]
    });
    let log = rowlink.stop();
    let lines = log.lines().filter(|line| line.contains("request refused"));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 9, "{log}");
    for id in ids {
        assert_eq!(log.matches(&id).count(), 1, "{id}: {log}");
    }
    for line in lines {
        assert!(
            line.contains("client=127.0.0.1") && line.contains("request_id="),
            "{line}"
        );
    }
}

#[test]
fn a_flood_of_refusals_is_counted_in_full_and_logged_in_part() {
    let rowlink = Rowlink::serve(&exports());
    let mut stream = connect(rowlink.origin());
    let begun = Instant::now();
    let forged = "/v1/exports/orders.csv?rl_user=alice&rl_issued=1&rl_expires=4000000000&rl_id=x";
    for _ in 0..2000 {
        let request = format!("GET {forged} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        read_json(&mut stream);
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let series = "rowlink_requests_refused_total{route=\"/v1/exports/{export}.{format}\",code=\"malformed-link\"}";
    assert_eq!(metric(rowlink.origin(), series), 2000);
    // The next refusal tells how many lines are missing.
    std::thread::sleep(Duration::from_millis(1100));
    Call::new("GET", format!("{}/nowhere", rowlink.origin())).send();
    let log = rowlink.stop();
    let lines = log
        .lines()
        .filter(|line| line.contains("request refused"))
        .count();
    assert!(
        (100..=100 * (seconds + 1)).contains(&lines),
        "{lines} lines in {seconds} s"
    );
    let omitted = log
        .lines()
        .filter_map(|line| line.split_once("without a line lines="));
    let omitted: usize = omitted
        .map(|(_, count)| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(lines + omitted, 2001, "{log}");
}

#[test]
#[ignore = "needs prlimit: make test"]
fn the_limit_of_open_files_is_raised_or_its_lowness_is_told() {
    for (limits, expected, warned) in [("64:9000", 9000, false), ("200:200", 200, true)] {
        let folder = configured_folder(&exports());
        let rowlink = command(folder.path());
        let variables = rowlink.get_envs();
        let mut child = Command::new("prlimit")
            .arg(format!("--nofile={limits}"))
            .arg(rowlink.get_program())
            .arg("serve")
            .env_clear()
            .envs(variables.filter_map(|(name, value)| Some((name, value?))))
            .env("ROWLINK_BIND", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("listening") {
            assert!(log.read_line(&mut text).unwrap() > 0, "{text}");
        }
        let table = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let line = table
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap();
        assert_eq!(
            line.split_whitespace().nth(3),
            Some(expected.to_string().as_str())
        );
        assert_eq!(
            text.contains("the limit of open files is too low"),
            warned,
            "{text}"
        );
        send_signal(&child, "-TERM");
        child.wait().unwrap();
    }
}
