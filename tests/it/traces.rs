//! Exported traces, decoded with the OpenTelemetry schema.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::Rowlink;
use crate::harness::{Call, begin_with, exports, python, wait_for};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that receives OTLP over HTTP.
struct Collector {
    endpoint: String,
    received: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, received) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                sender.send(receive_request(stream.unwrap())).unwrap();
            }
        });
        Collector { endpoint, received }
    }

    /// Stops the server, which then sends its remaining spans; returns all spans and its log.
    fn spans_of(self, rowlink: Rowlink) -> (Vec<Value>, String) {
        let log = rowlink.stop();
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        while let Ok((head, body)) = self.received.recv_timeout(Duration::from_millis(500)) {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
            let path = folder.path().join(paths.len().to_string());
            fs::write(&path, body).unwrap();
            paths.push(path);
        }
        let paths: Vec<&OsStr> = paths.iter().map(|path| path.as_os_str()).collect();
        let spans = serde_json::from_str(&python("read_spans.py", &paths)).unwrap();
        (spans, log)
    }
}

/// Reads a request, responds with 200, and returns head and body.
fn receive_request(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0);
    }
    let length = head.to_lowercase();
    let length = length
        .split("content-length: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    (head, body)
}

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// Returns the span of this name in the caller's trace.
fn span_named<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    let mut of_trace = spans.iter().filter(|span| span["trace"] == TRACE);
    let found = of_trace.find(|span| span["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

#[test]
#[ignore = "needs Python packages: make test"]
fn spans_join_the_callers_trace_include_the_download_and_have_no_query_string() {
    let collector = Collector::start();
    let variables = [("ROWLINK_OTLP_ENDPOINT", collector.endpoint.as_str())];
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    let link = json!({"export": "numbers", "format": "csv", "filters": {"n": 5000}});
    let answer = Call::new("GET", rowlink.link(link))
        .header("traceparent", traceparent())
        .send();
    for path in ["/v1/exports", "/v1/exports/numbers"] {
        let call = Call::new("GET", format!("{}{path}", rowlink.origin()));
        call.header("traceparent", traceparent()).send();
    }
    let (spans, _) = collector.spans_of(rowlink);
    span_named(&spans, "GET /v1/exports");
    span_named(&spans, "GET /v1/exports/{export}");
    let request = span_named(&spans, "GET /v1/exports/{export}.{format}");
    assert_eq!(
        (&request["parent"], &request["service"]),
        (&json!(PARENT), &json!("rowlink"))
    );
    let attributes = &request["attributes"];
    assert_eq!(attributes["http.route"], "/v1/exports/{export}.{format}");
    assert_eq!(attributes["http.response.status_code"], 200);
    assert_eq!(attributes["request_id"], answer.header("x-request-id"));
    let download = span_named(&spans, "download");
    assert_eq!(download["parent"], request["span"]);
    assert_eq!(
        (
            &download["attributes"]["rows"],
            &download["attributes"]["outcome"]
        ),
        (&json!(5000), &json!("complete"))
    );
    assert!(
        spans
            .iter()
            .any(|span| span["name"] == "POST /v1/links" && span["trace"] != TRACE)
    );
    let text = json!(spans).to_string();
    assert!(
        !text.contains("rl_") && !text.contains("signature"),
        "{text}"
    );
}

#[test]
#[ignore = "needs Python packages: make test"]
fn a_client_that_disconnects_before_its_response_is_traced_with_its_request_id() {
    let collector = Collector::start();
    let silent = "with recursive i(n) as (select 1 union all select n + 1 from i) \
                  select count(*) as n from i where :user = 'alice'";
    let variables = [("ROWLINK_OTLP_ENDPOINT", collector.endpoint.as_str())];
    let rowlink = Rowlink::serve_with(&[("silent.sql", silent)], &variables);
    let link = rowlink.link(json!({"export": "silent", "format": "csv"}));
    let wait_for_metric = |metric: &str| {
        let url = format!("{}/metrics", rowlink.origin());
        wait_for(metric, Duration::from_secs(10), || {
            Call::new("GET", &url).send().text().contains(metric)
        });
    };
    let client = begin_with(&link, &format!("traceparent: {}\r\n", traceparent()));
    wait_for_metric("rowlink_downloads_in_flight 1");
    drop(client);
    wait_for_metric("outcome=\"client_gone\"} 1");
    let (spans, log) = collector.spans_of(rowlink);
    let request = span_named(&spans, "GET /v1/exports/{export}.{format}");
    let attributes = &request["attributes"];
    let id = attributes["request_id"].as_str().unwrap();
    assert!(log.contains(id), "{id} is not in {log}");
    assert!(
        attributes["http.response.status_code"].is_null(),
        "{request}"
    );
    let outcome = &span_named(&spans, "download")["attributes"]["outcome"];
    assert_eq!(outcome, "client_gone");
}
