//! Downloads that are continued: by the entity tag of a file whose length and hash are known.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::{
    Answer, Call, Deployment, TestServer, database_tests, read_aborted, read_workbook, sqlite_url,
};

const ALL_FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];

/// A table of 3000 rows, which tests change.
struct Subject {
    url: String,
    /// Changes a row.
    change: Box<dyn Fn()>,
    /// SQL that waits for a second in every thousandth row.
    pauses: &'static str,
    _folder: Option<TempDir>,
}

const ROWS: &str = "select n, word from things where :user = 'alice' order by n";

fn sqlite() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("things.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "create table things (n integer primary key, word text);
             with recursive m(i) as (select 1 union all select i + 1 from m where i < 3000)
             insert into things select i, printf('%x', i * 2654435761 & 0xffffffff) from m;",
        )
        .unwrap();
    Subject {
        url: sqlite_url(&path),
        change: Box::new(move || {
            let changed =
                connection.execute("update things set word = word || '!' where n = 2900", []);
            assert_eq!(changed, Ok(1));
        }),
        pauses: ROWS,
        _folder: Some(folder),
    }
}

fn servers(database: &'static str) -> [Subject; 2] {
    let cluster = Cluster::shared();
    let update = "update things set word = word || '!' where n = 2900";
    let postgres = Subject {
        url: cluster.database(
            database,
            "create table things as select n, md5(n::text) as word from generate_series(1, 3000) n;
             create function pause(seconds float8) returns int volatile language sql
             return case when pg_sleep(seconds) is null then 1 else 0 end;",
        ),
        change: Box::new(move || drop(cluster.psql(database, update))),
        pauses: "select n, word, case when n % 1000 = 1 then pause(random()) else 0 end as paused
            from things where :user = 'alice' order by n",
        _folder: None,
    };
    let server = MariaDb::shared();
    let mariadb = Subject {
        url: server.database(
            database,
            "create table things (n int primary key, word text) select seq as n, md5(seq) as word from seq_1_to_3000",
        ),
        change: Box::new(move || {
            let update = "update things set word = concat(word, '!') where n = 2900";
            server.query(database, update);
        }),
        pauses: "select n, word, case when n % 1000 = 1 then sleep(rand()) else 0 end as paused
            from things where :user = 'alice' order by n",
        _folder: None,
    };
    [postgres, mariadb]
}

impl Subject {
    fn serve(&self, sql: &str) -> TestServer {
        let formats = ALL_FORMATS.map(|format| format!("'{format}'")).join(", ");
        let sql = format!("/*---\nformats = [{formats}]\n---*/\n{sql}");
        Deployment::over(self.url.clone(), vec![("things.sql", &sql)]).start()
    }
}

fn request(format: &str) -> Value {
    json!({"export": "things", "format": format, "length": "exact", "expires_in": 60})
}

fn get(url: &str, headers: &[(&'static str, &str)]) -> Answer {
    let call = Call::new("GET", url);
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, *value));
    call.send()
}

fn continue_from(url: &str, first: usize, tag: &str) -> Answer {
    let range = format!("bytes={first}-");
    get(url, &[("range", &range), ("if-range", tag)])
}

/// Returns the same link on another server.
fn at(server: &TestServer, url: &str, other: &TestServer) -> String {
    url.replacen(&server.origin, &other.origin, 1)
}

database_tests! {
    a_file_is_continued_on_another_replica_while_its_rows_are_the_same in "resume_continued";
    the_bytes_of_a_file_do_not_depend_on_the_pauses_of_its_query in "resume_pauses";
}

fn a_file_is_continued_on_another_replica_while_its_rows_are_the_same(subject: Subject) {
    let (server, other) = (subject.serve(ROWS), subject.serve(ROWS));
    for format in ALL_FORMATS {
        let url = server.link(request(format));
        let whole = get(&url, &[]);
        assert_eq!(whole.header("accept-ranges"), "bytes");
        let length = whole.body.len();
        assert_eq!(
            whole.header("content-length"),
            length.to_string(),
            "{format}"
        );
        let digest = format!("sha-256=:{}:", BASE64.encode(Sha256::digest(&whole.body)));
        assert_eq!(whole.header("repr-digest"), digest, "{format}");
        let tag = whole.header("etag");
        for first in [1, length / 2, length - 1] {
            let rest = continue_from(&at(&server, &url, &other), first, tag);
            assert_eq!(rest.status, 206, "{format}: {}", rest.text());
            let range = format!("bytes {first}-{}/{length}", length - 1);
            assert_eq!(rest.header("content-range"), range);
            assert_eq!(rest.header("repr-digest"), digest);
            assert!(rest.body == whole.body[first..], "{format} from {first}");
        }
    }
    let url = server.link(request("csv"));
    let whole = get(&url, &[]);
    let tag = whole.header("etag").to_owned();
    (subject.change)();
    let changed = continue_from(&at(&server, &url, &other), 100, &tag);
    assert_eq!(changed.status, 200);
    assert!(changed.body != whole.body && changed.text().contains('!'));
    assert_ne!(changed.header("etag"), tag);
    let refused = get(&url, &[("range", "bytes=100-"), ("if-match", &tag)]);
    assert_eq!(refused.problem(), (412, "file-changed".into()));
}

fn the_bytes_of_a_file_do_not_depend_on_the_pauses_of_its_query(subject: Subject) {
    let server = subject.serve(subject.pauses);
    thread::scope(|scope| {
        for format in ALL_FORMATS {
            let server = &server;
            scope.spawn(move || {
                let url = server.link(request(format));
                let (one, two) = (get(&url, &[]), get(&url, &[]));
                assert_eq!(one.header("etag"), two.header("etag"), "{format}");
                assert!(one.body == two.body, "{format}");
            });
        }
    });
}

fn over_sqlite() -> (Subject, TestServer) {
    let subject = sqlite();
    let server = subject.serve(ROWS);
    (subject, server)
}

#[test]
fn ranges_are_answered_as_their_conditions_ask() {
    let (_subject, server) = over_sqlite();
    let url = server.link(request("csv"));
    let whole = get(&url, &[]);
    let (length, tag) = (whole.body.len(), whole.header("etag").to_owned());
    let ranged = |range: &str, condition: &'static str, tag: &str| {
        // At most four continuations per second are answered.
        server.set_clock(server.now() + 2);
        get(&url, &[("range", range), (condition, tag)])
    };
    let part = ranged("bytes=10-19", "if-range", &tag);
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &whole.body[10..20])
    );
    assert_eq!(
        part.header("content-range"),
        format!("bytes 10-19/{length}")
    );
    let start = ranged("bytes=0-9", "if-range", &tag);
    assert_eq!(
        (start.status, start.body.as_slice()),
        (206, &whole.body[..10])
    );
    let end = ranged("bytes=-7", "if-range", &tag);
    assert_eq!(
        (end.status, end.body.as_slice()),
        (206, &whole.body[length - 7..])
    );
    let matched = ranged("bytes=10-", "if-match", &tag);
    assert_eq!(
        (matched.status, matched.body.as_slice()),
        (206, &whole.body[10..])
    );
    for several in ["bytes=0-1,5-9", "bytes=9-5", "bytes=x"] {
        let answer = ranged(several, "if-range", &tag);
        assert_eq!(
            (answer.status, answer.body == whole.body),
            (200, true),
            "{several}"
        );
    }
    let outside = ranged(&format!("bytes={length}-"), "if-range", &tag);
    assert_eq!(outside.problem(), (416, "range-outside".into()));
    assert_eq!(outside.header("content-range"), format!("bytes */{length}"));
    let another_link = get(&server.link(request("csv")), &[]);
    let forged = format!("\"{}\"", &tag[2..]);
    for other in [
        another_link.header("etag"),
        "\"x\"",
        "Sat, 31 Jan 2026 10:00:00 GMT",
        &forged,
    ] {
        let answer = ranged("bytes=10-", "if-range", other);
        assert_eq!(
            (answer.status, answer.body == whole.body),
            (200, true),
            "{other}"
        );
        let refused = ranged("bytes=10-", "if-match", other);
        assert_eq!(refused.problem(), (412, "file-changed".into()), "{other}");
    }
    let unchanged = get(&url, &[("if-match", &format!("\"x\", {tag}"))]);
    assert_eq!(
        (unchanged.status, unchanged.body == whole.body),
        (200, true)
    );
    let refused = get(&url, &[("if-match", "\"x\"")]);
    assert_eq!(refused.problem(), (412, "file-changed".into()));
    let late = get(&url, &[("range", "bytes=10-")]);
    assert_eq!(late.problem(), (400, "range-not-supported".into()));
    let wanted = get(&url, &[("want-digest", "sha-256")]);
    let digest = BASE64.encode(Sha256::digest(&wanted.body));
    assert_eq!(wanted.header("digest"), format!("sha-256={digest}"));
    // Without a known length there is nothing to continue.
    let live = server.link(json!({"export": "things", "format": "csv"}));
    let answer = get(&live, &[("range", "bytes=10-"), ("if-range", &tag)]);
    assert_eq!((answer.status, answer.body == whole.body), (200, true));
    assert!(!answer.headers.contains_key("etag"));
    let head = Call::new("HEAD", &url).send();
    assert_eq!(head.header("accept-ranges"), "bytes");
}

#[test]
fn only_a_download_that_has_begun_is_continued_after_the_expiry() {
    let (subject, server) = over_sqlite();
    let mut with_resume = request("csv");
    with_resume["resume_seconds"] = json!(600);
    let url = server.link(with_resume.clone());
    assert!(url.contains("rl_resume=600"));
    let whole = get(&url, &[]);
    let tag = whole.header("etag").to_owned();
    let (plain, issued) = (server.link(request("csv")), server.now());
    let plain_tag = get(&plain, &[]).header("etag").to_owned();
    server.set_clock(issued + 60);
    let expired = (410, "link-expired".into());
    assert_eq!(get(&url, &[]).problem(), expired);
    assert_eq!(continue_from(&url, 10, "\"x\"").problem(), expired);
    assert_eq!(continue_from(&url, 10, &plain_tag).problem(), expired);
    assert_eq!(continue_from(&plain, 10, &plain_tag).problem(), expired);
    assert_eq!(get(&url, &[("if-range", &tag)]).problem(), expired);
    let rest = continue_from(&url, 10, &tag);
    assert_eq!(
        (rest.status, rest.body.as_slice()),
        (206, &whole.body[10..])
    );
    server.set_clock(issued + 659);
    assert_eq!(continue_from(&url, 10, &tag).status, 206);
    (subject.change)();
    server.set_clock(issued + 657);
    // The rows of the file that was begun, and no others.
    assert_eq!(continue_from(&url, 10, &tag).problem(), expired);
    server.set_clock(issued + 660);
    assert_eq!(continue_from(&url, 10, &tag).problem(), expired);
    with_resume["resume_seconds"] = json!(3601);
    let refused = server.issue(with_resume);
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["resume_seconds".to_owned()])
    );
}

#[test]
fn a_link_is_continued_at_most_four_times_per_second() {
    let (_subject, server) = over_sqlite();
    let url = server.link(request("csv"));
    let tag = get(&url, &[]).header("etag").to_owned();
    for _ in 0..4 {
        assert_eq!(continue_from(&url, 10, &tag).status, 206);
    }
    let refused = continue_from(&url, 10, &tag);
    assert_eq!(refused.problem(), (429, "range-limit".into()));
    assert_eq!(refused.header("retry-after"), "1");
    server.set_clock(server.now() + 2);
    assert_eq!(continue_from(&url, 10, &tag).status, 206);
}

#[test]
fn rows_that_differ_in_the_second_pass_are_not_sent_whole_even_if_their_length_is_the_same() {
    let subject = sqlite();
    let random = "with recursive m(i) as (select 1 union all select i + 1 from m where i < COUNT)
        select i, abs(random() % 8) as digit from m where :user = 'alice'";
    let server = subject.serve(&random.replace("COUNT", "10"));
    let answer = get(&server.link(request("csv")), &[]);
    assert_eq!(answer.problem(), (500, "not-repeatable".into()));
    let server = subject.serve(&random.replace("COUNT", "2000000"));
    let received = read_aborted(&server.link(request("csv")));
    assert!(received.starts_with(b"HTTP/1.1 200"));
}

#[test]
#[ignore = "needs Python packages: make test"]
fn a_workbook_with_a_known_length_is_read_by_others() {
    let (_subject, server) = over_sqlite();
    let workbook = read_workbook(&server.download(request("xlsx")).body);
    assert!(workbook.to_string().contains("9e3779b1"), "its first row");
}

#[test]
fn a_large_file_is_continued_from_the_byte_at_which_it_broke() {
    let subject = sqlite();
    let server = subject.serve(
        "with recursive m(i) as (select 1 union all select i + 1 from m where i < 300000)
         select i, printf('%x', i * 2654435761 & 0xffffffff) as word from m where :user = 'alice'",
    );
    let url = server.link(request("csv"));
    let whole = get(&url, &[]);
    let tag = whole.header("etag").to_owned();
    for first in [1, 65_537, 1_000_000, whole.body.len() - 3] {
        let rest = continue_from(&url, first, &tag);
        assert_eq!(rest.status, 206);
        assert!(rest.body == whole.body[first..], "from {first}");
    }
}
