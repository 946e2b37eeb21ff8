//! Real proxies in front of replicas, with the configurations that are shipped.

use std::fmt;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::command::{free_port, give_away, unprivileged};
use super::process::{FAR_FUTURE, PUBLIC_URL, interrupt};
use super::{token_for, wait_for};

/// nginx or HAProxy in front of replicas, running.
pub struct Proxy {
    pub name: &'static str,
    pub protocol: Protocol,
    child: Child,
    port: u16,
    folder: TempDir,
}

/// What a proxy speaks with clients, in cleartext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// What a client has, and thinks, of a file.
pub struct Download {
    pub taken_for_whole: bool,
    /// Why it is not.
    pub said: String,
    folder: TempDir,
}

impl Download {
    /// What there is of it.
    pub fn sha256(&self) -> String {
        let content = std::fs::read(self.folder.path().join("file.csv"));
        hex::encode(Sha256::digest(content.unwrap_or_default()))
    }

    /// Whether its last line proves that it is whole.
    pub fn is_proven(&self) -> bool {
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
    /// nginx as `deploy/nginx/rowlink.conf` has it, with these replicas.
    pub fn nginx(replicas: &[u16], protocol: Protocol) -> Proxy {
        let listen = match protocol {
            Protocol::Http1 => "listen 127.0.0.1:PORT;",
            Protocol::Http2 => "listen 127.0.0.1:PORT http2;",
        };
        let shipped = at_replicas(&shipped("nginx/rowlink.conf"), replicas)
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
        Proxy::start("nginx", protocol, "-c", &config)
    }

    /// HAProxy as `deploy/haproxy/haproxy.cfg` has it, with these replicas.
    pub fn haproxy(replicas: &[u16], protocol: Protocol) -> Proxy {
        let bind = match protocol {
            Protocol::Http1 => "bind 127.0.0.1:PORT",
            Protocol::Http2 => "bind 127.0.0.1:PORT proto h2",
        };
        let config = at_replicas(&shipped("haproxy/haproxy.cfg"), replicas)
            .replace("bind :8080", bind)
            .replace("maxconn 4000", "maxconn 400");
        Proxy::start("haproxy", protocol, "-f", &config)
    }

    /// Each of them, with each protocol.
    pub fn all(replicas: &[u16]) -> [Proxy; 4] {
        [
            Proxy::nginx(replicas, Protocol::Http1),
            Proxy::haproxy(replicas, Protocol::Http1),
            Proxy::nginx(replicas, Protocol::Http2),
            Proxy::haproxy(replicas, Protocol::Http2),
        ]
    }

    fn start(name: &'static str, protocol: Protocol, flag: &str, config: &str) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        give_away(folder.path());
        let port = free_port();
        let config = config.replace("FOLDER", folder.path().to_str().unwrap());
        let file = folder.path().join("config");
        std::fs::write(&file, config.replace("PORT", &port.to_string())).unwrap();
        give_away(&file);
        let child = unprivileged(&Path::new("/usr/sbin").join(name))
            .arg(flag)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let proxy = Proxy {
            name,
            protocol,
            child,
            port,
            folder,
        };
        wait_for("the proxy", Duration::from_secs(10), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        proxy
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// curl, speaking with it. What comes is for its caller to read.
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

    /// Issues a link for Alice; gives it this origin. Says why where it does not.
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

    /// Downloads a file to its end, whatever that is.
    pub fn download(&self, url: &str) -> Download {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.csv");
        let curl = self.curl(&["-o", file.to_str().unwrap(), url]);
        let output = curl.wait_with_output().unwrap();
        Download {
            taken_for_whole: output.status.success(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder,
        }
    }

    /// What nginx logged of requests.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("rowlink.log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        interrupt(&self.child, "-TERM");
        let _ = self.child.wait();
    }
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

fn at_replicas(config: &str, replicas: &[u16]) -> String {
    assert_eq!(replicas.len(), 3, "as many as the shipped files have");
    let place = |config: String, (index, port): (usize, &u16)| {
        let name = format!("rowlink-{}:8080", index + 1);
        assert!(config.contains(&name), "{name}");
        config.replace(&name, &format!("127.0.0.1:{port}"))
    };
    replicas.iter().enumerate().fold(config.to_owned(), place)
}
