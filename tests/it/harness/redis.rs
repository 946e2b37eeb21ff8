//! Redis, started as an unprivileged user and stopped by a supervising shell.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rowlink::used_links::RedisUrl;
use tempfile::TempDir;

use super::command::{own_by_postgres, run, unprivileged};
use super::object_store::port_that_stays_free;
use super::tls::create_certificates;
use super::wait_for;

pub const PASSWORD: &str = "s3cret/of@tests";
/// The name under which a sentinel knows its primary.
const PRIMARY: &str = "orders";

/// A server. It stops when this value is dropped or the test process ends.
pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    /// What `redis-cli` needs to reach it.
    client_arguments: Vec<String>,
    url: String,
    supervisor: Child,
    folder: TempDir,
}

/// Runs the server until standard input is closed, which happens even if the tests are killed. SIGKILL also ends a server that
/// is stopped.
const SUPERVISOR: &str = r#"
folder=$1
shift
"$@" >>"$folder/log" 2>&1 &
read -r _
kill -9 $!
wait $! 2>/dev/null
"#;

impl Redis {
    /// Starts a server. Its keys are on the disk before it answers.
    pub fn start() -> Redis {
        let port = port_that_stays_free();
        Redis::start_with(
            port,
            prepare(),
            &[],
            &[],
            format!("redis://127.0.0.1:{port}"),
        )
    }

    pub fn with_password() -> Redis {
        let port = port_that_stays_free();
        let encoded = PASSWORD.replace('/', "%2F").replace('@', "%40");
        let url = format!("redis://:{encoded}@127.0.0.1:{port}");
        let client = ["--no-auth-warning", "-a", PASSWORD];
        Redis::start_with(port, prepare(), &["--requirepass", PASSWORD], &client, url)
    }

    /// Starts a server with a user that has only the permissions that the documentation names.
    pub fn with_user() -> Redis {
        let port = port_that_stays_free();
        let user = "--user rowlink on >s3cret ~rowlink:used:* +exists +get +set";
        let server: Vec<&str> = user.split(' ').collect();
        let url = format!("redis://rowlink:s3cret@127.0.0.1:{port}");
        Redis::start_with(port, prepare(), &server, &[], url)
    }

    /// Starts a server that only speaks TLS. Its root is not one of the system.
    pub fn with_tls() -> Redis {
        let folder = prepare();
        create_certificates(folder.path());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (certificate, key, root) = (path("server.pem"), path("server.key"), path("ca.pem"));
        for name in [&certificate, &key, &root] {
            own_by_postgres(Path::new(name));
        }
        let (port, plain_port) = (port_that_stays_free(), "0");
        let tls_port = port.to_string();
        let server = [
            ["--port", plain_port],
            ["--tls-port", &tls_port],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &root],
            ["--tls-auth-clients", "no"],
        ];
        let client = ["--tls", "--cacert", &root, "-h", "localhost"];
        let url = format!("rediss://localhost:{port}?sslrootcert={root}");
        Redis::start_with(port, folder, &server.concat(), &client, url)
    }

    /// Starts a cluster of one node that has all slots.
    pub fn cluster() -> Redis {
        let (port, bus) = (port_that_stays_free(), port_that_stays_free().to_string());
        let server = [
            ["--cluster-enabled", "yes"],
            ["--cluster-config-file", "nodes.conf"],
            ["--cluster-port", &bus],
            ["--cluster-announce-ip", "127.0.0.1"],
        ];
        let url = format!("redis-cluster://127.0.0.1:{port}");
        let redis = Redis::start_with(port, prepare(), &server.concat(), &[], url);
        redis.command(&["cluster", "addslotsrange", "0", "16383"]);
        wait_for("the cluster", Duration::from_secs(30), || {
            redis.command(&["cluster", "info"]).contains("state:ok")
        });
        redis
    }

    /// Starts a replica that has the keys of this server.
    pub fn replica(&self) -> Redis {
        let port = port_that_stays_free();
        let primary_port = self.port.to_string();
        let server = ["--replicaof", "127.0.0.1", &primary_port];
        let url = format!("redis://127.0.0.1:{port}");
        let replica = Redis::start_with(port, prepare(), &server, &[], url);
        wait_for("the replica", Duration::from_secs(60), || {
            let info = replica.command(&["info", "replication"]);
            info.contains("master_link_status:up")
        });
        replica
    }

    /// Starts a sentinel that knows this server and its replicas as one primary.
    pub fn sentinel(&self) -> Redis {
        let (folder, port) = (prepare(), port_that_stays_free());
        let settings = format!(
            "sentinel monitor {PRIMARY} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {PRIMARY} 500\n\
             sentinel failover-timeout {PRIMARY} 2000\n",
            self.port
        );
        let file = folder.path().join("sentinel.conf");
        fs::write(&file, settings).unwrap();
        own_by_postgres(&file);
        let file = file.display().to_string();
        let url = format!("redis-sentinel://127.0.0.1:{port}/{PRIMARY}");
        Redis::start_with(port, folder, &[&file, "--sentinel"], &[], url)
    }

    /// Waits until the server as a sentinel knows a replica of its primary.
    pub fn wait_for_replica(&self) {
        wait_for("a replica", Duration::from_secs(60), || {
            !self
                .command(&["sentinel", "replicas", PRIMARY])
                .trim()
                .is_empty()
        });
    }

    fn start_with(
        port: u16,
        folder: TempDir,
        arguments: &[&str],
        client_arguments: &[&str],
        url: String,
    ) -> Redis {
        let path = folder.path().display().to_string();
        let pid_file = folder.path().join("pid").display().to_string();
        let port_text = port.to_string();
        let mut all: Vec<&str> = Vec::new();
        // A configuration file comes first.
        all.extend(arguments);
        if !arguments.contains(&"--port") {
            all.extend(["--port", &port_text]);
        }
        all.extend([
            "--bind",
            "127.0.0.1",
            "--dir",
            &path,
            "--pidfile",
            &pid_file,
        ]);
        if !arguments.contains(&"--sentinel") {
            all.extend([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ]);
        }
        let arguments: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let supervisor = spawn(&folder, &arguments);
        let redis = Redis {
            port,
            client_arguments: client_arguments.iter().map(|it| it.to_string()).collect(),
            url,
            supervisor,
            folder,
            arguments,
        };
        redis.wait();
        redis
    }

    fn wait(&self) {
        wait_for("Redis", Duration::from_secs(60), || {
            let answer = self.client(&["ping"]).output().unwrap();
            String::from_utf8_lossy(&answer.stdout).trim() == "PONG"
        });
    }

    pub fn text_of_url(&self) -> &str {
        &self.url
    }

    pub fn url(&self) -> RedisUrl {
        RedisUrl::parse(&self.url).unwrap()
    }

    /// Runs a command on the server; returns its answer.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = run(&mut self.client(arguments));
        String::from_utf8(output.stdout).unwrap()
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut client = Command::new("redis-cli");
        client.args(&self.client_arguments);
        client.args(["-p", &self.port.to_string()]).args(arguments);
        client
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait().unwrap();
    }

    /// Starts a server that was killed again, with its keys.
    pub fn restart(&mut self) {
        self.supervisor = spawn(&self.folder, &self.arguments);
        self.wait();
    }

    /// Stops the process without closing its sockets.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.folder.path().join("pid")).unwrap();
        let kill = format!("kill {signal} {}", pid.trim());
        run(Command::new("sh").args(["-c", &kill]));
    }
}

fn prepare() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("rowlink-redis-")
        .tempdir()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    own_by_postgres(folder.path());
    folder
}

fn spawn(folder: &TempDir, arguments: &[String]) -> Child {
    let mut server = unprivileged(Path::new("sh"));
    server.args(["-c", SUPERVISOR, "sh"]).arg(folder.path());
    server.arg("redis-server").args(arguments);
    server.stdin(Stdio::piped()).spawn().unwrap()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
