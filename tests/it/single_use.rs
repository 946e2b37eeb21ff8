//! Links that work once: of all requests one gets the file, whatever records the use.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rowlink::spool::Spool;
use rowlink::store::StoreUrl;
use rowlink::used_links::RedisUrl;
use rowlink_link::{Conditions, Keyring, Link, Seal, UserId, sign};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::object_store::ObjectStore;
use crate::harness::process::Rowlink;
use crate::harness::redis::{PASSWORD, Redis};
use crate::harness::{
    Answer, Call, Deployment, SIGNING_KEY, TestServer, metric, sample_database, sqlite_url,
    wait_for,
};

const TIME: Duration = Duration::from_secs(60);

const EXPORTS: [(&str, &str); 5] = [
    ("numbers.sql", include_str!("harness/exports/numbers.sql")),
    (
        "empty.sql",
        "select 1 as n where :user = 'nobody of these tests'",
    ),
    (
        "things.sql",
        "select n, word from things where :user = 'alice' order by n",
    ),
    (
        "stored.sql",
        "/*---\n[store]\nmode = 'always'\nreuse_seconds = 300\n---*/\n\
         with recursive m(i) as (select 1 union all select i + 1 from m where i < 5000)
         select i as n, hex(randomblob(30)) as word from m where :user = 'alice'",
    ),
    (
        "slow.sql",
        "with recursive m(i) as (select 1 union all select i + 1 from m where i < 3000000)
         select count(*) as n from m where :user = 'alice'",
    ),
];

/// What records uses.
struct Subject {
    redis: Option<Redis>,
    /// For files, and for uses if there is no Redis.
    store: StoreUrl,
    environment: Vec<(String, String)>,
    _folder: Option<TempDir>,
}

fn in_directory() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    Subject {
        redis: None,
        store: StoreUrl::parse(&format!("file://{}", folder.path().display())).unwrap(),
        environment: Vec::new(),
        _folder: Some(folder),
    }
}

fn in_bucket(bucket: &str) -> Subject {
    let environment = ObjectStore::seaweedfs().bucket(bucket);
    Subject {
        redis: None,
        store: StoreUrl::parse(&environment[0].1).unwrap(),
        environment,
        _folder: None,
    }
}

fn in_redis(redis: Redis) -> Subject {
    Subject {
        redis: Some(redis),
        ..in_directory()
    }
}

/// Defines each test for a directory, for Redis, and for SeaweedFS with a bucket of this name.
macro_rules! use_tests {
    ($($name:ident in $bucket:literal;)*) => {
        mod directory {
            $(
                #[test]
                fn $name() {
                    super::$name(super::in_directory());
                }
            )*
        }

        mod redis {
            $(
                #[test]
                #[ignore = "needs Redis: make test"]
                fn $name() {
                    super::$name(super::in_redis(super::Redis::start()));
                }
            )*
        }

        mod bucket {
            $(
                #[test]
                #[ignore = "needs an object store: make test"]
                fn $name() {
                    super::$name(super::in_bucket($bucket));
                }
            )*
        }
    };
}

impl Subject {
    fn serve(&self) -> Replica {
        self.serve_with(|_| ())
    }

    fn serve_with(&self, change: impl FnOnce(&mut Deployment)) -> Replica {
        let redis = self.redis.as_ref().map(Redis::url);
        serve(redis, |deployment, folder| {
            deployment.store = Some(self.store.connect(self.environment.clone()).unwrap());
            deployment.spool = Some(Spool::new(folder.to_owned(), 1 << 30));
            change(deployment);
        })
    }

    fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("a test of Redis")
    }
}

fn serve(redis: Option<RedisUrl>, change: impl FnOnce(&mut Deployment, &Path)) -> Replica {
    let folder = tempfile::tempdir().unwrap();
    let database = sample_database(folder.path());
    let connection = Connection::open(&database).unwrap();
    let things = "create table things (n integer primary key, word text);
                  with recursive m(i) as (select 1 union all select i + 1 from m where i < 100)
                  insert into things select i, printf('%x', i * 2654435761 & 0xffffffff) from m;";
    connection.execute_batch(things).unwrap();
    let mut deployment = Deployment::over(sqlite_url(&database), EXPORTS.to_vec());
    deployment.redis = redis;
    change(&mut deployment, folder.path());
    Replica {
        server: deployment.start(),
        connection,
        _folder: folder,
    }
}

/// A server with a database of its own.
struct Replica {
    server: TestServer,
    connection: Connection,
    _folder: TempDir,
}

impl Replica {
    /// Returns a link that works once, with further fields of its request.
    fn link(&self, export: &str, more: Value) -> String {
        self.server.link(request(export, more))
    }

    fn numbers(&self, more: Value) -> String {
        self.link("numbers", numbers(more))
    }

    /// Returns this server's link for another one.
    fn there(&self, link: &str, other: &Replica) -> String {
        link.replace(&self.server.origin, &other.server.origin)
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&self.server.origin, name)
    }

    fn queries(&self) -> u64 {
        self.metric("rowlink_download_database_seconds_count ")
    }

    /// Waits until one query was counted. Fails if there are more.
    fn wait_for_one_query(&self) {
        wait_for("one query", TIME, || self.queries() == 1);
    }

    fn errors(&self) -> u64 {
        self.metric("rowlink_single_use_errors_total ")
    }
}

fn request(export: &str, more: Value) -> Value {
    let mut request =
        json!({"export": export, "format": "csv", "expires_in": 600, "single_use": true});
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    request
}

/// Returns the fields of a request for three numbers.
fn numbers(more: Value) -> Value {
    let mut fields = json!({"filters": {"n": 3}});
    let more = more.as_object().unwrap().clone();
    fields.as_object_mut().unwrap().extend(more);
    fields
}

fn get(url: &str) -> Answer {
    Call::new("GET", url).send()
}

fn get_with(url: &str, headers: &[(&'static str, &str)]) -> Answer {
    let call = Call::new("GET", url);
    let call = headers
        .iter()
        .fold(call, |call, (name, value)| call.header(name, *value));
    call.send()
}

/// Continues a file whose bytes had no content coding.
fn continue_from(url: &str, first: usize, tag: &str) -> Answer {
    let range = format!("bytes={first}-");
    get_with(
        url,
        &[
            ("range", &range),
            ("if-range", tag),
            ("accept-encoding", "identity"),
        ],
    )
}

fn used() -> (u16, String) {
    (410, "link-used".to_owned())
}

fn unavailable() -> (u16, String) {
    (503, "single-use-unavailable".to_owned())
}

/// Returns the target of a link to three numbers that works once, and that no server has issued.
fn signed_elsewhere(now: u64) -> String {
    let link = Link {
        export: "numbers".into(),
        format: Some("csv".into()),
        user: UserId::parse("alice").unwrap(),
        id: Uuid::now_v7(),
        issued: now,
        expires: now + 60,
        conditions: Conditions {
            single_use: true,
            ..Conditions::default()
        },
        filename: None,
        claims: BTreeMap::new(),
        reveal: Vec::new(),
        options: BTreeMap::new(),
        filters: vec![("n".into(), "3".into())],
    };
    let keyring = Keyring::parse(SIGNING_KEY).unwrap();
    let signed = sign(link, &keyring, Seal::Open).unwrap();
    signed.path_and_query().to_owned()
}

use_tests! {
    a_link_works_once_on_any_server_and_a_replay_runs_no_query in "use-once";
    one_of_fifty_racing_requests_on_two_servers_gets_the_file in "use-race";
    only_a_file_uses_a_link in "use-file";
    a_file_without_rows_uses_a_link in "use-empty";
    a_response_that_begins_by_a_heartbeat_uses_a_link in "use-heartbeat";
    the_reader_with_the_tag_continues_its_file_and_gets_no_second_one in "use-tag";
    a_kept_file_is_continued_by_its_reader_and_no_other_request in "use-kept";
    a_prepared_file_is_downloaded_once_through_the_server in "use-prepared";
}

fn a_link_works_once_on_any_server_and_a_replay_runs_no_query(subject: Subject) {
    let (first, second) = (subject.serve(), subject.serve());
    let link = first.numbers(json!({}));
    let there = first.there(&link, &second);
    let whole = get(&link);
    assert_eq!(whole.status, 200);
    assert_eq!(whole.rows().len(), 4);
    for url in [&link, &there] {
        assert_eq!(get(url).problem(), used());
        assert_eq!(Call::new("HEAD", url).send().status, 410);
    }
    assert_eq!((first.queries(), second.queries()), (1, 0));
    let other = first.numbers(json!({}));
    assert_eq!(get(&first.there(&other, &second)).status, 200);
    assert_eq!(get(&other).problem(), used());
    // Other links work as often as before.
    let unlimited = first.numbers(json!({"single_use": false}));
    assert_eq!((get(&unlimited).status, get(&unlimited).status), (200, 200));
    assert_eq!(first.errors(), 0);
}

fn one_of_fifty_racing_requests_on_two_servers_gets_the_file(subject: Subject) {
    let (first, second) = (subject.serve(), subject.serve());
    // One batch, which is collected, and more, which are streamed.
    for rows in [3, 50_000] {
        let link = first.numbers(json!({"filters": {"n": rows}}));
        let there = first.there(&link, &second);
        let barrier = Barrier::new(50);
        let answers: Vec<Answer> = thread::scope(|scope| {
            let request = |index: usize| {
                let url = if index.is_multiple_of(2) {
                    &link
                } else {
                    &there
                };
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    get(url)
                })
            };
            let requests: Vec<_> = (0..50).map(request).collect();
            let answers = requests.into_iter().map(|it| it.join().unwrap());
            answers.collect()
        });
        let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.status == 200);
        assert_eq!((served.len(), refused.len()), (1, 49), "{rows} rows");
        assert_eq!(served[0].rows().len(), rows + 1);
        for answer in refused {
            assert_eq!(answer.problem(), used());
        }
    }
    // The queries of those that lost the race end.
    for replica in [&first, &second] {
        wait_for("the end of all downloads", TIME, || {
            replica.server.state.service.downloads() == 0
        });
    }
}

fn only_a_file_uses_a_link(subject: Subject) {
    let replica = subject.serve();
    let link = replica.numbers(json!({}));
    for _ in 0..2 {
        let head = Call::new("HEAD", &link).send();
        assert_eq!((head.status, head.headers.get("etag")), (200, None));
        let prefetch = get_with(&link, &[("sec-purpose", "prefetch")]);
        assert_eq!(prefetch.problem(), (503, "prefetch-refused".into()));
        let image = get_with(&link, &[("sec-fetch-dest", "image")]);
        assert_eq!(image.problem(), (403, "embedding-refused".into()));
        let range = get_with(&link, &[("range", "bytes=5-")]);
        assert_eq!(range.problem(), (400, "range-not-supported".into()));
        let changed = get_with(&link, &[("if-match", "\"another\"")]);
        assert_eq!(changed.problem(), (412, "file-changed".into()));
    }
    assert_eq!(replica.queries(), 0);
    assert_eq!(get(&link).status, 200);
    assert_eq!(get(&link).problem(), used());

    // Each problem occurs again: it has not used the link.
    for (more, problem) in [
        (json!({"max_rows": 1}), (422, "file-too-large".to_owned())),
        (
            json!({"filters": {"n": 3, "fail_at": 1}}),
            (500, "export-failed".to_owned()),
        ),
        (
            json!({"ip": "192.0.2.7"}),
            (403, "wrong-address".to_owned()),
        ),
    ] {
        let link = replica.numbers(more);
        for _ in 0..2 {
            assert_eq!(get(&link).problem(), problem);
        }
    }
}

fn a_file_without_rows_uses_a_link(subject: Subject) {
    let replica = subject.serve();
    let link = replica.link("empty", json!({}));
    let empty = get(&link);
    assert_eq!((empty.status, empty.rows().len()), (200, 1));
    assert_eq!(get(&link).problem(), used());
}

fn a_response_that_begins_by_a_heartbeat_uses_a_link(subject: Subject) {
    let replica = subject.serve_with(|deployment| {
        deployment.heartbeat_after = Some(Duration::from_millis(20));
    });
    let link = replica.link("slow", json!({}));
    let slow = get_with(&link, &[("accept-encoding", "gzip")]);
    assert_eq!(slow.status, 200);
    let begun = "rowlink_downloads_begun_by_heartbeat_total{export=\"slow\",format=\"csv\"} ";
    assert_eq!(replica.metric(begun), 1);
    assert_eq!(get(&link).problem(), used());
    replica.wait_for_one_query();
}

fn the_reader_with_the_tag_continues_its_file_and_gets_no_second_one(subject: Subject) {
    let replica = subject.serve();
    let link = replica.link("things", json!({"length": "exact", "resume_seconds": 600}));
    let whole = get(&link);
    assert_eq!(whole.status, 200);
    let tag = whole.header("etag");
    let rest = continue_from(&link, 10, tag);
    assert_eq!(rest.status, 206);
    assert!(rest.body == whole.body[10..]);

    assert_eq!(get(&link).problem(), used());
    assert_eq!(get_with(&link, &[("if-match", tag)]).problem(), used());
    assert_eq!(get_with(&link, &[("if-range", tag)]).problem(), used());
    let other_link = replica.link("things", json!({"length": "exact"}));
    let other_tag = get(&other_link).header("etag").to_owned();
    for foreign in [other_tag.as_str(), "\"another\""] {
        assert_eq!(continue_from(&link, 10, foreign).problem(), used());
    }

    // The rows have changed, so the rest would be that of another file.
    let change = "update things set word = word || '!' where n = 90";
    assert_eq!(replica.connection.execute(change, []), Ok(1));
    assert_eq!(continue_from(&link, 10, tag).problem(), used());
    let change = "update things set word = rtrim(word, '!') where n = 90";
    assert_eq!(replica.connection.execute(change, []), Ok(1));
    // Also after the expiry, while the download may be continued.
    replica.server.set_clock(replica.server.now() + 700);
    assert_eq!(continue_from(&link, 10, tag).status, 206);
    assert_eq!(get(&link).problem(), (410, "link-expired".into()));
}

fn a_kept_file_is_continued_by_its_reader_and_no_other_request(subject: Subject) {
    let replica = subject.serve_with(|deployment| {
        let spool = deployment.spool.take().expect("a spool");
        deployment.spool = Some(spool.with_keep(Duration::from_secs(600)));
    });
    let link = replica.numbers(json!({"filters": {"n": 60_000}}));
    let whole = get(&link);
    assert_eq!(whole.status, 200);
    let tag = whole.header("etag");
    let rest = continue_from(&link, 1000, tag);
    assert_eq!(rest.status, 206);
    assert!(rest.body == whole.body[1000..]);
    assert_eq!(get(&link).problem(), used());
    assert_eq!(get_with(&link, &[("if-match", tag)]).problem(), used());
    assert_eq!(continue_from(&link, 1000, "\"another\"").problem(), used());
    replica.wait_for_one_query();
    // Another server does not have the file.
    let other = subject.serve();
    let there = replica.there(&link, &other);
    assert_eq!(continue_from(&there, 1000, tag).problem(), used());
    assert_eq!(other.queries(), 0);
}

fn a_prepared_file_is_downloaded_once_through_the_server(subject: Subject) {
    let replica = subject.serve();
    let link = replica.link("stored", json!({"prepare": true}));
    let status = || {
        let question = json!({"url": link, "wait": 25});
        let answer = replica.server.call("POST", "/v1/links/status");
        answer.json(&question).send().json()["state"].clone()
    };
    wait_for("the file", TIME, || {
        // Requests per second are limited, by this clock.
        replica.server.set_clock(replica.server.now() + 1);
        status() == "ready"
    });
    let head = Call::new("HEAD", &link).send();
    assert_eq!((head.status, head.headers.get("etag")), (200, None));
    let whole = get(&link);
    assert_eq!(whole.status, 200, "{}", whole.text());
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    let tag = whole.header("etag");
    let rest = continue_from(&link, 1000, tag);
    assert_eq!(rest.status, 206);
    assert!(rest.body == whole.body[1000..]);
    assert_eq!(get(&link).problem(), used());
    assert_eq!(get_with(&link, &[("if-match", tag)]).problem(), used());
    assert_eq!(status(), "ready");
    let again = json!({"url": link, "prepare": true});
    let again = replica.server.call("POST", "/v1/links/status").json(&again);
    assert_eq!(again.send().problem(), used());
    // Another link of the same user gets the stored file, and works once too.
    let other = replica.link("stored", json!({}));
    assert!(get(&other).body == whole.body);
    assert_eq!(get(&other).problem(), used());
    replica.wait_for_one_query();
}

#[test]
#[ignore = "needs Redis: make test"]
fn each_kind_of_redis_records_uses() {
    let primary = Redis::start();
    let sentinel = primary.sentinel();
    for redis in [
        Redis::start(),
        Redis::with_password(),
        Redis::with_user(),
        Redis::with_tls(),
        Redis::cluster(),
        sentinel,
    ] {
        let url = redis.text_of_url();
        let replica = serve(Some(redis.url()), |_, _| ());
        let link = replica.numbers(json!({}));
        assert_eq!(get(&link).status, 200, "{url}");
        assert_eq!(get(&link).problem(), used(), "{url}");
        assert_eq!(replica.errors(), 0, "{url}");
    }
}

#[test]
#[ignore = "needs Redis: make test"]
fn redis_with_another_password_or_certificate_refuses_links() {
    let (plain, closed, with_tls) = (Redis::start(), Redis::with_password(), Redis::with_tls());
    let without_root = with_tls.text_of_url().split('?').next().unwrap();
    let login = closed.text_of_url().split('@').next().unwrap();
    for wrong in [
        without_root.to_owned(),
        closed.text_of_url().replace(login, "redis://:wrong"),
        closed
            .text_of_url()
            .replace(&format!("{login}@"), "redis://"),
        // A server that is no cluster.
        plain.text_of_url().replace("redis:", "redis-cluster:"),
    ] {
        let url = RedisUrl::parse(&wrong).expect("a URL");
        let replica = serve(Some(url), |_, _| ());
        let link = replica.numbers(json!({}));
        assert_eq!(get(&link).problem(), unavailable(), "{wrong}");
        assert_eq!(replica.queries(), 0);
    }
}

#[test]
#[ignore = "needs Redis: make test"]
fn a_use_is_forgotten_when_the_link_can_no_longer_be_continued() {
    let redis = Redis::start();
    let replica = serve(Some(redis.url()), |_, _| ());
    assert_eq!(
        get(&replica.numbers(json!({"resume_seconds": 300}))).status,
        200
    );
    let keys = redis.command(&["keys", "*"]);
    let key = keys.trim();
    assert!(key.starts_with("rowlink:used:"), "{keys}");
    let seconds: u64 = redis.command(&["ttl", key]).trim().parse().unwrap();
    assert!((900..=960).contains(&seconds), "{seconds}");
}

#[test]
#[ignore = "needs Redis: make test"]
fn redis_that_is_down_refuses_links_until_it_is_back() {
    let mut subject = in_redis(Redis::start());
    let replica = subject.serve();
    let begun = replica.link("things", json!({"length": "exact"}));
    let whole = get(&begun);
    let link = replica.numbers(json!({}));
    subject.redis().kill();
    let refused = get(&link);
    assert_eq!(refused.problem(), unavailable());
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(Call::new("HEAD", &link).send().status, 503);
    assert_eq!(replica.errors(), 2);
    // The tag proves that the download has begun.
    let rest = continue_from(&begun, 10, whole.header("etag"));
    assert_eq!(rest.status, 206);
    let ready = replica.server.call("GET", "/readyz").send();
    assert_eq!(ready.status, 200);
    let issued_meanwhile = replica.numbers(json!({}));
    let unlimited = replica.numbers(json!({"single_use": false}));
    assert_eq!(get(&unlimited).status, 200);

    subject.redis().restart();
    for link in [&link, &issued_meanwhile] {
        assert_eq!(get(link).status, 200);
        assert_eq!(get(link).problem(), used());
    }
    assert_eq!(get(&begun).problem(), used());
}

#[test]
#[ignore = "needs Redis: make test"]
fn redis_that_hangs_refuses_links_soon_until_it_goes_on() {
    let subject = in_redis(Redis::start());
    let redis = subject.redis.as_ref().expect("Redis");
    let replica = subject.serve();
    assert_eq!(get(&replica.numbers(json!({}))).status, 200);
    let link = replica.numbers(json!({}));
    redis.pause();
    // Over the connection that hangs, then over one that is accepted and hangs.
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(get(&link).problem(), unavailable());
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
    redis.resume();
    wait_for("a connection", TIME, || get(&link).status == 200);
    assert_eq!(get(&link).problem(), used());
}

#[test]
#[ignore = "needs Redis: make test"]
fn a_replica_of_redis_that_takes_over_knows_the_uses() {
    let mut primary = Redis::start();
    let replica_of_redis = primary.replica();
    let sentinel = primary.sentinel();
    sentinel.wait_for_replica();
    let replica = serve(Some(sentinel.url()), |_, _| ());
    let link = replica.numbers(json!({}));
    assert_eq!(get(&link).status, 200);
    wait_for("replication", TIME, || {
        !replica_of_redis.command(&["keys", "*"]).trim().is_empty()
    });
    primary.kill();
    let later = replica.numbers(json!({}));
    let takeover = wait_for("the replica", TIME, || get(&later).status == 200);
    println!("the replica took over after {takeover:?}");
    assert_eq!(get(&later).problem(), used());
    assert_eq!(get(&link).problem(), used());
}

#[test]
fn without_redis_and_store_no_link_works_once() {
    let replica = serve(None, |_, _| ());
    let refused = replica.server.issue(request("numbers", numbers(json!({}))));
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["single_use".to_owned()])
    );
    let unlimited = request("numbers", numbers(json!({"single_use": false})));
    assert_eq!(replica.server.issue(unlimited).status, 200);
    let target = signed_elsewhere(replica.server.now());
    let refused = replica.server.call("GET", &target).send();
    assert_eq!(refused.problem(), unavailable());
    assert_eq!(replica.server.call("HEAD", &target).send().status, 503);
    assert_eq!((replica.queries(), replica.errors()), (0, 2));
}

#[test]
fn a_store_that_is_not_reached_refuses_links_that_it_was_not_asked_about() {
    let unreachable = [
        ("AWS_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ];
    let environment = unreachable.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let replica = serve(None, |deployment, folder| {
        let url = StoreUrl::parse("s3://none").unwrap();
        deployment.store = Some(url.connect(environment).unwrap());
        deployment.spool = Some(Spool::new(folder.to_owned(), 1 << 20));
    });
    // It may be reached when the link is used.
    let link = replica.numbers(json!({}));
    assert_eq!(get(&link).problem(), unavailable());
    assert_eq!(replica.queries(), 0);
}

/// Refuses links of a server whose store overwrites, and says so at its start.
pub fn refused_by_a_store_that_overwrites(environment: &[(String, String)]) {
    let spool = tempfile::tempdir().unwrap();
    let spool = spool.path().display().to_string();
    let environment = environment.iter();
    let environment = environment.map(|(name, value)| (name.as_str(), value.as_str()));
    let mut variables: Vec<(&str, &str)> = environment.collect();
    variables.extend([
        ("ROWLINK_SPOOL_DIR", spool.as_str()),
        ("ROWLINK_SPOOL_BYTES", "1000000000"),
    ]);
    let rowlink = Rowlink::serve_with(&EXPORTS[..1], &variables);
    let refused = rowlink.issue(request("numbers", numbers(json!({}))));
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["single_use".to_owned()])
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let target = signed_elsewhere(now.unwrap().as_secs());
    let refused = get(&format!("{}{target}", rowlink.origin()));
    assert_eq!(refused.problem(), unavailable());
    let log = rowlink.stop();
    let warning = "ROWLINK_STORE_URL: single-use links are refused: the store overwrites objects";
    assert!(log.contains(warning), "{log}");
}

#[test]
#[ignore = "needs Redis: make test"]
fn a_server_warns_at_its_start_that_redis_is_not_reached_and_hides_the_password() {
    let mut redis = Redis::with_password();
    redis.kill();
    let url = redis.text_of_url().to_owned();
    let rowlink = Rowlink::serve_with(&EXPORTS[..1], &[("ROWLINK_REDIS_URL", &url)]);
    let link = rowlink.link(request("numbers", numbers(json!({}))));
    assert_eq!(get(&link).problem(), unavailable());
    redis.restart();
    assert_eq!(get(&link).status, 200);

    let folder = tempfile::tempdir().unwrap();
    let mut rowlink_get = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    let refused = rowlink_get.args(["get", &link]).current_dir(folder.path());
    let refused = refused.output().unwrap();
    let printed = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(
        printed.contains("already used; ask for a new one"),
        "{printed}"
    );
    let log = rowlink.stop();
    assert!(
        log.contains("ROWLINK_REDIS_URL: single-use links are refused"),
        "{log}"
    );
    assert!(
        log.contains("it is not known whether a link was used"),
        "{log}"
    );
    let secret = PASSWORD.split('/').next().unwrap();
    assert!(!log.contains(secret), "{log}");
}
