//! A server to test against, and a client that holds every answer against `openapi.yaml`.

mod contract;
pub mod postgres;
pub mod process;
mod server;

pub use contract::Contract;
pub use server::{
    API_KEY, Deployment, JWT_SECRET, SIGNING_KEY, TestServer, exports, sample_database, sqlite,
    sqlite_url, token, token_for,
};

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no header {name}"))
            .to_str()
            .unwrap()
    }

    /// The problem's code, after its status.
    pub fn problem(&self) -> (u16, String) {
        (
            self.status,
            self.json()["code"].as_str().unwrap_or("none").to_owned(),
        )
    }

    /// The fields that a 422 names.
    pub fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The rows of a CSV file, header included, as an independent reader sees them.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(self.body.as_slice());
        let records = reader.records().map(Result::unwrap);
        records
            .map(|record| record.iter().map(str::to_owned).collect())
            .collect()
    }
}

/// A request in the making.
pub struct Call {
    method: &'static str,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    pub fn new(method: &'static str, url: impl Into<String>) -> Call {
        let url = url.into();
        Call {
            method,
            url,
            headers: Vec::new(),
            body: None,
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Call {
        self.headers.push((name, value.into()));
        self
    }

    pub fn bearer(self, token: &str) -> Call {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Call {
        self.body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.body = Some(body.into());
        self
    }

    /// Sends it; checks the answer against the contract.
    pub fn send(self) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(self.method)
            .uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let sent = match self.body {
            Some(body) => agent().run(request.body(body).unwrap()),
            None => agent().run(request.body(()).unwrap()),
        };
        let mut response = sent.unwrap_or_else(|error| panic!("{}: {error}", self.url));
        let body = response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_vec();
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.unwrap_or_else(|error| panic!("{}: {error}", self.url)),
        };
        let path = response_path(&self.url);
        Contract::shared().check(self.method, &path, &answer);
        answer
    }
}

fn response_path(url: &str) -> String {
    let after_scheme = url.split_once("://").unwrap().1;
    let target = &after_scheme[after_scheme.find('/').unwrap_or(after_scheme.len())..];
    target.split('?').next().unwrap().to_owned()
}

fn agent() -> &'static ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(None)
            .build()
            .into()
    })
}

/// Waits for a condition; returns how long that took.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < limit,
            "{what} did not happen within {limit:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// Asks for a file as a client that then reads as it likes, or not at all.
pub fn begin(url: &str) -> TcpStream {
    let (address, target) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream
}

/// Whether a chunked answer, read until its connection closed, has its final chunk. The line break
/// before it counts: a chunk of rows may end with a 0 as well.
pub fn is_whole(answer: &[u8]) -> bool {
    answer.ends_with(b"\r\n0\r\n\r\n")
}

/// What `make setup` installs for the tests.
pub fn tool(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("target/test-tools")
        .join(name);
    assert!(
        path.exists(),
        "run `make setup` first: {} is missing",
        path.display()
    );
    path
}

/// The address and the target of a URL.
pub fn parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap())
}
