//! `rowlink get`: a download that continues after its connection broke.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::BreakingProxy;
use crate::harness::process::send_signal;
use crate::harness::{Call, TestServer, wait_for};

const LARGE: &str = "with recursive m(i) as (select 1 union all select i + 1 from m where i < 100000)
    select i, printf('%x', i * 2654435761 & 0xffffffff) as word from m where :user = 'alice' order by i";

fn serve(sql: &str) -> (TestServer, BreakingProxy) {
    let server = TestServer::with_exports(vec![("it.sql", sql)]);
    let proxy = BreakingProxy::before(server.port());
    (server, proxy)
}

fn request(format: &str, length: Value) -> Value {
    json!({"export": "it", "format": format, "length": length, "expires_in": 3600})
}

/// Returns a link that leads through the proxy.
fn link(server: &TestServer, proxy: &BreakingProxy, request: Value) -> String {
    proxy.through(&server.link(request))
}

fn get(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    let command = command.arg("get").args(arguments).current_dir(folder);
    command.output().unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect()
}

#[test]
#[ignore = "takes seconds: make test"]
fn get_continues_at_the_byte_at_which_the_connection_broke() {
    let (server, proxy) = serve(LARGE);
    for format in ["csv", "xlsx"] {
        let url = link(&server, &proxy, request(format, json!("exact")));
        proxy.limit.store(u64::MAX, Ordering::SeqCst);
        let expected = Call::new("GET", &url).send().body;
        proxy
            .limit
            .store((expected.len() as u64 / 3 + 2000) | 1, Ordering::SeqCst);
        let folder = tempfile::tempdir().unwrap();
        let output = get(folder.path(), &[&url]);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{printed}");
        assert!(
            printed.contains("the connection broke") && printed.contains("continued 2 times"),
            "{printed}"
        );
        assert!(!printed.contains("rl_signature"), "{printed}");
        let [name] = &files(folder.path())[..] else {
            panic!("one file");
        };
        assert_eq!(*name, format!("it.{format}"));
        assert!(
            fs::read(folder.path().join(name)).unwrap() == expected,
            "{format}"
        );
    }
}

#[test]
fn a_download_that_cannot_be_continued_leaves_no_file() {
    let (server, proxy) = serve(LARGE);
    proxy.limit.store(100_000, Ordering::SeqCst);
    let url = link(&server, &proxy, request("csv", Value::Null));
    let folder = tempfile::tempdir().unwrap();
    let output = get(
        folder.path(),
        &[&url, "--retries", "1", "--output", "orders.csv"],
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(files(folder.path()), [""; 0]);
    proxy.limit.store(u64::MAX, Ordering::SeqCst);
    let output = get(folder.path(), &[&url, "--output", "orders.csv"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(files(folder.path()), ["orders.csv"]);
}

#[test]
fn get_starts_again_if_the_rows_have_changed() {
    let changing = "with recursive m(i) as (select 1 union all select i + 1 from m where i < 100000)
        select i, (select count(*) from sqlite_schema where name like 'new%') as tables from m where :user = 'alice'";
    let folder = tempfile::tempdir().unwrap();
    let database = crate::harness::sample_database(folder.path());
    let server = TestServer::over(&database, vec![("it.sql", changing)]);
    let proxy = BreakingProxy::before(server.port());
    let url = link(&server, &proxy, request("csv", json!("exact")));
    let before = Call::new("GET", &url).send().body;
    proxy.limit.store(200_000, Ordering::SeqCst);
    let limit = proxy.limit.clone();
    let to = tempfile::tempdir().unwrap();
    let path = to.path().join("it.csv");
    let output = std::thread::scope(|scope| {
        let output = scope.spawn(|| get(to.path(), &[&url, "--output", "it.csv"]));
        // Between two tries, which are a second apart.
        wait_for("the first break", Duration::from_secs(20), || {
            server.state.service.downloads() == 0 && !files(to.path()).is_empty()
        });
        let connection = rusqlite::Connection::open(&database).unwrap();
        connection
            .execute_batch("create table new_one (n)")
            .unwrap();
        limit.store(u64::MAX, Ordering::SeqCst);
        output.join().unwrap()
    });
    assert!(output.status.success(), "{output:?}");
    let after = Call::new("GET", &url).send().body;
    assert!(after != before && fs::read(path).unwrap() == after);
}

#[test]
fn get_can_be_stopped_while_it_waits_for_the_server() {
    let endless = "with recursive m(i) as (select 1 union all select i + 1 from m)
        select count(*) as n from m where :user = 'alice'";
    let (server, _proxy) = serve(endless);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    command
        .arg("get")
        .arg(server.link(request("csv", Value::Null)));
    let mut child = command.current_dir(folder.path()).spawn().unwrap();
    wait_for("the query", Duration::from_secs(20), || {
        server.state.service.downloads() == 1
    });
    send_signal(&child, "-INT");
    let ended = |child: &mut std::process::Child| child.try_wait().unwrap();
    wait_for("the end", Duration::from_secs(5), || {
        ended(&mut child).is_some()
    });
    assert_eq!(ended(&mut child).unwrap().code(), Some(3));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn get_reads_a_link_from_standard_input_and_names_what_is_refused() {
    let (server, _proxy) = serve(LARGE);
    let folder = tempfile::tempdir().unwrap();
    let url = server.link(request("csv", json!("exact")));
    let run = |input: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rowlink"));
        command.args(["get", "-"]).current_dir(folder.path());
        let pipes = command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, printed) = run(&format!("{url}\n"));
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = run(&url);
    assert!(code == Some(2) && printed.contains("exists"), "{printed}");
    let (code, printed) = run(&url[..url.len() - 1]);
    assert!(
        code == Some(2) && printed.contains("400 Bad Request"),
        "{printed}"
    );
    let (code, printed) = run("ftp://example.com/orders.csv?rl_signature=secret");
    assert!(
        code == Some(2) && printed.contains("expected an http://"),
        "{printed}"
    );
    assert!(!printed.contains("secret"));
}
