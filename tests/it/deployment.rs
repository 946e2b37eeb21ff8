//! The files of `deploy/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::command::run;
use crate::harness::postgres::Cluster;
use crate::harness::process::{Rowlink, configured_folder};
use crate::harness::{API_KEY, Call, exports, python, sqlite_url, tool, wait_for};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

#[test]
#[ignore = "needs kubectl and kubernetes-validate: make test"]
fn the_manifests_render_and_match_the_kubernetes_schemas() {
    let overlays = deploy().join("k8s/overlays");
    let folder = tempfile::tempdir().unwrap();
    for (overlay, kinds) in [("production", 6), ("development", 5)] {
        let rendered = run(Command::new("kubectl")
            .arg("kustomize")
            .arg(overlays.join(overlay)));
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, &rendered.stdout).unwrap();
        let report = run(Command::new(tool("venv").join("bin/kubernetes-validate"))
            .arg("--strict")
            .arg(&file));
        let output = String::from_utf8([report.stdout, report.stderr].concat()).unwrap();
        assert_eq!(output.matches(" passed ").count(), kinds, "{output}");
    }
}

#[test]
#[ignore = "needs docker-compose, hadolint and Python packages: make test"]
fn the_dockerfile_passes_hadolint_and_matches_the_mounts_of_compose() {
    let dockerfile = deploy().join("docker/Dockerfile");
    run(Command::new(tool("venv").join("bin/hadolint")).arg(&dockerfile));
    let image = fs::read_to_string(dockerfile).unwrap();
    assert!(image.contains("ROWLINK_EXPORTS_DIR=/etc/rowlink/exports\n"));
    let replica = &services(&deploy().join("docker"))["rowlink-1"];
    // A string or an object, depending on the version of docker-compose.
    let exports = replica["volumes"][0].to_string();
    assert!(exports.contains("/docker/exports") && exports.contains("/etc/rowlink/exports"));
}

/// Returns the folder that `docker build` sends: the paths that the ignore file does not exclude.
fn docker_context() -> tempfile::TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignored = fs::read_to_string(deploy().join("docker/Dockerfile.dockerignore")).unwrap();
    let context = tempfile::tempdir().unwrap();
    for line in ignored.lines().filter(|line| *line != "*") {
        let path = line.strip_prefix('!').expect("a path that is not ignored");
        let target = context.path().join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        run(Command::new("cp")
            .arg("-r")
            .arg(root.join(path))
            .arg(target));
    }
    context
}

#[test]
fn the_docker_image_is_built_from_all_files_that_the_source_includes() {
    let context = docker_context();
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version=1", "--no-deps"]);
    run(cargo.current_dir(context.path()));
    let mut grep = Command::new("grep");
    grep.args(["-roE", r#"include_(str|bytes)!\("[^"]+"#, "src", "crates"]);
    let includes = run(grep.current_dir(context.path()));
    let includes = String::from_utf8(includes.stdout).unwrap();
    // In `src` only tests include Markdown.
    let is_read = |line: &&str| !(line.starts_with("src/") && line.ends_with(".md"));
    let mut found = 0;
    for line in includes.lines().filter(is_read) {
        let (file, include) = line.split_once(':').unwrap();
        let included = include.rsplit('"').next().unwrap();
        let folder = context.path().join(file).parent().unwrap().to_owned();
        assert!(folder.join(included).exists(), "{line}");
        found += 1;
    }
    assert!(found > 5, "{includes}");
}

/// Returns the services of the `compose.yaml` in a folder, as docker-compose parses it.
fn services(folder: &Path) -> Value {
    let mut compose = Command::new("docker-compose");
    let config = run(compose.arg("config").current_dir(folder));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), config.stdout).unwrap();
    let config: Value =
        serde_json::from_str(&python("read_yaml.py", &[file.path().as_os_str()])).unwrap();
    config["services"].clone()
}

/// Runs the shipped script; returns the token that it prints.
fn make_secrets(folder: &Path) -> String {
    let script = folder.join("secrets.sh");
    fs::copy(deploy().join("docker/secrets.sh"), &script).unwrap();
    let rowlink = Path::new(env!("CARGO_BIN_EXE_rowlink")).parent().unwrap();
    let path = format!("{}:{}", rowlink.display(), env::var("PATH").unwrap());
    let generated = run(Command::new("bash").arg(script).env("PATH", path));
    let output = String::from_utf8([generated.stdout, generated.stderr].concat()).unwrap();
    let token = output
        .split_whitespace()
        .find(|word| word.starts_with("rlk_"));
    token.unwrap().to_owned()
}

/// Where the image has a folder for the spool.
const SPOOL_DIR: &str = "/var/spool/rowlink";

/// Runs the processes without containers.
#[test]
#[ignore = "needs PostgreSQL, docker-compose, Bash and Python packages: make test"]
fn the_compose_services_serve_their_table_with_the_generated_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let token = make_secrets(folder.path());
    let cluster = Cluster::shared();
    cluster.database("shop", &fs::read_to_string(path("shop.sql")).unwrap());
    let url = fs::read_to_string(path("secrets/database-url")).unwrap();
    let address = format!("@127.0.0.1:{}/", cluster.port());
    fs::write(
        path("secrets/database-url"),
        url.replace("@postgres/", &address),
    )
    .unwrap();

    let services = services(&deploy().join("docker"));
    let replica = &services["rowlink-1"];
    for name in ["rowlink-2", "rowlink-3"] {
        assert_eq!(&services[name], replica, "nginx expects identical replicas");
    }
    let environment = replica["environment"].as_object().unwrap();
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in environment {
        let value = value.as_str().unwrap();
        let value = value.replace("/run/secrets", &path("secrets"));
        variables.insert(name, value.replace(SPOOL_DIR, &path("spool")));
    }
    variables.insert("ROWLINK_EXPORTS_DIR", path("exports"));
    fs::create_dir(path("spool")).unwrap();
    let mut volumes = replica["volumes"].as_array().unwrap().iter();
    assert!(volumes.any(|volume| volume["target"] == SPOOL_DIR || *volume == SPOOL_DIR));
    // The test harness sets these; the compose file uses files instead.
    variables.insert("ROWLINK_DATABASE_URL", String::new());
    variables.insert("ROWLINK_SIGNING_KEYS", String::new());
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let rowlink = Rowlink::serve_with(&[], &variables);

    let filters = json!({"from": "2026-12-01", "status": ["paid"]});
    let request = json!({"export": "orders", "format": "csv", "filters": filters});
    let call = Call::new("POST", format!("{}/v1/links", rowlink.origin())).bearer(&token);
    let issued = call.json(&request).send().json();
    let link = issued["url"]
        .as_str()
        .unwrap()
        .replace("http://localhost:8080", rowlink.origin());
    let rows = Call::new("GET", link).send().rows();
    // A day of UTC, although the server has another time zone.
    let sql = "select count(*) from orders where status = 'paid' and created_at >= '2026-12-01T00:00:00Z'";
    let expected: usize = cluster.psql("shop", sql).trim().parse().unwrap();
    assert!(expected > 1000);
    assert_eq!(rows.len(), expected + 1, "and a header");
}

#[test]
#[ignore = "needs systemd-analyze: make test"]
fn the_systemd_unit_is_valid_and_its_secrets_can_be_rotated() {
    let text = fs::read_to_string(deploy().join("systemd/rowlink.service")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_rowlink");
    let unit = folder.path().join("rowlink.service");
    fs::write(&unit, text.replace("/usr/local/bin/rowlink", program)).unwrap();
    run(Command::new("systemd-analyze").arg("verify").arg(&unit));
    let security = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(&unit));
    assert!(String::from_utf8_lossy(&security.stdout).contains("Overall exposure level"));
    assert!(text.contains("\nLimitCORE=0\n"));
    // Makes the folder of the spool.
    assert!(text.contains("\nCacheDirectory=rowlink\n"));
    assert!(
        !text.contains("\nLoadCredential="),
        "a reload would not renew it"
    );

    // The service as the unit starts and reloads it, with its folder elsewhere.
    let secrets = folder.path().to_str().unwrap();
    let variables = text
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    let variables: Vec<(String, String)> = variables
        .map(|variable| {
            let (name, value) = variable.split_once('=').unwrap();
            let value = value.replace("/etc/rowlink", secrets);
            (
                name.to_owned(),
                value.replace("/var/cache/rowlink", secrets),
            )
        })
        .collect();
    let configured = configured_folder(&exports());
    let database = sqlite_url(&configured.path().join("sample.db"));
    let api_keys = format!(
        "[keys.test]\nsha256 = \"{}\"\nact_for_others = true\n",
        hex::encode(Sha256::digest(API_KEY))
    );
    let key = |id: &str| format!("{id}:{}\n", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let write = |name: &str, text: &str| {
        let new = folder.path().join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(&new, folder.path().join(name)).unwrap();
    };
    write("database-url", &database);
    write("api-keys.toml", &api_keys);
    write("signing-keys", &key("first"));
    let none = [
        ("ROWLINK_SIGNING_KEYS", ""),
        ("ROWLINK_JWT_HS256_SECRET", ""),
        ("ROWLINK_DATABASE_URL", ""),
    ];
    let variables = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let variables: Vec<(&str, &str)> = none.into_iter().chain(variables).collect();
    let rowlink = Rowlink::serve_with(&exports(), &variables);
    let issue = || {
        let request =
            json!({"export": "numbers", "format": "csv", "user": "alice", "filters": {"n": 1}});
        let url = format!("{}/v1/links", rowlink.origin());
        Call::new("POST", url).bearer(API_KEY).json(&request).send()
    };
    assert!(issue().text().contains("rl_key=first"));
    write("signing-keys", &(key("second") + &key("first")));
    rowlink.reload();
    wait_for("the new key", Duration::from_secs(5), || {
        issue().text().contains("rl_key=second")
    });
}
