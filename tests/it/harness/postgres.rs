//! A real PostgreSQL, started by the tests as an unprivileged user and stopped by its own process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::command::{free_port, give_away, run, unprivileged};

/// A cluster of its own, with its data in a temporary folder. It ends with this value; should the
/// tests be killed, with them.
pub struct Cluster {
    folder: Option<TempDir>,
    port: u16,
    keeper: Child,
}

/// Runs the server until its standard input ends, which it does however the tests end.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" >"$2/log" 2>&1 &
read -r _
"$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1
[ -z "$3" ] || rm -rf "$2"
"#;

impl Cluster {
    /// The cluster that tests share which do no harm to it. Each makes a database of its own.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut cluster = Cluster::prepare("");
            let folder = cluster.folder.take().unwrap().keep();
            cluster.keeper = keep(&folder, true);
            cluster.wait();
            cluster
        })
    }

    /// A cluster that a test may break.
    pub fn start() -> Cluster {
        Cluster::start_with("")
    }

    /// The same with further lines of configuration.
    pub fn start_with(settings: &str) -> Cluster {
        let mut cluster = Cluster::prepare(settings);
        cluster.keeper = keep(cluster.folder(), false);
        cluster.wait();
        cluster
    }

    /// A streaming replica of it, which follows it from now on.
    pub fn standby(&self) -> Cluster {
        let mut standby = Cluster::in_a_folder(|data| {
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
        standby.keeper = keep(standby.folder(), false);
        standby.wait();
        standby
    }

    fn prepare(settings: &str) -> Cluster {
        Cluster::in_a_folder(|data| {
            run(unprivileged(&bin("initdb"))
                .arg("--pgdata")
                .arg(data)
                .args(["--username=postgres", "--auth=trust", "--no-sync"])
                .args(["--encoding=UTF8", "--locale=C.UTF-8"]));
            settings.to_owned()
        })
    }

    /// One whose data somebody makes, and says what to add to its configuration.
    fn in_a_folder(make: impl FnOnce(&Path) -> String) -> Cluster {
        let folder = tempfile::Builder::new()
            .prefix("rowlink-pg-")
            .tempdir()
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        give_away(folder.path());
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
            keeper: Command::new("true").spawn().unwrap(),
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

    /// Where its files are; its Unix socket is there too.
    pub fn path(&self) -> PathBuf {
        self.folder().to_owned()
    }

    /// Waits until it takes connections.
    pub fn wait(&self) {
        super::wait_for("PostgreSQL", std::time::Duration::from_secs(30), || {
            let ready = Command::new(bin("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p"])
                .arg(self.port.to_string())
                .status();
            ready.unwrap().success()
        });
    }

    /// `pg_ctl` with these arguments.
    pub fn control(&self, arguments: &[&str]) {
        run(unprivileged(&bin("pg_ctl"))
            .arg("-D")
            .arg(self.folder().join("data"))
            .arg("-l")
            .arg(self.folder().join("log"))
            .args(arguments));
    }

    /// The URL of a database, for its superuser, without TLS.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    /// Makes a database and returns its URL.
    pub fn database(&self, name: &str, sql: &str) -> String {
        self.psql("postgres", &format!("create database {name}"));
        self.psql(name, sql);
        self.url(name)
    }

    /// What `psql` prints for some SQL, without alignment and headers.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = run(Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .arg(self.url(database)));
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }

    /// How many connections of Rowlink's are doing something, as the server sees them.
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
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn keep(folder: &Path, remove: bool) -> Child {
    let mut shell = unprivileged(Path::new("sh"));
    shell.args(["-c", KEEPER, "keeper"]);
    shell.arg(bin("postgres").parent().unwrap()).arg(folder);
    shell.arg(if remove { "remove" } else { "" });
    shell.stdin(Stdio::piped()).spawn().unwrap()
}

/// A program of the newest version that is installed.
pub fn bin(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("run `make setup` first");
    let mut versions: Vec<u32> = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable();
    let newest = versions.last().expect("run `make setup` first");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")).join(program)
}
