//! Three replicas behind a real nginx and a real HAProxy, and what is shipped to deploy them.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::postgres::free_port;
use crate::harness::process::{FAR_FUTURE, Rowlink, command};
use crate::harness::proxy::{Protocol, Proxy};
use crate::harness::{Call, exports, token_for, tool, wait_for};

/// Replicas that share a key, exports and rows, and nothing else.
struct Replicas {
    ports: [u16; 3],
    running: Vec<Option<Rowlink>>,
}

impl Replicas {
    fn start() -> Replicas {
        let ports = [free_port(), free_port(), free_port()];
        let running = ports.map(|port| Some(replica(port))).into();
        Replicas { ports, running }
    }

    /// Kills one as a power cut does, and starts it anew.
    fn kill(&mut self, index: usize) {
        drop(self.running[index].take());
        self.running[index] = Some(replica(self.ports[index]));
    }

    /// Stops one as an orchestrator does; returns once it has ended.
    fn restart(&mut self, index: usize) {
        self.running[index].take().unwrap().stop();
        self.running[index] = Some(replica(self.ports[index]));
    }
}

fn replica(port: u16) -> Rowlink {
    Rowlink::serve_with(
        &exports(),
        &[
            ("ROWLINK_BIND", &format!("127.0.0.1:{port}")),
            ("ROWLINK_DRAIN_DELAY_SECONDS", "3"),
        ],
    )
}

fn proxies(ports: &[u16]) -> Vec<(&'static str, Protocol, Proxy)> {
    let mut proxies = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        proxies.push(("nginx", protocol, Proxy::nginx(ports, protocol)));
        proxies.push(("HAProxy", protocol, Proxy::haproxy(ports, protocol)));
    }
    proxies
}

/// curl, speaking a protocol with an origin.
fn curl(protocol: Protocol, arguments: &[&str]) -> Child {
    Command::new("curl")
        .args(["-sS", "--max-time", "120", protocol.of_curl()])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Issues a link through a proxy; gives it the proxy's origin.
fn issue(origin: &str, protocol: Protocol, request: &Value) -> String {
    let token = token_for(&json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"}));
    let run = curl(
        protocol,
        &[
            "-H",
            &format!("Authorization: Bearer {token}"),
            "-d",
            &request.to_string(),
            &format!("{origin}/v1/links"),
        ],
    );
    let said = run.wait_with_output().unwrap().stdout;
    let answer: Value = serde_json::from_slice(&said)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&said)));
    let url = answer["url"].as_str().unwrap_or_else(|| panic!("{answer}"));
    url.replacen(crate::harness::process::PUBLIC_URL, origin, 1)
}

fn numbers(n: u64) -> Value {
    json!({"export": "numbers", "format": "csv", "filters": {"n": n}, "expires_in": 600})
}

/// Whether curl takes what it got for whole, and the hash of that.
fn outcome(mut child: Child) -> (bool, String) {
    let mut content = Vec::new();
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_to_end(&mut content)
        .unwrap();
    let taken = child.wait().unwrap().success();
    (taken, hex::encode(Sha256::digest(&content)))
}

#[test]
fn what_one_replica_issues_every_other_serves_through_every_proxy() {
    let replicas = Replicas::start();
    for (name, protocol, proxy) in proxies(&replicas.ports) {
        let link = issue(&proxy.origin(), protocol, &numbers(1000));
        let direct: BTreeSet<Vec<u8>> = replicas
            .ports
            .iter()
            .map(|port| {
                let url = link.replacen(&proxy.origin(), &format!("http://127.0.0.1:{port}"), 1);
                Call::new("GET", url).send().body
            })
            .collect();
        assert_eq!(direct.len(), 1, "{name} {protocol:?}");
        for _ in 0..6 {
            let (taken, hash) = outcome(curl(protocol, &[&link]));
            assert!(taken, "{name} {protocol:?}");
            assert_eq!(hash, hex::encode(Sha256::digest(direct.first().unwrap())));
        }
        let outside = outcome(curl(
            protocol,
            &["-f", &format!("{}/metrics", proxy.origin())],
        ));
        assert!(!outside.0, "{name} lets the metrics out");
        if name == "nginx" {
            let log = proxy.access_log();
            assert!(log.contains("/v1/exports/numbers.csv"), "{log}");
            assert!(
                !log.contains("rl_signature") && !log.contains("n=1000"),
                "{log}"
            );
        }
    }
}

#[test]
fn a_file_whose_replica_is_killed_is_never_short_and_taken_for_whole() {
    let mut replicas = Replicas::start();
    let rows = 300_000;
    let whole = {
        let link = issue(
            &format!("http://127.0.0.1:{}", replicas.ports[0]),
            Protocol::Http1,
            &numbers(rows),
        );
        outcome(curl(Protocol::Http1, &[&link])).1
    };
    for (name, protocol, proxy) in proxies(&replicas.ports) {
        let (mut complete, mut broken, mut deceived) = (0, 0, 0);
        // The shipped file says that HAProxy before 2.8 must not offer HTTP/2, and why.
        let is_documented_exception = name == "HAProxy" && protocol == Protocol::Http2;
        for round in 0..3 {
            let mut request = numbers(rows);
            request["end_line"] = json!(is_documented_exception);
            let downloads: Vec<Child> = (0..6)
                .map(|_| curl(protocol, &[&issue(&proxy.origin(), protocol, &request)]))
                .collect();
            // At whatever place they are.
            thread::sleep(Duration::from_millis(40 + 80 * round));
            replicas.kill(round as usize % 3);
            for download in downloads {
                let folder = tempfile::tempdir().unwrap();
                if is_documented_exception {
                    let output = download.wait_with_output().unwrap();
                    let file = folder.path().join("file.csv");
                    std::fs::write(&file, &output.stdout).unwrap();
                    let proven = command(folder.path())
                        .arg("check-file")
                        .arg(&file)
                        .output()
                        .unwrap();
                    match (output.status.success(), proven.status.success()) {
                        (true, true) => complete += 1,
                        (true, false) => deceived += 1,
                        (false, proven) => {
                            assert!(!proven, "a broken download with an end line");
                            broken += 1;
                        }
                    }
                    continue;
                }
                match outcome(download) {
                    (true, hash) => {
                        assert_eq!(
                            hash, whole,
                            "{name} {protocol:?}: short, and taken for whole"
                        );
                        complete += 1;
                    }
                    (false, _) => broken += 1,
                }
            }
            let link = issue(&proxy.origin(), protocol, &numbers(1));
            wait_for("the replica's return", Duration::from_secs(20), || {
                (0..3).all(|_| outcome(curl(protocol, &["-f", &link])).0)
            });
        }
        println!(
            "{name} {protocol:?}: {complete} complete, {broken} broken, {deceived} caught by the end line"
        );
        assert_eq!(complete + broken + deceived, 18);
        assert!(
            broken + deceived > 0,
            "{name} {protocol:?}: nothing was killed in time"
        );
    }
}

#[test]
fn a_rolling_restart_fails_no_issue_and_no_download() {
    let mut replicas = Replicas::start();
    let ports = replicas.ports;
    for (name, protocol, proxy) in [
        (
            "nginx",
            Protocol::Http2,
            Proxy::nginx(&ports, Protocol::Http2),
        ),
        (
            "HAProxy",
            Protocol::Http1,
            Proxy::haproxy(&ports, Protocol::Http1),
        ),
    ] {
        let origin = proxy.origin();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (sender, results) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..3 {
                let (sender, stop, origin) = (sender.clone(), &stop, &origin);
                scope.spawn(move || {
                    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                        let link = issue(origin, protocol, &numbers(20_000));
                        let run = curl(protocol, &["-f", &link]).wait_with_output().unwrap();
                        let said = String::from_utf8_lossy(&run.stderr).into_owned();
                        let _ = sender.send((run.status.success(), said));
                    }
                });
            }
            for index in 0..3 {
                replicas.restart(index);
            }
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        drop(sender);
        let results: Vec<(bool, String)> = results.iter().collect();
        let failed: Vec<_> = results.iter().filter(|(whole, _)| !whole).collect();
        println!(
            "{name} {protocol:?}: {} downloads during a rolling restart",
            results.len()
        );
        assert!(
            results.len() > 20 && failed.is_empty(),
            "{name} {protocol:?}: {failed:?}"
        );
    }
}

#[test]
fn the_manifests_render_and_follow_the_schemas_of_kubernetes() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/k8s/overlays");
    let folder = tempfile::tempdir().unwrap();
    for (overlay, kinds) in [("production", 6), ("development", 5)] {
        let rendered = Command::new("kubectl")
            .arg("kustomize")
            .arg(deploy.join(overlay))
            .output();
        let rendered = rendered.unwrap();
        assert!(
            rendered.status.success(),
            "{}",
            String::from_utf8_lossy(&rendered.stderr)
        );
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, &rendered.stdout).unwrap();
        let run = Command::new(tool("venv").join("bin/kubernetes-validate"))
            .arg("--strict")
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
        assert!(run.status.success(), "{said}");
        assert_eq!(said.matches(" passed ").count(), kinds, "{said}");
    }
}
