//! Statements in the log of the database: one text for all values, which are bound separately.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::postgres::Cluster;
use crate::harness::{API_KEY, Call, Deployment, wait_for};
use crate::real_data::naughty_strings;

/// A filter of every type, the user and a claim.
const BY_ORG: &str = "/*---
title = 'By organisation'
[filters.text]
type = 'text'
[filters.any_of]
type = 'text'
list = true
[filters.whole]
type = 'integer'
[filters.exact]
type = 'decimal'
[filters.truth]
type = 'boolean'
[filters.day]
type = 'date'
[filters.at]
type = 'timestamp'
[filters.id]
type = 'uuid'
---*/
select 'here' as marker, :user::text as user, :claim.org_id::text as org, :text::text as text,
  :any_of::text[]::text as any_of, :whole::bigint as whole, :exact::numeric as exact, :truth::boolean as truth,
  :day::date as day, :at::timestamptz as at, :id::uuid as id";

const LOG_STATEMENTS: &str = "log_statement = 'all'\nlog_destination = 'jsonlog'\nlogging_collector = on\n\
     log_directory = 'statements'\nlog_filename = 'all'\nlog_rotation_size = 0";

#[test]
#[ignore = "needs PostgreSQL and blns.json: make test"]
fn naughty_strings_in_every_filter_reach_the_database_only_as_bound_values() {
    let cluster = Cluster::start_with(LOG_STATEMENTS);
    let server = Deployment::over(cluster.url("postgres"), vec![("by_org.sql", BY_ORG)]).start();
    let filters = [
        "text", "any_of", "whole", "exact", "truth", "day", "at", "id",
    ];
    let strings = naughty_strings();
    let mut accepted = 0;
    for string in &strings {
        let mut requests: Vec<Value> = filters
            .iter()
            .map(|filter| json!({"user": "bob", "filters": {*filter: string}}))
            .collect();
        requests.push(json!({"user": string}));
        for mut request in requests {
            request["export"] = json!("by_org");
            request["format"] = json!("csv");
            let issued = server.issue_with(API_KEY, request);
            if issued.status == 200 {
                let url = issued.json()["url"].as_str().unwrap().to_owned();
                assert_eq!(Call::new("GET", url).send().status, 200, "{string}");
                accepted += 1;
            }
        }
    }
    assert!(accepted > 2 * strings.len(), "only {accepted} were tried");

    let mut lines: Vec<Value> = Vec::new();
    wait_for("the log", Duration::from_secs(10), || {
        lines = statements(&cluster);
        lines.iter().filter(|line| is_run(line)).count() >= accepted
    });
    let texts = lines.iter().filter(|line| is_run(line)).map(message);
    // At start-up the plan is asked for once, without values.
    let texts = texts.filter(|text| !text.contains(": explain select"));
    let texts: BTreeSet<&str> = texts.collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    let bound = |string: &String| {
        let quoted = format!("'{}'", string.replace('\'', "''"));
        lines.iter().any(|line| {
            line["detail"]
                .as_str()
                .is_some_and(|it| it.contains(&quoted))
        })
    };
    let long_enough = strings.iter().filter(|string| string.len() > 3);
    let missing: Vec<_> = long_enough
        .clone()
        .filter(|string| !bound(string))
        .collect();
    assert!(
        missing.len() * 20 < strings.len(),
        "not logged as values: {missing:?}"
    );
    for line in &lines {
        let in_text = long_enough
            .clone()
            .find(|it| it.len() > 12 && message(line).contains(*it));
        assert_eq!(in_text, None, "{line}");
    }
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_flood_of_readiness_probes_asks_the_database_once_a_second() {
    let cluster = Cluster::start_with(LOG_STATEMENTS);
    let server = Deployment::over(cluster.url("postgres"), vec![("by_org.sql", BY_ORG)]).start();
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(server.call("GET", "/readyz").send().status, 200);
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs() as usize;
    let pings = || {
        let lines = statements(&cluster);
        let pings = lines
            .iter()
            .filter(|line| message(line).contains("begin; select 1"));
        pings.count()
    };
    wait_for("the log", Duration::from_secs(10), || pings() > 0);
    assert!(pings() <= seconds + 1, "{} in {seconds} s", pings());
    // Later answers are new ones.
    cluster.control(&["stop", "--mode=immediate"]);
    wait_for(
        "a replica that is not ready",
        Duration::from_secs(10),
        || server.call("GET", "/readyz").send().status == 503,
    );
}

/// Returns the lines of the database's log so far.
fn statements(cluster: &Cluster) -> Vec<Value> {
    let log = fs::read_to_string(cluster.path().join("data/statements/all.json"));
    let log = log.unwrap_or_default();
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

/// Returns whether a log line is an execution of the export.
fn is_run(line: &Value) -> bool {
    message(line).starts_with("execute") && message(line).contains("'here' as marker")
}
