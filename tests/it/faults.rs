//! Fault injection: whatever fails, a download is complete, or the client detects that it is not.
//!
//! A complete file has every row of the right owner, in order. The tests rotate through the formats, also those of a book.

use std::io::{self, Cursor, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use socket2::SockRef;

use crate::harness::mariadb::{self, MariaDb};
use crate::harness::postgres::Cluster;
use crate::harness::{Deployment, TestServer, parts, unchunked, wait_for};

const ROWS: u64 = 200_000;

/// Rows of two owners, each with its sequence number and a checksum.
const FACTS_IN_POSTGRES: &str = "
    create table facts as
    select owner, n, md5(owner || n) as checksum
    from generate_series(1, 200000) n, (values ('alice'), ('bob')) owners (owner);
    alter table facts add primary key (owner, n);
    analyze facts;
";
const FACTS_IN_MARIADB: &str = "
    create table facts (owner varchar(5), n int, checksum varchar(32), primary key (owner, n))
    select owner, seq as n, md5(concat(owner, seq)) as checksum
    from (select 'alice' as owner union all select 'bob') as owners join seq_1_to_200000
";

/// `divided` fails in row `fail_at`. In both exports it is 1 in the first row and 0 in the others.
const EXPORT_OF_POSTGRES: &str = "/*---\nformats = ['csv', 'xlsx', 'ndjson', 'json', 'tsv', 'parquet']\n[filters.fail_at]\ntype = 'integer'\ndefault = 0\n---*/\n\
    select owner, n, checksum, 1 / (n - :fail_at) as divided from facts\n\
    where owner = :user order by n";
/// Division by zero is NULL in MariaDB, so this overflows a `bigint` instead.
const EXPORT_OF_MARIADB: &str = "/*---\nformats = ['csv', 'xlsx', 'ndjson', 'json', 'tsv', 'parquet']\n[filters.fail_at]\ntype = 'integer'\ndefault = 0\n---*/\n\
    select owner, n, checksum, 1 div n + 0 * (9223372036854775807 + (n = :fail_at)) as divided from facts\n\
    where owner = :user order by n";

/// A few of these rows fill every buffer between database and client.
const WIDE_EXPORT: &str =
    "select n, repeat('x', 10000) as filler from facts where owner = :user order by n";

/// A database server for one test.
enum Database {
    Postgres(Cluster),
    MariaDb(MariaDb),
}

impl Database {
    /// Starts one server of each kind, one after the other.
    fn each() -> impl Iterator<Item = Database> {
        [
            || Database::Postgres(Cluster::start()),
            || Database::MariaDb(MariaDb::start()),
        ]
        .into_iter()
        .map(|start| start())
    }

    fn name(&self) -> &'static str {
        match self {
            Database::Postgres(_) => "PostgreSQL",
            Database::MariaDb(_) => "MariaDB",
        }
    }

    /// Creates the table; returns the URL of the database and the export.
    fn with_facts(&self) -> (String, &'static str) {
        match self {
            Database::Postgres(cluster) => (
                cluster.database("facts", FACTS_IN_POSTGRES),
                EXPORT_OF_POSTGRES,
            ),
            Database::MariaDb(server) => (
                server.database("facts", FACTS_IN_MARIADB),
                EXPORT_OF_MARIADB,
            ),
        }
    }

    /// Returns the facts of alice as CSV, written by the client of the database.
    fn facts(&self) -> String {
        let whose = "from facts where owner = 'alice' order by n";
        match self {
            Database::Postgres(cluster) => {
                let rows = format!("select owner, n, checksum, 1 / n as divided {whose}");
                cluster.psql("facts", &format!("copy ({rows}) to stdout csv header"))
            }
            Database::MariaDb(server) => {
                let rows = format!("select owner, n, checksum, 1 div n as divided {whose}");
                let text = server.query("facts", &rows).replace('\t', ",");
                text.trim_end().to_owned()
            }
        }
    }

    /// Returns the number of running Rowlink queries.
    fn running(&self) -> usize {
        match self {
            Database::Postgres(cluster) => cluster.running("facts"),
            Database::MariaDb(server) => server.running("facts"),
        }
    }

    /// Terminates all connections of Rowlink.
    fn terminate(&self) {
        match self {
            Database::Postgres(cluster) => {
                let terminate = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                                 where application_name like 'rowlink/%'";
                cluster.psql("facts", terminate);
            }
            Database::MariaDb(server) => server.terminate(),
        }
    }

    /// Stops the server without a shutdown and starts it again.
    fn crash(&mut self) {
        match self {
            Database::Postgres(cluster) => cluster.control(&["-m", "immediate", "restart", "-w"]),
            Database::MariaDb(server) => server.crash(),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Database::Postgres(cluster) => cluster.port(),
            Database::MariaDb(server) => server.port(),
        }
    }

    /// Returns the URL of the facts at another port.
    fn url_at(&self, port: u16) -> String {
        match self {
            Database::Postgres(_) => {
                format!("postgres://postgres@127.0.0.1:{port}/facts?sslmode=disable")
            }
            Database::MariaDb(_) => mariadb::url_at(port, "facts"),
        }
    }
}

/// How a download ended, as far as the client can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The final chunk arrived. Contains the SHA-256 of the encoded rows.
    Complete([u8; 32]),
    /// The response began, but has no final chunk.
    Truncated,
    /// An error response with this status.
    Refused(u16),
}

/// Downloads a file. Calls `at_offset` after `offset` bytes of the response.
fn download(url: &str, offset: usize, at_offset: impl FnOnce(&TcpStream)) -> Outcome {
    let (address, target) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    // Small, so that most unread rows are still in the database.
    SockRef::from(&stream)
        .set_recv_buffer_size(32 * 1024)
        .unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let mut first = (&stream).take(offset as u64);
    let read = first.read_to_end(&mut answer);
    at_offset(&stream);
    // After a reset, the bytes received so far count.
    if read.is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    outcome(&answer)
}

fn outcome(answer: &[u8]) -> Outcome {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Outcome::Truncated;
    };
    let head = String::from_utf8(answer[..end].to_vec())
        .unwrap()
        .to_lowercase();
    let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 200 {
        return Outcome::Refused(status);
    }
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let (file, is_whole) = unchunked(answer);
    if is_whole {
        return Outcome::Complete(digest(file));
    }
    // The truncated file is not a valid archive or Parquet file either.
    assert!(zip::ZipArchive::new(Cursor::new(&file)).is_err());
    assert!(SerializedFileReader::new(Bytes::from(file)).is_err());
    Outcome::Truncated
}

/// Returns the SHA-256 of a file, or of the rows in an archive: the properties of a workbook differ per link.
fn digest(file: Vec<u8>) -> [u8; 32] {
    if !file.starts_with(b"PK") {
        return Sha256::digest(file).into();
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    let mut content = Vec::new();
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).unwrap();
        let name = part.name().unwrap().into_owned();
        if name.starts_with("xl/worksheets/") || name.ends_with(".csv") {
            part.read_to_end(&mut content).unwrap();
        }
    }
    Sha256::digest(content).into()
}

/// A server over a database of facts.
struct Facts {
    database: Database,
    server: TestServer,
    /// The expected outcome of each of [`FILES`].
    whole: [Outcome; 8],
    links: AtomicUsize,
}

/// The exports and formats.
const FILES: [(&str, &str); 8] = [
    ("facts", "csv"),
    ("facts", "xlsx"),
    ("facts", "ndjson"),
    ("halves", "xlsx"),
    ("facts", "json"),
    ("facts", "tsv"),
    ("halves", "zip"),
    ("facts", "parquet"),
];

/// Returns the statement of an export with only one half of its rows.
fn half(export: &str, condition: &str) -> String {
    let (_, statement) = export.split_once("---*/").unwrap();
    statement.replace("order by n", &format!("and n {condition} order by n"))
}

impl Facts {
    fn serve(database: Database, connections: usize) -> Facts {
        let (url, export) = database.with_facts();
        Facts::serve_at(database, url, export, connections)
    }

    fn serve_at(
        database: Database,
        url: String,
        export: &'static str,
        connections: usize,
    ) -> Facts {
        let (first, second) = (half(export, "<= 100000"), half(export, "> 100000"));
        let exports = vec![
            ("facts.sql", export),
            ("wide.sql", WIDE_EXPORT),
            (
                "halves/book.toml",
                "[filters.fail_at]\ntype = 'integer'\ndefault = 0",
            ),
            ("halves/1_first.sql", &first),
            ("halves/2_second.sql", &second),
        ];
        let mut deployment = Deployment::over(url, exports);
        deployment.connections = connections;
        let server = deployment.start();
        let text = database.facts();
        // CSV lines end with CRLF (RFC 4180).
        let csv = |text: &str| text.replace('\n', "\r\n") + "\r\n";
        let halves = halves_of(&text);
        let parquet = server.download(json!({
            "export": "facts", "format": "parquet", "expires_in": 3600, "filters": {"fail_at": 0},
        }));
        // Another test compares its values with the database.
        let reader = SerializedFileReader::new(Bytes::from(parquet.body.clone())).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), ROWS as i64);
        let whole = [
            csv(&text).into_bytes(),
            sheet_of(&text, true).into_bytes(),
            objects_of(&text).into_bytes(),
            (sheet_of(&halves[0], true) + &sheet_of(&halves[1], false)).into_bytes(),
            array_of(&text).into_bytes(),
            (text.replace(',', "\t") + "\n").into_bytes(),
            halves
                .iter()
                .map(|half| csv(half))
                .collect::<String>()
                .into_bytes(),
            parquet.body,
        ];
        Facts {
            database,
            server,
            whole: whole.map(|rows| Outcome::Complete(Sha256::digest(rows).into())),
            links: AtomicUsize::new(0),
        }
    }

    fn link(&self) -> String {
        let turn = self.links.fetch_add(1, Ordering::SeqCst);
        self.link_to(FILES[turn % FILES.len()], 0)
    }

    fn link_to(&self, (export, format): (&str, &str), fail_at: u64) -> String {
        self.server.link(json!({
            "export": export, "format": format, "expires_in": 3600, "filters": {"fail_at": fail_at},
        }))
    }

    /// Checks that downloads without a fault are complete: refusing all would also avoid truncation.
    fn check_undisturbed(&self) {
        wait_for("readiness", Duration::from_secs(20), || {
            self.server.call("GET", "/readyz").send().status == 200
        });
        for (file, whole) in FILES.into_iter().zip(&self.whole) {
            let found = download(&self.link_to(file, 0), 0, |_| {});
            assert_eq!(found, *whole, "{file:?}");
        }
    }

    fn wait_until_idle(&self) {
        wait_for("the end of all queries", Duration::from_secs(2), || {
            self.database.running() == 0
        });
    }
}

/// Returns both halves of these rows, each with the labels.
fn halves_of(csv: &str) -> [String; 2] {
    let lines: Vec<&str> = csv.lines().collect();
    let (labels, rows) = lines.split_first().unwrap();
    let (first, second) = rows.split_at(rows.len() / 2);
    [first, second].map(|half| format!("{labels}\n{}", half.join("\n")))
}

/// Returns the worksheet of these rows, written independently of the encoder.
fn sheet_of(csv: &str, is_selected: bool) -> String {
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let text = |reference: &str, style: &str, text: &str| {
        format!("<c r=\"{reference}\"{style} t=\"inlineStr\"><is><t>{text}</t></is></c>")
    };
    let labels = lines.next().unwrap();
    let labels: String = labels
        .iter()
        .zip(["A1", "B1", "C1", "D1"])
        .map(|(label, reference)| text(reference, " s=\"1\"", label))
        .collect();
    let selected = if is_selected {
        " tabSelected=\"1\""
    } else {
        ""
    };
    let widths: String = (1..=4)
        .zip([8, 6, 32, 10])
        .map(|(n, width)| {
            format!("<col min=\"{n}\" max=\"{n}\" width=\"{width}.7109375\" customWidth=\"1\"/>")
        })
        .collect();
    let mut sheet = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n\
         <worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetViews>\
         <sheetView{selected} workbookViewId=\"0\">\
         <pane ySplit=\"1\" topLeftCell=\"A2\" activePane=\"bottomLeft\" state=\"frozen\"/>\
         <selection pane=\"bottomLeft\"/></sheetView></sheetViews>\
         <sheetFormatPr defaultRowHeight=\"15\"/><cols>{widths}</cols><sheetData>\
         <row r=\"1\">{labels}</row>"
    );
    for (row, cells) in (2..).zip(lines) {
        let [owner, n, checksum, divided] = cells[..] else {
            panic!("four columns");
        };
        let owner = text(&format!("A{row}"), "", owner);
        let checksum = text(&format!("C{row}"), "", checksum);
        sheet += &format!(
            "<row r=\"{row}\">{owner}<c r=\"B{row}\"><v>{n}</v></c>{checksum}\
             <c r=\"D{row}\"><v>{divided}</v></c></row>"
        );
    }
    sheet
        + &format!(
            "</sheetData><autoFilter ref=\"A1:D{}\"/></worksheet>",
            csv.lines().count()
        )
}

/// Returns the JSON array of these rows, written independently of the encoder.
fn array_of(csv: &str) -> String {
    let objects = objects_of(csv);
    format!("[\n{}\n]\n", objects.trim_end().replace('\n', ",\n"))
}

/// Returns the NDJSON of these rows, written independently of the encoder.
fn objects_of(csv: &str) -> String {
    let lines = csv.lines().skip(1).map(|line| {
        let [owner, n, checksum, divided] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("four columns");
        };
        format!(
            "{{\"owner\":\"{owner}\",\"n\":{n},\"checksum\":\"{checksum}\",\"divided\":{divided}}}\n"
        )
    });
    lines.collect()
}

/// Counts outcomes. Panics on a complete file with other rows than expected.
#[derive(Default)]
struct Tally {
    complete: usize,
    truncated: usize,
    refused: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome, whole: &[Outcome]) {
        match outcome {
            Outcome::Complete(_) => {
                assert!(whole.contains(outcome), "a file that seems complete is not");
                self.complete += 1;
            }
            Outcome::Truncated => self.truncated += 1,
            Outcome::Refused(status) => {
                assert!([500, 503].contains(status), "{status}");
                self.refused += 1;
            }
        }
    }

    fn report(&self, facts: &Facts, what: &str) {
        let Tally {
            complete,
            truncated,
            refused,
        } = self;
        let name = facts.database.name();
        println!(
            "{name}, {what}: {complete} complete and equal, {truncated} truncated, {refused} refused"
        );
    }
}

/// Returns numbers below `limit`, the same in each run.
fn scattered(count: u64, limit: u64) -> impl Iterator<Item = u64> {
    // The steps of a Weyl sequence cover the range evenly.
    (1..=count).map(move |index| (index * 0x9e37_79b9) % limit)
}

/// The approximate length of the file.
const FILE_BYTES: u64 = ROWS * 48;

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn terminated_backends() {
    terminate_backends(15);
}

pub fn terminate_backends(count: u64) {
    for database in Database::each() {
        let facts = Facts::serve(database, 4);
        facts.check_undisturbed();
        let mut tally = Tally::default();
        for offset in scattered(count, FILE_BYTES) {
            let outcome = download(&facts.link(), offset as usize, |_| {
                facts.database.terminate();
            });
            tally.add(&outcome, &facts.whole);
        }
        tally.report(&facts, &format!("{count} terminated backends"));
        assert!(
            tally.truncated as u64 > count / 5,
            "too few downloads were hit"
        );
        facts.check_undisturbed();
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn crashes_of_the_database() {
    crash_databases(3);
}

pub fn crash_databases(count: usize) {
    for database in Database::each() {
        let mut facts = Facts::serve(database, 8);
        facts.check_undisturbed();
        let mut tally = Tally::default();
        for round in 0..count {
            let urls: Vec<String> = (0..4).map(|_| facts.link()).collect();
            let begun = AtomicUsize::new(0);
            let outcomes: Vec<Outcome> = thread::scope(|scope| {
                let clients: Vec<_> = urls
                    .iter()
                    .enumerate()
                    .map(|(index, url)| {
                        let begun = &begun;
                        let offset = scattered(40, FILE_BYTES / 2)
                            .nth(round * 4 + index)
                            .unwrap();
                        scope.spawn(move || {
                            download(url, offset as usize, |_| {
                                begun.fetch_add(1, Ordering::SeqCst);
                            })
                        })
                    })
                    .collect();
                wait_for("the first client", Duration::from_secs(20), || {
                    begun.load(Ordering::SeqCst) > 0
                });
                facts.database.crash();
                clients
                    .into_iter()
                    .map(|client| client.join().unwrap())
                    .collect()
            });
            outcomes
                .iter()
                .for_each(|outcome| tally.add(outcome, &facts.whole));
            facts.check_undisturbed();
        }
        tally.report(&facts, &format!("{count} crashes under 4 downloads"));
        assert!(tally.truncated > count / 2, "too few downloads were hit");
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn disconnecting_clients() {
    disconnect_clients(30);
}

pub fn disconnect_clients(count: u64) {
    for database in Database::each() {
        const CONNECTIONS: usize = 4;
        let facts = Facts::serve(database, CONNECTIONS);
        facts.check_undisturbed();
        for (index, offset) in scattered(count, FILE_BYTES / 4).enumerate() {
            // Every tenth client disconnects before it reads.
            let offset = if index % 10 == 0 { 0 } else { offset };
            let (url, disconnect) = (facts.link(), |stream: &TcpStream| {
                SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                stream.shutdown(Shutdown::Both).unwrap();
            });
            let outcome = download(&url, offset as usize, disconnect);
            assert!(
                !facts.whole.contains(&outcome),
                "the download was already complete"
            );
        }
        facts.wait_until_idle();
        // All connections are back in the pool: this many downloads run concurrently.
        let urls: Vec<String> = (0..CONNECTIONS).map(|_| facts.link()).collect();
        thread::scope(|scope| {
            for url in &urls {
                scope.spawn(|| assert!(facts.whole.contains(&download(url, 0, |_| {}))));
            }
        });
        println!("{count} clients disconnected: all {CONNECTIONS} connections serve again");
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn queries_that_fail_at_various_rows() {
    fail_queries(12);
}

pub fn fail_queries(count: u64) {
    for database in Database::each() {
        let facts = Facts::serve(database, 4);
        let mut tally = Tally::default();
        let rows = scattered(count, ROWS).chain([1, 2, 100, 1000, ROWS - 1, ROWS]);
        for (row, file) in rows.zip(FILES.into_iter().cycle()) {
            let row = row.max(1);
            let url = facts.link_to(file, row);
            let outcome = download(&url, 0, |_| {});
            assert!(
                !matches!(outcome, Outcome::Complete(_)),
                "row {row} did not fail"
            );
            tally.add(&outcome, &facts.whole);
        }
        tally.report(&facts, &format!("{} failing rows", count + 6));
        facts.check_undisturbed();
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn fifty_stalled_readers_are_aborted_without_affecting_others() {
    for database in Database::each() {
        const READERS: usize = 50;
        let facts = Facts::serve(database, READERS + 1);
        let link = json!({"export": "wide", "format": "csv", "expires_in": 3600});
        let urls: Vec<String> = (0..READERS)
            .map(|_| facts.server.link(link.clone()))
            .collect();
        let start = Instant::now();
        let streams: Vec<TcpStream> = urls
            .iter()
            .map(|url| {
                let (address, target) = parts(url);
                let mut stream = TcpStream::connect(address).unwrap();
                SockRef::from(&stream)
                    .set_recv_buffer_size(32 * 1024)
                    .unwrap();
                write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                stream
            })
            .collect();
        wait_for("all queries", Duration::from_secs(20), || {
            facts.database.running() == READERS
        });
        facts.check_undisturbed();
        let healthy = start.elapsed();
        wait_for("the abort", Duration::from_secs(40), || {
            facts.database.running() == 0
        });
        println!(
            "50 stalled readers: others done after {healthy:?}, all aborted after {:?}",
            start.elapsed()
        );
        for mut stream in streams {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(outcome(&answer), Outcome::Truncated);
        }
        facts.check_undisturbed();
    }
}

/// Forwards bytes between a client and a server. Closes the connection after `limit` bytes from the server: by a reset if the
/// number is even, which may discard bytes that the client has not read, else in good order.
pub struct BreakingProxy {
    pub port: u16,
    pub limit: Arc<AtomicU64>,
}

impl BreakingProxy {
    pub fn before(database: u16) -> BreakingProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let limit = Arc::new(AtomicU64::new(u64::MAX));
        let shared_limit = limit.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, limit) = (client.unwrap(), shared_limit.clone());
                let database = TcpStream::connect(("127.0.0.1", database));
                thread::spawn(move || forward(&client, &database?, &limit));
            }
        });
        BreakingProxy { port, limit }
    }

    /// Returns the same URL through the proxy.
    pub fn through(&self, url: &str) -> String {
        let (_, target) = url.split_once("/v1/").unwrap();
        format!("http://127.0.0.1:{}/v1/{target}", self.port)
    }
}

fn forward(client: &TcpStream, database: &TcpStream, limit: &AtomicU64) -> io::Result<()> {
    let (mut to, mut from) = (database.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Both)
    });
    let mut buffer = [0; 16 * 1024];
    let mut forwarded = 0;
    loop {
        let count = (&*database).read(&mut buffer)?;
        let left = limit.load(Ordering::SeqCst).saturating_sub(forwarded);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(count);
        (&*client).write_all(&buffer[..count])?;
        forwarded += count as u64;
        // Closes at that byte without waiting for the next, which may never come.
        if count == 0 || forwarded >= limit.load(Ordering::SeqCst) {
            if forwarded % 2 == 0 {
                SockRef::from(client).set_linger(Some(Duration::ZERO))?;
            }
            database.shutdown(Shutdown::Both)?;
            return client.shutdown(Shutdown::Both);
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn database_connections_that_break_at_any_byte() {
    break_database_connections(16);
}

pub fn break_database_connections(count: u64) {
    for database in Database::each() {
        let (_, export) = database.with_facts();
        let proxy = BreakingProxy::before(database.port());
        let url = database.url_at(proxy.port);
        let facts = Facts::serve_at(database, url, export, 2);
        facts.check_undisturbed();
        let mut tally = Tally::default();
        let near_the_start = [1, 100, 1000, 2000];
        for offset in near_the_start
            .into_iter()
            .chain(scattered(count, 2 * FILE_BYTES))
        {
            proxy.limit.store(offset, Ordering::SeqCst);
            tally.add(&download(&facts.link(), 0, |_| {}), &facts.whole);
            // Connections in the pool are past that byte or closed.
            proxy.limit.store(u64::MAX, Ordering::SeqCst);
        }
        tally.report(&facts, &format!("{} broken connections", count + 4));
        assert!(
            tally.truncated as u64 > count / 3,
            "too few downloads were hit"
        );
        facts.check_undisturbed();
        facts.wait_until_idle();
    }
}
