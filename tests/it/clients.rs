//! The client packages against a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;

use serde_json::{Value, json};

use crate::faults::BreakingProxy;
use crate::harness::command::run;
use crate::harness::{TestServer, python, token, tool};

/// Starts a server that sends one fixed response and closes; returns its URL.
fn serve_once(file: &str, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/v1/exports/{file}");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer).unwrap();
    });
    url
}

#[test]
#[ignore = "needs Python packages: make test"]
fn python_saves_complete_files_and_removes_incomplete_ones() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let short = serve_once(
        "orders.csv?",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nid,name\r\n",
    );
    let unended = serve_once(
        "orders.csv?",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nid\r\n\r\n",
    );
    let unproved = serve_once(
        "orders.csv?rl_end_line=true",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nid\r\n",
    );
    let unclosed = serve_once(
        "orders.json?",
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n[\n{\"id\":1},\n",
    );
    let breaking = BreakingProxy::before(server.port());
    breaking.limit.store(250_000, Ordering::SeqCst);
    let arguments = [
        &server.origin,
        &token(server.now()),
        folder.path().to_str().unwrap(),
        &short,
        &unended,
        &unproved,
        &unclosed,
        &format!("http://127.0.0.1:{}", breaking.port),
    ];
    let report = python("use_python_client.py", &arguments.map(AsRef::as_ref));
    let seen: Value = serde_json::from_str(&report).unwrap();
    let numbers = json!({"export": "numbers", "format": "csv", "filters": {"n": 300_000}});
    let length = server.download(numbers).body.len();
    assert_eq!(
        seen["whole"],
        json!(["numbers of März.csv", length, true, length])
    );
    assert_eq!(
        (&seen["workbook"], &seen["small"]),
        (&json!("PK"), &json!("id,"))
    );
    let (status, code) = (&seen["problem"][0], &seen["problem"][1]);
    assert_eq!((status, code), (&json!(422), &json!("invalid-values")));
    assert!(seen["problem"][2]["filters.from"].is_string() && seen["problem"][3] == true);
    assert_eq!(seen["tampered"], json!([403, "bad-signature"]));
    assert_eq!(
        (&seen["broken"], &seen["short"], &seen["unended"]),
        (
            &json!("truncated"),
            &json!("truncated"),
            &json!("truncated")
        )
    );
    assert_eq!(
        (&seen["unproved"], &seen["unclosed"]),
        (&json!("the"), &json!("the"))
    );
    assert_eq!((&seen["rows"], &seen["table"]), (&json!(9), &json!(9)));
    assert_eq!(seen["proved"], "9,,row 9 of alice");
    assert_eq!(seen["confirmed"], 10);
    assert_eq!(seen["lines"], json!([1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(seen["exact"], json!([true, 5_000, "count"]));
    assert_eq!(seen["continued"], true);
    assert!(seen["retries"].as_u64() > Some(1), "{seen}");
    assert_eq!(seen["kept"], "what was there before");
    assert_eq!(
        seen["files"],
        json!([
            "book.xlsx",
            "confirmed.csv",
            "continued.xlsx",
            "exact.csv",
            "kept.csv",
            "lines.ndjson",
            "numbers of März.csv",
            "proved.csv",
            "rows.json",
            "small.csv",
            "table.tsv",
            "whole.xlsx"
        ])
    );
    assert!(
        seen["exports"]
            .as_array()
            .unwrap()
            .contains(&json!("orders"))
    );
    for name in ["nobody", "nowhere"] {
        assert_eq!(seen[name], json!([true, true]), "{name}");
    }
    assert_eq!(seen["repr"], false, "the token can be printed");
}

#[test]
#[ignore = "needs mypy: make test"]
fn the_python_client_has_types() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/src/rowlink");
    run(Command::new(tool("venv").join("bin/mypy"))
        .args([
            "--strict",
            "--python-version",
            "3.10",
            "--cache-dir",
            "/dev/null",
        ])
        .arg(package));
}

/// Runs a script of `clients/examples` against a server in a folder; returns whether it succeeded, and its output.
fn example(command: &mut Command, server: &TestServer, folder: &Path) -> (bool, String) {
    let path = std::env::var("PATH").unwrap();
    let run = command
        .env("PATH", format!("{}:{path}", programs().display()))
        .env("ROWLINK_URL", &server.origin)
        .env("ROWLINK_TOKEN", token(server.now()))
        .current_dir(folder)
        .output()
        .unwrap();
    let output = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    (run.status.success(), output)
}

/// Returns the folder of the `rowlink` binary.
fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rowlink")).parent().unwrap()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/examples")
}

/// Returns a server with the sample orders, and one whose query fails in the middle.
fn intact_and_failing() -> [TestServer; 2] {
    let broken = "/*---\n[filters.from]\ntype = 'date'\nrequired = true\n---*/
        with recursive i(n) as (select 1 union all select n + 1 from i where n < 300000)
        select n, case when n = 250000 then json('no JSON') end as failure from i where :user = 'alice' and :from > ''";
    [
        TestServer::start(),
        TestServer::with_exports(vec![("orders.sql", broken)]),
    ]
}

#[test]
#[ignore = "needs Bash, curl, jq and Python packages: make test"]
fn the_documented_scripts_export_complete_files_and_keep_no_incomplete_one() {
    let [server, broken] = intact_and_failing();
    let orders = json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}});
    let expected = server.download(orders).body;
    let folder = tempfile::tempdir().unwrap();
    let package = examples().with_file_name("python").join("src");
    let bash = |file: &str| {
        let mut command = Command::new("bash");
        command.arg(examples().join("export.sh")).arg(file);
        command
    };
    let python = |file: &str| {
        let mut command = Command::new(tool("venv").join("bin/python"));
        command.arg(examples().join("export.py")).arg(file);
        command.env("PYTHONPATH", &package);
        command
    };
    // The commands of the crontab and the workflow, unchanged except for the host.
    let read = |name: &str| std::fs::read_to_string(examples().join(name)).unwrap();
    let crontab = read("crontab");
    let line = |start: &str| {
        crontab
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .unwrap()
            .to_owned()
    };
    let (nightly, path_of_cron) = (line("15 3 * * * "), line("PATH="));
    let workflow: Value = serde_saphyr::from_str(&read("github-actions.yml")).unwrap();
    let step = &workflow["jobs"]["export"]["steps"][0];
    assert_eq!(step["shell"], "bash");
    let action = |server: &TestServer| {
        let script = step["run"].as_str().unwrap();
        let script = script.replace("https://shop.example.com", &server.origin);
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]);
        command
    };

    let (done, said) = example(&mut bash("orders.csv"), &server, folder.path());
    assert!(
        done && said.contains("orders.csv.part: complete, 6 rows"),
        "{said}"
    );
    assert_eq!(
        std::fs::read(folder.path().join("orders.csv")).unwrap(),
        expected
    );
    let (done, said) = example(&mut python("orders.xlsx"), &server, folder.path());
    assert!(done, "{said}");
    let workbook = std::fs::read(folder.path().join("orders.xlsx")).unwrap();
    assert_eq!(
        crate::harness::read_workbook(&workbook)["errors"],
        json!([])
    );
    std::fs::remove_file(folder.path().join("orders.xlsx")).unwrap();
    let (done, said) = example(&mut action(&server), &server, folder.path());
    assert!(done && said.starts_with("::add-mask::http"), "{said}");
    assert!(folder.path().join("orders.xlsx").exists());

    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("exports")).unwrap();
    std::os::unix::fs::symlink(examples(), home.path().join("rowlink-examples")).unwrap();
    let settings = format!(
        "ROWLINK_URL={}\nROWLINK_TOKEN={}\n",
        server.origin,
        token(server.now())
    );
    std::fs::write(home.path().join(".rowlink"), settings).unwrap();
    let path = format!("{}:{path_of_cron}", programs().display());
    run(Command::new("sh")
        .args(["-c", &nightly])
        .env_clear()
        .envs([("HOME", home.path().as_os_str()), ("PATH", path.as_ref())])
        .current_dir(home.path()));
    assert_eq!(
        std::fs::read(home.path().join("exports/orders.csv")).unwrap(),
        expected
    );

    let folder = tempfile::tempdir().unwrap();
    for mut command in [bash("orders.csv"), python("orders.xlsx"), action(&broken)] {
        std::fs::write(folder.path().join("orders.csv"), "yesterday's").unwrap();
        let (done, said) = example(&mut command, &broken, folder.path());
        assert!(!done, "{said}");
        assert_eq!(
            std::fs::read(folder.path().join("orders.csv")).unwrap(),
            b"yesterday's"
        );
        let named = std::fs::read(folder.path().join("orders.xlsx")).unwrap_or_default();
        assert!(named.is_empty() || said.contains("curl: (56)"), "{said}");
        let _ = std::fs::remove_file(folder.path().join("orders.xlsx"));
    }
}
