//! The spool: a query runs at its own speed, however slow its reader is.

use std::fs::{self, File};
use std::io::{Cursor, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rowlink::spool::Spool;
use serde_json::{Value, json};
use socket2::SockRef;
use tempfile::TempDir;

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::{Rowlink, command, configured_folder};
use crate::harness::{
    Call, Deployment, TestServer, database_tests, metric, parts, sample_database, sqlite_url,
    unchunked, wait_for,
};

/// A database, and SQL whose rows hardly compress.
struct Subject {
    url: String,
    rows: &'static str,
    fails: &'static str,
    formats: &'static [&'static str],
    /// Removes the SQLite file when dropped.
    _folder: Option<TempDir>,
}

const ROWS_OF_SQLITE: &str = "
    with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
    select i as n, printf('%08x%08x%08x%08x%08x%08x%08x', i * 2654435761 & 0xffffffff,
        i * 2246822519 & 0xffffffff, i * 3266489917 & 0xffffffff, i * 668265263 & 0xffffffff,
        i * 374761393 & 0xffffffff, i * 2869860233 & 0xffffffff, i * 3624381081 & 0xffffffff) as word
    from m";

fn sqlite() -> Subject {
    let files = tempfile::tempdir().unwrap();
    Subject {
        url: sqlite_url(&sample_database(files.path())),
        rows: ROWS_OF_SQLITE,
        fails: "with recursive m(i) as (select 1 union all select i + 1 from m)
            select i as n, case when i >= :below then json('not JSON') else printf('%0100d', i) end as word from m",
        formats: &FORMATS,
        _folder: Some(files),
    }
}

fn servers(database: &str) -> [Subject; 2] {
    let postgres = Subject {
        url: Cluster::shared().database(database, "create table nothing (n int)"),
        rows: "select i as n, md5(i::text) || md5((i * 7)::text) as word
            from (select generate_series(1, :below::int) as i) m",
        fails: "select i as n, case when i >= :below then (1 / (i - i))::text else lpad(i::text, 100, '0') end as word
            from (select generate_series(1, 2000000000) as i) m",
        // The spool knows neither formats nor databases, and workbooks take long in tests.
        formats: &["csv", "ndjson"],
        _folder: None,
    };
    let mariadb = Subject {
        url: MariaDb::shared().database(database, "create table nothing (n int)"),
        rows: "select seq as n, concat(md5(seq), md5(seq * 7)) as word
            from seq_1_to_2000000000 where seq <= :below",
        fails: "select seq as n, case when seq >= :below then 18446744073709551615 + seq
            else lpad(seq, 100, '0') end as word from seq_1_to_2000000000",
        // The spool knows neither formats nor databases, and workbooks take long in tests.
        formats: &["csv", "ndjson"],
        _folder: None,
    };
    [postgres, mariadb]
}

const FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];

fn pinned(sql: &str) -> String {
    let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
    format!(
        "/*---\nformats = [{formats}]\n[filters.below]\ntype = 'integer'\ndefault = 200000\n---*/\n\
         select * from ({sql}) as it where :user = 'alice'"
    )
}

impl Subject {
    /// Serves the SQL as the export `it` on a single connection.
    fn serve(&self, sql: &str, spool: Spool) -> TestServer {
        self.serve_with(sql, spool, |_| ())
    }

    fn serve_with(
        &self,
        sql: &str,
        spool: Spool,
        change: impl FnOnce(&mut Deployment),
    ) -> TestServer {
        let sql = pinned(sql);
        let mut deployment = Deployment::over(self.url.clone(), vec![("it.sql", &sql)]);
        deployment.connections = 1;
        deployment.spool = Some(spool);
        change(&mut deployment);
        deployment.start()
    }
}

fn request(format: &str) -> Value {
    json!({"export": "it", "format": format, "expires_in": 3600})
}

/// A spool in a new folder.
fn new_spool(bytes_max: u64) -> (TempDir, Spool) {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path().to_owned(), bytes_max);
    (folder, spool)
}

const AMPLE: u64 = 1 << 30;

/// Begins a download and reads only its start.
pub fn begin_slowly(url: &str) -> TcpStream {
    let (address, target) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    SockRef::from(&stream)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    let head = "HTTP/1.1\r\nHost: x\r\nConnection: close";
    write!(stream, "GET {target} {head}\r\n\r\n").unwrap();
    stream.peek(&mut [0]).unwrap();
    stream
}

/// Reads the rest of a download; returns its content, and whether it is whole.
pub fn read_rest(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    unchunked(&answer)
}

const IN_USE: &str = "rowlink_spool_bytes ";
const FULL: &str = "rowlink_spool_obstacles_total{reason=\"full\"} ";
const DISK: &str = "rowlink_spool_obstacles_total{reason=\"disk\"} ";
const QUERIES_ENDED: &str = "rowlink_download_database_seconds_count ";

/// Returns the paths under `/proc` of the anonymous files that a process has in a folder.
fn spooled_files(process: &str, folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_spooled = |path: &PathBuf| fs::read_link(path).is_ok_and(|it| it.starts_with(folder));
    paths.filter(is_spooled).collect()
}

database_tests! {
    #[ignore = "takes seconds: make test"]
    a_slow_reader_keeps_no_connection_and_gets_the_same_file in "spool_slow";
    a_query_that_fails_truncates_the_file_of_a_slow_reader in "spool_fails";
    a_full_spool_slows_the_query_and_never_exceeds_its_budget in "spool_full";
}

fn a_slow_reader_keeps_no_connection_and_gets_the_same_file(subject: Subject) {
    let (_folder, spool) = new_spool(AMPLE);
    let server = subject.serve(subject.rows, spool);
    for format in subject.formats {
        let url = server.link(request(format));
        let expected = Call::new("GET", &url).send().body;
        let mut slow = begin_slowly(&url);
        // There is a single connection, which the slow reader's query has until it ends.
        let small = json!({"export": "it", "format": format, "filters": {"below": 10}});
        let small = server.link(small);
        wait_for("a free connection", Duration::from_secs(60), || {
            Call::new("GET", &small).send().status == 200
        });
        // Its first chunk is most of the file.
        if *format != "parquet" {
            wait_for("bytes on the disk", Duration::from_secs(60), || {
                metric(&server.origin, IN_USE) > 0
            });
        }
        let (body, is_whole) = read_rest(&mut slow);
        assert!(is_whole, "{format}");
        match *format {
            // The headers of its archive depend on when chunks were flushed.
            "xlsx" => assert!(parts_of(&body) == parts_of(&expected)),
            _ => assert!(body == expected, "{format}"),
        }
        wait_for("an empty spool", Duration::from_secs(10), || {
            metric(&server.origin, IN_USE) == 0
        });
    }
}

/// Returns the names and contents of an archive.
fn parts_of(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let parts = 0..archive.len();
    parts
        .map(|index| {
            let mut part = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            part.read_to_end(&mut content).unwrap();
            (part.name().unwrap().into_owned(), content)
        })
        .collect()
}

fn a_query_that_fails_truncates_the_file_of_a_slow_reader(subject: Subject) {
    let (_folder, spool) = new_spool(AMPLE);
    let server = subject.serve(subject.fails, spool);
    let url = server.link(request("csv"));
    let mut slow = begin_slowly(&url);
    wait_for("the failure", Duration::from_secs(60), || {
        server
            .state
            .service
            .pools()
            .all(|(_, pool)| pool.in_use == 0)
            && metric(&server.origin, IN_USE) > 0
    });
    assert!(!read_rest(&mut slow).1, "a file without its last rows");
    wait_for("an empty spool", Duration::from_secs(10), || {
        metric(&server.origin, IN_USE) == 0
    });
}

fn a_full_spool_slows_the_query_and_never_exceeds_its_budget(subject: Subject) {
    const BUDGET: u64 = 3 << 20;
    let (_folder, spool) = new_spool(BUDGET);
    let server = subject.serve(subject.rows, spool);
    let url = server.link(request("csv"));
    let expected = Call::new("GET", &url).send().body;
    let mut slow = begin_slowly(&url);
    wait_for("a full spool", Duration::from_secs(60), || {
        metric(&server.origin, FULL) == 1
    });
    let in_use = metric(&server.origin, IN_USE);
    assert!(in_use <= BUDGET && in_use > BUDGET / 2, "{in_use}");
    let (body, is_whole) = read_rest(&mut slow);
    assert!(is_whole && body == expected);
    wait_for("an empty spool", Duration::from_secs(10), || {
        metric(&server.origin, IN_USE) == 0
    });
}

#[test]
fn without_its_folder_a_spool_slows_the_query() {
    let subject = sqlite();
    let (folder, spool) = new_spool(AMPLE);
    let server = subject.serve(subject.rows, spool);
    let url = server.link(request("csv"));
    let expected = Call::new("GET", &url).send().body;
    folder.close().unwrap();
    let mut slow = begin_slowly(&url);
    wait_for("an obstacle", Duration::from_secs(60), || {
        metric(&server.origin, DISK) == 1
    });
    let (body, is_whole) = read_rest(&mut slow);
    assert!(is_whole && body == expected);
}

#[test]
fn a_damaged_block_truncates_the_file() {
    let subject = sqlite();
    let (folder, spool) = new_spool(AMPLE);
    let server = subject.serve(subject.rows, spool);
    let mut slow = begin_slowly(&server.link(request("csv")));
    let files = || spooled_files("self", folder.path());
    wait_for("two megabytes on the disk", Duration::from_secs(60), || {
        metric(&server.origin, IN_USE) > 2 << 20
    });
    let file = File::options().write(true).open(&files()[0]).unwrap();
    file.write_all_at(b"!", 1_500_000).unwrap();
    drop(file);
    assert!(!read_rest(&mut slow).1, "a damaged file");
    let metrics = server.call("GET", "/metrics").send().text();
    assert!(metrics.contains("outcome=\"spool_failed\"} 1"), "{metrics}");
    wait_for("an empty spool", Duration::from_secs(10), || {
        metric(&server.origin, IN_USE) == 0 && files().is_empty()
    });
}

#[test]
fn a_reader_that_leaves_ends_the_query_and_frees_the_disk() {
    let subject = sqlite();
    let (folder, spool) = new_spool(AMPLE);
    let endless = ROWS_OF_SQLITE.replace(":below", "2000000000 + :below");
    let server = subject.serve(&endless, spool);
    let slow = begin_slowly(&server.link(request("csv")));
    wait_for("bytes on the disk", Duration::from_secs(60), || {
        metric(&server.origin, IN_USE) > 4 << 20
    });
    drop(slow);
    wait_for("the end of the query", Duration::from_secs(10), || {
        metric(&server.origin, QUERIES_ENDED) == 1 && metric(&server.origin, IN_USE) == 0
    });
    assert!(spooled_files("self", folder.path()).is_empty());
    let metrics = server.call("GET", "/metrics").send().text();
    assert!(metrics.contains("outcome=\"client_gone\"} 1"), "{metrics}");
}

/// Lets a deadline pass, which no event announces.
fn wait_until_after(deadline: Duration) {
    let begun = Instant::now();
    wait_for("a deadline", deadline * 2, || begun.elapsed() > deadline);
}

#[test]
#[ignore = "takes seconds: make test"]
fn the_time_of_a_query_is_limited_apart_from_that_of_its_reader() {
    let subject = sqlite();
    let (_folder, spool) = new_spool(AMPLE);
    let server = subject.serve_with(subject.rows, spool, |deployment| {
        deployment.query_max = Duration::from_secs(8);
    });
    let mut slow = begin_slowly(&server.link(request("csv")));
    wait_until_after(Duration::from_secs(9));
    assert!(read_rest(&mut slow).1, "the rows were all spooled in time");
    // Without space the query waits for its reader.
    let (_folder, spool) = new_spool(1 << 20);
    let server = subject.serve_with(subject.rows, spool, |deployment| {
        deployment.query_max = Duration::from_secs(2);
    });
    let mut slow = begin_slowly(&server.link(request("csv")));
    wait_until_after(Duration::from_secs(3));
    assert_eq!(metric(&server.origin, FULL), 1);
    assert!(!read_rest(&mut slow).1, "the query had only two seconds");
    let metrics = server.call("GET", "/metrics").send().text();
    assert!(metrics.contains("outcome=\"timed_out\"} 1"), "{metrics}");
}

#[test]
fn rows_on_the_disk_are_sealed_and_a_killed_server_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let sql = pinned(
        "with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
        select i as n, 'a secret that nobody may read' as word from m",
    );
    let variables = [
        ("ROWLINK_SPOOL_DIR", path),
        ("ROWLINK_SPOOL_BYTES", "100000000"),
    ];
    let rowlink = Rowlink::serve_with(&[("it.sql", &sql)], &variables);
    let url =
        rowlink.link(json!({"export": "it", "format": "csv", "filters": {"below": 1_000_000}}));
    let slow = begin_slowly(&url);
    let files = || spooled_files(&rowlink.pid().to_string(), folder.path());
    let bytes = || {
        let length = |path: &PathBuf| fs::metadata(path).map_or(0, |it| it.len());
        files().iter().map(length).sum::<u64>()
    };
    wait_for("bytes on the disk", Duration::from_secs(60), || {
        bytes() > 8 << 20
    });
    for file in files() {
        let raw = fs::read(file).unwrap();
        let secret = b"a secret";
        assert!(!raw.windows(secret.len()).any(|it| it == secret));
        // Sealed bytes do not compress.
        let coded = zstd::encode_all(&raw[..raw.len().min(1 << 20)], 1).unwrap();
        assert!(coded.len() * 100 > raw.len().min(1 << 20) * 99);
    }
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        0,
        "the files have no name"
    );
    rowlink.kill();
    drop(slow);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn the_log_tells_how_long_the_database_was_held_and_what_was_spooled() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("ROWLINK_SPOOL_DIR", folder.path().to_str().unwrap()),
        ("ROWLINK_SPOOL_BYTES", "100000000"),
        ("ROWLINK_LOG_FORMAT", "json"),
    ];
    let rowlink = Rowlink::serve_with(&[("it.sql", &pinned(ROWS_OF_SQLITE))], &variables);
    let url = rowlink.link(json!({"export": "it", "format": "csv"}));
    let mut slow = begin_slowly(&url);
    let mut last = (0, 0);
    wait_for("the end of the query", Duration::from_secs(60), || {
        let ticks = rowlink.processor_ticks();
        last = if ticks == last.0 {
            (ticks, last.1 + 1)
        } else {
            (ticks, 0)
        };
        last.1 > 100
    });
    assert!(read_rest(&mut slow).1);
    let log = rowlink.stop();
    let line = log.lines().find(|line| line.contains("download ended"));
    let line: Value = serde_json::from_str(line.unwrap()).unwrap();
    let number = |name: &str| {
        line[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {line}"))
    };
    assert!(number("spooled_bytes") > 1 << 20 && number("spooled_bytes") <= number("bytes"));
    assert!(
        number("database_milliseconds") < number("milliseconds"),
        "{line}"
    );
    assert_eq!(line["outcome"], "complete");
}

#[test]
fn a_folder_that_cannot_be_used_prevents_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let refusal = |directory: &Path, bytes: &str| {
        let variables = [
            ("ROWLINK_SPOOL_DIR", directory.to_str().unwrap()),
            ("ROWLINK_SPOOL_BYTES", bytes),
        ];
        let files = configured_folder(&[("it.sql", &pinned(ROWS_OF_SQLITE))]);
        let checked = command(files.path()).arg("check").envs(variables).output();
        let checked = checked.unwrap();
        assert!(!checked.status.success());
        String::from_utf8(checked.stderr).unwrap()
    };
    let message = refusal(&missing, "1048576");
    assert!(
        message.contains("ROWLINK_SPOOL_DIR: ") && message.contains("missing: No such file"),
        "{message}"
    );
    let message = refusal(folder.path(), "1000000000000000");
    assert!(
        message.contains("ROWLINK_SPOOL_BYTES: ") && message.contains("file system of"),
        "{message}"
    );
    let message = refusal(folder.path(), "");
    assert!(
        message.contains("ROWLINK_SPOOL_BYTES: is required"),
        "{message}"
    );
}
