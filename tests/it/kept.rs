//! Downloads that are continued from the spool: without another query, and without an exact length.

use std::fs;
use std::io::{Cursor, Read as _};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rowlink::service::QuotaLimits;
use rowlink::spool::Spool;
use serde_json::json;
use tempfile::TempDir;

use crate::faults::BreakingProxy;
use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{
    Answer, Call, Deployment, TestServer, begin_with, database_tests, metric, python,
    sample_database, sqlite_url, start_of_chunks, wait_for,
};

const FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];
const KEEP: Duration = Duration::from_secs(600);
const AMPLE: u64 = 1 << 30;

/// A database, and SQL whose rows differ each time.
struct Subject {
    url: String,
    random_rows: &'static str,
    _folder: Option<TempDir>,
}

const RANDOM_ROWS_OF_SQLITE: &str = "
    with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
    select i as n, hex(randomblob(30)) as word from m";

fn sqlite() -> Subject {
    let files = tempfile::tempdir().unwrap();
    Subject {
        url: sqlite_url(&sample_database(files.path())),
        random_rows: RANDOM_ROWS_OF_SQLITE,
        _folder: Some(files),
    }
}

fn postgres(database: &str) -> Subject {
    Subject {
        url: Cluster::shared().database(database, "create table nothing (n int)"),
        random_rows: "select i as n, md5(random()::text) || md5(random()::text) as word
            from (select generate_series(1, :below::int) as i) m",
        _folder: None,
    }
}

fn servers(database: &str) -> [Subject; 2] {
    let mariadb = Subject {
        url: MariaDb::shared().database(database, "create table nothing (n int)"),
        random_rows: "select seq as n, concat(md5(rand()), md5(rand())) as word
            from seq_1_to_2000000000 where seq <= :below",
        _folder: None,
    };
    [postgres(database), mariadb]
}

impl Subject {
    fn serve(&self, sql: &str) -> Kept {
        self.serve_with(sql, AMPLE, |_| ())
    }

    fn serve_with(&self, sql: &str, bytes_max: u64, change: impl FnOnce(&mut Deployment)) -> Kept {
        let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
        let sql = format!(
            "/*---\nformats = [{formats}]\n[filters.below]\ntype = 'integer'\ndefault = 60000\n---*/\n\
             select * from ({sql}) as it where :user = 'alice'"
        );
        let folder = tempfile::tempdir().unwrap();
        let mut deployment = Deployment::over(self.url.clone(), vec![("it.sql", &sql)]);
        deployment.spool = Some(Spool::new(folder.path().to_owned(), bytes_max).with_keep(KEEP));
        change(&mut deployment);
        Kept {
            server: deployment.start(),
            _folder: folder,
        }
    }
}

/// A server that keeps files.
struct Kept {
    server: TestServer,
    _folder: TempDir,
}

impl Kept {
    fn link(&self, format: &str) -> String {
        let request = json!({"export": "it", "format": format, "expires_in": 600});
        self.server.link(request)
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.server.origin, name)
    }

    fn in_use(&self) -> u64 {
        self.metric("rowlink_spool_bytes ")
    }

    fn queries(&self) -> u64 {
        self.metric("rowlink_download_database_seconds_count ")
    }

    /// Lets the limit of continuations per second start anew.
    fn next_second(&self) {
        self.server.set_clock(self.server.now() + 2);
    }
}

/// The start of a download whose connection broke.
struct Broken {
    head: String,
    /// The content of the chunks, as they were sent.
    content: Vec<u8>,
}

/// Begins a download and closes its connection after so many bytes.
fn break_after(url: &str, headers: &str, bytes: usize) -> Broken {
    let mut stream = begin_with(url, headers);
    let broken = read_start(&mut stream, bytes);
    stream.shutdown(Shutdown::Both).unwrap();
    broken
}

fn read_start(stream: &mut TcpStream, bytes: usize) -> Broken {
    let mut answer = vec![0; bytes];
    stream.read_exact(&mut answer).unwrap();
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    Broken {
        head: String::from_utf8(answer[..end].to_vec()).unwrap(),
        content: start_of_chunks(&answer[end + 4..]),
    }
}

impl Broken {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }

    fn tag(&self) -> &str {
        self.header("etag").unwrap()
    }
}

fn continued(url: &str, range: &str, condition: &'static str, tag: &str) -> Answer {
    Call::new("GET", url)
        .header("range", range)
        .header(condition, tag)
        .header("accept-encoding", "identity")
        .send()
}

fn continue_from(url: &str, first: usize, tag: &str) -> Answer {
    continued(url, &format!("bytes={first}-"), "if-range", tag)
}

/// Returns the whole file from what a client has and the rest of it.
fn joined(broken: &Broken, url: &str) -> Vec<u8> {
    let first = broken.content.len();
    let rest = continue_from(url, first, broken.tag());
    assert_eq!(rest.status, 206, "{}", rest.text());
    let length = first + rest.body.len();
    let range = format!("bytes {first}-{}/{length}", length - 1);
    assert_eq!(rest.header("content-range"), range);
    assert_eq!(rest.header("etag"), broken.tag());
    [&broken.content[..], &rest.body].concat()
}

database_tests! {
    a_broken_download_is_continued_without_another_query in "kept_broken";
}

fn a_broken_download_is_continued_without_another_query(subject: Subject) {
    let kept = subject.serve(subject.random_rows);
    let formats = match subject._folder {
        Some(_) => &FORMATS[..],
        // The spool knows neither formats nor databases.
        None => &FORMATS[..1],
    };
    for format in formats {
        let url = kept.link(format);
        let broken = break_after(&url, "", 100_000);
        assert_eq!(broken.header("accept-ranges"), Some("bytes"));
        assert_eq!(broken.header("content-length"), None, "{format}");
        let queries = kept.queries();
        let whole = joined(&broken, &url);
        match *format {
            "csv" => assert_eq!(whole.split(|byte| *byte == b'\n').count(), 60_002),
            "xlsx" => assert!(zip::ZipArchive::new(Cursor::new(&whole)).is_ok()),
            _ => {}
        }
        for first in [1, 250_000, whole.len() - 1] {
            let rest = continue_from(&url, first, broken.tag());
            assert!(rest.body == whole[first..], "{format} from {first}");
            kept.next_second();
        }
        assert!(kept.queries() <= queries + 1, "one query per format");
        let permits = || kept.server.state.service.downloads();
        wait_for("the end of all", Duration::from_secs(10), || permits() == 0);
    }
}

fn over_sqlite() -> (Subject, Kept) {
    let subject = sqlite();
    let kept = subject.serve(RANDOM_ROWS_OF_SQLITE);
    (subject, kept)
}

#[test]
fn ranges_of_a_kept_file_are_answered_as_their_conditions_ask() {
    let (subject, kept) = over_sqlite();
    let url = kept.link("csv");
    let broken = break_after(&url, "", 100_000);
    let tag = broken.tag();
    let whole = joined(&broken, &url);
    let length = whole.len();
    let ranged = |range: &str, condition: &'static str| {
        kept.next_second();
        continued(&url, range, condition, tag)
    };
    let is_part = |answer: &Answer, bytes: Range<usize>| {
        (answer.status, &answer.body[..]) == (206, &whole[bytes])
    };
    let end = length..length;
    assert!(is_part(&ranged("bytes=10-19", "if-range"), 10..20));
    assert!(is_part(&ranged("bytes=-7", "if-range"), length - 7..length));
    assert!(is_part(&ranged("bytes=10-", "if-match"), 10..end.end));
    let several = ranged("bytes=0-1,5-9", "if-range");
    assert!((several.status, several.body == whole) == (200, true));
    assert_eq!(several.header("content-length"), length.to_string());
    let outside = ranged(&format!("bytes={length}-"), "if-range");
    assert_eq!(outside.problem(), (416, "range-outside".into()));
    let late = Call::new("GET", &url).header("range", "bytes=10-").send();
    assert_eq!(late.problem(), (400, "range-not-supported".into()));
    for _ in 0..4 {
        continue_from(&url, 10, tag);
    }
    let limited = continue_from(&url, 10, tag);
    assert_eq!(limited.problem(), (429, "range-limit".into()));
    // Another replica does not have the file.
    let other = subject.serve(RANDOM_ROWS_OF_SQLITE);
    let there = url.replacen(&kept.server.origin, &other.server.origin, 1);
    let another = continue_from(&there, 10, tag);
    assert!((another.status, another.body == whole) == (200, false));
    let refused = continued(&there, "bytes=10-", "if-match", tag);
    assert_eq!(refused.problem(), (412, "file-changed".into()));
}

#[test]
fn a_client_that_received_a_compressed_file_continues_it_without_compression() {
    let (_subject, kept) = over_sqlite();
    for coding in ["gzip", "zstd"] {
        let url = kept.link("csv");
        let accepted = format!("Accept-Encoding: {coding}\r\n");
        let mut broken = break_after(&url, &accepted, 100_000);
        assert_eq!(broken.header("content-encoding"), Some(coding));
        let mut decoded = Vec::new();
        let ended = match coding {
            "gzip" => flate2::read::GzDecoder::new(&broken.content[..]).read_to_end(&mut decoded),
            _ => zstd::Decoder::new(&broken.content[..])
                .unwrap()
                .read_to_end(&mut decoded),
        };
        assert!(ended.is_err() && decoded.len() > 50_000);
        // The offsets of a client that keeps what it received would be others.
        let coded = Call::new("GET", &url)
            .header("range", "bytes=10-")
            .header("if-range", broken.tag());
        assert_eq!(coded.send().status, 200, "another file");
        broken.content = decoded;
        let whole = joined(&broken, &url);
        assert_eq!(whole.split(|byte| *byte == b'\n').count(), 60_002);
        // Firefox keeps the decoded bytes, although it accepts the content coding again. It requires that the length
        // stays unknown.
        let firefox = Call::new("GET", &url)
            .header("range", "bytes=10-")
            .header("if-match", broken.tag())
            .header("accept-encoding", coding)
            .header("sec-fetch-mode", "no-cors");
        let firefox = firefox.send();
        assert_eq!((firefox.status, &firefox.body[..]), (206, &whole[10..]));
        let range = format!("bytes 10-{}/*", whole.len() - 1);
        assert_eq!(firefox.header("content-range"), range);
    }
}

#[test]
fn a_kept_file_with_an_exact_length_is_continued_with_its_hash_and_without_a_query() {
    let subject = sqlite();
    let kept = subject.serve(
        "with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
         select i as n, printf('%040d', i) as word from m",
    );
    let request = json!({"export": "it", "format": "csv", "length": "exact"});
    let url = kept.server.link(request);
    let whole = Call::new("GET", &url).send();
    wait_for("the end of the query", Duration::from_secs(10), || {
        kept.queries() == 1
    });
    let rest = continue_from(&url, 10, whole.header("etag"));
    assert_eq!((rest.status, &rest.body[..]), (206, &whole.body[10..]));
    assert_eq!(rest.header("repr-digest"), whole.header("repr-digest"));
    assert_eq!(kept.queries(), 1);
}

#[test]
fn a_kept_file_leaves_its_space_to_others() {
    let subject = sqlite();
    let kept = subject.serve_with(RANDOM_ROWS_OF_SQLITE, 6 << 20, |_| ());
    let url = kept.link("csv");
    let broken = break_after(&url, "", 100_000);
    joined(&broken, &url);
    let others = kept.link("csv");
    let other = break_after(&others, "", 100_000);
    joined(&other, &others);
    assert!(kept.in_use() <= 6 << 20);
    let another = continue_from(&url, 10, broken.tag());
    assert_eq!(another.status, 200, "the first one was discarded");
    assert_eq!(
        kept.metric("rowlink_spool_obstacles_total{reason=\"full\"} "),
        0
    );
}

#[test]
fn a_query_without_a_reader_gives_up_when_the_space_is_used_up() {
    let subject = sqlite();
    let endless = RANDOM_ROWS_OF_SQLITE.replace(":below", "2000000000 + :below");
    let kept = subject.serve_with(&endless, 4 << 20, |_| ());
    let url = kept.link("csv");
    let broken = break_after(&url, "", 100_000);
    wait_for("the end of the query", Duration::from_secs(30), || {
        kept.in_use() == 0 && kept.server.state.service.downloads() == 0
    });
    let refused = continued(&url, "bytes=10-", "if-match", broken.tag());
    assert_eq!(refused.problem(), (412, "file-changed".into()));
}

#[test]
fn a_file_is_kept_for_a_limited_time() {
    let subject = sqlite();
    let kept = subject.serve_with(RANDOM_ROWS_OF_SQLITE, AMPLE, |deployment| {
        let spool = deployment.spool.take().unwrap();
        deployment.spool = Some(spool.with_keep(Duration::from_secs(1)));
    });
    let url = kept.link("csv");
    let broken = break_after(&url, "", 100_000);
    joined(&broken, &url);
    assert!(kept.in_use() > 0);
    wait_for("an empty spool", Duration::from_secs(10), || {
        kept.in_use() == 0
    });
    assert_eq!(continue_from(&url, 10, broken.tag()).status, 200);
}

#[test]
fn only_a_kept_file_that_has_begun_is_continued_after_the_expiry() {
    let (_subject, kept) = over_sqlite();
    let request = json!({"export": "it", "format": "csv", "expires_in": 60});
    let mut with_resume = request.clone();
    with_resume["resume_seconds"] = json!(600);
    let (plain, url) = (kept.server.link(request), kept.server.link(with_resume));
    let [of_plain, broken] = [&plain, &url].map(|url| break_after(url, "", 100_000));
    let expired = (410, "link-expired".into());
    kept.server.set_clock(kept.server.now() + 60);
    assert_eq!(continue_from(&plain, 10, of_plain.tag()).problem(), expired);
    assert_eq!(continue_from(&url, 10, of_plain.tag()).problem(), expired);
    joined(&broken, &url);
    kept.server.set_clock(kept.server.now() + 600);
    assert_eq!(continue_from(&url, 10, broken.tag()).problem(), expired);
}

#[test]
fn a_continuation_shares_the_permit_of_its_query_and_counts_after_it() {
    let subject = sqlite();
    let kept = subject.serve_with(RANDOM_ROWS_OF_SQLITE, AMPLE, |deployment| {
        deployment.limits = QuotaLimits {
            downloads_per_link: 1,
            ..deployment.limits
        };
    });
    let request = json!({"export": "it", "format": "csv", "filters": {"below": 300_000}});
    let url = kept.server.link(request);
    let broken = break_after(&url, "", 100_000);
    let gone = "rowlink_downloads_total{export=\"it\",format=\"csv\",outcome=\"client_gone\"} ";
    wait_for("the end of the reader", Duration::from_secs(10), || {
        kept.metric(gone) == 1
    });
    // The query has not ended, and its permit is the only one.
    let whole = joined(&broken, &url);
    assert!(whole.ends_with(b"\n") && whole.len() > 300_000 * 60);
    let downloads = || kept.server.state.service.downloads();
    wait_for("the end", Duration::from_secs(10), || downloads() == 0);
    let head = format!("Range: bytes=10-\r\nIf-Range: {}\r\n", broken.tag());
    let reading = begin_with(&url, &head);
    reading.peek(&mut [0]).unwrap();
    assert_eq!(downloads(), 1);
    let refused = continue_from(&url, 10, broken.tag());
    assert_eq!(refused.problem(), (429, "link-limit".into()));
    drop(reading);
    wait_for("the end", Duration::from_secs(10), || downloads() == 0);
}

#[test]
fn a_query_that_fails_after_its_client_has_left_is_no_file() {
    let subject = sqlite();
    let kept = subject.serve(
        "with recursive m(i) as (select 1 union all select i + 1 from m)
         select i as n, case when i >= :below then json('not JSON') else hex(randomblob(30)) end as word from m",
    );
    let url = kept.link("csv");
    let broken = break_after(&url, "", 100_000);
    let refused = continued(&url, "bytes=10-", "if-match", broken.tag());
    assert_eq!(refused.problem(), (412, "file-changed".into()));
    wait_for("an empty spool", Duration::from_secs(10), || {
        kept.in_use() == 0
    });
}

#[test]
fn the_log_and_the_metrics_tell_what_a_query_used_that_ended_without_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("ROWLINK_SPOOL_DIR", folder.path().to_str().unwrap()),
        ("ROWLINK_SPOOL_BYTES", "100000000"),
        ("ROWLINK_SPOOL_KEEP_SECONDS", "600"),
    ];
    let sql = format!("select * from ({RANDOM_ROWS_OF_SQLITE}) where :user = 'alice'");
    // More than the buffers of a connection hold.
    let sql = sql.replace(":below", "200000");
    let rowlink = Rowlink::serve_with(&[("it.sql", &sql)], &variables);
    let request = json!({"export": "it", "format": "csv", "expires_in": 600});
    break_after(&rowlink.link(request.clone()), "", 100_000);
    let spooled = || metric(rowlink.origin(), "rowlink_spooled_bytes_total ");
    wait_for("the first query", Duration::from_secs(60), || spooled() > 0);
    let whole = Call::new("GET", rowlink.link(request)).send();
    assert_eq!(whole.status, 200);
    wait_for("both queries", Duration::from_secs(10), || {
        spooled() == 2 * whole.body.len() as u64
    });
    let log = rowlink.stop();
    let ended = log
        .lines()
        .filter(|line| line.contains("query ended after its client had left"));
    assert_eq!(
        ended
            .filter(|line| line.contains("is_complete=true"))
            .count(),
        1,
        "{log}"
    );
}

/// Returns a link that leads through a proxy which breaks connections after so many bytes.
fn through_breaking(kept: &Kept, url: &str, limit: u64) -> String {
    let proxy = BreakingProxy::before(kept.server.port());
    proxy.limit.store(limit, Ordering::SeqCst);
    proxy.through(url)
}

#[test]
fn rowlink_get_continues_a_kept_file() {
    let (_subject, kept) = over_sqlite();
    let folder = tempfile::tempdir().unwrap();
    let request = json!({"export": "it", "format": "csv", "end_line": true});
    let url = through_breaking(&kept, &kept.server.link(request), 1_500_001);
    let mut get = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    let output = get
        .current_dir(&folder)
        .args(["get", &url])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("continued 2 times"), "{printed}");
}

#[test]
#[ignore = "needs Python packages: make test"]
fn the_python_client_continues_a_kept_file() {
    let (_subject, kept) = over_sqlite();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.csv");
    let request = json!({"export": "it", "format": "csv", "end_line": true});
    let url = through_breaking(&kept, &kept.server.link(request), 1_500_001);
    let retries = python("download_file.py", &[url.as_ref(), path.as_os_str()]);
    // On a busy machine a connection may break before the limit. No attempt is long enough for the whole file.
    let retries: u32 = retries.trim().parse().unwrap();
    assert!(retries >= 2, "{retries}");
    assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 60_001);
}

/// Begins by heartbeats: the first row comes late.
#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_download_that_began_by_heartbeats_is_continued() {
    let subject = postgres("kept_heartbeats");
    let late = format!(
        "select late.* from (with pause as materialized (select pg_sleep(2)) select 1 from pause) p, ({}) late",
        subject.random_rows
    );
    let kept = subject.serve_with(&late, AMPLE, |deployment| {
        deployment.heartbeat_after = Some(Duration::from_millis(300));
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            let url = kept.link("csv");
            let broken = break_after(&url, "Accept-Encoding: gzip\r\n", 100_000);
            let file = Broken {
                content: Vec::new(),
                ..broken
            };
            let whole = joined(&file, &url);
            let mut decoded = Vec::new();
            let _ = flate2::read::GzDecoder::new(&broken.content[..]).read_to_end(&mut decoded);
            assert!(decoded.len() > 50_000 && whole.starts_with(&decoded));
        });
        scope.spawn(|| {
            let url = kept.link("xlsx");
            let broken = break_after(&url, "", 100_000);
            let workbook = Cursor::new(joined(&broken, &url));
            let mut archive = zip::ZipArchive::new(workbook).unwrap();
            let mut sheet = archive.by_name("xl/worksheets/sheet1.xml").unwrap();
            let mut content = String::new();
            sheet.read_to_string(&mut content).unwrap();
            assert_eq!(content.matches("<row ").count(), 60_001);
        });
    });
}

/// The client waits 20 seconds for a query that does not end.
#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_continuation_does_not_wait_longer_for_a_query_than_proxies_do() {
    let subject = postgres("kept_unfinished");
    let slow = format!(
        "select * from ({}) m union all select 0, pg_sleep(40)::text",
        subject.random_rows
    );
    let kept = subject.serve(&slow);
    let url = kept.link("csv");
    let broken = break_after(&url, "", 100_000);
    let unfinished = continue_from(&url, 10, broken.tag());
    assert_eq!(unfinished.problem(), (503, "file-unfinished".into()));
    assert!(!unfinished.header("retry-after").is_empty());
}
