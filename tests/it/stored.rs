//! Exports whose files are stored: uploaded while they are streamed, then served from the store.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rowlink::config::revocations_file;
use rowlink::service::QuotaLimits;
use rowlink::spool::Spool;
use rowlink::store::{Store, StoreUrl};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::object_store::ObjectStore;
use crate::harness::process::{FAR_FUTURE, Rowlink};
use crate::harness::{
    Answer, Call, Deployment, TestServer, UNLIMITED, begin, begin_with, is_whole, metric, python,
    sample_database, sqlite_url, token_for, wait, wait_for,
};

const TIME: Duration = Duration::from_secs(120);
const FORMATS: [&str; 6] = ["csv", "xlsx", "ndjson", "json", "tsv", "parquet"];

/// A store for one test, with a bucket that is empty.
pub struct Subject {
    url: StoreUrl,
    /// The text of `url`.
    text: String,
    environment: Vec<(String, String)>,
    server: Option<&'static ObjectStore>,
    bucket: String,
    /// Of a directory.
    folder: Option<TempDir>,
}

pub fn directory() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("file://{}", folder.path().display());
    Subject {
        url: StoreUrl::parse(&text).unwrap(),
        text,
        environment: Vec::new(),
        server: None,
        bucket: String::new(),
        folder: Some(folder),
    }
}

/// Returns a bucket of a server that has none with this name.
pub fn server(server: &'static ObjectStore, bucket: &str) -> Subject {
    Subject {
        server: Some(server),
        bucket: bucket.to_owned(),
        ..connected(server.bucket(bucket))
    }
}

/// Returns the store that these variables name.
pub fn connected(environment: Vec<(String, String)>) -> Subject {
    Subject {
        url: StoreUrl::parse(&environment[0].1).unwrap(),
        text: environment[0].1.clone(),
        environment,
        server: None,
        bucket: String::new(),
        folder: None,
    }
}

/// Defines each test for a directory, and for SeaweedFS with a bucket of this name. Another server can run all.
macro_rules! store_tests {
    ($($name:ident in $bucket:literal;)*) => {
        mod in_directory {
            $(
                #[test]
                fn $name() {
                    super::$name(super::directory());
                }
            )*
        }

        mod in_server {
            $(
                #[test]
                #[ignore = "needs an object store: make test"]
                fn $name() {
                    let server = super::ObjectStore::seaweedfs();
                    super::$name(super::server(server, $bucket));
                }
            )*
        }

        /// The tests, each with the name of its bucket.
        pub const ALL: &[(&str, fn(Subject))] = &[$(($bucket, $name)),*];
    };
}

/// Rows that differ each time.
const RANDOM_ROWS: &str =
    "with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
    select i as n, hex(randomblob(30)) as word from m where :user <> ''";
/// Rows of which the last one fails after some MiB.
const FAILING_ROWS: &str =
    "with recursive m(i) as (select 1 union all select i + 1 from m where i <= :below)
    select i as n, hex(randomblob(30)) as word, case when i > :below then abs(-9223372036854775807 - 1) end as last
    from m where :user <> ''";

impl Subject {
    pub fn url(&self) -> &str {
        &self.text
    }

    pub fn store(&self) -> Store {
        self.url.connect(self.environment.clone()).unwrap()
    }

    /// Serves random rows, with these settings of their store.
    fn serve(&self, settings: &str) -> Replica {
        self.serve_with(settings, RANDOM_ROWS, |_| ())
    }

    fn serve_with(
        &self,
        settings: &str,
        sql: &str,
        change: impl FnOnce(&mut Deployment),
    ) -> Replica {
        let formats = FORMATS.map(|format| format!("'{format}'")).join(", ");
        let sql = format!(
            "/*---\nformats = [{formats}]\n[filters.below]\ntype = 'integer'\ndefault = 20000\n[store]\n{settings}\n\
             ---*/\n{sql}"
        );
        let folder = tempfile::tempdir().unwrap();
        let database = sqlite_url(&sample_database(folder.path()));
        let mut deployment = Deployment::over(database, vec![("it.sql", &sql)]);
        deployment.spool = Some(Spool::new(folder.path().to_owned(), 1 << 30));
        deployment.store = Some(self.store());
        change(&mut deployment);
        Replica {
            server: deployment.start(),
            _folder: folder,
        }
    }

    /// Returns the names of what is in the store, without what servers tell each other.
    fn files(&self) -> Vec<String> {
        let names = match (&self.folder, self.server) {
            (Some(folder), _) => {
                let entries = std::fs::read_dir(folder.path()).unwrap();
                let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
                names.collect()
            }
            (_, Some(server)) => server.objects(&self.bucket),
            _ => unreachable!("a store is a directory or a server"),
        };
        let others = [".record", ".claim", ".cancelled", ".used"];
        let is_file = |name: &String| !others.iter().any(|other| name.ends_with(other));
        names.into_iter().filter(is_file).collect()
    }

    /// Returns the names of uploads that have not ended.
    fn unfinished(&self) -> Vec<String> {
        match self.server {
            Some(server) => server.unfinished_uploads(&self.bucket),
            // A directory has them beside its files.
            None => self
                .files()
                .into_iter()
                .filter(|it| it.contains('#'))
                .collect(),
        }
    }

    fn truncate(&self, name: &str) {
        let name = name.strip_prefix("rowlink/").unwrap_or(name);
        wait(self.store().write_small(name, "truncated".into())).unwrap();
    }

    fn delete(&self, name: &str) {
        match (&self.folder, self.server) {
            (Some(folder), _) => std::fs::remove_file(folder.path().join(name)).unwrap(),
            (_, Some(server)) => {
                drop(server.send("DELETE", &format!("{}/{name}", self.bucket), &[]))
            }
            _ => unreachable!("a store is a directory or a server"),
        }
    }

    pub fn redirects(&self) -> bool {
        self.server.is_some()
    }
}

/// A server with a store.
struct Replica {
    server: TestServer,
    _folder: TempDir,
}

impl Replica {
    fn request(fields: Value) -> Value {
        let mut request = json!({"export": "it", "format": "csv", "expires_in": 600});
        let fields = fields.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(fields);
        request
    }

    fn issue(&self, fields: Value) -> Answer {
        self.server.issue(Replica::request(fields))
    }

    fn link(&self, fields: Value) -> String {
        self.server.link(Replica::request(fields))
    }

    /// Returns a link of this one's for another server.
    fn there(&self, link: &str, other: &Replica) -> String {
        link.replace(&self.server.origin, &other.server.origin)
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.server.origin, name)
    }

    fn uploads(&self, outcome: &str) -> u64 {
        let count = |format| {
            let labels = format!("export=\"it\",format=\"{format}\",outcome=\"{outcome}\"");
            self.metric(&format!("rowlink_uploads_total{{{labels}}} "))
        };
        FORMATS.iter().map(count).sum()
    }

    fn served_by(&self, what: &str) -> u64 {
        let labels = format!("export=\"it\",format=\"csv\",served_by=\"{what}\"");
        self.metric(&format!("rowlink_downloads_served_total{{{labels}}} "))
    }

    fn queries(&self) -> u64 {
        self.metric("rowlink_download_database_seconds_count ")
    }

    fn wait_for_uploads(&self, outcome: &str, count: u64) {
        wait_for("an upload", TIME, || self.uploads(outcome) == count);
    }

    fn ask(&self, path: &str, link: &str, wait: u64) -> Value {
        let question = match path {
            "status" => json!({"url": link, "wait": wait}),
            _ => json!({"url": link}),
        };
        let path = format!("/v1/links/{path}");
        let answer = self.server.call("POST", &path).json(&question).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Returns how far a file is when that is final.
    fn status(&self, link: &str) -> Value {
        let asked = Instant::now();
        loop {
            let state = self.ask("status", link, 25);
            if state["state"] != "preparing" {
                return state;
            }
            assert!(asked.elapsed() < TIME, "{state}");
            // Requests per second are limited, by this clock.
            self.server.set_clock(self.server.now() + 1);
        }
    }
}

/// Downloads a file, from the store if the answer leads there.
fn fetch(url: &str) -> Answer {
    let answer = Call::new("GET", url).send();
    match answer.status {
        303 => Call::new("GET", answer.header("location")).send_elsewhere(),
        _ => answer,
    }
}

fn fetch_part(url: &str, range: &str, condition: &'static str, tag: &str) -> Answer {
    let call = Call::new("GET", url).header("range", range);
    call.header(condition, tag).send()
}

store_tests! {
    the_first_download_is_uploaded_and_later_ones_are_the_same_file_without_a_query in "first";
    a_file_of_several_parts_is_uploaded_whole_and_a_failed_one_leaves_nothing in "parts";
    another_replica_continues_from_the_store_and_nobody_gets_parts_of_two_files in "continued";
    encoded_bytes_are_not_continued_by_decoded_ones in "coded";
    a_link_for_one_address_leads_to_no_url_for_all in "address";
    a_file_without_bytes_is_stored_and_served in "empty";
    the_export_and_the_request_decide_what_is_stored in "decided";
    a_link_is_checked_first_although_its_file_is_stored in "checked";
    a_file_that_is_gone_or_damaged_in_the_store_is_queried_again in "gone";
    many_clicks_are_one_query in "clicks";
    only_the_same_user_and_request_get_a_stored_file_and_not_for_longer_than_allowed in "reuse";
    an_upload_outlives_its_reader_and_counts_as_its_download in "outlives";
    a_file_is_prepared_and_any_replica_tells_how_far_it_is in "prepared";
    a_download_whose_file_is_prepared_meanwhile_is_stored_whatever_its_size in "meanwhile";
    a_prepared_file_that_fails_or_is_cancelled_says_so_and_starts_again in "cancelled";
    another_replica_takes_over_what_a_stopped_one_prepared in "taken-over";
}

fn the_first_download_is_uploaded_and_later_ones_are_the_same_file_without_a_query(store: Subject) {
    let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
    for (index, format) in (1..).zip(FORMATS) {
        let first = fetch(&replica.link(json!({"format": format})));
        assert_eq!(first.status, 200);
        replica.wait_for_uploads("complete", index);
        let again = Call::new("GET", replica.link(json!({"format": format}))).send();
        assert_eq!(again.status == 303, store.redirects());
        let again = match again.status {
            303 => Call::new("GET", again.header("location")).send_elsewhere(),
            _ => again,
        };
        assert_eq!(again.status, 200, "{}", again.text());
        assert!(again.body == first.body, "{format}");
        for name in ["content-type", "content-disposition"] {
            assert_eq!(again.header(name), first.header(name));
        }
        assert_eq!(again.header("content-length"), again.body.len().to_string());
        let head = Call::new("HEAD", replica.link(json!({"format": format}))).send();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), again.body.len().to_string());
    }
    assert_eq!(replica.queries(), FORMATS.len() as u64);
    let by = if store.redirects() {
        "redirect"
    } else {
        "store"
    };
    assert_eq!((replica.served_by(by), replica.served_by("query")), (1, 1));
}

fn a_file_of_several_parts_is_uploaded_whole_and_a_failed_one_leaves_nothing(store: Subject) {
    let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
    let large = json!({"filters": {"below": 130_000}});
    let first = fetch(&replica.link(large.clone()));
    assert!(first.body.len() > 8 << 20);
    replica.wait_for_uploads("complete", 1);
    let again = fetch(&replica.link(large));
    assert!(again.body == first.body);
    assert_eq!((replica.queries(), store.files().len()), (1, 1));

    let failing = store.serve_with("mode = 'always'", FAILING_ROWS, |_| ());
    let link = failing.link(json!({"filters": {"below": 130_000}}));
    let mut answer = Vec::new();
    begin(&link).read_to_end(&mut answer).unwrap_err();
    failing.wait_for_uploads("database_failed", 1);
    assert_eq!(store.files().len(), 1);
    assert_eq!(store.unfinished(), [] as [String; 0]);
    begin(&link).read_to_end(&mut answer).unwrap_err();
}

fn another_replica_continues_from_the_store_and_nobody_gets_parts_of_two_files(store: Subject) {
    let replica = store.serve("mode = 'always'");
    let other = store.serve("mode = 'always'");
    let link = replica.link(json!({}));
    let first = Call::new("GET", &link).send();
    let tag = first.header("etag").to_owned();
    replica.wait_for_uploads("complete", 1);
    let there = replica.there(&link, &other);
    for condition in ["if-range", "if-match"] {
        let part = fetch_part(&there, "bytes=1000-", condition, &tag);
        assert_eq!(part.status, 206);
        assert!(part.body == first.body[1000..]);
        assert_eq!(part.header("etag"), tag);
        // Firefox requires what the first response said, which had no length.
        let length = match condition {
            "if-match" => "*".to_owned(),
            _ => first.body.len().to_string(),
        };
        let range = format!("bytes 1000-{}/{length}", first.body.len() - 1);
        assert_eq!(part.header("content-range"), range);
    }
    // Stores continue whatever file a client has begun.
    let whole = fetch_part(&there, "bytes=1000-", "if-range", "\"another\"");
    assert_eq!(whole.status, 200);
    assert!(whole.body == first.body);
    let changed = fetch_part(&there, "bytes=1000-", "if-match", "\"another\"");
    assert_eq!(changed.problem(), (412, "file-changed".into()));
    let late = Call::new("GET", &there)
        .header("range", "bytes=1000-")
        .send();
    assert_eq!(late.problem(), (400, "range-not-supported".into()));
    let outside = fetch_part(&there, "bytes=99999999-", "if-range", &tag);
    assert_eq!(outside.problem(), (416, "range-outside".into()));
    assert_eq!(other.queries(), 0);

    // What the store has sent itself, it continues.
    if store.redirects() {
        let location = Call::new("GET", &there).send();
        let location = location.header("location").to_owned();
        let object = Call::new("GET", &location).send_elsewhere();
        let part = fetch_part(&there, "bytes=1000-", "if-range", object.header("etag"));
        assert_eq!(part.status, 303);
    }
}

fn encoded_bytes_are_not_continued_by_decoded_ones(store: Subject) {
    let replica = store.serve("mode = 'always'");
    let link = replica.link(json!({}));
    let coded = Call::new("GET", &link)
        .header("accept-encoding", "gzip")
        .send();
    assert_eq!(coded.header("content-encoding"), "gzip");
    let tag = coded.header("etag").to_owned();
    replica.wait_for_uploads("complete", 1);
    let part = |codings: &str| {
        let call = Call::new("GET", &link).header("range", "bytes=1000-");
        call.header("if-range", &tag)
            .header("accept-encoding", codings)
            .send()
    };
    assert_eq!((part("gzip").status, part("identity").status), (200, 206));
    assert_eq!(replica.queries(), 1);
}

fn a_link_for_one_address_leads_to_no_url_for_all(store: Subject) {
    let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
    let link = replica.link(json!({"ip": "127.0.0.1"}));
    let first = Call::new("GET", &link).send();
    replica.wait_for_uploads("complete", 1);
    let again = Call::new("GET", &link).send();
    assert_eq!(again.status, 200);
    assert!(again.body == first.body);
    assert_eq!((replica.served_by("store"), replica.queries()), (1, 1));
}

fn a_file_without_bytes_is_stored_and_served(store: Subject) {
    let nothing = "select 1 as n where :user = 'no one' and :below > 0";
    let replica = store.serve_with("mode = 'always'", nothing, |_| ());
    let link = replica.link(json!({"format": "ndjson"}));
    assert_eq!(fetch(&link).body, b"");
    replica.wait_for_uploads("complete", 1);
    let again = fetch(&link);
    assert_eq!((again.status, again.header("content-length")), (200, "0"));
    assert_eq!(replica.queries(), 1);
}

fn the_export_and_the_request_decide_what_is_stored(store: Subject) {
    let replica = store.serve("mode = 'auto'\nabove = '200KB'");
    fetch(&replica.link(json!({"filters": {"below": 1000}})));
    fetch(&replica.link(json!({"filters": {"below": 5}})));
    fetch(&replica.link(json!({"delivery": "stream"})));
    assert_eq!(store.files(), [] as [String; 0]);
    fetch(&replica.link(json!({})));
    replica.wait_for_uploads("complete", 1);
    for (count, below) in [(2, 1000), (3, 5)] {
        let small = json!({"delivery": "stored", "filters": {"below": below}});
        fetch(&replica.link(small));
        replica.wait_for_uploads("complete", count);
    }
    assert_eq!(store.files().len(), 3);
    let refused = replica.issue(json!({"delivery": "later"}));
    assert_eq!(refused.fields(), ["delivery"]);

    let never = store.serve("mode = 'never'");
    let no_store = store.serve_with("mode = 'always'", RANDOM_ROWS, |deployment| {
        deployment.store = None;
    });
    for replica in [never, no_store] {
        for (field, value) in [("delivery", json!("stored")), ("prepare", json!(true))] {
            let refused = replica.issue(json!({ field: value }));
            assert_eq!(
                (refused.status, refused.fields()),
                (422, vec![field.to_owned()])
            );
        }
        // Together with the other fields that do not fit.
        let several = replica.issue(json!({"prepare": true, "expires_in": 0}));
        assert_eq!(several.fields(), ["expires_in", "prepare"]);
        let link = replica.link(json!({"delivery": "auto"}));
        fetch(&link);
        assert_eq!(replica.ask("status", &link, 0)["state"], "absent");
        assert_eq!(replica.ask("cancel", &link, 0)["state"], "absent");
    }
    let refused = replica.issue(json!({"delivery": "stream", "prepare": true}));
    assert_eq!(refused.fields(), ["prepare"]);
    assert_eq!(store.files().len(), 3);
}

fn a_link_is_checked_first_although_its_file_is_stored(store: Subject) {
    let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
    let link = replica.link(json!({}));
    fetch(&link);
    replica.wait_for_uploads("complete", 1);
    let refused = |link: &str| Call::new("GET", link).send().problem();
    let forged = link.replace("rl_user=alice", "rl_user=bob");
    assert_eq!(refused(&forged), (403, "bad-signature".into()));
    let now = replica.server.now();
    replica.server.set_clock(now + 600);
    assert_eq!(refused(&link), (410, "link-expired".into()));
    replica.server.set_clock(now + 1);
    let watermark = revocations_file::parse("issued_before = 2100-01-01T00:00:00Z").unwrap();
    replica.server.state.service.set_revocations(watermark);
    assert_eq!(refused(&link), (410, "link-revoked".into()));
    let status = replica.server.call("POST", "/v1/links/status");
    let status = status.json(&json!({"url": link})).send();
    assert_eq!(status.problem(), (410, "link-revoked".into()));
}

fn a_file_that_is_gone_or_damaged_in_the_store_is_queried_again(store: Subject) {
    let replica = store.serve("mode = 'always'");
    let damages: [fn(&Subject, &str); 2] = [Subject::truncate, Subject::delete];
    for (index, damage) in (0..).zip(damages) {
        let link = replica.link(json!({}));
        let first = fetch(&link);
        replica.wait_for_uploads("complete", 2 * index + 1);
        store.files().iter().for_each(|name| damage(&store, name));
        let again = fetch(&link);
        assert_eq!(again.status, 200);
        assert!(again.body != first.body && again.body.len() > 100_000);
        replica.wait_for_uploads("complete", 2 * index + 2);
    }
}

fn many_clicks_are_one_query(store: Subject) {
    let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
    let large = || replica.link(json!({"filters": {"below": 50_000}}));
    let lengths: Vec<usize> = thread::scope(|scope| {
        let clicks = (0..10).map(|_| scope.spawn(|| fetch(&large()).body.len()));
        let clicks: Vec<_> = clicks.collect();
        clicks
            .into_iter()
            .map(|click| click.join().unwrap())
            .collect()
    });
    assert!(lengths.iter().all(|length| *length == lengths[0]));
    replica.wait_for_uploads("complete", 1);
    for _ in 0..10 {
        assert_eq!(fetch(&large()).body.len(), lengths[0]);
    }
    assert_eq!((replica.queries(), store.files().len()), (1, 1));
}

fn only_the_same_user_and_request_get_a_stored_file_and_not_for_longer_than_allowed(
    store: Subject,
) {
    let replica = store.serve("mode = 'always'\nreuse_seconds = 100");
    let start = replica.server.now() / 100 * 100 + 90;
    replica.server.set_clock(start);
    let first = fetch(&replica.link(json!({})));
    replica.wait_for_uploads("complete", 1);
    let token = token_for(&json!({"sub": "bob", "exp": start + 3600}));
    let of_bob = replica
        .server
        .issue_with(&token, Replica::request(json!({})));
    let of_bob = of_bob.json()["url"].as_str().unwrap().to_owned();
    let others = [
        of_bob,
        replica.link(json!({"filters": {"below": 19_999}})),
        replica.link(json!({"csv": {"delimiter": ";"}})),
        replica.link(json!({"columns": ["word"]})),
        replica.link(json!({"max_rows": 30_000})),
    ];
    for (count, other) in (2..).zip(others) {
        assert!(fetch(&other).body != first.body);
        replica.wait_for_uploads("complete", count);
    }
    // In the next window.
    replica.server.set_clock(start + 100);
    assert!(
        fetch(&replica.link(json!({"delivery": "auto", "reason": "ticket 4711"}))).body
            == first.body
    );
    replica.server.set_clock(start + 101);
    assert!(fetch(&replica.link(json!({}))).body != first.body);
    replica.wait_for_uploads("complete", 7);
}

fn an_upload_outlives_its_reader_and_counts_as_its_download(store: Subject) {
    let limits = QuotaLimits {
        downloads_per_user: 1,
        ..UNLIMITED
    };
    let replica = store.serve_with("mode = 'always'\nreuse_seconds = 300", RANDOM_ROWS, |it| {
        it.limits = limits;
    });
    let large = json!({"filters": {"below": 130_000}});
    let mut reader = begin(&replica.link(large.clone()));
    reader.read_exact(&mut [0; 10_000]).unwrap();
    drop(reader);
    let refused = Call::new("GET", replica.link(json!({}))).send();
    assert_eq!(refused.problem(), (429, "user-limit".into()));
    replica.wait_for_uploads("complete", 1);
    assert_eq!(fetch(&replica.link(large)).rows().len(), 130_001);
    assert_eq!(replica.queries(), 1);
    wait_for("the permit", Duration::from_secs(5), || {
        replica.server.state.service.downloads() == 0
    });
}

fn a_file_is_prepared_and_any_replica_tells_how_far_it_is(store: Subject) {
    let settings = "mode = 'auto'\nreuse_seconds = 300";
    let replica = store.serve(settings);
    let other = store.serve(settings);
    let large = json!({"prepare": true, "filters": {"below": 130_000}});
    let issued = replica.issue(large.clone());
    assert_eq!(issued.status, 200, "{}", issued.text());
    assert_eq!(issued.json()["file"]["state"], "preparing");
    let link = issued.json()["url"].as_str().unwrap().to_owned();
    let there = replica.there(&link, &other);
    assert_eq!(other.ask("status", &there, 0)["state"], "preparing");
    // The same file is not prepared twice.
    let again = other.issue(large.clone());
    assert_eq!(again.json()["file"]["state"], "preparing");
    let ready = other.status(&there);
    assert_eq!(ready["state"], "ready", "{ready}");
    assert_eq!(ready["rows"], 130_000);
    assert_eq!(ready, replica.status(&link));
    let file = fetch(&there);
    assert_eq!(ready["bytes"], file.body.len());
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&file.body));
    assert_eq!(ready["sha256"], sha256);
    assert_eq!(replica.issue(large).json()["file"], ready);
    assert_eq!((replica.queries(), other.queries()), (1, 0));
    assert_eq!(store.files().len(), 1);
    // Small files, too.
    let small = json!({"prepare": true, "filters": {"below": 5}});
    let issued = replica.issue(small).json();
    let ready = replica.status(issued["url"].as_str().unwrap());
    assert_eq!(
        (&ready["state"], &ready["rows"]),
        (&json!("ready"), &json!(5))
    );
}

fn a_download_whose_file_is_prepared_meanwhile_is_stored_whatever_its_size(store: Subject) {
    let replica = store.serve("mode = 'auto'");
    let link = replica.link(json!({"filters": {"below": 60_000}}));
    let mut reader = begin(&link);
    reader.read_exact(&mut [0; 10_000]).unwrap();
    let question = json!({"url": link, "prepare": true});
    let asked = replica.server.call("POST", "/v1/links/status");
    let state = asked.json(&question).send().json()["state"].clone();
    assert!(state == "preparing" || state == "ready", "{state}");
    assert_eq!(replica.status(&link)["rows"], 60_000);
    assert_eq!(store.files().len(), 1);
}

fn a_prepared_file_that_fails_or_is_cancelled_says_so_and_starts_again(store: Subject) {
    let failing = store.serve_with("mode = 'always'\nreuse_seconds = 300", FAILING_ROWS, |_| ());
    let prepare = |replica: &Replica, below: u64| {
        let request = json!({"prepare": true, "filters": {"below": below}});
        let issued = replica.issue(request).json();
        assert_eq!(issued["file"]["state"], "preparing", "{issued}");
        issued["url"].as_str().unwrap().to_owned()
    };
    let link = prepare(&failing, 1000);
    let failed = failing.status(&link);
    assert_eq!(
        (&failed["state"], &failed["code"]),
        (&json!("failed"), &json!("export-failed"))
    );
    let other = store.serve_with("mode = 'always'\nreuse_seconds = 300", FAILING_ROWS, |_| ());
    assert_eq!(other.status(&failing.there(&link, &other)), failed);
    assert_eq!(failing.status(&prepare(&failing, 1000))["state"], "failed");

    let replica = store.serve("mode = 'always'\nreuse_seconds = 300");
    let other = store.serve("mode = 'always'\nreuse_seconds = 300");
    let endless = 1_000_000_000;
    let link = prepare(&replica, endless);
    assert_eq!(replica.ask("cancel", &link, 0)["state"], "cancelled");
    // Again, although the first one may not have ended.
    let link = prepare(&replica, endless);
    assert_eq!(replica.ask("cancel", &link, 0)["state"], "cancelled");
    replica.wait_for_uploads("cancelled", 2);
    assert_eq!(
        other.status(&replica.there(&link, &other))["state"],
        "cancelled"
    );
    let link = prepare(&replica, endless);
    let there = replica.there(&link, &other);
    assert_eq!(other.ask("cancel", &there, 0)["state"], "cancelled");
    replica.wait_for_uploads("cancelled", 3);
    wait_for("the end of the query", Duration::from_secs(5), || {
        replica.server.state.service.downloads() == 0
    });
    assert_eq!(replica.ask("status", &link, 0)["state"], "cancelled");
    assert_eq!(store.files(), [] as [String; 0]);
    assert_eq!(store.unfinished(), [] as [String; 0]);
}

fn another_replica_takes_over_what_a_stopped_one_prepared(store: Subject) {
    let settings = "mode = 'always'\nreuse_seconds = 300";
    let replica = store.serve(settings);
    let other = store.serve(settings);
    let issued = replica.issue(json!({"prepare": true, "filters": {"below": 130_000}}));
    let link = issued.json()["url"].as_str().unwrap().to_owned();
    let there = replica.there(&link, &other);
    replica.server.state.abort_downloads();
    replica.wait_for_uploads("shutdown", 1);
    drop(replica);
    // The store may have got its last two claims in another order.
    other.server.set_clock(other.server.now() + 20);
    let ready = other.status(&there);
    assert_eq!(ready["rows"], 130_000, "{ready}");
    assert_eq!(other.queries(), 1);
    assert_eq!(store.unfinished(), [] as [String; 0]);
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_store_that_is_down_refuses_or_stops_costs_no_download() {
    let mut server = ObjectStore::start();
    let files = server.bucket("files");
    let mut wrong_key = files.clone();
    wrong_key.last_mut().unwrap().1 = "another key".to_owned();
    for refusing in [server.variables("missing"), wrong_key] {
        let replica = connected(refusing).serve("mode = 'always'");
        assert_eq!(fetch(&replica.link(json!({}))).rows().len(), 20_001);
        replica.wait_for_uploads("store_failed", 1);
    }

    let replica = connected(files).serve("mode = 'always'");
    let link = replica.link(json!({"filters": {"below": 250_000}}));
    let mut reader = begin_with(&link, "Connection: close\r\n");
    let mut answer = vec![0; 10_000];
    reader.read_exact(&mut answer).unwrap();
    wait_for("the first part", TIME, || {
        !server.unfinished_uploads("files").is_empty()
    });
    server.kill();
    reader.read_to_end(&mut answer).unwrap();
    assert!(is_whole(&answer));
    replica.wait_for_uploads("store_failed", 1);
    let before = replica.metric("rowlink_store_errors_total ");
    assert_eq!(fetch(&replica.link(json!({}))).rows().len(), 20_001);
    assert!(replica.metric("rowlink_store_errors_total ") > before);
    let link = json!({"url": replica.link(json!({}))});
    let status = replica.server.call("POST", "/v1/links/status");
    let status = status.json(&link).send();
    assert_eq!(status.problem(), (503, "store-unavailable".into()));
    let refused = replica.issue(json!({"prepare": true}));
    assert_eq!(refused.problem(), (503, "store-unavailable".into()));

    server.restart();
    assert_eq!(fetch(&replica.link(json!({}))).rows().len(), 20_001);
    replica.wait_for_uploads("complete", 1);
}

/// Starts a server process with a store and one export.
fn serve_process(environment: &[(String, String)], spool: &TempDir) -> Rowlink {
    let sql = format!(
        "/*---\n[filters.below]\ntype = 'integer'\n[store]\nmode = 'always'\nreuse_seconds = 300\n---*/\n{RANDOM_ROWS}"
    );
    let spool = spool.path().display().to_string();
    let environment = environment.iter();
    let environment = environment.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut variables: Vec<(&str, &str)> = environment.collect();
    variables.extend([
        ("ROWLINK_SPOOL_DIR", spool.as_str()),
        ("ROWLINK_SPOOL_BYTES", "1000000000"),
    ]);
    let failing = "/*---\n[store]\nmode = 'always'\n---*/\nselect abs(-9223372036854775807 - 1) as n where :user <> ''";
    Rowlink::serve_with(&[("it.sql", &sql), ("failing.sql", failing)], &variables)
}

fn prepare_by(rowlink: &Rowlink, below: u64) -> String {
    let request = json!({
        "export": "it", "format": "csv", "expires_in": 600, "prepare": true, "filters": {"below": below}
    });
    rowlink.link(request)
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_killed_replica_leaves_nothing_that_seems_whole_and_another_prepares_its_file() {
    let server = ObjectStore::seaweedfs();
    let environment = server.bucket("killed");
    let spool = tempfile::tempdir().unwrap();
    let rowlink = serve_process(&environment, &spool);
    let other = serve_process(&environment, &spool);
    let link = prepare_by(&rowlink, 400_000);
    wait_for("the first part", TIME, || {
        !server.unfinished_uploads("killed").is_empty()
    });
    let there = link.replace(rowlink.origin(), other.origin());
    rowlink.kill();
    let killed = Instant::now();
    let status = || {
        let url = format!("{}/v1/links/status", other.origin());
        let question = json!({"url": there, "wait": 25});
        Call::new("POST", url).json(&question).send().json()
    };
    assert!(
        !server
            .objects("killed")
            .iter()
            .any(|name| name.ends_with(".csv"))
    );
    let mut state = status();
    while state["state"] == "preparing" {
        state = status();
    }
    assert_eq!(state["state"], "ready", "{state}");
    assert_eq!(state["rows"], 400_000);
    println!("taken over and ready {:?} after the kill", killed.elapsed());
    assert_eq!(
        metric(other.origin(), "rowlink_download_database_seconds_count "),
        1
    );
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_graceful_shutdown_waits_for_uploads_whose_clients_have_left() {
    let server = ObjectStore::seaweedfs();
    let environment = server.bucket("stopped");
    let spool = tempfile::tempdir().unwrap();
    let rowlink = serve_process(&environment, &spool);
    prepare_by(&rowlink, 130_000);
    let log = rowlink.stop();
    assert!(log.contains("upload ended"), "{log}");
    let names = server.objects("stopped");
    let of_kind = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    assert_eq!((of_kind(".csv"), of_kind(".record")), (1, 1));
}

#[test]
#[ignore = "needs an object store: make test"]
fn rowlink_get_lets_a_file_be_prepared_and_follows_the_redirect_to_it() {
    let server = ObjectStore::seaweedfs();
    let spool = tempfile::tempdir().unwrap();
    let rowlink = serve_process(&server.bucket("get"), &spool);
    let request = |below: u64| {
        let filters = json!({"below": below});
        json!({"export": "it", "format": "csv", "expires_in": 600, "filters": filters})
    };
    let get = |link: &str, output: &Path| {
        let mut get = Command::new(env!("CARGO_BIN_EXE_rowlink"));
        get.args(["get", link, "--prepare", "--retries", "0", "--output"]);
        get.arg(output).output().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1"), folder.path().join("2"));
    let link = rowlink.link(request(1000));
    for path in [&first, &second] {
        let got = get(&link, path);
        assert!(
            got.status.success(),
            "{}",
            String::from_utf8_lossy(&got.stderr)
        );
    }
    let content = std::fs::read(&first).unwrap();
    assert_eq!(content.iter().filter(|byte| **byte == b'\n').count(), 1001);
    assert!(content == std::fs::read(&second).unwrap());
    let redirects = "rowlink_downloads_total{export=\"it\",format=\"csv\",outcome=\"redirected\"} ";
    assert_eq!(metric(rowlink.origin(), redirects), 2);

    let unstored = rowlink.link(json!({
        "export": "it", "format": "csv", "delivery": "stream", "filters": {"below": 1}
    }));
    let refused = get(&unstored, &folder.path().join("3"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("422"), "{said}");
}

#[test]
#[ignore = "needs Python and an object store: make test"]
fn the_python_client_prepares_files() {
    let server = ObjectStore::seaweedfs();
    let spool = tempfile::tempdir().unwrap();
    let rowlink = serve_process(&server.bucket("python"), &spool);
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE}));
    let folder = tempfile::tempdir().unwrap();
    let arguments: [&OsStr; 3] = [
        rowlink.origin().as_ref(),
        token.as_ref(),
        folder.path().as_ref(),
    ];
    let seen: Value = serde_json::from_str(&python("use_prepared_file.py", &arguments)).unwrap();
    assert_eq!(
        (&seen["state"], &seen["rows"]),
        (&json!("ready"), &json!(50_000))
    );
    assert!(
        seen["states"].as_u64().unwrap() > 0 && seen["equal"] == true,
        "{seen}"
    );
    assert_eq!(seen["failed"], json!(["failed", "export-failed"]));
    assert_eq!(seen["unstored"], json!([422, ["prepare"]]));
}
