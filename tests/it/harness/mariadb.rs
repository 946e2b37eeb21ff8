//! A real MariaDB, started by the tests as an unprivileged user and stopped by its own process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::command::{free_port, give_away, run, unprivileged};
use super::wait_for;

const SERVER: &str = "/usr/sbin/mariadbd";

/// What Rowlink logs in as.
const USER: &str = "rowlink";
const PASSWORD: &str = "p:ss";

/// A server of its own, with its data in a temporary folder. It ends with this value; should the tests be killed, with
/// them.
pub struct MariaDb {
    folder: TempDir,
    port: u16,
    keeper: Child,
}

/// Runs the server until its standard input ends, which it does however the tests end.
const KEEPER: &str = r#"
"$1" --defaults-file="$2/my.cnf" >>"$2/log" 2>&1 &
read -r _
kill -9 $!
wait
[ -z "$3" ] || rm -rf "$2"
"#;

impl MariaDb {
    /// The server that tests share which do no harm to it. Each makes a database of its own.
    pub fn shared() -> &'static MariaDb {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut server = MariaDb::prepare("");
            // Nobody drops what is static.
            server.folder.disable_cleanup(true);
            server.begin(true);
            server
        })
    }

    /// A server that a test may break.
    pub fn start() -> MariaDb {
        let mut server = MariaDb::prepare("");
        server.begin(false);
        server
    }

    /// A server with TLS, by `server.pem` and `server.key` of a folder.
    pub fn start_with_tls(folder: &Path) -> MariaDb {
        let mut server = MariaDb::prepare("ssl-cert = server.pem\nssl-key = server.key");
        for name in ["server.pem", "server.key"] {
            let to = server.folder.path().join("data").join(name);
            fs::copy(folder.join(name), &to).unwrap();
            give_away(&to);
        }
        server.begin(false);
        server
    }

    fn prepare(settings: &str) -> MariaDb {
        let folder = tempfile::Builder::new()
            .prefix("rowlink-my-")
            .tempdir()
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        give_away(folder.path());
        let (path, port) = (folder.path().display(), free_port());
        run(unprivileged(Path::new("mariadb-install-db"))
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--skip-name-resolve"])
            .arg(format!("--datadir={path}/data")));
        let configuration = format!(
            "[mariadbd]\ndatadir = {path}/data\nsocket = {path}/socket\npid-file = {path}/pid\nport = {port}\n\
             bind-address = 127.0.0.1\nskip-name-resolve\nmax_connections = 200\ndefault-time-zone = '+02:00'\n\
             innodb_buffer_pool_size = 64M\n{settings}\n"
        );
        fs::write(folder.path().join("my.cnf"), configuration).unwrap();
        MariaDb {
            keeper: Command::new("true").spawn().unwrap(),
            folder,
            port,
        }
    }

    fn begin(&mut self, is_shared: bool) {
        let mut shell = unprivileged(Path::new("sh"));
        shell
            .args(["-c", KEEPER, "keeper", SERVER])
            .arg(self.folder.path());
        shell.arg(if is_shared { "remove" } else { "" });
        self.keeper = shell.stdin(Stdio::piped()).spawn().unwrap();
        wait_for("MariaDB", Duration::from_secs(30), || {
            let asked = self.client("").arg("--execute=select 1").output().unwrap();
            asked.status.success()
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
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }

    /// Dies as by a loss of power, and starts again.
    pub fn crash(&mut self) {
        self.stop();
        self.begin(false);
    }

    /// Ends every connection of Rowlink's.
    pub fn terminate(&self) {
        self.query("", &format!("kill user {USER}"));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its Unix socket.
    pub fn socket(&self) -> String {
        format!("{}/socket", self.folder.path().display())
    }

    /// The URL of a database, for a user that may only read, without TLS.
    pub fn url(&self, database: &str) -> String {
        url_at(self.port, database)
    }

    /// Makes a database and returns its URL.
    pub fn database(&self, name: &str, sql: &str) -> String {
        self.query("", &format!("create database {name} character set utf8mb4"));
        self.query(
            name,
            &format!("grant select on {name}.* to {USER}@'127.0.0.1', {USER}@localhost; {sql}"),
        );
        self.url(name)
    }

    /// What `mariadb` prints for some SQL: cells between tabs, with their labels above.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = run(self.client(database).arg(format!("--execute={sql}")));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many connections of Rowlink's are doing something, as the server sees them.
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

/// The URL of a database at a port.
pub fn url_at(port: u16, database: &str) -> String {
    format!("mysql://{USER}:p%3Ass@127.0.0.1:{port}/{database}?ssl-mode=disabled")
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.stop();
    }
}
