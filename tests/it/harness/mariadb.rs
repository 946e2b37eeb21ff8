//! MariaDB servers, started as an unprivileged user and stopped by a supervising shell.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::command::{free_port, own_by_postgres, run, unprivileged};
use super::wait_for;

const SERVER: &str = "/usr/sbin/mariadbd";

/// The account that Rowlink uses.
const USER: &str = "rowlink";
const PASSWORD: &str = "p:ss";

/// A server with its data in a temporary folder. It stops when this value is dropped or the test process ends.
pub struct MariaDb {
    folder: TempDir,
    port: u16,
    supervisor: Child,
}

/// Runs the server until standard input is closed, which happens even if the tests are killed.
const SUPERVISOR: &str = r#"
"$1" --defaults-file="$2/my.cnf" >>"$2/log" 2>&1 &
read -r _
kill -9 $!
wait
[ -z "$3" ] || rm -rf "$2"
"#;

impl MariaDb {
    /// Returns the server shared by tests that do not disturb it. Each test creates its own database.
    pub fn shared() -> &'static MariaDb {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut server = MariaDb::prepare("");
            // A static is never dropped: the supervising shell removes the folder.
            server.folder.disable_cleanup(true);
            server.spawn_server(true);
            server
        })
    }

    /// Starts a server for one test.
    pub fn start() -> MariaDb {
        let mut server = MariaDb::prepare("");
        server.spawn_server(false);
        server
    }

    /// Starts a server with TLS that uses `server.pem` and `server.key` of a folder.
    pub fn start_with_tls(folder: &Path) -> MariaDb {
        let mut server = MariaDb::prepare("ssl-cert = server.pem\nssl-key = server.key");
        for name in ["server.pem", "server.key"] {
            let to = server.folder.path().join("data").join(name);
            fs::copy(folder.join(name), &to).unwrap();
            own_by_postgres(&to);
        }
        server.spawn_server(false);
        server
    }

    fn prepare(settings: &str) -> MariaDb {
        let folder = tempfile::Builder::new()
            .prefix("rowlink-my-")
            .tempdir()
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        own_by_postgres(folder.path());
        let (path, port) = (folder.path().display(), free_port());
        run(unprivileged(Path::new("mariadb-install-db"))
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--skip-name-resolve"])
            .arg(format!("--datadir={path}/data")));
        let configuration = format!(
            "[mariadbd]\ndatadir = {path}/data\nsocket = {path}/socket\npid-file = {path}/pid\nport = {port}\n\
             bind-address = 127.0.0.1\nskip-name-resolve\nmax_connections = 200\ndefault-time-zone = '+02:00'\n\
             innodb_buffer_pool_size = 64M\nmax_allowed_packet = 1G\n{settings}\n"
        );
        fs::write(folder.path().join("my.cnf"), configuration).unwrap();
        MariaDb {
            supervisor: Command::new("true").spawn().unwrap(),
            folder,
            port,
        }
    }

    fn spawn_server(&mut self, is_shared: bool) {
        let mut shell = unprivileged(Path::new("sh"));
        shell
            .args(["-c", SUPERVISOR, "supervisor", SERVER])
            .arg(self.folder.path());
        shell.arg(if is_shared { "remove" } else { "" });
        self.supervisor = shell.stdin(Stdio::piped()).spawn().unwrap();
        wait_for("MariaDB", Duration::from_secs(30), || {
            let ping = self.client("").arg("--execute=select 1").output().unwrap();
            ping.status.success()
        });
        self.query(
            "",
            &format!(
                "create user if not exists {USER}@'127.0.0.1' identified by '{PASSWORD}';
                 create user if not exists {USER}@localhost identified by '{PASSWORD}'"
            ),
        );
    }

    fn stop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }

    /// Kills the server with SIGKILL and starts it again.
    pub fn crash(&mut self) {
        self.stop();
        self.spawn_server(false);
    }

    /// Terminates all connections of Rowlink.
    pub fn terminate(&self) {
        self.query("", &format!("kill user {USER}"));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of its Unix socket.
    pub fn socket(&self) -> String {
        format!("{}/socket", self.folder.path().display())
    }

    /// Returns the URL of a database for a read-only user, without TLS.
    pub fn url(&self, database: &str) -> String {
        url_at(self.port, database)
    }

    /// Creates a database and returns its URL.
    pub fn database(&self, name: &str, sql: &str) -> String {
        self.query("", &format!("create database {name} character set utf8mb4"));
        self.query(
            name,
            &format!("grant select on {name}.* to {USER}@'127.0.0.1', {USER}@localhost; {sql}"),
        );
        self.url(name)
    }

    /// Returns the output of `mariadb` for some SQL: tab-separated cells below a header line.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = run(self.client(database).arg(format!("--execute={sql}")));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the number of busy Rowlink connections, according to the server.
    pub fn running(&self, database: &str) -> usize {
        let count = format!(
            "select count(*) from information_schema.processlist \
             where db = '{database}' and user = '{USER}' and command <> 'Sleep'"
        );
        let printed = self.query("", &count);
        printed.lines().last().unwrap().parse().unwrap()
    }

    fn client(&self, database: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--batch",
            "--default-character-set=utf8mb4",
            "--user=root",
        ]);
        client
            .arg(format!("--socket={}", self.socket()))
            .arg(database);
        client
    }
}

/// Returns the URL of a database at a port.
pub fn url_at(port: u16, database: &str) -> String {
    format!("mysql://{USER}:p%3Ass@127.0.0.1:{port}/{database}?ssl-mode=disabled")
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop();
    }
}
