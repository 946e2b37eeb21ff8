//! Three replicas of one deployment that share only a key, exports and a database.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::command::free_port;
use super::process::Rowlink;
use super::{Call, SIGNING_KEY, exports, wait_for};

pub struct Replicas {
    pub ports: [u16; 3],
    running: [Option<Rowlink>; 3],
    exports: Vec<(&'static str, &'static str)>,
    variables: [Variables; 3],
    folder: TempDir,
}

/// Environment variables of a replica.
pub type Variables = Vec<(&'static str, String)>;

impl Replicas {
    /// Starts replicas over the sample rows.
    pub fn start() -> Replicas {
        Replicas::start_with(&exports(), Default::default())
    }

    /// Starts replicas with other exports and further environment variables per replica.
    pub fn start_with(
        exports: &[(&'static str, &'static str)],
        variables: [Variables; 3],
    ) -> Replicas {
        let mut replicas = Replicas {
            ports: [free_port(), free_port(), free_port()],
            running: [None, None, None],
            exports: exports.to_owned(),
            variables,
            folder: tempfile::tempdir().unwrap(),
        };
        for index in 0..3 {
            replicas.give_keys(index, SIGNING_KEY);
            replicas.run(index);
        }
        replicas
    }

    fn run(&mut self, index: usize) {
        let bind = format!("127.0.0.1:{}", self.ports[index]);
        let keys = self.key_file(index).to_str().unwrap().to_owned();
        let mut variables = vec![
            ("ROWLINK_BIND", bind.as_str()),
            ("ROWLINK_DRAIN_DELAY_SECONDS", "3"),
            ("ROWLINK_SIGNING_KEYS", ""),
            ("ROWLINK_SIGNING_KEYS_FILE", &keys),
        ];
        let own = self.variables[index].iter();
        variables.extend(own.map(|(name, value)| (*name, value.as_str())));
        self.running[index] = Some(Rowlink::serve_with(&self.exports, &variables));
    }

    fn key_file(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("keys-{index}"))
    }

    pub fn get(&self, index: usize) -> &Rowlink {
        self.running[index].as_ref().unwrap()
    }

    pub fn all(&self) -> impl Iterator<Item = &Rowlink> {
        self.running.iter().flatten()
    }

    /// Kills one replica with SIGKILL and starts it again.
    pub fn kill(&mut self, index: usize) {
        drop(self.running[index].take());
        self.run(index);
    }

    /// Stops one replica with SIGTERM and starts it again once it has ended.
    pub fn restart(&mut self, index: usize) {
        self.running[index].take().unwrap().stop();
        self.run(index);
    }

    /// Replaces the key file of one replica, which reloads it within a second or on SIGHUP.
    pub fn give_keys(&self, index: usize, keys: &str) {
        let file = self.key_file(index);
        let new = file.with_extension("new");
        std::fs::write(&new, keys).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Waits until the metrics of one replica show these keys, with the first as the signing key.
    pub fn wait_for_keys(&self, index: usize, keys: &str) {
        let ids: Vec<&str> = keys
            .lines()
            .map(|key| key.split(':').next().unwrap())
            .collect();
        let signs = format!("key=\"{}\",signs=\"true\"", ids[0]);
        let url = format!("{}/metrics", self.get(index).origin());
        wait_for("the keys", Duration::from_secs(10), || {
            let metrics = Call::new("GET", &url).send().text();
            let known = metrics
                .lines()
                .filter(|line| line.contains("signing_key_first_seen_timestamp_seconds{"));
            metrics.contains(&signs) && known.count() == ids.len()
        });
    }
}
