//! PostgreSQL clusters, started as an unprivileged user and stopped by a supervising shell.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::command::{free_port, own_by_postgres, run, unprivileged};

/// A cluster with its data in a temporary folder. It stops when this value is dropped or the test process ends.
pub struct Cluster {
    folder: Option<TempDir>,
    port: u16,
    supervisor: Child,
}

/// Runs the server until standard input is closed, which happens even if the tests are killed.
const SUPERVISOR: &str = r#"
"$1/postgres" -D "$2/data" >"$2/log" 2>&1 &
read -r _
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
[ -z "$3" ] || rm -rf "$2"
"#;

impl Cluster {
    /// Returns the cluster shared by tests that do not disturb it. Each test creates its own database.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut cluster = Cluster::prepare("");
            let folder = cluster.folder.take().unwrap().keep();
            cluster.supervisor = spawn_server(&folder, true);
            cluster.wait();
            cluster
        })
    }

    /// Starts a cluster for one test.
    pub fn start() -> Cluster {
        Cluster::start_with("")
    }

    /// Like [`Cluster::start`], with further lines of configuration.
    pub fn start_with(settings: &str) -> Cluster {
        let mut cluster = Cluster::prepare(settings);
        cluster.supervisor = spawn_server(cluster.folder(), false);
        cluster.wait();
        cluster
    }

    /// Starts a streaming replica of this cluster.
    pub fn standby(&self) -> Cluster {
        let mut standby = Cluster::prepare_with(|data| {
            run(unprivileged(&bin("pg_basebackup"))
                .arg("--pgdata")
                .arg(data)
                .args([
                    "--username=postgres",
                    "--host=127.0.0.1",
                    "--checkpoint=fast",
                ])
                .args(["--no-sync", "--wal-method=stream", "--port"])
                .arg(self.port.to_string()));
            fs::write(data.join("standby.signal"), "").unwrap();
            format!(
                "primary_conninfo = 'host=127.0.0.1 port={} user=postgres'",
                self.port
            )
        });
        standby.supervisor = spawn_server(standby.folder(), false);
        standby.wait();
        standby
    }

    fn prepare(settings: &str) -> Cluster {
        Cluster::prepare_with(|data| {
            run(unprivileged(&bin("initdb"))
                .arg("--pgdata")
                .arg(data)
                .args(["--username=postgres", "--auth=trust", "--no-sync"])
                .args(["--encoding=UTF8", "--locale=C.UTF-8"]));
            settings.to_owned()
        })
    }

    /// Prepares a cluster. `make` creates its data folder and returns lines to add to the configuration.
    fn prepare_with(make: impl FnOnce(&Path) -> String) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("rowlink-pg-")
            .tempdir()
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        own_by_postgres(folder.path());
        let data = folder.path().join("data");
        let settings = make(&data);
        let port = free_port();
        let socket_folder = folder.path().display();
        let base = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{socket_folder}'\n\
             fsync = off\nmax_connections = 200\ntimezone = 'Europe/Berlin'\n{settings}\n"
        );
        fs::write(data.join("postgresql.auto.conf"), base).unwrap();
        Cluster {
            supervisor: Command::new("true").spawn().unwrap(),
            folder: Some(folder),
            port,
        }
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of its files and its Unix socket.
    pub fn path(&self) -> PathBuf {
        self.folder().to_owned()
    }

    /// Waits until the server accepts connections.
    pub fn wait(&self) {
        super::wait_for("PostgreSQL", std::time::Duration::from_secs(30), || {
            let ready = Command::new(bin("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p"])
                .arg(self.port.to_string())
                .status();
            ready.unwrap().success()
        });
    }

    /// Runs `pg_ctl` with these arguments.
    pub fn control(&self, arguments: &[&str]) {
        run(unprivileged(&bin("pg_ctl"))
            .arg("-D")
            .arg(self.folder().join("data"))
            .arg("-l")
            .arg(self.folder().join("log"))
            .args(arguments));
    }

    /// Returns the URL of a database for the superuser, without TLS.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Creates a database and returns its URL.
    pub fn database(&self, name: &str, sql: &str) -> String {
        self.psql("postgres", &format!("create database {name}"));
        self.psql(name, sql);
        self.url(name)
    }

    /// Returns the output of `psql` for some SQL, without alignment and headers.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = run(Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .arg(self.url(database)));
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }

    /// Returns the number of busy Rowlink connections, according to the server.
    pub fn running(&self, database: &str) -> usize {
        let count = format!(
            "select count(*) from pg_stat_activity where datname = '{database}' \
             and application_name like 'rowlink%' and state <> 'idle'"
        );
        self.psql("postgres", &count).parse().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

fn spawn_server(folder: &Path, remove: bool) -> Child {
    let mut shell = unprivileged(Path::new("sh"));
    shell.args(["-c", SUPERVISOR, "supervisor"]);
    shell.arg(bin("postgres").parent().unwrap()).arg(folder);
    shell.arg(if remove { "remove" } else { "" });
    shell.stdin(Stdio::piped()).spawn().unwrap()
}

/// Returns the path of a program of the newest installed version.
pub fn bin(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("run `make setup` first");
    let mut versions: Vec<u32> = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    let newest = versions.last().expect("run `make setup` first");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")).join(program)
}
