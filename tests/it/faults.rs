//! Streams that never lie: whatever breaks, a download is complete, with every row, in order, of the
//! right owner; or the client sees that it is broken. Formats take turns.

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

/// `divided` fails in one row, where that is asked for; of both it is 1 in the first row and 0 in the others.
const EXPORT_OF_POSTGRES: &str = "/*---\nformats = ['csv', 'xlsx', 'ndjson', 'parquet']\n[filters.fail_at]\ntype = 'integer'\ndefault = 0\n---*/\n\
    select owner, n, checksum, 1 / (n - :fail_at) as divided from facts\n\
    where owner = :user order by n";
/// Division by zero is NULL in MariaDB; a number too large for its type is an error.
const EXPORT_OF_MARIADB: &str = "/*---\nformats = ['csv', 'xlsx', 'ndjson', 'parquet']\n[filters.fail_at]\ntype = 'integer'\ndefault = 0\n---*/\n\
    select owner, n, checksum, 1 div n + 0 * (9223372036854775807 + (n = :fail_at)) as divided from facts\n\
    where owner = :user order by n";

/// Few of its rows fill every buffer on the way to a reader.
const WIDE_EXPORT: &str =
    "select n, repeat('x', 10000) as filler from facts where owner = :user order by n";

/// A database server that a test may break.
enum Database {
    Postgres(Cluster),
    MariaDb(MariaDb),
}

impl Database {
    /// One of each.
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

    /// Fills the database; returns its URL and the export of it.
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

    /// Alice's facts, as the database's own client writes them, between commas.
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

    /// How many queries of Rowlink's run.
    fn running(&self) -> usize {
        match self {
            Database::Postgres(cluster) => cluster.running("facts"),
            Database::MariaDb(server) => server.running("facts"),
        }
    }

    /// Ends every connection of Rowlink's.
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

    /// Dies as by a loss of power, and starts again.
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

    /// The URL of its facts by another port.
    fn url_at(&self, port: u16) -> String {
        match self {
            Database::Postgres(_) => {
                format!("postgres://postgres@127.0.0.1:{port}/facts?sslmode=disable")
            }
            Database::MariaDb(_) => mariadb::url_at(port, "facts"),
        }
    }
}

/// How a download ended, as its client can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The end was seen; the SHA-256 of the rows, as the format writes them.
    Complete([u8; 32]),
    /// It began and did not end.
    StreamError,
    /// It did not begin; the status.
    Refused(u16),
}

/// Downloads as a careful client does, and stops at `offset` bytes of the answer to do something.
fn download(url: &str, offset: usize, at_offset: impl FnOnce(&TcpStream)) -> Outcome {
    let (address, target) = parts(url);
    let mut stream = TcpStream::connect(address).unwrap();
    // Small, so that what the client has not read is mostly still in the database.
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
    // A reset connection is one that is broken; what came before it counts.
    if read.is_ok() {
        let _ = stream.read_to_end(&mut answer);
    }
    outcome(&answer)
}

fn outcome(answer: &[u8]) -> Outcome {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Outcome::StreamError;
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
    // Nor does the file itself look like a whole one.
    assert!(zip::ZipArchive::new(Cursor::new(&file)).is_err());
    assert!(SerializedFileReader::new(Bytes::from(file)).is_err());
    Outcome::StreamError
}

/// Of a workbook the sheet alone: its properties differ from link to link.
fn digest(file: Vec<u8>) -> [u8; 32] {
    if !file.starts_with(b"PK") {
        return Sha256::digest(file).into();
    }
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    let mut sheet = archive.by_name("xl/worksheets/sheet1.xml").unwrap();
    let mut content = Vec::new();
    sheet.read_to_end(&mut content).unwrap();
    Sha256::digest(content).into()
}

/// A database of facts, served.
struct Facts {
    database: Database,
    server: TestServer,
    /// Of each format, what a whole file is.
    whole: [Outcome; 4],
    links: AtomicUsize,
}

const FORMATS: [&str; 4] = ["csv", "xlsx", "ndjson", "parquet"];

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
        let exports = vec![("facts.sql", export), ("wide.sql", WIDE_EXPORT)];
        let mut deployment = Deployment::over(url, exports);
        deployment.connections = connections;
        let server = deployment.start();
        let text = database.facts();
        // The line ends of the standard.
        let csv = text.replace('\n', "\r\n") + "\r\n";
        let parquet = server.download(json!({
            "export": "facts", "format": "parquet", "expires_in": 3600, "filters": {"fail_at": 0},
        }));
        // That its values are those of the database is what another test is for.
        let reader = SerializedFileReader::new(Bytes::from(parquet.body.clone())).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows(), ROWS as i64);
        let whole = [
            csv.into_bytes(),
            sheet_of(&text).into_bytes(),
            objects_of(&text).into_bytes(),
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
        self.link_to(FORMATS[turn % FORMATS.len()], 0)
    }

    fn link_to(&self, format: &str, fail_at: u64) -> String {
        self.server.link(json!({
            "export": "facts", "format": format, "expires_in": 3600, "filters": {"fail_at": fail_at},
        }))
    }

    /// A download that nothing disturbs is complete: the invariant is not kept by refusing.
    fn check_undisturbed(&self) {
        wait_for("readiness", Duration::from_secs(20), || {
            self.server.call("GET", "/readyz").send().status == 200
        });
        for (format, whole) in FORMATS.iter().zip(&self.whole) {
            let found = download(&self.link_to(format, 0), 0, |_| {});
            assert_eq!(found, *whole, "{format}");
        }
    }

    fn wait_until_idle(&self) {
        wait_for("the end of all queries", Duration::from_secs(2), || {
            self.database.running() == 0
        });
    }
}

/// The worksheet that these rows make, written once more, without our encoder.
fn sheet_of(csv: &str) -> String {
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
    let widths: String = (1..=4)
        .zip([8, 6, 32, 10])
        .map(|(n, width)| {
            format!("<col min=\"{n}\" max=\"{n}\" width=\"{width}.7109375\" customWidth=\"1\"/>")
        })
        .collect();
    let mut sheet = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n\
         <worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetViews>\
         <sheetView tabSelected=\"1\" workbookViewId=\"0\">\
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
            ROWS + 1
        )
}

/// The NDJSON that these rows make, written once more, without our encoder.
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

/// Counts outcomes; a complete file that is not the whole file is what must never be.
#[derive(Default)]
struct Tally {
    complete: usize,
    broken: usize,
    refused: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome, whole: &[Outcome]) {
        match outcome {
            Outcome::Complete(_) => {
                assert!(whole.contains(outcome), "a file that looks complete is not");
                self.complete += 1;
            }
            Outcome::StreamError => self.broken += 1,
            Outcome::Refused(status) => {
                assert!([500, 503].contains(status), "{status}");
                self.refused += 1;
            }
        }
    }

    fn report(&self, facts: &Facts, what: &str) {
        let Tally {
            complete,
            broken,
            refused,
        } = self;
        let name = facts.database.name();
        println!(
            "{name}, {what}: {complete} complete and equal, {broken} broken, {refused} refused"
        );
    }
}

/// Numbers below `limit`, the same in each run.
fn scattered(count: u64, limit: u64) -> impl Iterator<Item = u64> {
    // The steps of a Weyl sequence cover the range evenly.
    (1..=count).map(move |index| (index * 0x9e37_79b9) % limit)
}

/// About as long as the file.
const FILE_BYTES: u64 = ROWS * 48;

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn a_hundred_terminated_backends() {
    for database in Database::each() {
        let facts = Facts::serve(database, 4);
        facts.check_undisturbed();
        let mut tally = Tally::default();
        for offset in scattered(100, FILE_BYTES) {
            let outcome = download(&facts.link(), offset as usize, |_| {
                facts.database.terminate();
            });
            tally.add(&outcome, &facts.whole);
        }
        tally.report(&facts, "100 terminated backends");
        assert!(tally.broken > 20, "too few were hit");
        facts.check_undisturbed();
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn ten_crashes_of_the_database() {
    for database in Database::each() {
        let mut facts = Facts::serve(database, 8);
        facts.check_undisturbed();
        let mut tally = Tally::default();
        for round in 0..10 {
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
        tally.report(&facts, "10 crashes under 4 downloads");
        assert!(tally.broken > 5, "too few were hit");
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn three_hundred_disconnecting_clients() {
    for database in Database::each() {
        const CONNECTIONS: usize = 4;
        let facts = Facts::serve(database, CONNECTIONS);
        facts.check_undisturbed();
        for (index, offset) in scattered(300, FILE_BYTES / 4).enumerate() {
            // Every tenth leaves before it has read anything.
            let offset = if index % 10 == 0 { 0 } else { offset };
            let (url, leave) = (facts.link(), |stream: &TcpStream| {
                SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                stream.shutdown(Shutdown::Both).unwrap();
            });
            let outcome = download(&url, offset as usize, leave);
            assert!(!facts.whole.contains(&outcome), "it was whole already");
        }
        facts.wait_until_idle();
        // The pool is whole again: as many downloads as it has connections, at the same time.
        let urls: Vec<String> = (0..CONNECTIONS).map(|_| facts.link()).collect();
        thread::scope(|scope| {
            for url in &urls {
                scope.spawn(|| assert!(facts.whole.contains(&download(url, 0, |_| {}))));
            }
        });
        println!("300 clients left: all {CONNECTIONS} connections serve again");
    }
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn queries_that_fail_at_various_rows() {
    for database in Database::each() {
        let facts = Facts::serve(database, 4);
        let mut tally = Tally::default();
        let rows = scattered(40, ROWS).chain([1, 2, 100, 1000, ROWS - 1, ROWS]);
        for (row, format) in rows.zip(FORMATS.into_iter().cycle()) {
            let row = row.max(1);
            let url = facts.link_to(format, row);
            let outcome = download(&url, 0, |_| {});
            assert!(
                !matches!(outcome, Outcome::Complete(_)),
                "row {row} did not fail"
            );
            tally.add(&outcome, &facts.whole);
        }
        tally.report(&facts, "46 rows that fail");
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
        wait_for("all of them", Duration::from_secs(20), || {
            facts.database.running() == READERS
        });
        facts.check_undisturbed();
        let healthy = start.elapsed();
        wait_for("the cut", Duration::from_secs(40), || {
            facts.database.running() == 0
        });
        println!(
            "50 readers that read nothing: a healthy one done after {healthy:?}, all cut after {:?}",
            start.elapsed()
        );
        for mut stream in streams {
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert_eq!(outcome(&answer), Outcome::StreamError);
        }
        facts.check_undisturbed();
    }
}

/// Passes bytes on between Rowlink and the database, and cuts what comes from the database at a byte.
struct Cutter {
    port: u16,
    cut_at: Arc<AtomicU64>,
}

impl Cutter {
    fn before(database: u16) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut_at = Arc::new(AtomicU64::new(u64::MAX));
        let limit = cut_at.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, limit) = (client.unwrap(), limit.clone());
                let database = TcpStream::connect(("127.0.0.1", database));
                thread::spawn(move || pass_on(&client, &database?, &limit));
            }
        });
        Cutter { port, cut_at }
    }
}

fn pass_on(client: &TcpStream, database: &TcpStream, limit: &AtomicU64) -> io::Result<()> {
    let (mut to, mut from) = (database.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Both)
    });
    let mut buffer = [0; 16 * 1024];
    let mut passed = 0;
    loop {
        let count = (&*database).read(&mut buffer)?;
        let left = limit.load(Ordering::SeqCst).saturating_sub(passed);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(count);
        (&*client).write_all(&buffer[..count])?;
        passed += count as u64;
        // At that byte and not before the next: there may be none.
        if count == 0 || passed >= limit.load(Ordering::SeqCst) {
            // By turns an orderly end and a reset.
            if passed % 2 == 0 {
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
    for database in Database::each() {
        let (_, export) = database.with_facts();
        let cutter = Cutter::before(database.port());
        let url = database.url_at(cutter.port);
        let facts = Facts::serve_at(database, url, export, 2);
        facts.check_undisturbed();
        let mut tally = Tally::default();
        let near_the_start = [1, 100, 1000, 2000];
        for offset in near_the_start
            .into_iter()
            .chain(scattered(60, 2 * FILE_BYTES))
        {
            cutter.cut_at.store(offset, Ordering::SeqCst);
            tally.add(&download(&facts.link(), 0, |_| {}), &facts.whole);
            // Whatever is still in the pool has passed the byte already, or is closed.
            cutter.cut_at.store(u64::MAX, Ordering::SeqCst);
        }
        tally.report(&facts, "64 network cuts");
        assert!(tally.broken > 20, "too few were hit");
        facts.check_undisturbed();
        facts.wait_until_idle();
    }
}
