//! Three replicas over PostgreSQL behind nginx, HAProxy and Envoy, long enough for rare events.
//!
//! `make e2e` runs the tests one by one with the release binary and prints their figures.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::faults;
use crate::harness::command::clock_ahead;
use crate::harness::postgres::Cluster;
use crate::harness::process::{FAR_FUTURE, PUBLIC_URL, Rowlink};
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::replicas::{Replicas, Variables};
use crate::harness::{Call, SIGNING_KEY, Stop, begin, is_whole, token_for, wait_for};
use crate::heartbeats::{GO, clients_decode, whole_behind_proxies};
use crate::overload::head;
use crate::replicas::{
    Kill, Tally, every_replica_serves, keygen, kill_under_downloads, numbers, rolling_restart,
    rotate, under_load,
};
use crate::rotation::rotate_every_second;

/// Exports of PostgreSQL that need no table.
pub const EXPORTS: [(&str, &str); 2] = [
    (
        "numbers.sql",
        "/*---\n[filters.n]\ntype = 'integer'\nrequired = true\n---*/\n\
         select n, 'row ' || n || ' of ' || :user as text, \
         timestamptz '2026-01-01' + n * interval '1 second' as at from (select generate_series(1, :n::bigint) as n) as numbers",
    ),
    (
        "server.sql",
        "select pg_is_in_recovery() as standby where :user = 'alice'",
    ),
];

fn replicas(url: &str) -> Replicas {
    replicas_with(url, Default::default())
}

fn replicas_with(url: &str, variables: [Variables; 3]) -> Replicas {
    let variables = variables.map(|mut variables| {
        variables.push(("ROWLINK_DATABASE_URL", url.to_owned()));
        variables.push(("ROWLINK_DATABASE_CONNECTIONS", "30".to_owned()));
        variables
    });
    Replicas::start_with(&EXPORTS, variables)
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn every_replica_serves_links_of_the_others() {
    let replicas = replicas(&Cluster::shared().database("e2e_serve", ""));
    for proxy in Proxy::all(&replicas.ports) {
        every_replica_serves(&replicas, &proxy);
        println!("{proxy}: all replicas serve the same file");
    }
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn no_client_accepts_a_truncated_file_when_replicas_are_killed_under_twenty_downloads() {
    let mut replicas = replicas(&Cluster::shared().database("e2e_kill", ""));
    for proxy in Proxy::all(&replicas.ports) {
        let mut tally = Tally::default();
        for _ in 0..25 {
            let kill = Kill {
                downloads: 20,
                rows: 200_000,
                after: Duration::from_millis(random_below(1200)),
                index: random_below(3) as usize,
            };
            tally += kill_under_downloads(&mut replicas, &proxy, kill);
        }
        println!("{proxy}: 25 kills under 20 downloads each: {tally}");
        assert!(tally.broken + tally.detected > 25, "{proxy}: {tally}");
    }
}

fn random_below(limit: u64) -> u64 {
    getrandom::u64().unwrap() % limit
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_rolling_restart_fails_no_request() {
    let mut replicas = replicas(&Cluster::shared().database("e2e_restart", ""));
    for proxy in Proxy::all(&replicas.ports) {
        rolling_restart(&mut replicas, &proxy, 100_000);
    }
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn repeated_key_rotations_refuse_no_link() {
    let replicas = replicas(&Cluster::shared().database("e2e_rotate", ""));
    let mut old = SIGNING_KEY.to_owned();
    for (round, proxy) in Proxy::all(&replicas.ports).iter().enumerate() {
        let new = keygen(&format!("e{round}"));
        rotate(&replicas, proxy, &old, &new);
        old = new;
    }
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn sixty_key_rotations_at_five_hundred_requests_per_second_refuse_no_valid_link() {
    let (requests, retired) = rotate_every_second(60);
    println!(
        "60 rotations, {requests} requests, 0 refused; {retired} links of retired keys, all refused"
    );
    assert!(
        requests >= 27_000,
        "the load was not what it says: {requests}"
    );
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn clocks_may_differ_by_up_to_thirty_seconds() {
    let offsets: [i64; 3] = [-20, 0, 20];
    let variables = offsets.map(|offset| clock_ahead(offset).into());
    let replicas = replicas_with(&Cluster::shared().database("e2e_clocks", ""), variables);
    let mut table = String::from("issued at, for: served at −20 s, 0 s, +20 s\n");
    for (issuer, issued_at) in replicas.all().zip(offsets) {
        for seconds in [30, 300] {
            let mut request = numbers(10);
            request["expires_in"] = json!(seconds);
            let link = issuer.link(request);
            write!(table, "{issued_at:+} s, {seconds} s:").unwrap();
            for (server, served_at) in replicas.all().zip(offsets) {
                let url = link.replacen(issuer.origin(), server.origin(), 1);
                let answer = Call::new("GET", url).send();
                let behind = issued_at - served_at;
                let expected = match behind {
                    _ if behind > 30 => (403, "link-not-yet-valid"),
                    _ if -behind >= seconds => (410, "link-expired"),
                    _ => (200, "whole"),
                };
                let seen = match answer.status {
                    200 => (200, "whole".to_owned()),
                    _ => answer.problem(),
                };
                assert_eq!((seen.0, seen.1.as_str()), expected, "{table}");
                write!(table, " {} {}", seen.0, seen.1).unwrap();
            }
            table.push('\n');
        }
    }
    print!("{table}");
    // Behind a load balancer, a link for a minute works on every replica within 30 seconds of the issuer.
    let proxy = Proxy::nginx(
        &[replicas.ports[0], replicas.ports[1], replicas.ports[1]],
        Protocol::Http1,
    );
    let (tally, errors) = under_load(&proxy, 1000, |_| thread::sleep(Duration::from_secs(3)));
    println!("{proxy}, over two replicas 20 s apart: {tally}");
    assert!(errors.is_empty() && tally.complete > 20, "{errors:?}");
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_standby_replaces_a_stopped_primary_and_replicas_recover_from_a_full_outage() {
    let primary = Cluster::start();
    let standby = primary.standby();
    let (first, second) = (primary.port(), standby.port());
    let url = format!(
        "postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres?sslmode=disable&connect_timeout=2"
    );
    let replicas = replicas(&url);
    let proxy = Proxy::haproxy(&replicas.ports, Protocol::Http1);
    let server = json!({"export": "server", "format": "csv"});
    let serves = || {
        let url = proxy.issue(&server).unwrap();
        let answer = get_text(&url);
        answer.ok().filter(|text| text.starts_with("standby"))
    };
    assert_eq!(serves().unwrap(), "standby\r\nfalse\r\n");

    let mut running = begin(&proxy.issue(&numbers(20_000_000)).unwrap());
    let mut answer = vec![0; 1 << 20];
    running.read_exact(&mut answer).unwrap();
    primary.control(&["stop", "-m", "immediate"]);
    let takeover = wait_for("the standby", Duration::from_secs(20), || {
        serves().is_some_and(|text| text == "standby\r\ntrue\r\n")
    });
    let _ = running.read_to_end(&mut answer);
    assert!(!is_whole(&answer), "its database stopped");
    println!(
        "primary stopped: the running download failed, the standby served others after {takeover:?}"
    );

    standby.control(&["stop", "-m", "immediate"]);
    for replica in replicas.all() {
        wait_for(
            "a replica that is not ready",
            Duration::from_secs(20),
            || {
                Call::new("GET", format!("{}/readyz", replica.origin()))
                    .send()
                    .status
                    == 503
            },
        );
        // Issuing a link needs no database, a download does.
        let answer = Call::new("GET", replica.link(server.clone())).send();
        assert_eq!(answer.problem(), (503, "database-unavailable".to_owned()));
        assert!(!answer.header("retry-after").is_empty());
    }
    println!("both stopped: not ready, 503 database-unavailable; links are issued");

    primary.control(&["start", "-w"]);
    for replica in replicas.all() {
        let recovery = wait_for("a replica that is ready", Duration::from_secs(20), || {
            Call::new("GET", format!("{}/readyz", replica.origin()))
                .send()
                .status
                == 200
        });
        let answer = Call::new("GET", replica.link(server.clone())).send();
        assert_eq!(answer.text(), "standby\r\nfalse\r\n");
        println!("primary started: ready after {recovery:?}, without a restart");
    }
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_standby_is_preferred_while_one_is_available() {
    let primary = Cluster::start();
    let standby = primary.standby();
    let (first, second) = (primary.port(), standby.port());
    let url = format!(
        "postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres?sslmode=disable\
         &target_session_attrs=prefer-standby"
    );
    let replicas = replicas(&url);
    let server = json!({"export": "server", "format": "csv"});
    let served = |replica: &Rowlink| Call::new("GET", replica.link(server.clone())).send();
    for replica in replicas.all() {
        assert_eq!(served(replica).text(), "standby\r\ntrue\r\n");
    }
    standby.control(&["stop", "-m", "immediate"]);
    for replica in replicas.all() {
        wait_for("the primary", Duration::from_secs(20), || {
            served(replica).status == 200
        });
        assert_eq!(served(replica).text(), "standby\r\nfalse\r\n");
    }
}

/// Downloads a file as text through a proxy that may have no ready replica.
fn get_text(url: &str) -> Result<String, ureq::Error> {
    ureq::get(url).call()?.body_mut().read_to_string()
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn issuing_stays_fast_with_two_hundred_downloads_at_a_limit_of_twenty() {
    let url = Cluster::shared().database("e2e_overload", "");
    let variables = [
        ("ROWLINK_DATABASE_URL", url.as_str()),
        ("ROWLINK_DATABASE_CONNECTIONS", "30"),
        ("ROWLINK_MAX_DOWNLOADS", "20"),
        ("ROWLINK_MAX_LINKS_PER_SECOND", "1000000"),
    ];
    let rowlink = Rowlink::serve_with(&EXPORTS, &variables);
    let endless = rowlink.link(numbers(9_000_000_000));
    let small = rowlink.link(numbers(1));
    Call::new("GET", small).send();
    let idle_memory = rowlink.resident_kib();
    let idle = issue_times(&rowlink);
    let stopped = AtomicBool::new(false);
    let refusals = Mutex::new(Vec::new());
    let (busy, memory) = thread::scope(|scope| {
        let _stop = Stop(&stopped);
        for _ in 0..20 {
            let stream = begin(&endless);
            let (status, head) = head(&stream);
            assert_eq!(status, 200, "{head}");
            scope.spawn(|| read_slowly(stream, &stopped));
        }
        for _ in 0..180 {
            scope.spawn(|| {
                while !stopped.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    let (status, head) = head(&begin(&endless));
                    refusals.lock().unwrap().push(begun.elapsed());
                    assert_eq!(status, 503, "{head}");
                    thread::sleep(Duration::from_secs(retry_after(&head)));
                }
            });
        }
        wait_for("the refusals", Duration::from_secs(20), || {
            refusals.lock().unwrap().len() > 180
        });
        let busy = issue_times(&rowlink);
        (busy, rowlink.resident_kib() - idle_memory)
    });
    let refusals = refusals.into_inner().unwrap();
    println!(
        "20 of 200 downloads run: {} KiB each; {} refusals, p99 {:?}; issuing a link: p99 {:?}, {:?} when idle",
        memory / 20,
        refusals.len(),
        p99(refusals.clone()),
        p99(busy.clone()),
        p99(idle.clone())
    );
    assert!(memory < 20 * 2 * 1024, "{memory} KiB");
    assert!(p99(busy) < p99(idle) + Duration::from_millis(10));
}

/// Returns the `Retry-After` of a response head, in seconds.
fn retry_after(head: &str) -> u64 {
    let head = head.to_lowercase();
    let after = head.split("\r\nretry-after: ").nth(1).unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

/// Reads 32 KiB every 20 ms, about 100 rows per millisecond.
fn read_slowly(mut stream: TcpStream, stopped: &AtomicBool) {
    let mut piece = vec![0; 32 * 1024];
    while !stopped.load(Ordering::SeqCst) {
        stream.read_exact(&mut piece).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
}

/// Issues 2,000 links one by one on one connection; returns the time that each took.
fn issue_times(rowlink: &Rowlink) -> Vec<Duration> {
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
    let agent = ureq::Agent::new_with_defaults();
    let body = numbers(1).to_string();
    let issue = |_| {
        let begun = Instant::now();
        let answer = agent
            .post(format!("{}/v1/links", rowlink.origin()))
            .header("authorization", format!("Bearer {token}"))
            .send(&body);
        let answer: Value =
            serde_json::from_str(&answer.unwrap().body_mut().read_to_string().unwrap()).unwrap();
        let elapsed = begun.elapsed();
        assert!(answer["url"].as_str().unwrap().starts_with(PUBLIC_URL));
        elapsed
    };
    (0..2000).map(issue).collect()
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_query_silent_for_two_minutes_is_whole_behind_proxies_that_wait_for_thirty_seconds() {
    for waits in [(120.0, 0.0), (0.0, 60.0)] {
        let [with, without] = [true, false].map(|has_heartbeats| {
            let whole = whole_behind_proxies(17, 30, has_heartbeats, waits);
            println!("silent for {waits:?} s, heartbeats: {has_heartbeats}: {whole} of 102 whole");
            whole
        });
        assert_eq!((with, without), (102, 0));
    }
}

#[test]
#[ignore = "needs Go: make e2e"]
fn go_decodes_heartbeats_to_nothing() {
    clients_decode(&[GO]);
}

/// `make test` runs the same with smaller numbers.
#[test]
#[ignore = "takes minutes: make e2e"]
fn no_failure_of_a_database_gives_a_file_that_seems_complete() {
    faults::terminate_backends(50);
    faults::crash_databases(10);
    faults::disconnect_clients(100);
    faults::fail_queries(40);
    faults::break_database_connections(60);
}
