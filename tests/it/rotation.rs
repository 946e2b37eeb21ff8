//! Signing keys that rotate every second under load, reloaded by SIGHUP or by watching the file.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::process::{FAR_FUTURE, PUBLIC_URL, Rowlink};
use crate::harness::replicas::Replicas;
use crate::harness::{Call, Stop, token_for};
use crate::replicas::keygen;

/// The number of rotations for which a key verifies before and after it signs. A replica that only watches its file
/// reloads it up to a second later.
const OVERLAP: usize = 4;
const THREADS: usize = 4;
const REQUESTS_PER_SECOND: u32 = 500;

/// Returns the key file of a second: the signing key, the next keys, and keys whose links are still valid.
fn keys_at(second: usize, keys: &[String]) -> String {
    let next = second + 1..(second + 1 + OVERLAP).min(keys.len());
    let previous = second.saturating_sub(OVERLAP)..second;
    let all = [second].into_iter().chain(next).chain(previous);
    all.map(|index| format!("{}\n", keys[index])).collect()
}

/// The requests sent by the load, and the refused ones.
#[derive(Default)]
struct Load {
    requests: AtomicUsize,
    refused: Mutex<Vec<String>>,
}

impl Load {
    /// Requests a link from one replica and downloads it from another.
    fn pair(&self, agent: &ureq::Agent, from: &Rowlink, to: &Rowlink, token: &str) {
        match issue(agent, from, token, 10) {
            Ok(url) => {
                let url = url.replacen(PUBLIC_URL, to.origin(), 1);
                let status = agent.get(&url).call().unwrap().status().as_u16();
                if status != 200 {
                    self.refused
                        .lock()
                        .unwrap()
                        .push(format!("{status}: {url}"));
                }
            }
            Err(error) => self.refused.lock().unwrap().push(error),
        }
        self.requests.fetch_add(2, Ordering::SeqCst);
    }
}

fn issue(agent: &ureq::Agent, from: &Rowlink, token: &str, seconds: u64) -> Result<String, String> {
    let request =
        json!({"export": "numbers", "format": "csv", "filters": {"n": 3}, "expires_in": seconds});
    let call = agent.post(format!("{}/v1/links", from.origin()));
    let call = call.header("authorization", format!("Bearer {token}"));
    let mut answer = call.send(request.to_string()).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    body["url"].as_str().map(str::to_owned).ok_or(text)
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into()
}

/// Rotates every second, once every replica has the last keys. Returns the number of requests, and of refused links of
/// retired keys.
pub fn rotate_every_second(seconds: usize) -> (usize, usize) {
    let keys: Vec<String> = (0..=seconds)
        .map(|second| keygen(&format!("s{second}")))
        .collect();
    let replicas = Replicas::start();
    let first = keys_at(0, &keys);
    for index in 0..3 {
        replicas.give_keys(index, &first);
        replicas.wait_for_keys(index, &first);
    }
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE}));
    let (load, stopped) = (Load::default(), AtomicBool::new(false));
    let mut links: Vec<String> = Vec::new();
    let mut retired = 0;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (load, stopped, replicas, token) = (&load, &stopped, &replicas, &token);
            scope.spawn(move || {
                let agent = agent();
                let every = Duration::from_secs(2) * THREADS as u32 / REQUESTS_PER_SECOND;
                let mut next = Instant::now();
                for round in thread.. {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    let (from, to) = (round % 3, (round + 1 + round / 3 % 2) % 3);
                    load.pair(&agent, replicas.get(from), replicas.get(to), token);
                    next += every;
                    // Keeps the request rate.
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        let _stop = Stop(&stopped);
        let mut rotated = Instant::now();
        for second in 1..=seconds {
            thread::sleep(Duration::from_secs(1).saturating_sub(rotated.elapsed()));
            rotated = Instant::now();
            let new = keys_at(second, &keys);
            for index in 0..3 {
                replicas.give_keys(index, &new);
                if (second + index) % 2 == 0 {
                    replicas.get(index).reload();
                }
            }
            for index in 0..3 {
                replicas.wait_for_keys(index, &new);
            }
            links.push(issue(&agent(), replicas.get(second % 3), &token, 600).unwrap());
            let Some(retired_link) = second.checked_sub(OVERLAP + 2).map(|old| &links[old]) else {
                continue;
            };
            for replica in replicas.all() {
                let url = retired_link.replacen(PUBLIC_URL, replica.origin(), 1);
                let refused = Call::new("GET", url).send().problem();
                assert_eq!(refused, (403, "bad-signature".to_owned()));
                retired += 1;
            }
        }
    });
    let refused = load.refused.into_inner().unwrap();
    assert!(
        refused.is_empty(),
        "{} refused: {:?}",
        refused.len(),
        refused.first()
    );
    assert_eq!(retired, 3 * (seconds - OVERLAP - 1));
    (load.requests.into_inner(), retired)
}

#[test]
#[ignore = "takes seconds: make test"]
fn rotating_keys_every_second_refuses_no_valid_link_and_every_link_of_a_retired_key() {
    let (requests, retired) = rotate_every_second(12);
    println!(
        "12 rotations, {requests} requests, 0 refused; {retired} links of retired keys, all refused"
    );
    assert!(requests > 200);
}
