//! `rowlink check --store`, run as a process.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::command::{clock_ahead, free_port};
use crate::harness::object_store::ObjectStore;

/// The steps of a check without further origins.
pub const STEPS: [&str; 11] = [
    "upload in parts",
    "small object",
    "missing object",
    "conditional create",
    "presigned URL",
    "changed signature",
    "public access",
    "range",
    "range of another file",
    "CORS for null",
    "clock",
];
/// Those that nothing passes whose requests are refused.
const REFUSED: [&str; 5] = [
    "upload in parts",
    "small object",
    "missing object",
    "conditional create",
    "presigned URL",
];

/// A check that has ended.
pub struct Checked {
    pub code: Option<i32>,
    pub output: String,
    errors: String,
}

impl Checked {
    /// Returns the steps with this outcome.
    pub fn steps(&self, outcome: &str) -> Vec<&str> {
        let lines = self.output.lines();
        let steps = lines.filter_map(|line| line.strip_prefix(&format!("{outcome:<7} ")));
        steps
            .filter_map(|step| Some(step.split_once(": ")?.0))
            .collect()
    }
}

/// Runs the check with only these variables. None of its lines may help to read an object.
pub fn check(environment: &[(String, String)]) -> Checked {
    let output = Command::new(env!("CARGO_BIN_EXE_rowlink"))
        .args(["check", "--store"])
        .env_clear()
        .envs(environment.iter().cloned())
        .output()
        .unwrap();
    let output = Checked {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    };
    let all = [output.output.as_str(), &output.errors].concat();
    let key = environment
        .iter()
        .find(|(name, _)| name == "AWS_SECRET_ACCESS_KEY");
    assert!(key.is_none_or(|(_, key)| !all.contains(key)), "{all}");
    assert!(!all.contains("Signature="), "{all}");
    output
}

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let variables = variables.iter();
    variables
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Sets a part of a bucket's configuration.
fn configure(server: &ObjectStore, target: &str, content: &str) {
    // Older versions of curl do not sign a body.
    let unsigned = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
    server.send("PUT", target, &["-H", unsigned, "--data-binary", content]);
}

/// Returns the CORS rule in an output, as S3's interface takes it.
fn printed_cors_rule(output: &str) -> String {
    let (_, rest) = output.split_once("{\"CORSRules\"").unwrap();
    let json = ["{\"CORSRules\"", rest].concat();
    let mut values = serde_json::Deserializer::from_str(&json).into_iter::<Value>();
    let rule = &values.next().unwrap().unwrap()["CORSRules"][0];
    let mut xml = String::new();
    for (list, element) in [
        ("AllowedOrigins", "AllowedOrigin"),
        ("AllowedMethods", "AllowedMethod"),
        ("AllowedHeaders", "AllowedHeader"),
        ("ExposeHeaders", "ExposeHeader"),
    ] {
        for entry in rule[list].as_array().unwrap() {
            let entry = entry.as_str().unwrap();
            xml += &format!("<{element}>{entry}</{element}>");
        }
    }
    let seconds = &rule["MaxAgeSeconds"];
    format!(
        "<CORSConfiguration><CORSRule>{xml}<MaxAgeSeconds>{seconds}</MaxAgeSeconds></CORSRule></CORSConfiguration>"
    )
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_store_passes_every_step_once_the_printed_cors_rule_is_set() {
    let server = ObjectStore::seaweedfs();
    let mut environment = server.bucket("check-store");
    environment.extend(variables(&[
        ("ROWLINK_PUBLIC_URL", "https://shop.example.com/data"),
        ("ROWLINK_CORS_ORIGINS", "https://app.example.com"),
    ]));
    let origins = [
        "CORS for null",
        "CORS for https://shop.example.com",
        "CORS for https://app.example.com",
    ];
    // Without a rule SeaweedFS allows every origin, but not to read all headers.
    let before = check(&environment);
    assert_eq!(before.code, Some(0), "{}", before.output);
    assert_eq!(before.steps("warning"), origins, "{}", before.output);
    let unreadable = "may not read Content-Range, Content-Disposition, Accept-Ranges";
    assert_eq!(before.output.matches(unreadable).count(), 3);

    configure(
        server,
        "check-store?cors=",
        &printed_cors_rule(&before.output),
    );
    let after = check(&environment);
    assert_eq!(after.code, Some(0));
    let (first, last) = STEPS.split_at(STEPS.len() - 2);
    let expected = [first, &origins, &last[1..]].concat();
    assert_eq!(after.steps("ok"), expected, "{}", after.output);
    assert!(after.output.contains("{\"Prefix\": \"rowlink/\"}"));

    let objects = server.objects("check-store");
    let named = [before.output, after.output].concat();
    assert_eq!(objects.len(), 6, "{objects:?}");
    assert!(objects.iter().all(|name| named.contains(name)), "{named}");
    assert_eq!(server.unfinished_uploads("check-store"), [] as [String; 0]);
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_public_bucket_fails() {
    let server = ObjectStore::seaweedfs();
    let environment = server.bucket("public");
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::public/*"}
    ]}"#;
    configure(server, "public?policy=", policy);
    let checked = check(&environment);
    assert_eq!(checked.steps("failed"), ["public access"]);
    assert_eq!(checked.code, Some(1));
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_wrong_key_and_a_missing_bucket_fail_with_the_code_of_the_store() {
    let server = ObjectStore::seaweedfs();
    let mut wrong_key = server.bucket("wrong-key");
    wrong_key.last_mut().unwrap().1 = "another secret".to_owned();
    let missing = server.variables("not-created");
    for (environment, code) in [
        (wrong_key, "SignatureDoesNotMatch"),
        (missing, "NoSuchBucket"),
    ] {
        let checked = check(&environment);
        assert_eq!(checked.code, Some(1), "{code}");
        assert_eq!(checked.steps("failed"), REFUSED, "{}", checked.output);
        let lines = checked.output.lines();
        let failed = lines.filter(|line| line.starts_with("failed"));
        assert_eq!(
            failed.filter(|line| line.contains(code)).count(),
            REFUSED.len(),
            "{}",
            checked.output
        );
        // Its time is in the response that refuses.
        assert_eq!(checked.steps("ok"), ["clock"]);
        assert_eq!(
            checked.steps("skipped"),
            ["signature, public access, ranges, CORS"]
        );
        assert!(!checked.output.contains("removes the objects of this check"));
    }
    assert_eq!(server.objects("wrong-key"), [] as [String; 0]);
}

#[test]
#[ignore = "needs an object store: make test"]
fn a_clock_that_differs_from_that_of_the_store_is_reported() {
    let server = ObjectStore::seaweedfs();
    let bucket = server.bucket("skewed-clock");
    let with_clock = |seconds| {
        let mut environment = bucket.clone();
        let clock = clock_ahead(seconds).into_iter();
        environment.extend(clock.map(|(name, value)| (name.to_owned(), value)));
        check(&environment)
    };
    for (seconds, expected) in [(-60, "behind"), (60, "ahead of")] {
        let checked = with_clock(seconds);
        assert_eq!(checked.code, Some(0), "{}", checked.output);
        assert!(checked.steps("warning").contains(&"clock"));
        assert!(checked.output.contains(expected), "{}", checked.output);
    }
    // S3 refuses the requests of a clock that differs by more than 15 minutes.
    for seconds in [-1200, 1200] {
        let checked = with_clock(seconds);
        assert_eq!(checked.code, Some(1));
        let failed = [&REFUSED[..], &["clock"]].concat();
        assert_eq!(checked.steps("failed"), failed, "{}", checked.output);
        assert!(checked.output.contains("RequestTimeTooSkewed"));
    }
}

#[test]
fn a_store_that_is_down_fails_within_seconds() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let begun = Instant::now();
    let checked = check(&variables(&[
        ("ROWLINK_STORE_URL", "s3://files"),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret of the tests"),
    ]));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(checked.code, Some(1));
    assert_eq!(checked.steps("failed"), REFUSED, "{}", checked.output);
    let skipped = ["signature, public access, ranges, CORS", "clock"];
    assert_eq!(checked.steps("skipped"), skipped);
    assert_eq!(checked.steps("warning"), ["prefix"]);
}

#[test]
fn a_directory_is_checked_without_urls_and_left_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let url = format!("file://{path}");
    let checked = check(&variables(&[("ROWLINK_STORE_URL", &url)]));
    assert_eq!(checked.code, Some(0), "{}", checked.errors);
    assert_eq!(checked.steps("ok"), STEPS[..4]);
    let skipped = ["presigned URL, ranges, CORS, clock"];
    assert_eq!(checked.steps("skipped"), skipped);
    assert!(checked.output.contains(&format!("$ find '{path}' ")));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_store_the_check_names_the_variable() {
    let checked = check(&[]);
    assert_eq!(checked.code, Some(2));
    assert_eq!(checked.errors, "rowlink: ROWLINK_STORE_URL: is required\n");
    assert_eq!(checked.output, "");
}
