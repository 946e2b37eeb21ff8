//! A MySQL server from another Debian release, in a folder of its own: `tests/setup.sh engines` installs it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::command::{free_port, run};
use super::{tool, wait_for};

/// The user `nobody` of the folder.
const NOBODY: u32 = 65_534;
const PASSWORD: &str = "pss";

/// A server with its data in a temporary folder. Killed when dropped.
pub struct MySql {
    root: PathBuf,
    folder: TempDir,
    port: u16,
    server: Child,
}

impl MySql {
    /// Starts a server. Only root may change the root folder.
    pub fn start() -> MySql {
        let root = tool("mysql");
        let folder = tempfile::tempdir_in(root.join("tmp")).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let port = free_port();
        let server = |arguments: &[&str]| {
            let inside = inside(&root, folder.path());
            let mut command = Command::new("chroot");
            command
                .arg(&root)
                .args([
                    "/usr/sbin/mysqld",
                    "--no-defaults",
                    "--user=nobody",
                    "--mysqlx=OFF",
                ])
                .args(["--secure-file-priv=NULL", "--bind-address=127.0.0.1"])
                .arg(format!("--datadir={inside}/data"))
                .arg(format!("--socket={inside}/socket"))
                .arg(format!("--pid-file={inside}/pid"))
                .arg(format!("--port={port}"))
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        assert!(
            server(&["--initialize-insecure"])
                .status()
                .unwrap()
                .success()
        );
        let mysql = MySql {
            server: server(&[]).spawn().unwrap(),
            root,
            folder,
            port,
        };
        wait_for("MySQL", Duration::from_secs(60), || {
            mysql.client("").status().unwrap().success()
        });
        mysql
    }

    /// Creates a database with these statements; returns its URL.
    pub fn database(&self, name: &str, sql: &str) -> String {
        let grant = format!(
            "create database {name}; create user if not exists rowlink@'127.0.0.1' identified by '{PASSWORD}'; \
             grant all on {name}.* to rowlink@'127.0.0.1'; use {name}; {sql}"
        );
        run(&mut self.client(&grant));
        format!("mysql://rowlink:{PASSWORD}@127.0.0.1:{}/{name}", self.port)
    }

    fn client(&self, sql: &str) -> Command {
        let mut client = Command::new("chroot");
        client
            .arg(&self.root)
            .args(["mysql", "--user=root", "--default-character-set=utf8mb4"])
            .arg(format!(
                "--socket={}/socket",
                inside(&self.root, self.folder.path())
            ))
            .arg(format!("--execute={sql}"))
            .stderr(Stdio::null());
        client
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns a path as the server sees it.
fn inside(root: &Path, path: &Path) -> String {
    format!("/{}", path.strip_prefix(root).unwrap().display())
}
