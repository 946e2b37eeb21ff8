//! A server to test against, and a client that checks every response against `openapi.yaml`.

pub mod command;
mod contract;
pub mod mariadb;
pub mod mcp;
pub mod mysql;
pub mod object_store;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod replicas;
mod server;
pub mod tls;

pub use contract::Contract;
pub use server::{
    API_KEY, Deployment, JWT_SECRET, SIGNING_KEY, TestServer, UNLIMITED, exports, hs256_issuer,
    sample_database, sqlite, sqlite_url, token, token_for,
};

use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use command::run;

/// Defines each test for SQLite, and for the servers with a database of this name. The module has the functions
/// `sqlite` and `servers`, and one for each test, which takes what these return. An attribute is that of the test for SQLite.
macro_rules! database_tests {
    ($($(#[$ignore:meta])? $name:ident in $database:literal;)*) => {
        mod sqlite {
            $(
                #[test]
                $(#[$ignore])?
                fn $name() {
                    super::$name(super::sqlite());
                }
            )*
        }

        mod servers {
            $(
                #[test]
                #[ignore = "needs PostgreSQL and MariaDB: make test"]
                fn $name() {
                    super::servers($database).into_iter().for_each(super::$name);
                }
            )*
        }
    };
}
pub(crate) use database_tests;

/// A response with its complete body.
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

    /// Returns the status and the problem's code.
    pub fn problem(&self) -> (u16, String) {
        (
            self.status,
            self.json()["code"].as_str().unwrap_or("none").to_owned(),
        )
    }

    /// Returns the fields that a 422 names.
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

    /// Returns the rows of a CSV file, including the header, as parsed by the `csv` crate.
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

/// A request builder.
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

    /// Sends the request and checks the response against the contract.
    pub fn send(self) -> Answer {
        let (method, path) = (self.method, response_path(&self.url));
        let answer = self.send_elsewhere();
        Contract::shared().check(method, &path, &answer);
        answer
    }

    /// Sends the request to another server than Rowlink.
    pub fn send_elsewhere(self) -> Answer {
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
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: body.unwrap_or_else(|error| panic!("{}: {error}", self.url)),
        }
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

/// Runs a future to completion in a synchronous test.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// Sets a flag when dropped, so that other threads stop even if the test fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits for a condition and returns the time that took. Panics after `limit`.
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

/// Returns a counter or gauge of a server, and 0 if it has no value yet.
pub fn metric(origin: &str, name: &str) -> u64 {
    let text = Call::new("GET", format!("{origin}/metrics")).send().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|value| value.trim().parse().ok());
    value.unwrap_or(0)
}

/// Sends a `GET` and leaves the response unread.
pub fn begin(url: &str) -> TcpStream {
    begin_with(url, "")
}

/// Like [`begin`], with further header lines.
pub fn begin_with(url: &str, headers: &str) -> TcpStream {
    let (address, target) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").unwrap();
    stream
}

/// Requests a file that the server aborts, and returns what arrives. Panics unless the connection is reset.
pub fn read_aborted(url: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    let ended = begin(url).read_to_end(&mut answer);
    let error = ended.expect_err("the file ended in good order");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    answer
}

/// Decodes a chunked response that starts with its head. Returns the content of the complete chunks and whether the
/// final chunk is present.
pub fn unchunked(answer: &[u8]) -> (Vec<u8>, bool) {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let mut rest = head.map_or(&[][..], |end| &answer[end + 4..]);
    let mut content = Vec::new();
    while let Some((chunk, following)) = next_chunk(rest) {
        if chunk.is_empty() {
            return (content, true);
        }
        content.extend_from_slice(chunk);
        rest = following;
    }
    (content, false)
}

/// Returns the content of chunks without the head, of which the last one is incomplete.
pub fn start_of_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(line) = rest.windows(2).position(|it| it == b"\r\n") {
        let length = std::str::from_utf8(&rest[..line]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        rest = &rest[line + 2..];
        content.extend_from_slice(&rest[..length.min(rest.len())]);
        rest = rest.get(length + 2..).unwrap_or_default();
    }
    content
}

/// Returns the next chunk and the rest, if the chunk is complete.
fn next_chunk(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
    let length = std::str::from_utf8(&rest[..line]).unwrap();
    let length = usize::from_str_radix(length, 16).unwrap();
    let (chunk, following) = rest[line + 2..].split_at_checked(length + 2)?;
    Some((&chunk[..length], following))
}

/// Returns whether a chunked response has its final chunk.
pub fn is_whole(answer: &[u8]) -> bool {
    unchunked(answer).1
}

/// Runs a task in Chromium and returns its result.
pub fn browse(task: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/run.mjs");
    let result = run(Command::new("node")
        .arg(script)
        .arg(task.to_string())
        .arg(tool("browser")));
    serde_json::from_slice(&result.stdout).unwrap()
}

/// Runs a Python script of this folder and returns its output. Panics if it fails.
pub fn python(script: &str, arguments: &[&OsStr]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let printed = run(Command::new(tool("venv").join("bin/python"))
        .arg(folder.join(script))
        .args(arguments));
    String::from_utf8(printed.stdout).unwrap()
}

/// Returns a workbook as the independent readers parse it. Panics if one of them reports an error.
pub fn read_workbook(workbook: &[u8]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("book.xlsx");
    std::fs::write(&path, workbook).unwrap();
    let workbook: Value = serde_json::from_str(&python(
        "read_workbook.py",
        &["json".as_ref(), path.as_ref()],
    ))
    .unwrap();
    assert_eq!(workbook["errors"], json!([]));
    workbook
}

/// Returns the path of a tool that `make setup` installs.
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

/// Splits a URL into its address and target.
pub fn parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split_at(rest.find('/').unwrap())
}

/// Builds the client package and its React example once; returns the folder.
pub fn client_package() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js");
        assert!(
            folder.join("node_modules").exists(),
            "run `make setup` first"
        );
        run(Command::new("npm")
            .args(["run", "build", "--include-workspace-root"])
            .args(["--workspace", "examples/react"])
            .current_dir(&folder));
        folder
    })
}

/// Builds the client package and this example of it.
pub fn client_example(name: &str) {
    run(Command::new("npm")
        .args(["run", "build", "--workspace"])
        .arg(format!("examples/{name}"))
        .current_dir(client_package()));
}
