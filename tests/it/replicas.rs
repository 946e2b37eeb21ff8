//! Three replicas behind nginx, HAProxy and Envoy, killed, restarted and with rotating keys.
//!
//! These tests are short. `make e2e` repeats them for longer, with PostgreSQL.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::AddAssign;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::command::run;
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::replicas::Replicas;
use crate::harness::{Call, SIGNING_KEY, Stop, wait_for};

pub fn numbers(n: u64) -> Value {
    json!({"export": "numbers", "format": "csv", "filters": {"n": n}, "expires_in": 600})
}

/// Checks that every replica serves a link of one of them, directly and through the proxy.
pub fn every_replica_serves(replicas: &Replicas, proxy: &Proxy) {
    let link = proxy.issue(&numbers(1000)).unwrap();
    let direct: BTreeSet<Vec<u8>> = replicas
        .all()
        .map(|replica| {
            let url = link.replacen(&proxy.origin(), replica.origin(), 1);
            Call::new("GET", url).send().body
        })
        .collect();
    assert_eq!(direct.len(), 1, "{proxy}: the replicas differ");
    let sha256 = hex::encode(Sha256::digest(direct.first().unwrap()));
    for _ in 0..6 {
        let download = proxy.download(&link);
        assert!(download.accepted_as_complete, "{proxy}: {}", download.error);
        assert_eq!(download.sha256(), sha256, "{proxy}");
    }
}

/// Counts the outcomes of downloads.
#[derive(Default)]
pub struct Tally {
    pub complete: u32,
    pub broken: u32,
    /// Truncated, accepted by the client, and detected by the integrity line.
    pub detected: u32,
    /// Without a link: the request for it failed.
    pub not_issued: u32,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.complete += other.complete;
        self.broken += other.broken;
        self.detected += other.detected;
        self.not_issued += other.not_issued;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            complete,
            broken,
            detected,
            not_issued,
        } = self;
        write!(
            f,
            "{complete} complete and equal, {broken} broken, {detected} detected by the integrity line, {not_issued} without a link"
        )
    }
}

/// Kills replica `index` after some time, during `downloads` concurrent downloads of `rows` rows.
pub struct Kill {
    pub downloads: usize,
    pub rows: u64,
    pub after: Duration,
    pub index: usize,
}

/// Kills a replica during downloads. Each must be complete or detectably truncated.
pub fn kill_under_downloads(replicas: &mut Replicas, proxy: &Proxy, kill: Kill) -> Tally {
    let mut request = numbers(kill.rows);
    // HAProxy before 2.8 hides truncation from HTTP/2 clients: see `deploy/haproxy/haproxy.cfg`.
    let is_documented_exception = proxy.name == "haproxy" && proxy.protocol == Protocol::Http2;
    request["end_line"] = json!(is_documented_exception);
    let link = proxy.issue(&request).unwrap();
    let sha256 = proxy.download(&link).sha256();
    let links: Vec<String> = (0..kill.downloads)
        .map(|_| proxy.issue(&request).unwrap())
        .collect();
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for link in links {
            let (tally, sha256) = (&tally, &sha256);
            scope.spawn(move || {
                let download = proxy.download(&link);
                let is_equal = download.sha256() == *sha256;
                let mut tally = tally.lock().unwrap();
                match (download.accepted_as_complete, is_documented_exception) {
                    (true, _) if is_equal => tally.complete += 1,
                    (true, true) => {
                        assert!(
                            !download.integrity_line_matches(),
                            "{proxy}: truncated, with an integrity line"
                        );
                        tally.detected += 1;
                    }
                    (true, false) => panic!("{proxy}: truncated but accepted as complete"),
                    (false, _) => tally.broken += 1,
                }
            });
        }
        thread::sleep(kill.after);
        replicas.kill(kill.index);
    });
    wait_for("all replicas", Duration::from_secs(20), || {
        (0..3).all(|_| proxy.issue(&numbers(1)).is_ok())
    });
    tally.into_inner().unwrap()
}

/// The number of finished downloads of each of three clients that request links and download in a loop.
#[derive(Default)]
pub struct Load([AtomicUsize; 3]);

impl Load {
    /// Waits until every link issued before this call has been used.
    fn wait_for_issued_links(&self) {
        let done = || self.0.each_ref().map(|done| done.load(Ordering::SeqCst));
        let before = done();
        wait_for("the clients' links", Duration::from_secs(20), || {
            done().iter().zip(before).all(|(now, before)| *now > before)
        });
    }
}

/// Runs three clients during `action`; returns their outcomes and errors.
pub fn under_load(proxy: &Proxy, rows: u64, action: impl FnOnce(&Load)) -> (Tally, Vec<String>) {
    let load = Load::default();
    let stopped = AtomicBool::new(false);
    let seen = Mutex::new((Tally::default(), Vec::new()));
    thread::scope(|scope| {
        for done in &load.0 {
            let (seen, stopped) = (&seen, &stopped);
            scope.spawn(move || {
                while !stopped.load(Ordering::SeqCst) {
                    let outcome = proxy
                        .issue(&numbers(rows))
                        .map(|link| proxy.download(&link));
                    let (tally, errors) = &mut *seen.lock().unwrap();
                    match outcome {
                        Err(error) => {
                            tally.not_issued += 1;
                            errors.push(error);
                        }
                        Ok(download) if download.accepted_as_complete => tally.complete += 1,
                        Ok(download) => {
                            tally.broken += 1;
                            errors.push(download.error);
                        }
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _stop = Stop(&stopped);
        action(&load);
    });
    seen.into_inner().unwrap()
}

/// Restarts the replicas one by one under load. No request may fail.
pub fn rolling_restart(replicas: &mut Replicas, proxy: &Proxy, rows: u64) {
    let (tally, errors) = under_load(proxy, rows, |_| {
        for index in 0..3 {
            replicas.restart(index);
        }
    });
    println!("{proxy}: rolling restart: {tally}");
    assert!(
        tally.complete > 20 && errors.is_empty(),
        "{proxy}: {errors:?}"
    );
}

/// Generates a key with `rowlink keygen`.
pub fn keygen(id: &str) -> String {
    let mut rowlink = std::process::Command::new(env!("CARGO_BIN_EXE_rowlink"));
    let made = run(rowlink.args(["keygen", "--id", id]));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// Rotates the signing key as documented, replica by replica, under load. No request may fail. Afterwards every
/// replica refuses links of the old key.
pub fn rotate(replicas: &Replicas, proxy: &Proxy, old: &str, new: &str) {
    let old_link = proxy.issue(&numbers(1)).unwrap();
    let (tally, errors) = under_load(proxy, 100, |load| {
        let (added, signing) = (format!("{old}\n{new}\n"), format!("{new}\n{old}\n"));
        for keys in [&added, &signing, new] {
            for index in 0..3 {
                replicas.give_keys(index, keys);
                replicas.get(index).reload();
                replicas.wait_for_keys(index, keys);
                load.wait_for_issued_links();
            }
        }
    });
    println!("{proxy}: key rotation: {tally}");
    // Three clients and nine steps.
    assert!(
        tally.complete >= 27 && errors.is_empty(),
        "{proxy}: {errors:?}"
    );
    for replica in replicas.all() {
        let url = old_link.replacen(&proxy.origin(), replica.origin(), 1);
        let refused = Call::new("GET", url).send().problem();
        assert_eq!(refused, (403, "bad-signature".to_owned()));
    }
}

#[test]
#[ignore = "needs nginx, HAProxy, Envoy and curl: make test"]
fn every_replica_serves_links_of_the_others_through_every_proxy() {
    let replicas = Replicas::start();
    for proxy in Proxy::all(&replicas.ports) {
        every_replica_serves(&replicas, &proxy);
        let outside = proxy.download(&format!("{}/metrics", proxy.origin()));
        assert!(!outside.accepted_as_complete, "{proxy} exposes the metrics");
        // HAProxy logs to syslog.
        if proxy.name != "haproxy" {
            let mut log = String::new();
            wait_for("the log", Duration::from_secs(10), || {
                log = proxy.access_log();
                log.contains("/v1/exports/numbers.csv")
            });
            assert!(
                !log.contains("rl_signature") && !log.contains("n=1000"),
                "{log}"
            );
        }
    }
}

#[test]
#[ignore = "needs nginx, HAProxy, Envoy and curl: make test"]
fn a_file_whose_replica_is_killed_is_complete_or_visibly_truncated() {
    let mut replicas = Replicas::start();
    for proxy in Proxy::all(&replicas.ports) {
        let mut tally = Tally::default();
        for round in 0..3 {
            let kill = Kill {
                downloads: 6,
                rows: 300_000,
                after: Duration::from_millis(40 + 80 * round),
                index: round as usize,
            };
            tally += kill_under_downloads(&mut replicas, &proxy, kill);
        }
        println!("{proxy}: replicas killed: {tally}");
        assert!(
            tally.broken + tally.detected > 0,
            "{proxy}: every download finished before its replica was killed"
        );
    }
}

#[test]
#[ignore = "needs nginx, HAProxy, Envoy and curl: make test"]
fn a_rolling_restart_fails_no_request() {
    let mut replicas = Replicas::start();
    for proxy in [
        Proxy::nginx(&replicas.ports, Protocol::Http2),
        Proxy::haproxy(&replicas.ports, Protocol::Http1),
        Proxy::envoy(&replicas.ports, Protocol::Http1),
    ] {
        rolling_restart(&mut replicas, &proxy, 20_000);
    }
}

#[test]
#[ignore = "needs HAProxy and curl: make test"]
fn a_key_rotation_replica_by_replica_refuses_no_link() {
    let replicas = Replicas::start();
    let proxy = Proxy::haproxy(&replicas.ports, Protocol::Http1);
    rotate(&replicas, &proxy, SIGNING_KEY, &keygen("t2"));
}
