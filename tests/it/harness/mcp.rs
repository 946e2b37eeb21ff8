//! `rowlink mcp` as a process, and clients that speak JSON-RPC over standard input and output or HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::unchunked;

/// The revision of the specification that the clients speak.
const REVISION: &str = "2025-06-18";

/// Returns `rowlink mcp` with only these variables.
pub fn mcp_command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    command.arg("mcp").env_clear();
    command.envs(variables.iter().copied());
    command
}

/// A server that speaks over standard input and output, after the handshake.
pub struct McpProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    requests: u64,
}

impl McpProcess {
    /// Starts a server for a deployment, with a token.
    pub fn start(url: &str, token: &str) -> McpProcess {
        McpProcess::with(&[("ROWLINK_URL", url), ("ROWLINK_TOKEN", token)])
    }

    /// Starts a server with these variables.
    pub fn with(variables: &[(&str, &str)]) -> McpProcess {
        let mut child = mcp_command(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = McpProcess {
            child,
            input,
            output,
            requests: 0,
        };
        let client = json!({"name": "rowlink-tests", "version": "1"});
        let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client});
        let answer = process.request("initialize", hello);
        assert_eq!(
            answer["result"]["serverInfo"]["name"], "rowlink",
            "{answer}"
        );
        process.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        process
    }

    /// Sends a request and returns the response.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        assert_eq!(answer["id"], json!(id), "{answer}");
        answer
    }

    /// Calls a tool and returns its result.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({"name": tool, "arguments": arguments}));
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    /// Calls a tool and returns its structured content. Panics if the call fails.
    pub fn content(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], json!(false), "{result}");
        result["structuredContent"].clone()
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    /// Ends its standard input; returns whether it ended in good order, and what it printed on standard error.
    pub fn stop(mut self) -> (bool, String) {
        drop(self.input);
        let status = self.child.wait().unwrap();
        let mut printed = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_string(&mut printed).unwrap();
        (status.success(), printed)
    }
}

/// A server that speaks over HTTP, on a free port.
pub struct McpOverHttp {
    child: Child,
    address: String,
}

impl McpOverHttp {
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> McpOverHttp {
        let mut child = mcp_command(variables)
            .arg("--http=127.0.0.1:0")
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let errors = child.stderr.take().unwrap();
        BufReader::new(errors).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1);
        let address = address.and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        McpOverHttp { child, address }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request with these header lines, of which one is `Host`; returns the status and the body.
    pub fn post(&self, headers: &str, method: &str, params: &Value) -> (u16, String) {
        let message =
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\n{headers}MCP-Protocol-Version: {REVISION}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{message}",
            message.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match head.to_lowercase().contains("chunked") {
            true => unchunked(&answer).0,
            false => answer[end + 4..].to_vec(),
        };
        (status, String::from_utf8(body).unwrap())
    }

    /// Calls a tool with these header lines besides `Host`, and returns its result.
    pub fn call(&self, headers: &str, tool: &str, arguments: Value) -> Value {
        let headers = format!("Host: {}\r\n{headers}", self.address);
        let params = json!({"name": tool, "arguments": arguments});
        let (status, body) = self.post(&headers, "tools/call", &params);
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }
}

impl Drop for McpOverHttp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
