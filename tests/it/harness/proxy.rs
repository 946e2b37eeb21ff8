//! Proxies in front of replicas, with the configurations of `deploy/`.

use std::fmt;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::command::{free_port, own_by_postgres, run, unprivileged};
use super::process::{FAR_FUTURE, PUBLIC_URL, send_signal};
use super::{token_for, tool, wait_for};

/// The access log of the shipped nginx configuration. Envoy's standard output goes to the same file.
const LOG: &str = "rowlink.log";

/// The time-out for reading from replicas in the shipped configurations.
const SHIPPED_READ_SECONDS: u32 = 960;

/// A running nginx, HAProxy or Envoy in front of replicas.
pub struct Proxy {
    pub name: &'static str,
    pub protocol: Protocol,
    child: Child,
    port: u16,
    folder: TempDir,
}

/// The protocol between clients and the proxy, without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A finished or failed download by curl.
pub struct Download {
    pub accepted_as_complete: bool,
    /// The error output of curl.
    pub error: String,
    folder: TempDir,
}

impl Download {
    /// Returns the SHA-256 of the received bytes.
    pub fn sha256(&self) -> String {
        let content = fs::read(self.folder.path().join("file.csv"));
        hex::encode(Sha256::digest(content.unwrap_or_default()))
    }

    /// Returns whether `rowlink check-file` accepts the integrity line.
    pub fn integrity_line_matches(&self) -> bool {
        let file = self.folder.path().join("file.csv");
        let check = Command::new(env!("CARGO_BIN_EXE_rowlink"))
            .arg("check-file")
            .arg(file)
            .output();
        check.unwrap().status.success()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}", self.name, self.protocol)
    }
}

impl Proxy {
    /// Starts nginx with `deploy/nginx/rowlink.conf` and these replicas.
    pub fn nginx(replicas: &[u16], protocol: Protocol) -> Proxy {
        Proxy::start_nginx(replicas, protocol, SHIPPED_READ_SECONDS)
    }

    fn start_nginx(replicas: &[u16], protocol: Protocol, read_seconds: u32) -> Proxy {
        let listen = match protocol {
            Protocol::Http1 => "listen 127.0.0.1:PORT;",
            Protocol::Http2 => "listen 127.0.0.1:PORT http2;",
        };
        let shipped = at_replicas(&shipped("nginx/rowlink.conf", read_seconds), replicas)
            .replace("listen 8080;", listen)
            .replace("/var/log/nginx/", "FOLDER/");
        let config = format!(
            "daemon off; pid FOLDER/pid; error_log FOLDER/start.log;
             events {{ worker_connections 4096; }}
             http {{
                 client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/f;
                 uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
                 {shipped}
             }}"
        );
        Proxy::start("nginx", protocol, &["-c"], &config)
    }

    /// Starts HAProxy with `deploy/haproxy/haproxy.cfg` and these replicas.
    pub fn haproxy(replicas: &[u16], protocol: Protocol) -> Proxy {
        Proxy::start_haproxy(replicas, protocol, SHIPPED_READ_SECONDS)
    }

    fn start_haproxy(replicas: &[u16], protocol: Protocol, read_seconds: u32) -> Proxy {
        let bind = match protocol {
            Protocol::Http1 => "bind 127.0.0.1:PORT",
            Protocol::Http2 => "bind 127.0.0.1:PORT proto h2",
        };
        let config = at_replicas(&shipped("haproxy/haproxy.cfg", read_seconds), replicas)
            .replace("bind :8080", bind)
            .replace("maxconn 4000", "maxconn 400");
        Proxy::start("haproxy", protocol, &["-f"], &config)
    }

    /// Starts Envoy with `deploy/envoy/envoy.yaml` and these replicas. Envoy detects the client's protocol.
    pub fn envoy(replicas: &[u16], protocol: Protocol) -> Proxy {
        Proxy::start_envoy(replicas, protocol, SHIPPED_READ_SECONDS)
    }

    fn start_envoy(replicas: &[u16], protocol: Protocol, read_seconds: u32) -> Proxy {
        let endpoint =
            "- endpoint: { address: { socket_address: { address: rowlink, port_value: 8080 } } }";
        let listener = "address: 0.0.0.0, port_value: 8080";
        let shipped = shipped("envoy/envoy.yaml", read_seconds);
        assert!(shipped.contains(endpoint) && shipped.contains(listener));
        let at = |port: &u16| {
            endpoint
                .replace("rowlink", "127.0.0.1")
                .replace("8080", &port.to_string())
        };
        let endpoints: Vec<String> = replicas.iter().map(at).collect();
        let config = shipped
            .replace(endpoint, &endpoints.join("\n              "))
            .replace(listener, "address: 127.0.0.1, port_value: PORT");
        // Several instances run concurrently, and the tests read the log soon.
        let arguments =
            "--log-level warning --disable-hot-restart --file-flush-interval-msec 100 -c";
        let arguments: Vec<&str> = arguments.split(' ').collect();
        Proxy::start("envoy", protocol, &arguments, &config)
    }

    /// Starts each proxy with each protocol.
    pub fn all(replicas: &[u16]) -> Vec<Proxy> {
        Proxy::all_with_read_timeout(replicas, SHIPPED_READ_SECONDS)
    }

    /// Starts each proxy with each protocol, and another time-out for reading from replicas.
    pub fn all_with_read_timeout(replicas: &[u16], seconds: u32) -> Vec<Proxy> {
        let starts = [Proxy::start_nginx, Proxy::start_haproxy, Proxy::start_envoy];
        let protocols = [Protocol::Http1, Protocol::Http2].into_iter();
        let proxies =
            protocols.flat_map(|protocol| starts.map(|start| start(replicas, protocol, seconds)));
        proxies.collect()
    }

    /// Starts a proxy. `arguments` precede the name of its configuration file.
    fn start(name: &'static str, protocol: Protocol, arguments: &[&str], config: &str) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        own_by_postgres(folder.path());
        let port = free_port();
        let config = config.replace("FOLDER", folder.path().to_str().unwrap());
        let file = folder.path().join("config.yaml");
        fs::write(&file, config.replace("PORT", &port.to_string())).unwrap();
        own_by_postgres(&file);
        let log = folder.path().join(LOG);
        let output = File::create(&log).unwrap();
        own_by_postgres(&log);
        let child = unprivileged(&program(name, folder.path()))
            .args(arguments)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut proxy = Proxy {
            name,
            protocol,
            child,
            port,
            folder,
        };
        wait_for("the proxy", Duration::from_secs(10), || {
            let stderr = || fs::read_to_string(proxy.folder.path().join("stderr")).unwrap();
            assert!(proxy.child.try_wait().unwrap().is_none(), "{}", stderr());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        proxy
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts curl with the proxy's protocol and piped output.
    pub fn curl(&self, arguments: &[&str]) -> Child {
        let protocol = match self.protocol {
            Protocol::Http1 => "--http1.1",
            Protocol::Http2 => "--http2-prior-knowledge",
        };
        Command::new("curl")
            .args(["-sS", "--fail", "--max-time", "120", protocol])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Issues a link for alice and replaces its origin with the proxy's.
    ///
    /// # Errors
    ///
    /// Returns the error output of curl if the request fails.
    pub fn issue(&self, request: &Value) -> Result<String, String> {
        let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
        let credential = format!("Authorization: Bearer {token}");
        let url = format!("{}/v1/links", self.origin());
        let body = request.to_string();
        let run = self.curl(&["-H", &credential, "-d", &body, &url]);
        let answer = run.wait_with_output().unwrap();
        if !answer.status.success() {
            return Err(String::from_utf8_lossy(&answer.stderr).into_owned());
        }
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        let url = answer["url"].as_str().unwrap();
        Ok(url.replacen(PUBLIC_URL, &self.origin(), 1))
    }

    /// Downloads a file until it is complete or fails.
    pub fn download(&self, url: &str) -> Download {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.csv");
        let curl = self.curl(&["-o", file.to_str().unwrap(), url]);
        let output = curl.wait_with_output().unwrap();
        Download {
            accepted_as_complete: output.status.success(),
            error: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder,
        }
    }

    /// Returns the access log of nginx or Envoy.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        send_signal(&self.child, "-TERM");
        let _ = self.child.wait();
    }
}

/// Returns the path of a proxy's program that an unprivileged user can execute.
fn program(name: &str, folder: &Path) -> PathBuf {
    if name != "envoy" {
        return Path::new("/usr/sbin").join(name);
    }
    let copy = folder.join(name);
    // `cp` writes the file: a child forked by another test could inherit an open descriptor (ETXTBSY).
    run(Command::new("cp").arg(tool(name)).arg(&copy));
    copy
}

fn shipped(name: &str, read_seconds: u32) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    let config = fs::read_to_string(path).unwrap();
    let read_time_out = format!("{SHIPPED_READ_SECONDS}s");
    assert!(config.contains(&read_time_out));
    config.replace(&read_time_out, &format!("{read_seconds}s"))
}

fn at_replicas(config: &str, replicas: &[u16]) -> String {
    assert_eq!(replicas.len(), 3, "the shipped files have three replicas");
    let replace_address = |config: String, (index, port): (usize, &u16)| {
        let name = format!("rowlink-{}:8080", index + 1);
        assert!(config.contains(&name), "{name}");
        config.replace(&name, &format!("127.0.0.1:{port}"))
    };
    replicas
        .iter()
        .enumerate()
        .fold(config.to_owned(), replace_address)
}
