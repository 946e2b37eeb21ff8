//! The offline signers of six languages, compared with links signed by the second implementation. Sealed links,
//! decrypted by libsodium.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rowlink_link::{Keyring, Link, Scope, Seal, generate_child, sign};
use serde_json::Value;

use crate::harness::client_package;
use crate::harness::command::run;
use crate::vectors::{keyring, text, vectors, verify_case};

const PUBLIC_URL: &str = "https://shop.example.com/data";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The form-encoded input of a signer and the URL that it must return.
struct Case {
    input: String,
    url: String,
}

fn cases() -> Vec<Case> {
    let vectors = vectors();
    let all = vectors["links"].as_array().unwrap().iter();
    let open = |case: &&Value| {
        text(case, "outcome") == "valid" && !text(case, "query").contains("rl_sealed")
    };
    let cases: Vec<Case> = all
        .filter(open)
        .map(|case| {
            let link = verify_case(&vectors, case).unwrap();
            let (path, query) = (text(case, "path"), text(case, "canonical_query"));
            let signature = text(case, "signature");
            Case {
                input: input(&link, &key_of(&vectors, query)),
                url: format!("{PUBLIC_URL}{path}?{query}&rl_signature={signature}"),
            }
        })
        .collect();
    assert!(cases.len() > 90, "{}", cases.len());
    cases
}

/// Returns the key line that signed a query.
fn key_of(vectors: &Value, query: &str) -> String {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    let value = |parameter: &str| {
        let found = pairs.iter().find(|(name, _)| name == parameter);
        found.map(|(_, value)| value.as_str())
    };
    let id = value("rl_key").unwrap();
    match value("rl_scope") {
        Some(scope) => {
            let scope = Scope::parse(scope).unwrap();
            let child = generate_child(&keyring(vectors), id, &scope);
            child.unwrap().to_string()
        }
        None => {
            let mut keys = vectors["keys"].as_array().unwrap().iter();
            let key = keys.find(|key| key.as_str().unwrap().starts_with(&format!("{id}:")));
            key.unwrap().as_str().unwrap().to_owned()
        }
    }
}

/// Form-encodes a link and its key for a signer.
fn input(link: &Link, key: &str) -> String {
    let conditions = &link.conditions;
    let optional = [
        (
            "filename",
            link.filename.as_ref().map(|it| it.as_str().to_owned()),
        ),
        ("not_before", conditions.not_before.map(|it| it.to_string())),
        ("ip", conditions.network.map(|it| it.to_string())),
        ("max_rows", conditions.rows_max.map(|it| it.to_string())),
        ("max_bytes", conditions.bytes_max.map(|it| it.to_string())),
        (
            "resume_seconds",
            conditions.resume_seconds.map(|it| it.to_string()),
        ),
        (
            "single_use",
            conditions.single_use.then(|| "true".to_owned()),
        ),
        ("confirm", conditions.confirm.then(|| "true".to_owned())),
        ("bind", conditions.bind.map(hex::encode)),
        ("reason", conditions.reason.clone()),
        (
            "reveal",
            (!link.reveal.is_empty()).then(|| link.reveal.join(",")),
        ),
        ("format", link.format.clone()),
    ];
    let optional = optional
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut pairs: Vec<(String, String)> = [
        ("public_url", PUBLIC_URL.to_owned()),
        ("key", key.to_owned()),
        ("export", link.export.clone()),
        ("user", link.user.to_string()),
        ("issued", link.issued.to_string()),
        ("expires_in", (link.expires - link.issued).to_string()),
        ("link_id", link.id.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    pairs.extend(optional);
    let named =
        |group: &str, (name, value): (&String, &String)| (format!("{group}.{name}"), value.clone());
    pairs.extend(link.claims.iter().map(|pair| named("claim", pair)));
    pairs.extend(link.options.iter().map(|pair| named("option", pair)));
    pairs.extend(
        link.filters
            .iter()
            .map(|(name, value)| named("filter", (name, value))),
    );
    serde_urlencoded::to_string(pairs).unwrap()
}

/// Runs a command with this standard input; returns the lines of its output.
fn lines_of(command: &mut Command, input: &str) -> Vec<String> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// An input that a signer must refuse, and the field that its error names.
type Refusal = (String, &'static str);

/// The fields of a valid input.
static VALID_FIELDS: LazyLock<Vec<(String, String)>> =
    LazyLock::new(|| serde_urlencoded::from_str(&cases()[0].input).unwrap());

/// Returns a valid input with another value of one field.
fn with(name: &str, value: &str) -> String {
    let mut pairs = VALID_FIELDS.clone();
    pairs.retain(|(it, _)| it != name);
    pairs.push((name.to_owned(), value.to_owned()));
    serde_urlencoded::to_string(pairs).unwrap()
}

/// Returns refusals of the signers that tell an empty text from an absent one.
fn refusals_of_empty_texts() -> Vec<Refusal> {
    vec![
        (with("format", ""), "format"),
        (with("bind", ""), "bind"),
        (with("reason", ""), "reason"),
    ]
}

/// Returns refusals of every signer.
fn refusals() -> Vec<Refusal> {
    let mut fields = VALID_FIELDS.iter();
    let (_, key) = fields.find(|(name, _)| name == "key").unwrap();
    let two_keys = format!("{}\n{key}", key.trim_end_matches('='));
    let long = "x".repeat(5000);
    vec![
        (with("option.user", "admin"), "options.user"),
        (with("option.expires", "9999999999"), "options.expires"),
        (with("option.claim.org", "8"), "options.claim.org"),
        (with("claim.a.b", "1"), "claims.a.b"),
        (with("claim.a", ""), "claims.a"),
        (with("filter.rl_user", "bob"), "filters.rl_user"),
        (with("filter.", "bob"), "filters."),
        (with("filter.f", &long), "url"),
        (with("user", ""), "user"),
        (with("user", "a\nb"), "user"),
        (with("user", &"ü".repeat(129)), "user"),
        (with("export", "a/b"), "export"),
        (with("format", "csv?x=1"), "format"),
        (with("option.reveal", "email"), "options.reveal"),
        (with("reveal", "email,"), "reveal"),
        (with("reveal", "email,email"), "reveal"),
        (with("reveal", "a\nb"), "reveal"),
        (with("bind", "session"), "bind"),
        (with("bind", &"A".repeat(64)), "bind"),
        (with("reason", "a\nb"), "reason"),
        (with("reason", "a\u{85}"), "reason"),
        (with("reason", &"ü".repeat(201)), "reason"),
        (with("expires_in", "-5"), "expires"),
        (with("max_rows", "-1"), "max"),
        (with("key", "k1:c2hvcnQ="), "key"),
        (with("key", "k1"), "key"),
        (
            with("key", "a b:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            "key",
        ),
        (with("key", &two_keys), "key"),
    ]
}

/// Checks the URLs of a signer, and all refusals.
fn assert_signs(command: &mut Command) {
    let refusals = [refusals(), refusals_of_empty_texts()].concat();
    assert_signs_and_refuses(command, &refusals);
}

fn assert_signs_and_refuses(command: &mut Command, refusals: &[Refusal]) {
    let cases = cases();
    let inputs = cases.iter().map(|case| &case.input);
    let inputs = inputs.chain(refusals.iter().map(|(input, _)| input));
    let lines: String = inputs.map(|input| format!("{input}\n")).collect();
    let outputs = lines_of(command, &lines);
    assert_eq!(outputs.len(), cases.len() + refusals.len());
    let (signed, refused) = outputs.split_at(cases.len());
    for (url, case) in signed.iter().zip(&cases) {
        assert_eq!(url, &case.url);
    }
    for (output, (input, field)) in refused.iter().zip(refusals) {
        assert!(
            output.starts_with(&format!("refused {field}")),
            "{input}: {output}"
        );
    }
}

#[test]
#[ignore = "needs Python: make test"]
fn python_signs_as_specified() {
    let script = root("tests/it/minters/mint.py");
    let mut python = Command::new("python3");
    assert_signs(
        python
            .arg(script)
            .env("PYTHONPATH", root("clients/python/src")),
    );
}

#[test]
#[ignore = "needs Node packages: make test"]
fn javascript_signs_as_specified() {
    let script = root("tests/it/minters/mint.mjs");
    assert_signs(
        Command::new("node")
            .arg(script)
            .arg(client_package().join("dist/mint.js")),
    );
}

#[test]
#[ignore = "needs Go: make test"]
fn go_signs_as_specified() {
    let folder = tempfile::tempdir().unwrap();
    let client = root("clients/go");
    let module = format!(
        "module mint\n\ngo 1.19\n\nrequire rowlink v0.0.0\n\nreplace rowlink => {}\n",
        client.display()
    );
    std::fs::write(folder.path().join("go.mod"), module).unwrap();
    std::fs::copy(
        root("tests/it/minters/main.go"),
        folder.path().join("main.go"),
    )
    .unwrap();
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        go.args(arguments).current_dir(folder.path());
        go.env("GOFLAGS", "-mod=mod")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local");
        go.env("GOCACHE", folder.path().join("cache"))
            .env("CGO_ENABLED", "0");
        go
    };
    run(&mut go(&["build", "-o", "mint"]));
    // A field of a Go struct is empty if it is absent.
    assert_signs_and_refuses(&mut Command::new(folder.path().join("mint")), &refusals());
}

#[test]
#[ignore = "needs PHP: make test"]
fn php_signs_as_specified() {
    let script = root("tests/it/minters/mint.php");
    assert_signs(Command::new("php").arg(script).arg(root("clients/php")));
}

#[test]
#[ignore = "needs Ruby: make test"]
fn ruby_signs_as_specified() {
    let script = root("tests/it/minters/mint.rb");
    assert_signs(Command::new("ruby").arg(script).arg(root("clients/ruby")));
}

#[test]
#[ignore = "needs a JDK: make test"]
fn java_signs_as_specified() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [
        root("clients/java/Rowlink.java"),
        root("tests/it/minters/Mint.java"),
    ];
    run(Command::new("javac")
        .arg("-d")
        .arg(folder.path())
        .args(sources));
    assert_signs(
        Command::new("java")
            .arg("-cp")
            .arg(folder.path())
            .arg("Mint"),
    );
}

#[test]
#[ignore = "needs PHP: make test"]
fn libsodium_decrypts_links_sealed_by_both_implementations() {
    let vectors = vectors();
    let keyring = keyring(&vectors);
    let (mut input, mut expected) = (String::new(), Vec::new());
    let mut add = |key: &str, query: &str, associated: &str, contents: &str| {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
        let sealed = pairs.iter().find(|(name, _)| name == "rl_sealed").unwrap();
        let sealed = URL_SAFE_NO_PAD.decode(&sealed.1).unwrap();
        let secret = STANDARD.decode(key.split(':').nth(1).unwrap()).unwrap();
        let line = [
            hex::encode(secret),
            hex::encode(associated),
            hex::encode(sealed),
        ];
        input += &(line.join(" ") + "\n");
        expected.push(contents.to_owned());
    };
    let all = vectors["links"].as_array().unwrap().iter();
    for case in all.filter(|case| case["contents"].is_string()) {
        let (query, contents) = (text(case, "query"), text(case, "contents"));
        let key = key_of(&vectors, query);
        add(&key, query, text(case, "associated_data"), contents);
        if text(case, "outcome") != "valid" {
            continue;
        }
        let link = verify_case(&vectors, case).unwrap();
        let signer = Keyring::parse(&key).unwrap();
        let sealed = sign(link.clone(), &signer, Seal::Sealed).unwrap();
        let query = sealed.path_and_query().split_once('?').unwrap().1;
        let open = sign(link, &signer, Seal::Open).unwrap();
        let is_content = |pair: &&str| {
            let name = pair.split('=').next().unwrap();
            let envelope = [
                "rl_link",
                "rl_issued",
                "rl_expires",
                "rl_key",
                "rl_scope",
                "rl_signature",
            ];
            !envelope.contains(&name)
        };
        let contents: Vec<&str> = open
            .path_and_query()
            .split_once('?')
            .unwrap()
            .1
            .split('&')
            .filter(is_content)
            .collect();
        add(
            &key,
            query,
            text(case, "associated_data"),
            &contents.join("&"),
        );
    }
    assert!(expected.len() > 20 && keyring.key_ids().count() == 2);
    let opened = lines_of(
        Command::new("php").arg(root("tests/it/minters/unseal.php")),
        &input,
    );
    assert_eq!(opened, expected);
}
