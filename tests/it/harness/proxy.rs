//! Real proxies in front of replicas, with the configurations that are shipped.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::postgres::{free_port, unprivileged};
use super::wait_for;

/// nginx or HAProxy, running.
pub struct Proxy {
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

impl Protocol {
    /// How curl speaks it.
    pub fn of_curl(self) -> &'static str {
        match self {
            Protocol::Http1 => "--http1.1",
            Protocol::Http2 => "--http2-prior-knowledge",
        }
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
        Proxy::start(&config, |file| {
            let mut command = unprivileged(Path::new("/usr/sbin/nginx"));
            command.arg("-c").arg(file);
            command
        })
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
        Proxy::start(&config, |file| {
            let mut command = unprivileged(Path::new("/usr/sbin/haproxy"));
            command.arg("-f").arg(file);
            command
        })
    }

    fn start(config: &str, command: impl Fn(&Path) -> Command) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        super::postgres::give_away(folder.path());
        let port = free_port();
        let config = config.replace("FOLDER", folder.path().to_str().unwrap());
        let file = folder.path().join("config");
        std::fs::write(&file, config.replace("PORT", &port.to_string())).unwrap();
        super::postgres::give_away(&file);
        let child = command(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let proxy = Proxy {
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

    /// What nginx logged of requests.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("rowlink.log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        super::process::interrupt(&self.child, "-TERM");
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
