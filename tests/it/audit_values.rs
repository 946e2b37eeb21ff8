//! The values of filters in audit lines: encrypted by the server, decrypted by `rowlink audit decrypt`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::harness::process::{Rowlink, command, configured_folder};
use crate::harness::{Call, exports};

const NOTES: &str = "/*---\n[filters.note]\ntype = \"text\"\nlist = true\n---*/\nselect :user as owner where 'x' in (select value from json_each(:note))";
/// The values of the filter, which must not be in the log.
const VALUES: [&str; 2] = ["s3cret \u{9b}1m\"value", "an0ther"];

/// Writes a file as `age-keygen` does; returns its path.
fn identity_file(folder: &Path, key: &Identity) -> String {
    let path = folder.join("audit-key.txt");
    let text = format!(
        "# created: 2026-01-31T10:00:00Z\n# public key: {}\n{}\n",
        key.to_public(),
        key.to_string().expose_secret()
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs `rowlink audit decrypt` without any variable.
fn decrypt(identity: &str, log: &[u8]) -> Output {
    let mut rowlink = Command::new(env!("CARGO_BIN_EXE_rowlink"));
    rowlink.args(["audit", "decrypt", "--identity", identity]);
    rowlink.env_clear().stdin(Stdio::piped());
    rowlink.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut rowlink = rowlink.spawn().unwrap();
    // The command may have ended with an error before it reads.
    let _ = rowlink.stdin.take().unwrap().write_all(log);
    rowlink.wait_with_output().unwrap()
}

/// Issues a link with values and follows it; returns the log.
fn log_of(variables: &[(&str, &str)]) -> String {
    let rowlink = Rowlink::serve_with(&[("notes.sql", NOTES)], variables);
    let url =
        rowlink.link(json!({"export": "notes", "format": "csv", "filters": {"note": VALUES}}));
    assert_eq!(Call::new("GET", url).send().status, 200);
    rowlink.link(json!({"export": "notes", "format": "csv", "filters": {}}));
    rowlink.stop()
}

#[test]
fn the_log_has_no_value_in_clear_and_the_private_key_gets_all_of_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let key = Identity::generate();
    let (identity, public) = (
        identity_file(folder.path(), &key),
        key.to_public().to_string(),
    );
    for format in ["text", "json"] {
        let variables = [
            ("ROWLINK_AUDIT_RECIPIENT", public.as_str()),
            ("ROWLINK_LOG_FORMAT", format),
        ];
        let log = log_of(&variables);
        assert!(!log.contains("s3cret") && !log.contains("an0ther"), "{log}");
        assert_eq!(log.matches("audit_values").count(), 2, "{log}");

        let output = decrypt(&identity, log.as_bytes());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        let clear = String::from_utf8(output.stdout).unwrap();
        // The values of a list are a set.
        let values = r#"{"note":["an0ther","s3cret \u009b1m\"value"]}"#;
        let field = match format {
            "json" => format!("\"audit_values\":{values}"),
            _ => format!("audit_values={values}"),
        };
        assert_eq!(log.lines().count(), clear.lines().count());
        for (line, decrypted) in log.lines().zip(clear.lines()) {
            match line.contains("audit_values") {
                true => assert!(decrypted.contains(&field), "{decrypted}"),
                false => assert_eq!(decrypted, line),
            }
            if format == "json" {
                serde_json::from_str::<Value>(decrypted).unwrap();
            }
        }
    }
}

#[test]
#[ignore = "needs age: make test"]
fn the_age_command_makes_the_keys_and_decrypts_a_value_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let age = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(&folder);
        let output = output.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    age("age-keygen", &["-o", "key.txt"]);
    let public = age("age-keygen", &["-y", "key.txt"]);
    let log = log_of(&[("ROWLINK_AUDIT_RECIPIENT", public.trim())]);
    let (_, encrypted) = log.split_once("audit_values=").unwrap();
    let (encrypted, _) = encrypted.split_once(' ').unwrap();
    let encrypted = BASE64.decode(encrypted.trim_matches('"')).unwrap();
    std::fs::write(folder.path().join("value.age"), encrypted).unwrap();
    let value = age("age", &["--decrypt", "--identity", "key.txt", "value.age"]);
    let value: Value = serde_json::from_str(&value).unwrap();
    assert_eq!(value, json!({"note": ["an0ther", VALUES[0]]}));
    let identity = folder.path().join("key.txt").display().to_string();
    let clear = decrypt(&identity, log.as_bytes());
    assert!(clear.status.success());
    assert!(String::from_utf8(clear.stdout).unwrap().contains("an0ther"));
}

#[test]
fn without_a_key_audit_lines_have_only_the_names_of_filters() {
    let log = log_of(&[]);
    assert!(
        !log.contains("audit_values") && !log.contains("s3cret"),
        "{log}"
    );
    assert!(log.contains("filters=\"note,note\""), "{log}");
}

#[test]
fn another_key_leaves_the_lines_and_fails_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other) = (Identity::generate(), Identity::generate());
    let identity = identity_file(folder.path(), &other);
    let log = log_of(&[("ROWLINK_AUDIT_RECIPIENT", &key.to_public().to_string())]);
    let output = decrypt(&identity, log.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), log);
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = "audit_values: encrypted to another key; add its private key to the file of identities (2 lines were not decrypted)\n";
    assert!(errors.ends_with(expected), "{errors}");

    let missing = decrypt("/does/not/exist", b"");
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("/does/not/exist: ")
    );
    std::fs::write(&identity, key.to_public().to_string()).unwrap();
    let public = decrypt(&identity, b"");
    let errors = String::from_utf8(public.stderr).unwrap();
    assert_eq!(public.status.code(), Some(2));
    assert!(
        errors.contains(": line 1: expected a private key of age-keygen"),
        "{errors}"
    );
}

#[test]
fn an_invalid_key_stops_the_start() {
    let folder = configured_folder(&exports());
    let output = command(folder.path())
        .args(["check"])
        .env("ROWLINK_AUDIT_RECIPIENT", "alice@example.com")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let expected =
        "rowlink: ROWLINK_AUDIT_RECIPIENT: expected the public key that age-keygen prints: age1…";
    assert!(errors.contains(expected), "{errors}");
}
