//! Downloads that break at random bytes and are continued through nginx, while the rows change: `make e2e`.

use std::fs;
use std::io::Read as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::postgres::Cluster;
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::replicas::Replicas;
use crate::harness::{Stop, begin_with};

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
    let cluster = Cluster::shared();
    let url = cluster.database(
        "e2e_cuts",
        "create table things as select n, md5(n::text) as word from generate_series(1, 5000) n;
         alter table things add primary key (n);",
    );
    let variables = [(); 3].map(|()| vec![("ROWLINK_DATABASE_URL", url.clone())]);
    let replicas = Replicas::start_with(&[("things.sql", EXPORT)], variables);
    let proxy = Proxy::nginx(&replicas.ports, Protocol::Http1);
    let (done, mut tally) = (AtomicBool::new(false), Tally::default());
    thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let n = getrandom::u64().unwrap() % 5000 + 1;
                let change = format!("update things set word = md5(random()::text) where n = {n}");
                cluster.psql("e2e_cuts", &change);
                thread::sleep(Duration::from_millis(getrandom::u64().unwrap() % 300));
            }
        });
        for cut in 0..CUTS {
            download(&proxy, FORMATS[cut % FORMATS.len()], &mut tally);
        }
    });
    println!("{CUTS} cuts behind nginx while rows change: {tally:?}, 0 of two files, 0 short");
    assert!(
        tally.continued > CUTS / 10 && tally.restarted > CUTS / 10,
        "{tally:?}"
    );
}

/// Breaks a download at a random byte, continues it, and checks the file.
fn download(proxy: &Proxy, format: &str, tally: &mut Tally) {
    let request =
        json!({"export": "things", "format": format, "length": "exact", "expires_in": 600});
    let url = proxy.issue(&request).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, head) = (folder.path().join("file"), folder.path().join("head"));
    let (entity_tag, start) = start_of(&url);
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
    let digest = header(&head, "repr-digest");
    let content = fs::read(&file).unwrap();
    let expected = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(&content)));
    assert_eq!(digest, expected, "a file of two: {head}");
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
    let length: u64 = header(&head, "content-length").parse().unwrap();
    let cut = head_end + (1 + getrandom::u64().unwrap() % (length - 1)) as usize;
    while answer.len() < cut {
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the file ended early");
        answer.extend_from_slice(&piece[..count]);
    }
    (
        header(&head, "etag").to_owned(),
        answer[head_end..cut].to_vec(),
    )
}

fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let line = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
    line.unwrap_or_else(|| panic!("no {name}: {head}")).1.trim()
}
