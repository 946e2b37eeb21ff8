//! `rowlink serve` and `rowlink demo` as separate processes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Call, JWT_SECRET, SIGNING_KEY, sample_database, token_for};

pub const FAR_FUTURE: u64 = 4_000_000_000;

/// The base URL of issued links. The tests reach the server at another address, as behind a load balancer.
pub const PUBLIC_URL: &str = "https://shop.example.com/data";

/// A running `rowlink serve`.
pub struct Rowlink {
    child: Child,
    origin: String,
    log: Option<JoinHandle<String>>,
    folder: TempDir,
}

impl Rowlink {
    /// Starts a server with these exports over the sample rows.
    pub fn serve(exports: &[(&str, &str)]) -> Rowlink {
        Rowlink::serve_with(exports, &[])
    }

    /// Like [`Rowlink::serve`], with further environment variables.
    pub fn serve_with(exports: &[(&str, &str)], variables: &[(&str, &str)]) -> Rowlink {
        let folder = configured_folder(exports);
        let mut child = command(folder.path())
            .arg("serve")
            .env("ROWLINK_BIND", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("listening") {
            assert!(log.read_line(&mut text).unwrap() > 0, "{text}");
        }
        let address = address_in(&text);
        Rowlink {
            origin: format!("http://{address}"),
            child,
            log: Some(thread::spawn(move || {
                let lines = log.lines().map_while(Result::ok);
                lines.fold(text, |text, line| text + &line + "\n")
            })),
            folder,
        }
    }

    /// Returns the folder of its database and its `exports`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub fn link(&self, request: Value) -> String {
        self.link_in(&self.issue(request))
    }

    /// Requests a link as alice.
    pub fn issue(&self, request: Value) -> Answer {
        let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
        let url = format!("{}/v1/links", self.origin);
        Call::new("POST", url).bearer(&token).json(&request).send()
    }

    /// Returns the link of a response, with this server's origin.
    pub fn link_in(&self, answer: &Answer) -> String {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        url.replacen(PUBLIC_URL, &self.origin, 1)
    }

    /// Returns the CPU time used, in clock ticks.
    pub fn processor_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Returns the resident memory, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// Returns the resident memory without that of the program itself, which is large without optimisation, in KiB.
    pub fn anonymous_kib(&self) -> u64 {
        self.memory_kib("RssAnon:")
    }

    /// Returns the largest resident memory so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// Returns the number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        open.unwrap().count()
    }

    /// Sends SIGHUP: the server reloads its files.
    pub fn reload(&self) {
        send_signal(&self.child, "-HUP");
    }

    /// Sends SIGTERM: the server drains and stops.
    pub fn terminate(&self) {
        send_signal(&self.child, "-TERM");
    }

    /// Sends SIGINT: the server stops immediately.
    pub fn interrupt(&self) {
        send_signal(&self.child, "-INT");
    }

    /// Kills the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Returns whether the process exists and is not a zombie.
    pub fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Stops the server and returns its log.
    pub fn stop(mut self) -> String {
        self.terminate();
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap()
    }
}

/// `rowlink demo` on a free port.
pub struct Demo {
    child: Child,
    /// Keeps the pipe open for further output.
    _output: BufReader<ChildStdout>,
    welcome: String,
}

impl Demo {
    pub fn start() -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rowlink"))
            .args(["demo", "--bind", "127.0.0.1:0"])
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C") {
            assert!(output.read_line(&mut welcome).unwrap() > 0, "{welcome}");
        }
        Demo {
            child,
            _output: output,
            welcome,
        }
    }

    /// Returns the text printed at the start.
    pub fn welcome(&self) -> &str {
        &self.welcome
    }

    pub fn origin(&self) -> &str {
        let after = self.welcome.split("sample orders at ").nth(1).unwrap();
        after.lines().next().unwrap()
    }

    /// Sends SIGINT and waits, so that the demo removes its files.
    pub fn stop(mut self) {
        send_signal(&self.child, "-INT");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            send_signal(&self.child, "-INT");
            let _ = self.child.wait();
        }
    }
}

/// Returns the address in the last line of a text or JSON log.
fn address_in(log: &str) -> String {
    let after = log.rsplit("address").next().unwrap();
    let address = after.trim_start_matches(['"', ':', '=']);
    address.split(['"', '\n']).next().unwrap().to_owned()
}

/// Sends a signal, for example `-TERM`.
pub fn send_signal(child: &Child, signal: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill {signal} {}", child.id())])
        .status();
    assert!(sent.unwrap().success());
}

impl Drop for Rowlink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates a folder with the sample database and these exports.
pub fn configured_folder(exports: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    sample_database(folder.path());
    let exports_dir = folder.path().join("exports");
    std::fs::create_dir(&exports_dir).unwrap();
    for (name, text) in exports {
        let file = exports_dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    folder
}

/// Returns a `rowlink` command with only a valid configuration in its environment.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    command
        .env_clear()
        .env("ROWLINK_PUBLIC_URL", PUBLIC_URL)
        .env(
            "ROWLINK_DATABASE_URL",
            format!("sqlite:{}", folder.join("sample.db").display()),
        )
        .env("ROWLINK_EXPORTS_DIR", folder.join("exports"))
        .env("ROWLINK_MAX_DOWNLOADS_PER_USER", "1000")
        .env("ROWLINK_MAX_DOWNLOADS_PER_LINK", "1000")
        .env("ROWLINK_MAX_LINKS_PER_SECOND", "1000")
        .env("ROWLINK_SIGNING_KEYS", SIGNING_KEY)
        .env(
            "ROWLINK_JWT_HS256_SECRET",
            String::from_utf8(JWT_SECRET.to_vec()).unwrap(),
        );
    command
}
