use std::time::Duration;

use super::*;
use crate::catalog::DEFAULT_DATABASE;
use std::fs;

const KEY: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn config(changes: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let mut vars = vec![
        ("PUBLIC_URL", "https://example.com/data/"),
        ("DATABASE_URL", "sqlite:/var/lib/shop.db"),
        ("SIGNING_KEYS", KEY),
        ("JWT_HS256_SECRET", "0123456789abcdef0123456789abcdef"),
    ];
    vars.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    vars.extend(changes);
    let vars = vars
        .iter()
        .map(|(name, value)| (format!("{PREFIX}{name}").into(), value.into()));
    Config::from_env(vars)
        .map_err(|errors| errors.iter().map(|error| error.variable.clone()).collect())
}

fn errors(changes: &[(&str, &str)]) -> Vec<String> {
    config(changes).err().expect("refused")
}

#[test]
fn four_variables_are_enough() {
    let config = config(&[]).expect("a configuration");
    assert_eq!(config.policy.public_url, "https://example.com/data");
    assert_eq!(config.policy.ttl_seconds_default, 60);
    assert_eq!(config.databases.urls.len(), 1);
    assert!(matches!(
        &config.databases.urls[DEFAULT_DATABASE],
        DatabaseUrl::Sqlite(path) if path == "/var/lib/shop.db"
    ));
    assert_eq!(config.policy.download_max, Duration::from_secs(900));
    assert_eq!(config.exports_dir, PathBuf::from("exports"));
}

#[test]
fn a_secret_file_with_a_byte_order_mark_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    let load = |text: &str| {
        fs::write(&path, text).expect("a file");
        let file = path.to_str().expect("UTF-8");
        config(&[("JWT_HS256_SECRET", ""), ("JWT_HS256_SECRET_FILE", file)])
    };
    assert!(load("0123456789abcdef0123456789abcdef\r\n").is_ok());
    let refused = load("\u{feff}0123456789abcdef0123456789abcdef\n").err();
    assert_eq!(refused.expect("refused"), ["ROWLINK_JWT_HS256_SECRET_FILE"]);
}

#[test]
fn all_invalid_variables_are_reported_together() {
    let found = errors(&[
        ("BIND", "8080"),
        ("PUBLIC_URL", "example.com"),
        ("DATABASE_URL", "oracle:x"),
        ("SIGNING_KEYS", "k1:short"),
        ("MAX_TTL_SECONDS", "0"),
        ("DEFAULT_TTL_SECONDS", "one"),
        ("JWT_HS256_SECRET", "short"),
        ("API_KEYS_FILE", "/nonexistent"),
        ("LOG", "a=b=c"),
    ]);
    let expected = [
        "BIND",
        "MAX_TTL_SECONDS",
        "DEFAULT_TTL_SECONDS",
        "DATABASE_URL",
        "SIGNING_KEYS",
        "PUBLIC_URL",
        "JWT_HS256_SECRET",
        "API_KEYS_FILE",
        "LOG",
    ];
    assert_eq!(found, expected.map(|name| format!("{PREFIX}{name}")));
}

#[test]
fn required_variables_must_be_set_and_nothing_fails_open() {
    for name in [
        "PUBLIC_URL",
        "DATABASE_URL",
        "SIGNING_KEYS",
        "JWT_HS256_SECRET",
    ] {
        assert_eq!(errors(&[(name, "")]), [format!("{PREFIX}{name}")]);
    }
}

#[test]
fn a_secret_comes_from_a_variable_or_a_file_but_not_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    fs::write(&path, format!("# first signs\n{KEY}\n")).expect("a file");
    let path = path.to_str().expect("UTF-8");
    assert!(config(&[("SIGNING_KEYS", ""), ("SIGNING_KEYS_FILE", path)]).is_ok());
    assert_eq!(
        errors(&[("SIGNING_KEYS_FILE", path)]),
        ["ROWLINK_SIGNING_KEYS_FILE"]
    );
    assert_eq!(
        errors(&[("SIGNING_KEYS", ""), ("SIGNING_KEYS_FILE", "/nonexistent")]),
        ["ROWLINK_SIGNING_KEYS_FILE"]
    );
}

#[test]
fn the_default_lifetime_is_at_most_the_maximum() {
    assert_eq!(
        errors(&[("MAX_TTL_SECONDS", "30")]),
        ["ROWLINK_DEFAULT_TTL_SECONDS"]
    );
}

#[test]
fn further_databases_have_names_and_may_have_several_hosts() {
    let config = config(&[(
        "DATABASES",
        "warehouse=postgres://u:p@a:5432,b:5433/w?sslmode=require, archive=sqlite:/a.db",
    )]);
    let databases = config.expect("a configuration").databases;
    let names: Vec<&str> = databases.urls.keys().map(String::as_str).collect();
    assert_eq!(names, ["archive", "default", "warehouse"]);
    assert!(matches!(
        databases.urls["warehouse"],
        DatabaseUrl::Postgres(_)
    ));
}

#[test]
fn the_provider_of_the_page_is_an_https_url_with_a_client_id() {
    let of = |issuer: &str, client_id: &str, page: &str| {
        let set = [
            ("PAGE_OIDC_ISSUER", issuer),
            ("PAGE_OIDC_CLIENT_ID", client_id),
            ("PAGE", page),
        ];
        config(&set).map(|config| config.http_config.oidc_client)
    };
    // Not normalised: without the last slash it is another issuer.
    for issuer in [
        "https://id.example.com",
        "https://id.example.com/realms/shop/",
        "http://127.0.0.1:3000",
        "http://localhost:3000",
    ] {
        let client = of(issuer, "page", "on").expect("a configuration");
        assert_eq!(client.expect("a client").issuer, issuer);
    }
    for issuer in [
        "http://id.example.com",
        "https://id.example.com?a=b",
        "https://id.example.com/#a",
        "id.example.com",
        "javascript:alert(1)",
    ] {
        let refused = of(issuer, "page", "on").err();
        assert_eq!(refused.expect(issuer), ["ROWLINK_PAGE_OIDC_ISSUER"]);
    }
    for (issuer, client_id, page) in [
        ("https://id.example.com", "page", "off"),
        ("https://id.example.com", "", "on"),
        ("", "page", "on"),
    ] {
        let refused = of(issuer, client_id, page).err();
        assert_eq!(refused.expect(issuer), ["ROWLINK_PAGE_OIDC_ISSUER"]);
    }
    let without = of("", "", "on").expect("a configuration");
    assert!(without.is_none());
}

#[test]
fn http_settings_are_as_strict_as_browsers_and_proxies() {
    for (name, value) in [
        ("CORS_ORIGINS", "https://shop.example.com/"),
        ("CORS_ORIGINS", "https://a.example, *"),
        ("CORS_ORIGINS", "capacitor://localhost/"),
        ("CORS_ORIGINS", "capacitor:"),
        ("CORS_ORIGINS", "file://host"),
        ("CORS_ORIGINS", "null"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("PROXY_HEADER", "x-real-ip"),
        ("PAGE", "yes"),
        ("PAGE_OIDC_ISSUER", "https://id.example.com"),
        ("RETURN_URL", "javascript:alert(1)"),
        ("JWT_COOKIE", "a=b"),
        ("JWT_QUERY_PARAM", "rl_token"),
        ("TLS_KEY_FILE", "/only/this"),
        ("METRICS_BIND", "9000"),
        ("DRAIN_SECONDS", "-1"),
        ("MAX_DOWNLOADS", "0"),
        ("MAX_LINKS_PER_SECOND", "many"),
        ("MAX_ROW_BYTES", "1000"),
        ("PARALLEL_CONNECTIONS", "0"),
        ("PARALLEL_CONNECTIONS", "17"),
        ("SQLITE_LOCK_SECONDS", "0"),
        ("SQLITE_SORTS", "disk"),
        ("LOG_FORMAT", "xml"),
        ("JWT_ALGORITHMS", "HS384"),
        ("JWT_ALGORITHMS", "RS256"),
    ] {
        assert_eq!(
            errors(&[(name, value)]),
            [format!("{PREFIX}{name}")],
            "{value}"
        );
    }
    let config = config(&[
        (
            "CORS_ORIGINS",
            "https://a.example, http://localhost:3000, capacitor://localhost, ionic://localhost:81, \
             tauri://localhost, chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
    ]);
    let http_config = config.expect("a configuration").http_config;
    assert_eq!(
        http_config.cors_origins,
        [
            "https://a.example",
            "http://localhost:3000",
            "capacitor://localhost",
            "ionic://localhost:81",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
        ]
    );
    assert_eq!(http_config.trusted_proxies.len(), 2);
}

#[test]
fn rules_without_a_key_are_not_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("issuers.toml");
    let issuer = "[issuers.a]\nissuer = 'a'\njwks_url = 'https://id.example/keys'\n";
    fs::write(&path, issuer).expect("a file");
    let file = path.to_str().expect("UTF-8");
    let rules = [
        "JWT_ALGORITHMS",
        "JWT_ISSUER",
        "JWT_AUDIENCE",
        "JWT_USER_CLAIM",
    ];
    let mut changes = vec![("JWT_HS256_SECRET", ""), ("JWT_ISSUERS_FILE", file)];
    assert!(config(&changes).is_ok());
    changes.extend(rules.map(|rule| (rule, "RS256")));
    assert_eq!(
        errors(&changes),
        rules.map(|rule| format!("{PREFIX}{rule}"))
    );
}

#[test]
fn each_of_several_issuers_has_a_name_and_one_kind_of_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("issuers.toml");
    let found = |text: &str, issuer: &str| {
        fs::write(&path, text).expect("a file");
        let file = path.to_str().expect("UTF-8");
        config(&[("JWT_ISSUERS_FILE", file), ("JWT_ISSUER", issuer)]).err()
    };
    let jwks = "jwks_url = 'https://id.example/keys'\nalgorithms = ['ES256']\n";
    let good = format!("[issuers.a]\nissuer = 'https://id.example'\n{jwks}");
    assert_eq!(found(&good, "https://shop.example"), None);
    let file = Some(vec![format!("{PREFIX}JWT_ISSUERS_FILE")]);
    assert_eq!(found(&good, ""), Some(vec![format!("{PREFIX}JWT_ISSUER")]));
    assert_eq!(found(&good, "https://id.example"), file);
    for bad in [
        String::new(),
        "[issuers.a]\nissuer = 'x'\n".to_owned(),
        good.replace("https://id.example/keys", "http://id.example/keys"),
        good.replace("ES256", "HS256"),
        good.replace("['ES256']", "['ES256', 'RS256']"),
        format!("{good}public_key_file = '/nonexistent'\n"),
    ] {
        assert_eq!(found(&bad, "https://shop.example"), file, "{bad}");
    }
}

#[test]
fn an_unknown_name_is_refused_unless_another_program_sets_it() {
    for (name, meant) in [
        ("PUBLIC_ULR", "; did you mean ROWLINK_PUBLIC_URL"),
        ("EXPORT_DIR", "; did you mean ROWLINK_EXPORTS_DIR"),
        ("REVOCATION_FILE", "; did you mean ROWLINK_REVOCATIONS_FILE"),
        ("MAX_TLL_SECONDS", "; did you mean ROWLINK_MAX_TTL_SECONDS"),
        ("BANANA", ""),
        ("PORTAL", ""),
    ] {
        let variable = format!("{PREFIX}{name}");
        let found = Config::from_env([(variable.clone().into(), "x".into())]).err();
        let found = found.expect("refused").swap_remove(0).to_string();
        assert_eq!(found, format!("{variable}: unknown variable{meant}"));
    }
    let others = [
        "SERVICE_HOST",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_8080_TCP_ADDR",
        "URL",
        "TOKEN",
    ];
    let others: Vec<_> = others.iter().map(|name| (*name, "x")).collect();
    assert!(config(&others).is_ok());
}

#[test]
fn a_log_level_must_exist_and_audit_lines_stay_unless_they_are_switched_off() {
    for bad in ["verbose", "warn,loud", "rowlink", "rowlink=loud"] {
        assert_eq!(errors(&[("LOG", bad)]), ["ROWLINK_LOG"], "{bad}");
    }
    let filter = |text: &str| {
        let config = config(&[("LOG", text)]).expect("a configuration");
        config.log.filter.to_string()
    };
    let audit = crate::http::AUDIT_TARGET;
    assert!(filter("error").contains(&format!("{audit}=info")));
    assert!(filter("off").contains(&format!("{audit}=info")));
    assert!(filter(&format!("info,{audit}=off")).contains(&format!("{audit}=off")));
    assert_eq!(
        errors(&[("AUDIT_LOG", "relative/path")]),
        ["ROWLINK_AUDIT_LOG"]
    );
}

#[test]
fn the_key_of_the_auditor_must_be_a_public_key_of_age() {
    let key = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    let log = |vars: &[(&str, &str)]| config(vars).expect("a configuration").log;
    assert!(log(&[("AUDIT_RECIPIENT", key)]).audit_recipient.is_some());
    assert!(log(&[]).audit_recipient.is_none());
    for bad in ["age1", "alice@example.com", &key[..key.len() - 1]] {
        let found = errors(&[("AUDIT_RECIPIENT", bad)]);
        assert_eq!(found, ["ROWLINK_AUDIT_RECIPIENT"], "{bad}");
    }
}

#[cfg(unix)]
#[test]
fn only_variables_with_the_prefix_must_be_utf_8() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = || OsString::from_vec(vec![0xff]);
    let errors = Config::from_env([
        (OsString::from("HOME"), bytes()),
        (bytes(), bytes()),
        (OsString::from("ROWLINK_LOG"), bytes()),
    ]);
    let errors = errors.err().expect("refused");
    assert_eq!(errors[0].to_string(), "ROWLINK_LOG: expected UTF-8");
    assert!(
        errors
            .iter()
            .any(|error| error.variable == "ROWLINK_JWT_HS256_SECRET")
    );
}

#[test]
fn the_check_of_a_store_needs_only_its_url() {
    let config = |vars: &[(&str, &str)]| {
        let vars = vars.iter();
        StoreConfig::from_env(
            vars.map(|(name, value)| (format!("{PREFIX}{name}").into(), value.into())),
        )
    };
    let alone = config(&[("STORE_URL", "s3://files/a")]).expect("a configuration");
    assert_eq!(alone.url.bucket(), "files");
    assert_eq!(alone.page_origins, [] as [&str; 0]);
    let with_origins = config(&[
        ("STORE_URL", "s3://files/a"),
        ("PUBLIC_URL", "https://shop.example.com/data"),
        (
            "CORS_ORIGINS",
            "https://shop.example.com,https://app.example.com",
        ),
        ("STALL_SECONDS", "invalid, but not read"),
    ]);
    let origins = with_origins.expect("a configuration").page_origins;
    assert_eq!(
        origins,
        ["https://shop.example.com", "https://app.example.com"]
    );
    let errors = |vars: &[(&str, &str)]| -> Vec<String> {
        let errors = config(vars).err().expect("refused");
        errors.iter().map(|error| error.variable.clone()).collect()
    };
    assert_eq!(errors(&[]), ["ROWLINK_STORE_URL"]);
    assert_eq!(
        errors(&[("STORE_URL", "ftp://files"), ("CORS_ORIGINS", "everywhere")]),
        ["ROWLINK_CORS_ORIGINS", "ROWLINK_STORE_URL"]
    );
}

#[test]
fn the_url_of_redis_is_a_secret() {
    let url = "rediss://rowlink:s3cret@redis.example.com:7000/1";
    let redis = config(&[("REDIS_URL", url)])
        .expect("a configuration")
        .redis;
    let shown = format!("{:?}", redis.expect("a URL"));
    assert!(shown.contains("redis.example.com") && !shown.contains("s3cret"));
    assert_eq!(errors(&[("REDIS_URL", "s3cret")]), ["ROWLINK_REDIS_URL"]);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("redis-url");
    fs::write(&path, format!("{url}\n")).expect("a file");
    let file = path.to_str().expect("UTF-8");
    let from_file = config(&[("REDIS_URL_FILE", file)]).expect("a configuration");
    assert!(from_file.redis == RedisUrl::parse(url).ok());
    let both = errors(&[("REDIS_URL", url), ("REDIS_URL_FILE", file)]);
    assert_eq!(both, ["ROWLINK_REDIS_URL_FILE"]);
    assert!(config(&[]).expect("a configuration").redis.is_none());
}
