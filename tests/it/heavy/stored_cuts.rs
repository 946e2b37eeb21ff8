//! Downloads and preparations of stored files that clients leave and whose replicas are killed: `make e2e`.

use std::fs;
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rowlink::format;
use rowlink::service::FileRecord;
use rowlink::store::{Store, StoreUrl};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::harness::object_store::ObjectStore;
use crate::harness::postgres::Cluster;
use crate::harness::replicas::Replicas;
use crate::harness::{Call, Stop, begin_with, unchunked, wait};

const ROUNDS: usize = 300;
const ROWS: u64 = 60_000;
const EXPORT: &str = "/*---\nformats = ['csv', 'ndjson']\n[store]\nmode = 'always'\n---*/\n\
    select n, word from things where :user = 'alice' order by n";

/// What became of the attempts that were broken.
#[derive(Debug, Default)]
struct Tally {
    left: usize,
    killed: usize,
    complete_before: usize,
    redirected: usize,
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn three_hundred_cuts_and_kills_leave_no_short_file_and_no_object_that_is_not_whole() {
    let (cluster, server) = (Cluster::shared(), ObjectStore::seaweedfs());
    let schema = format!(
        "create table things as select n, md5(n::text) as word from generate_series(1, {ROWS}) n;
         alter table things add primary key (n);"
    );
    let url = cluster.database("e2e_stored_cuts", &schema);
    let environment = server.bucket("stored-cuts");
    let folder = tempfile::tempdir().unwrap();
    let variables = [0, 1, 2].map(|index| {
        let spool = folder.path().join(format!("spool-{index}"));
        fs::create_dir(&spool).unwrap();
        let mut variables = vec![
            ("ROWLINK_DATABASE_URL", url.clone()),
            ("ROWLINK_SPOOL_DIR", spool.to_str().unwrap().to_owned()),
            ("ROWLINK_SPOOL_BYTES", "200000000".to_owned()),
        ];
        let of_store = environment.iter();
        variables.extend(of_store.map(|(name, value)| (known(name), value.clone())));
        variables
    });
    let mut replicas = Replicas::start_with(&[("things.sql", EXPORT)], variables);
    let (done, mut tally) = (AtomicBool::new(false), Tally::default());
    thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let n = random(ROWS) + 1;
                let change = format!("update things set word = md5(random()::text) where n = {n}");
                cluster.psql("e2e_stored_cuts", &change);
                thread::sleep(Duration::from_millis(random(300)));
            }
        });
        for round in 0..ROUNDS {
            let index = round % 3;
            let format = ["csv", "ndjson"][round / 3 % 2];
            let delivery = ["stored", "stored", "stream"][random(3) as usize];
            let request = json!({
                "export": "things", "format": format, "end_line": true, "expires_in": 600, "delivery": delivery,
            });
            let link = replicas.get(index).link(request);
            match random(3) {
                0 => leave(&link, &mut tally),
                1 => kill_while_it_sends(&mut replicas, index, &link, &mut tally),
                _ => kill_while_it_prepares(&mut replicas, index, &link),
            }
            let other = link.replace(
                replicas.get(index).origin(),
                replicas.get((index + 1) % 3).origin(),
            );
            for url in [&link, &other] {
                check(url, folder.path());
            }
        }
    });
    drop(replicas);
    let url = StoreUrl::parse(&environment[0].1).unwrap();
    let store = url.connect(environment.clone()).unwrap();
    let files = check_objects(&store, &server.objects("stored-cuts"));
    println!(
        "{ROUNDS} cuts and kills over live and stored files: {tally:?}; {files} objects, all whole"
    );
    assert!(files > ROUNDS / 3, "{files} objects");
    assert!(tally.left > 0 && tally.killed > 0, "{tally:?}");
}

/// Returns the name of a variable that lives as long as the tests.
fn known(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

fn random(below: u64) -> u64 {
    getrandom::u64().unwrap() % below
}

/// Reads some of a download, and leaves.
fn leave(link: &str, tally: &mut Tally) {
    let mut stream = begin_with(link, "Connection: close\r\n");
    let mut left = random(2_000_000);
    let mut piece = [0; 65_536];
    while left > 0 {
        let count = stream.read(&mut piece).unwrap() as u64;
        if count == 0 {
            break;
        }
        left = left.saturating_sub(count);
    }
    tally.left += 1;
}

/// Kills a replica while it sends a file. What was received without an error must be whole.
fn kill_while_it_sends(replicas: &mut Replicas, index: usize, link: &str, tally: &mut Tally) {
    let received = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut answer = Vec::new();
            let ended = begin_with(link, "Connection: close\r\n").read_to_end(&mut answer);
            ended.is_ok().then_some(answer)
        });
        thread::sleep(Duration::from_millis(random(150)));
        replicas.kill(index);
        reader.join().unwrap()
    });
    let Some(answer) = received else {
        tally.killed += 1;
        return;
    };
    if answer.starts_with(b"HTTP/1.1 303") {
        tally.redirected += 1;
        return;
    }
    match unchunked(&answer) {
        (content, true) => {
            format::check(Cursor::new(content)).expect("a file that ended in good order is whole");
            tally.complete_before += 1;
        }
        (_, false) => tally.killed += 1,
    }
}

/// Kills a replica while it prepares a file.
fn kill_while_it_prepares(replicas: &mut Replicas, index: usize, link: &str) {
    let url = format!("{}/v1/links/status", replicas.get(index).origin());
    let question = json!({"url": link, "prepare": true});
    Call::new("POST", url).json(&question).send();
    thread::sleep(Duration::from_millis(random(300)));
    replicas.kill(index);
}

/// Downloads the file of a link, follows it to the store, and checks its integrity line.
fn check(url: &str, folder: &Path) {
    let file = folder.join("file");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-f", "-L", "-o", file.to_str().unwrap(), url]);
    let output = curl.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{url}: {said}");
    let rows = format::check(fs::File::open(&file).unwrap()).expect("a whole file");
    assert_eq!(rows, ROWS);
}

/// Checks that every object is whole and that every record names one; returns how many files there are.
fn check_objects(store: &Store, names: &[String]) -> usize {
    let names: Vec<&str> = names
        .iter()
        .map(|name| name.strip_prefix("rowlink/").unwrap_or(name))
        .collect();
    let read = |name: &str| wait(store.read_small(name)).unwrap();
    let files = names
        .iter()
        .filter(|name| name.ends_with(".csv") || name.ends_with(".ndjson"));
    for name in files.clone() {
        let content = read(name).expect("an object that was listed");
        format::check(Cursor::new(content)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in names.iter().filter(|name| name.ends_with(".record")) {
        let record = FileRecord::parse(&read(name).expect("a record")).expect("a record");
        let start = format!(
            "{}-{}.",
            name.trim_end_matches(".record"),
            hex::encode(&record.file_id[..16])
        );
        let object = names.iter().find(|object| object.starts_with(&start));
        let object = object.unwrap_or_else(|| panic!("{name} names no object"));
        let content = read(object).expect("an object that was listed");
        assert_eq!(content.len() as u64, record.bytes, "{object}");
        assert_eq!(<[u8; 32]>::from(Sha256::digest(&content)), record.sha256);
    }
    files.count()
}
