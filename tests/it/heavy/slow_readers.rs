//! Slow readers with a spool: what a hot standby and a full disk do to them. `make e2e`; the second test needs root.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::command::run;
use crate::harness::postgres::Cluster;
use crate::harness::process::Rowlink;
use crate::harness::{Call, wait_for};
use crate::spool::{begin_slowly, read_rest};

const EXPORT: &str = "select n, word from things where :user = 'alice' order by n";
const TABLE: &str = "create table things as
    select n, md5(n::text) || md5((n * 7)::text) as word from generate_series(1, 300000) n;
    alter table things add primary key (n);";

fn serve(url: &str, spool: Option<(&Path, &str)>) -> Rowlink {
    let mut variables = vec![("ROWLINK_DATABASE_URL", url)];
    if let Some((folder, bytes)) = spool {
        variables.push(("ROWLINK_SPOOL_DIR", folder.to_str().unwrap()));
        variables.push(("ROWLINK_SPOOL_BYTES", bytes));
    }
    Rowlink::serve_with(&[("things.sql", EXPORT)], &variables)
}

fn link(rowlink: &Rowlink) -> String {
    rowlink.link(json!({"export": "things", "format": "csv", "expires_in": 600}))
}

#[test]
#[ignore = "takes minutes: make e2e"]
fn a_slow_reader_of_a_standby_conflicts_with_its_replay_only_without_a_spool() {
    let primary = Cluster::start();
    primary.psql("postgres", TABLE);
    let standby = primary.standby();
    standby.psql(
        "postgres",
        "alter system set max_standby_streaming_delay = '1s'",
    );
    standby.psql("postgres", "select pg_reload_conf()");
    let has_rows = || {
        standby
            .psql("postgres", "select count(*) from things")
            .contains("300000")
    };
    wait_for("the table", Duration::from_secs(30), has_rows);
    let conflicts = || -> u64 {
        let query = "select coalesce(sum(confl_snapshot), 0) from pg_stat_database_conflicts";
        standby.psql("postgres", query).trim().parse().unwrap()
    };
    // Removes row versions that an older snapshot of the standby may still read.
    let vacuum = || {
        primary.psql("postgres", "update things set word = word where n <= 1000");
        primary.psql("postgres", "vacuum things");
    };
    let url = standby.url("postgres");
    let folder = tempfile::tempdir().unwrap();
    for spool in [None, Some((folder.path(), "1000000000"))] {
        let rowlink = serve(&url, spool);
        let mut slow = begin_slowly(&link(&rowlink));
        if spool.is_some() {
            wait_for("the end of the query", Duration::from_secs(30), || {
                standby.running("postgres") == 0
            });
        }
        let before = conflicts();
        vacuum();
        let position = primary.psql("postgres", "select pg_current_wal_lsn()");
        let replayed = format!("select pg_last_wal_replay_lsn() >= '{}'", position.trim());
        wait_for("the replay", Duration::from_secs(30), || {
            standby.psql("postgres", &replayed).trim() == "t"
        });
        let is_whole = read_rest(&mut slow).1;
        let found = conflicts() - before;
        println!(
            "spool: {}, conflicts: {found}, whole: {is_whole}",
            spool.is_some()
        );
        assert_eq!((found > 0, is_whole), (spool.is_none(), spool.is_some()));
    }
}

/// A small file system in memory, which is unmounted when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
        run(Command::new("mount").args(options).arg(folder.path()));
        SmallDisk(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.0.path()));
    }
}

#[test]
#[ignore = "needs root to mount a small disk: make e2e"]
fn a_full_disk_slows_the_query_and_the_file_is_whole() {
    let url = Cluster::shared().database("spool_full_disk", TABLE);
    let disk = SmallDisk::mount();
    let folder = disk.0.path();
    let rowlink = serve(&url, Some((folder, "8000000")));
    let expected = Call::new("GET", link(&rowlink)).send().body;
    // Another program fills most of the disk after the start.
    fs::write(folder.join("other"), vec![1; 5 << 20]).unwrap();
    let mut slow = begin_slowly(&link(&rowlink));
    let obstacles = "rowlink_spool_obstacles_total{reason=\"disk\"} 1";
    wait_for("the obstacle", Duration::from_secs(60), || {
        let metrics = Call::new("GET", format!("{}/metrics", rowlink.origin())).send();
        metrics.text().contains(obstacles)
    });
    let (body, is_whole) = read_rest(&mut slow);
    assert!(is_whole && body == expected);
    drop(slow);
    let log = rowlink.stop();
    assert!(log.contains("No space left on device"), "{log}");
}
