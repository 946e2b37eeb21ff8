//! Twenty minutes of complete, aborted and refused downloads, with reloads and terminated backends. Memory,
//! descriptors and connections of the replicas must not grow: `make soak`.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::e2e::EXPORTS;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::replicas::Replicas;
use crate::harness::{Call, Stop, begin};
use crate::replicas::numbers;

/// The resources of a replica at one time.
struct Sample {
    memory_mib: f64,
    descriptors: f64,
    connections: f64,
}

/// Selects one figure of a sample.
type Measure = fn(&Sample) -> f64;

#[test]
#[ignore = "takes 20 minutes: make soak"]
fn memory_descriptors_and_connections_do_not_grow() {
    let minutes = std::env::var("SOAK_MINUTES").map_or(20.0, |text| text.parse().unwrap());
    let duration = Duration::from_secs_f64(minutes * 60.0);
    let cluster = Cluster::shared();
    // One role per replica, by which its connections are counted.
    let roles = ["soak_0", "soak_1", "soak_2"];
    let sql = roles
        .map(|role| format!("create role {role} login;"))
        .concat();
    let url = cluster.database("soak", &sql);
    let variables = roles.map(|role| {
        let url = url.replace("postgres@", &format!("{role}@"));
        vec![("ROWLINK_DATABASE_URL", url)]
    });
    let replicas = Replicas::start_with(&EXPORTS, variables);
    let (stopped, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut samples = [const { Vec::new() }; 3];
    thread::scope(|scope| {
        let _stop = Stop(&stopped);
        for replica in replicas.all() {
            for action in [download_completely, disconnect_halfway, be_refused] {
                let (stopped, rounds) = (&stopped, &rounds);
                scope.spawn(move || {
                    while !stopped.load(Ordering::SeqCst) {
                        action(replica);
                        rounds.fetch_add(1, Ordering::SeqCst);
                        // Moderate load: the test is about duration.
                        thread::sleep(Duration::from_millis(20));
                    }
                });
            }
        }
        let begun = Instant::now();
        while begun.elapsed() < duration {
            for (index, replica) in replicas.all().enumerate() {
                let count = format!(
                    "select count(*) from pg_stat_activity where usename = '{}'",
                    roles[index]
                );
                samples[index].push(Sample {
                    memory_mib: replica.resident_kib() as f64 / 1024.0,
                    descriptors: replica.descriptors() as f64,
                    connections: cluster.psql("soak", &count).parse().unwrap(),
                });
            }
            // Once a minute, reloads the files and terminates the backend of a download.
            if samples[0].len() % 30 == 0 {
                replicas.all().for_each(Rowlink::reload);
                cluster.psql("soak", TERMINATE);
            }
            thread::sleep(Duration::from_secs(2));
        }
    });
    println!(
        "{} rounds in {minutes} minutes",
        rounds.load(Ordering::SeqCst)
    );
    for (index, samples) in samples.iter().enumerate() {
        let measures: [(&str, Measure); 3] = [
            ("memory in MiB", |it| it.memory_mib),
            ("descriptors", |it| it.descriptors),
            ("connections", |it| it.connections),
        ];
        for (what, of) in measures {
            let quarters: Vec<f64> = samples
                .chunks(samples.len().div_ceil(4))
                .map(|quarter| quarter.iter().map(of).sum::<f64>() / quarter.len() as f64)
                .collect();
            println!(
                "replica {}: {what:13} {quarters:6.1?}, by quarters",
                index + 1
            );
            // Caches fill in the first half. A leak continues in the second.
            let growth = quarters[3] - quarters[2];
            assert!(growth < 1.0, "{what} grows");
        }
    }
}

const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
                         where usename like 'soak_%' and state <> 'idle' limit 1";

fn download_completely(replica: &Rowlink) {
    for (format, rows) in [("csv", 50_000), ("xlsx", 5_000), ("csv", 1)] {
        let mut request = numbers(rows);
        request["format"] = json!(format);
        request["estimate"] = json!(true);
        // Its backend may be terminated.
        let mut stream = begin(&replica.link(request));
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut answer = Vec::new();
        let head = loop {
            let mut piece = [0; 64 * 1024];
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break answer,
                Ok(length) => answer.extend_from_slice(&piece[..length]),
            }
            if answer.ends_with(b"\r\n0\r\n\r\n") {
                break answer;
            }
        };
        assert!(head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.1 50"));
    }
}

fn disconnect_halfway(replica: &Rowlink) {
    let mut stream = begin(&replica.link(numbers(5_000_000)));
    let mut piece = vec![0; 256 * 1024];
    let _ = stream.read_exact(&mut piece);
}

fn be_refused(replica: &Rowlink) {
    let link = replica.link(numbers(1));
    let refused = |url: &str| Call::new("GET", url).send().status;
    assert_eq!(refused(&link.replace("rl_user=alice", "rl_user=bob")), 403);
    assert_eq!(Call::new("HEAD", link).send().status, 200);
    let invalid: Value = json!({"export": "numbers", "format": "csv", "filters": {"n": "many"}});
    let issue = Call::new("POST", format!("{}/v1/links", replica.origin()));
    assert_eq!(issue.bearer("none").json(&invalid).send().status, 401);
}
