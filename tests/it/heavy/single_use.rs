//! Racing requests for links that work once, on three replicas with one Redis.
//!
//! `make e2e` runs the tests one by one with the release binary and prints their figures.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rowlink::used_links::UsedLinks;
use serde_json::json;

use crate::harness::redis::Redis;
use crate::harness::replicas::Replicas;
use crate::harness::{Call, exports, wait};

const LINKS: usize = 100;
const REQUESTS_PER_LINK: usize = 100;
const THREADS: usize = 64;

#[test]
#[ignore = "takes minutes: make e2e"]
fn of_ten_thousand_racing_requests_for_a_hundred_links_a_hundred_are_served() {
    let redis = Redis::start();
    let variables = || {
        vec![
            ("ROWLINK_REDIS_URL", redis.text_of_url().to_owned()),
            ("ROWLINK_MAX_DOWNLOADS", "1000".to_owned()),
        ]
    };
    let replicas = Replicas::start_with(&exports(), [variables(), variables(), variables()]);
    let issuer = replicas.get(0);
    let request = json!({
        "export": "numbers", "format": "csv", "filters": {"n": 1000}, "expires_in": 600, "single_use": true
    });
    let links: Vec<String> = (0..LINKS).map(|_| issuer.link(request.clone())).collect();
    let (next, served) = (AtomicUsize::new(0), Mutex::new(vec![0; LINKS]));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= LINKS * REQUESTS_PER_LINK {
                        break;
                    }
                    // All requests for a link come together, on all replicas.
                    let (link, replica) = (index / REQUESTS_PER_LINK, index % 3);
                    let origin = replicas.get(replica).origin();
                    let url = links[link].replacen(issuer.origin(), origin, 1);
                    let answer = Call::new("GET", url).send();
                    match answer.status {
                        200 => {
                            assert_eq!(answer.rows().len(), 1001);
                            served.lock().unwrap()[link] += 1;
                        }
                        _ => assert_eq!(answer.problem(), (410, "link-used".to_owned())),
                    }
                }
            });
        }
    });
    let elapsed = begun.elapsed();
    assert_eq!(served.into_inner().unwrap(), vec![1; LINKS]);
    let requests = LINKS * REQUESTS_PER_LINK;
    println!("{requests} requests for {LINKS} links on 3 replicas in {elapsed:?}: {LINKS} served");

    let used_links = UsedLinks::new(Some(&redis.url()), None).unwrap().unwrap();
    let mut times = wait(async {
        let mut times = Vec::new();
        for index in 0..10_000 {
            let name = format!("measured-{index}");
            let begun = Instant::now();
            let taken = used_links.take(&name, Duration::from_secs(60)).await;
            assert!(taken.unwrap());
            times.push(begun.elapsed());
        }
        times
    });
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("a take in a local Redis that writes each to its disk: p50 {p50:?}, p99 {p99:?}");
}
