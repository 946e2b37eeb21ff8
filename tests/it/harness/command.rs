//! Runs commands, if necessary as an unprivileged user, and finds free ports.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns a free port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns the variables with which the clock of a process is `seconds` ahead.
pub fn clock_ahead(seconds: i64) -> [(&'static str, String); 3] {
    let library = libfaketime().display().to_string();
    [
        ("LD_PRELOAD", library),
        ("FAKETIME", format!("{seconds:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

fn libfaketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let mut files = folders.map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    files
        .find(|file| file.exists())
        .expect("run `make test`, which installs it")
}

/// Runs a command. Panics with its output if it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Returns a command that runs as user `postgres` if the tests run as root, because PostgreSQL refuses to run as root.
pub fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg(program).current_dir("/");
    command
}

/// Makes user `postgres` the owner of a file or folder if the tests run as root.
pub fn own_by_postgres(path: &Path) {
    if is_root() {
        let id = |flag| {
            let output = run(Command::new("id").args([flag, "postgres"]));
            String::from_utf8(output.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap()
        };
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
