//! Downloads that break at random bytes and are continued through nginx, while the rows change: `make e2e`.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::command::run;
use crate::harness::postgres::Cluster;
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::replicas::{Replicas, Variables};
use crate::harness::{Stop, begin_with, start_of_chunks};

const CUTS: usize = 1000;
const FORMATS: [&str; 4] = ["csv", "ndjson", "xlsx", "parquet"];
const EXPORT: &str = "/*---\nformats = ['csv', 'ndjson', 'xlsx', 'parquet']\n---*/\n\
    select n, word from things where :user = 'alice' order by n";

/// What became of the downloads.
#[derive(Debug, Default)]
struct Tally {
    continued: usize,
    restarted: usize,
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_thousand_broken_downloads_are_continued_or_start_again_and_none_is_of_two_files() {
    break_downloads("e2e_cuts", 5000, vec![], download);
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_thousand_broken_downloads_of_kept_files_are_continued_or_start_again_and_none_is_of_two_files()
{
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let keep = vec![
        ("ROWLINK_SPOOL_DIR", path),
        ("ROWLINK_SPOOL_BYTES", "100000000".to_owned()),
        ("ROWLINK_SPOOL_KEEP_SECONDS", "60".to_owned()),
    ];
    break_downloads("e2e_kept_cuts", 20_000, keep, download_kept);
}

/// Breaks downloads of rows that change, from three replicas behind nginx.
fn break_downloads(
    database: &str,
    rows: u64,
    variables: Variables,
    download: fn(&Proxy, usize, &mut Tally),
) {
    let cluster = Cluster::shared();
    let schema = format!(
        "create table things as select n, md5(n::text) as word from generate_series(1, {rows}) n;
         alter table things add primary key (n);"
    );
    let url = cluster.database(database, &schema);
    let variables = [(); 3].map(|()| {
        let mut variables = variables.clone();
        variables.push(("ROWLINK_DATABASE_URL", url.clone()));
        variables
    });
    let replicas = Replicas::start_with(&[("things.sql", EXPORT)], variables);
    let proxy = Proxy::nginx(&replicas.ports, Protocol::Http1);
    let (done, mut tally) = (AtomicBool::new(false), Tally::default());
    thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let n = getrandom::u64().unwrap() % rows + 1;
                let change = format!("update things set word = md5(random()::text) where n = {n}");
                cluster.psql(database, &change);
                thread::sleep(Duration::from_millis(getrandom::u64().unwrap() % 300));
            }
        });
        for cut in 0..CUTS {
            download(&proxy, cut, &mut tally);
        }
    });
    println!("{CUTS} cuts behind nginx while rows change: {tally:?}, 0 of two files, 0 short");
    assert!(
        tally.continued > CUTS / 10 && tally.restarted > CUTS / 10,
        "{tally:?}"
    );
}

/// Breaks a download with an exact length and checks its hash.
fn download(proxy: &Proxy, cut: usize, tally: &mut Tally) {
    let format = FORMATS[cut % FORMATS.len()];
    let request =
        json!({"export": "things", "format": format, "length": "exact", "expires_in": 600});
    let folder = tempfile::tempdir().unwrap();
    let (file, head) = break_and_continue(proxy, &request, folder.path(), tally);
    let digest = header(&head, "repr-digest");
    let content = fs::read(&file).unwrap();
    let expected = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(&content)));
    assert_eq!(digest, expected, "a file of two: {head}");
}

/// Breaks a download that a replica keeps, and checks its integrity line.
fn download_kept(proxy: &Proxy, cut: usize, tally: &mut Tally) {
    let format = ["csv", "ndjson"][cut % 2];
    let request =
        json!({"export": "things", "format": format, "end_line": true, "expires_in": 600});
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = break_and_continue(proxy, &request, folder.path(), tally);
    let rowlink = env!("CARGO_BIN_EXE_rowlink");
    run(Command::new(rowlink).arg("check-file").arg(file));
}

/// Breaks a download at a random byte and continues it; returns the path of the file, and the last head.
fn break_and_continue(
    proxy: &Proxy,
    request: &Value,
    folder: &Path,
    tally: &mut Tally,
) -> (PathBuf, String) {
    let (file, head) = (folder.join("file"), folder.join("head"));
    let url = proxy.issue(request).unwrap();
    let (entity_tag, start) = start_of(&url);
    // nginx takes the replicas in turn: so any of them may continue.
    for _ in 0..getrandom::u64().unwrap() % 3 {
        proxy.issue(request).unwrap();
    }
    fs::write(&file, start).unwrap();
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        let curl = curl.args([
            "-s",
            "-o",
            file.to_str().unwrap(),
            "-D",
            head.to_str().unwrap(),
        ]);
        curl.args(arguments).arg(&url).output().unwrap()
    };
    let condition = format!("If-Range: {entity_tag}");
    let output = curl(&["-C", "-", "-H", &condition]);
    match output.status.code() {
        Some(0) => tally.continued += 1,
        // The response is the whole file, because the rows have changed.
        Some(33) => {
            fs::remove_file(&file).unwrap();
            assert!(curl(&[]).status.success());
            tally.restarted += 1;
        }
        other => panic!("curl: {other:?}"),
    }
    let head = fs::read_to_string(&head).unwrap();
    (file, head)
}

/// Returns the entity tag of a file, and its bytes up to a random one.
fn start_of(url: &str) -> (String, Vec<u8>) {
    let mut stream = begin_with(url, "Connection: close\r\n");
    let (mut answer, mut piece) = (Vec::new(), [0; 8192]);
    let head_end = loop {
        let count = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..count]);
        if let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(answer[..head_end].to_vec()).unwrap();
    let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let length = match is_chunked {
        true => 500_000,
        false => header(&head, "content-length").parse().unwrap(),
    };
    // At least a byte after the length of a chunk.
    let cut = head_end + (16 + getrandom::u64().unwrap() % (length - 16)) as usize;
    while answer.len() < cut {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the file ended early");
        answer.extend_from_slice(&piece[..count]);
    }
    let start = &answer[head_end..cut];
    let start = match is_chunked {
        true => start_of_chunks(start),
        false => start.to_vec(),
    };
    (header(&head, "etag").to_owned(), start)
}

fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let line = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    line.unwrap_or_else(|| panic!("no {name}: {head}")).1.trim()
}
