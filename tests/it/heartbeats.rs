//! Heartbeats: a query without rows keeps its connection alive, and the file is the same.

use std::fs;
use std::io::{Cursor, ErrorKind, Read as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::proxy::Proxy;
use crate::harness::{
    Call, Deployment, TestServer, begin_with, browse, read_workbook, tool, unchunked,
};

/// A query that waits before its first row, and before row 500. MariaDB calls its function `sleep`.
const WAITS: &str = "/*---
formats = ['csv', 'ndjson', 'json', 'tsv', 'xlsx', 'parquet']
SETTINGS
[filters.first]
type = 'decimal'
default = 0
[filters.later]
type = 'decimal'
default = 0
---*/
select n, :user as who, wait(case n when 1 then :first when 500 then :later else 0 end) as waited
from numbers where n <= 1000 order by n";

const NUMBERS_IN_POSTGRES: &str = "
    create table numbers as select n from generate_series(1, 1000) n;
    create function wait(seconds numeric) returns int volatile language sql
    return case when pg_sleep(seconds::float8) is null then 1 else 0 end;
";
const NUMBERS_IN_MARIADB: &str = "
    create table numbers (n int primary key) select seq as n from seq_1_to_1000;
";

fn export(settings: &str) -> String {
    WAITS.replace("SETTINGS", settings)
}

/// Serves the export over a new database, with heartbeats after a second.
fn serve(url: &str, exports: &[(&str, &str)]) -> TestServer {
    let mut deployment = Deployment::over(url.to_owned(), exports.to_vec());
    deployment.heartbeat_after = Some(Duration::from_secs(1));
    deployment.start()
}

fn over_postgres(name: &str, settings: &str) -> TestServer {
    let url = Cluster::shared().database(name, NUMBERS_IN_POSTGRES);
    serve(&url, &[("waits.sql", &export(settings))])
}

fn request(format: &str, first: f32, later: f32) -> Value {
    json!({"export": "waits", "format": format, "filters": {"first": first.to_string(), "later": later.to_string()}})
}

/// Downloads over a raw connection; returns the time until the first byte, and the body as it was sent.
fn download(url: &str, headers: &str) -> (Duration, Vec<u8>) {
    let begun = Instant::now();
    let mut stream = begin_with(url, &format!("{headers}Connection: close\r\n"));
    let mut answer = vec![0];
    stream.read_exact(&mut answer).unwrap();
    let first_byte = begun.elapsed();
    stream.read_to_end(&mut answer).unwrap();
    let (body, is_whole) = unchunked(&answer);
    assert!(is_whole, "{}", String::from_utf8_lossy(&answer));
    (first_byte, body)
}

fn decode(coding: &str, body: &[u8]) -> Vec<u8> {
    match coding {
        "zstd" => zstd::decode_all(body).unwrap(),
        _ => {
            let mut decoded = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(body);
            decoder.read_to_end(&mut decoded).unwrap();
            decoded
        }
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_query_without_rows_begins_its_response_and_the_file_is_the_same() {
    let server = over_postgres("heartbeats", "");
    thread::scope(|scope| {
        for format in ["csv", "ndjson", "json", "tsv"] {
            let expected = server.download(request(format, 0.0, 0.0)).body;
            for coding in ["gzip", "zstd"] {
                let (server, expected) = (&server, expected.clone());
                scope.spawn(move || {
                    let url = server.link(request(format, 2.5, 2.5));
                    let headers = format!("Accept-Encoding: {coding}\r\n");
                    let (first_byte, body) = download(&url, &headers);
                    assert!(first_byte < Duration::from_millis(2400), "{first_byte:?}");
                    assert_eq!(decode(coding, &body), expected, "{format}, {coding}");
                });
            }
        }
    });
    let whole = read_workbook(&server.download(request("xlsx", 0.0, 0.0)).body);
    let (first_byte, body) = download(&server.link(request("xlsx", 2.5, 3.5)), "");
    assert!(first_byte < Duration::from_secs(2), "{first_byte:?}");
    let waited = read_workbook(&body);
    assert_eq!(waited["openpyxl"]["sheets"], whole["openpyxl"]["sheets"]);
    assert_eq!(waited["calamine"], whole["calamine"]);
    assert_eq!(waited["errors"], whole["errors"]);
    let metrics = server.call("GET", "/metrics").send().text();
    for (format, downloads) in [("csv", 2), ("xlsx", 1)] {
        let line = format!(
            "rowlink_downloads_begun_by_heartbeat_total{{export=\"waits\",format=\"{format}\"}} {downloads}"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
}

/// Returns a workbook with hundreds of heartbeats, before its first row and between two, and one without.
pub fn workbooks_with_and_without_heartbeats(database: &str) -> [Vec<u8>; 2] {
    let url = Cluster::shared().database(database, NUMBERS_IN_POSTGRES);
    let text = export("");
    let mut deployment = Deployment::over(url, vec![("waits.sql", &text)]);
    deployment.heartbeat_after = Some(Duration::from_millis(10));
    let server = deployment.start();
    let [with, without] = [(3.0, 3.0), (0.0, 0.0)]
        .map(|(first, later)| server.download(request("xlsx", first, later)).body);
    let beats = |workbook: &[u8]| {
        let windows = workbook.windows(EMPTY_BLOCK.len());
        windows.filter(|it| *it == EMPTY_BLOCK).count()
    };
    assert!(beats(&with) > 200 + beats(&without), "{}", beats(&with));
    [with, without]
}

/// An empty stored block of deflate.
const EMPTY_BLOCK: &[u8] = &[0, 0, 0, 0xff, 0xff];

#[test]
#[ignore = "needs PostgreSQL and Python packages: make test"]
fn a_workbook_with_hundreds_of_heartbeats_is_read_by_others() {
    let [with, without] = workbooks_with_and_without_heartbeats("hundreds_of_heartbeats");
    let [with, without] = [with, without].map(|workbook| read_workbook(&workbook));
    assert_eq!(with["openpyxl"]["sheets"], without["openpyxl"]["sheets"]);
    assert_eq!(with["calamine"], without["calamine"]);
    assert_eq!(with["errors"], json!([]));
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_workbook_is_whole_also_if_its_first_row_and_its_first_heartbeat_come_at_the_same_time() {
    let mut deployment = {
        let url = Cluster::shared().database("simultaneous", NUMBERS_IN_POSTGRES);
        Deployment::over(url, Vec::new())
    };
    let text = export("");
    deployment.exports = vec![("waits.sql", &text)];
    deployment.heartbeat_after = Some(Duration::from_secs(1));
    deployment.connections = 40;
    let server = deployment.start();
    thread::scope(|scope| {
        for index in 0..40 {
            let server = &server;
            scope.spawn(move || {
                let first = 0.98 + 0.001 * index as f32;
                let workbook = server.download(request("xlsx", first, 0.0)).body;
                let archive = zip::ZipArchive::new(Cursor::new(workbook));
                assert!(archive.unwrap().len() > 6, "{first}");
            });
        }
    });
}

#[test]
#[ignore = "needs MariaDB: make test"]
fn a_query_of_mariadb_without_rows_has_heartbeats_too() {
    let url = MariaDb::shared().database("heartbeats", NUMBERS_IN_MARIADB);
    let text = export("").replace("wait(case", "sleep(case");
    let server = serve(&url, &[("waits.sql", &text)]);
    let expected = server.download(request("csv", 0.0, 0.0)).body;
    let url = server.link(request("csv", 2.5, 2.5));
    let (first_byte, body) = download(&url, "Accept-Encoding: gzip\r\n");
    assert!(first_byte < Duration::from_secs(2), "{first_byte:?}");
    assert_eq!(decode("gzip", &body), expected);
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn there_is_no_heartbeat_where_it_would_be_content_or_is_not_wanted() {
    let server = over_postgres("no_heartbeats", "");
    let off = over_postgres("heartbeats_off", "heartbeat_seconds = 0");
    let mut exact = request("csv", 2.0, 0.0);
    exact["length"] = json!("exact");
    let gzip = "Accept-Encoding: gzip\r\n";
    let cases = [
        (&server, request("csv", 2.0, 0.0), ""),
        (&server, request("parquet", 2.0, 0.0), gzip),
        (&server, exact, gzip),
        (&off, request("csv", 2.0, 0.0), gzip),
    ];
    thread::scope(|scope| {
        for (server, request, headers) in cases {
            scope.spawn(move || {
                let mut stream = begin_with(&server.link(request.clone()), headers);
                let begun = Instant::now();
                stream.read_exact(&mut [0]).unwrap();
                let first_byte = begun.elapsed();
                assert!(
                    first_byte >= Duration::from_secs(2),
                    "{request}: {first_byte:?}"
                );
            });
        }
    });
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn an_error_before_the_first_heartbeat_is_a_status_and_a_later_one_resets_the_connection() {
    let url = Cluster::shared().database("failing_heartbeats", NUMBERS_IN_POSTGRES);
    let text = export("").replace("n, :user", "1 / (n - n + :first - :later) as x, :user");
    let rowlink = Rowlink::serve_with(
        &[("waits.sql", &text)],
        &[
            ("ROWLINK_DATABASE_URL", &url),
            ("ROWLINK_HEARTBEAT_SECONDS", "1"),
        ],
    );
    let gzip = "Accept-Encoding: gzip\r\nConnection: close\r\n";
    let at_once = Call::new("GET", rowlink.link(request("csv", 0.0, 0.0)))
        .header("accept-encoding", "gzip")
        .send();
    assert_eq!(at_once.problem(), (500, "export-failed".into()));
    let text = export("").replace(
        "n, :user",
        "case when wait(2) = 0 then 1 / (n - n + :first - :later) end as x, :user",
    );
    let path = rowlink.folder().join("exports/waits.sql");
    fs::write(path.with_extension("new"), text).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    crate::harness::wait_for("the new export", Duration::from_secs(10), || {
        let mut stream = begin_with(&rowlink.link(request("csv", 0.0, 0.0)), gzip);
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            && answer.starts_with(b"HTTP/1.1 200 ")
    });
    let log = rowlink.stop();
    let line = log.lines().rfind(|line| line.contains("download ended"));
    let line = line.unwrap();
    assert!(
        !line.contains("heartbeats=0") && line.contains("database_failed"),
        "{line}"
    );
    assert!(
        log.contains("division by zero") || log.contains("22012"),
        "{log}"
    );
}

#[test]
#[ignore = "needs PostgreSQL, nginx, HAProxy, Envoy and curl: make test"]
fn a_silent_query_survives_the_read_time_out_of_every_proxy_with_heartbeats_only() {
    thread::scope(|scope| {
        for (has_heartbeats, waits) in
            [(true, (5.0, 5.0)), (false, (5.0, 0.0)), (false, (0.0, 5.0))]
        {
            scope.spawn(move || {
                let whole = whole_behind_proxies(1, 3, has_heartbeats, waits);
                let expected = if has_heartbeats { 6 } else { 0 };
                assert_eq!(whole, expected, "{has_heartbeats}, {waits:?}");
            });
        }
    });
}

/// Downloads a file through each proxy with each protocol, several times at once, with a time-out for reading from
/// replicas; returns how many are whole.
pub fn whole_behind_proxies(
    times: usize,
    read_seconds: u32,
    has_heartbeats: bool,
    (first, later): (f32, f32),
) -> usize {
    let name = format!("silent_{times}_{has_heartbeats}_{first:.0}_{later:.0}");
    let url = Cluster::shared().database(&name, NUMBERS_IN_POSTGRES);
    let settings = if has_heartbeats {
        ""
    } else {
        "heartbeat_seconds = 0"
    };
    let text = export(settings);
    let mut deployment = Deployment::over(url, vec![("waits.sql", &text)]);
    // Of the default the proxies would see the first one after 15 seconds.
    deployment.heartbeat_after = Some(Duration::from_secs(u64::from(read_seconds) / 2));
    deployment.connections = 6 * times;
    let server = deployment.start();
    let expected = server.download(request("csv", 0.0, 0.0)).body;
    let port = server.origin.rsplit_once(':').unwrap().1;
    let proxies = Proxy::all_with_read_timeout(&[port.parse().unwrap(); 3], read_seconds);
    let is_whole = |proxy: &Proxy| {
        let url = server.link(request("csv", first, later));
        let url = url.replacen(&server.origin, &proxy.origin(), 1);
        let curl = proxy.curl(&["--compressed", "--max-time", "300", &url]);
        let output = curl.wait_with_output().unwrap();
        output.status.success() && output.stdout == expected
    };
    thread::scope(|scope| {
        let downloads = proxies.iter().flat_map(|proxy| {
            let download = move || scope.spawn(move || is_whole(proxy));
            (0..times).map(move |_| download()).collect::<Vec<_>>()
        });
        let downloads: Vec<_> = downloads.collect();
        let ended = downloads
            .into_iter()
            .map(|download| download.join().unwrap());
        ended.filter(|is_whole| *is_whole).count()
    })
}

/// A name and a command.
type Client = (&'static str, &'static [&'static str]);

/// Clients that accept gzip or zstd; each writes what it decodes to `$FILE`.
const CLIENTS: &[Client] = &[
    ("curl", &["curl", "-sS", "--fail", "--compressed", "-o", "$FILE", "$URL"]),
    ("wget", &["wget", "-q", "--tries=1", "--compression=gzip", "-O", "$FILE", "$URL"]),
    ("node", &["node", "-e", "import('node:fs').then(async fs =>
        fs.writeFileSync(process.env.FILE, Buffer.from(await (await fetch(process.env.URL)).arrayBuffer())))"]),
    ("python requests", &["VENV/bin/python3", "-c", "import os, requests
open(os.environ['FILE'], 'wb').write(requests.get(os.environ['URL']).content)"]),
    ("python urllib", &["VENV/bin/python3", "-c", "import gzip, os, urllib.request
request = urllib.request.Request(os.environ['URL'], headers={'Accept-Encoding': 'gzip'})
open(os.environ['FILE'], 'wb').write(gzip.decompress(urllib.request.urlopen(request).read()))"]),
    ("java", &["java", "tests/it/heartbeats/Download.java"]),
];
/// A client whose library is compiled for a minute.
pub const GO: Client = ("go", &["go", "run", "tests/it/heartbeats/download.go"]);

#[test]
#[ignore = "needs PostgreSQL, curl, wget, Node.js, Python and a JDK: make test"]
fn clients_decode_heartbeats_to_nothing() {
    clients_decode(CLIENTS);
}

/// Downloads with each client a file that begins and pauses with heartbeats. Panics if one gets another file.
pub fn clients_decode(clients: &[Client]) {
    let server = over_postgres(&format!("clients_{}", clients[0].0), "");
    let expected = server.download(request("csv", 0.0, 0.0)).body;
    let folder = tempfile::tempdir().unwrap();
    let venv = tool("venv");
    thread::scope(|scope| {
        for (name, command) in clients {
            let (server, expected, folder, venv) = (&server, &expected, folder.path(), &venv);
            scope.spawn(move || {
                let file = folder.join(name);
                let url = server.link(request("csv", 2.5, 2.5));
                let fill = |argument: &&str| {
                    let argument = argument.replace("VENV", venv.to_str().unwrap());
                    let argument = argument.replace("$FILE", file.to_str().unwrap());
                    argument.replace("$URL", &url)
                };
                let arguments: Vec<String> = command.iter().map(fill).collect();
                let ended = Command::new(&arguments[0])
                    .args(&arguments[1..])
                    .env("URL", &url)
                    .env("FILE", &file)
                    .env("GOCACHE", folder.join("cache"))
                    .status();
                assert!(ended.unwrap().success(), "{name}");
                assert_eq!(fs::read(&file).unwrap(), *expected, "{name}");
            });
        }
    });
}

#[test]
#[ignore = "needs PostgreSQL, Chromium and Node: make test"]
fn chromium_saves_a_file_with_heartbeats_unchanged() {
    let server = over_postgres("heartbeats_of_chromium", "");
    let formats = ["csv", "ndjson"];
    let urls = formats.map(|format| server.link(request(format, 2.5, 2.5)));
    let saved = browse(&json!({ "downloads": urls }));
    for (format, saved) in formats.iter().zip(saved.as_array().unwrap()) {
        let expected = server.download(request(format, 0.0, 0.0)).body;
        assert_eq!(
            saved["sha256"],
            hex::encode(Sha256::digest(expected)),
            "{saved}"
        );
    }
}
