//! The environment → [`Config`]. Every bad variable is reported at once.

mod callers;
mod commands;
mod database;
mod errors;
mod http_config;
mod log;
mod reload;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::auth::Authenticator;
use crate::catalog::DEFAULT_DATABASE;
use crate::http::{Drain, HttpConfig};
use crate::service::Policy;
use errors::{ConfigErrors, read};
use rowlink_link::{Keyring, Revocations};

pub use commands::{KeysConfig, RowsConfig};
pub use database::DatabaseUrl;
pub use errors::ConfigError;
pub use http_config::cors_origin;
pub use log::Log;
pub use reload::Reload;

/// Every variable starts with this.
pub const PREFIX: &str = "ROWLINK_";

const DEFAULT_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What a deployment is configured to do.
pub struct Config {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Where to listen for metrics and probes alone, if not where everything else is.
    pub metrics_bind: Option<SocketAddr>,
    /// The certificate to serve under, if TLS does not end at a proxy.
    pub tls: Option<TlsPem>,
    /// Where the rows are.
    pub databases: Databases,
    /// The folder of `.sql` files.
    pub exports_dir: PathBuf,
    /// What signs and verifies links.
    pub keyring: Keyring,
    /// Which links are refused though they are genuine.
    pub revocations: Revocations,
    /// What links and downloads may be.
    pub policy: Policy,
    /// Who may ask for links.
    pub authenticator: Authenticator,
    /// How browsers and proxies see us.
    pub http_config: HttpConfig,
    /// How to stop.
    pub drain: Drain,
    /// What to read again while the service runs.
    pub reload: Reload,
    /// What to log, and how.
    pub log: Log,
    /// Variables in our prefix that nothing reads: most likely typing errors. Not faults, because
    /// Kubernetes adds such variables for a service named `rowlink`.
    pub unknown: Vec<String>,
}

/// Where the rows are.
pub struct Databases {
    /// By the names that exports use.
    pub urls: BTreeMap<String, DatabaseUrl>,
    /// How many downloads may have a connection to each at a time.
    pub connections: usize,
}

/// A certificate with those between it and its root, and its key.
pub struct TlsPem {
    /// The certificates.
    pub certificate: Zeroizing<String>,
    /// The key.
    pub key: Zeroizing<String>,
}

/// The variables as they stand in the environment.
#[derive(Default, Deserialize)]
struct Variables {
    bind: Option<String>,
    metrics_bind: Option<String>,
    tls_cert_file: Option<PathBuf>,
    tls_key_file: Option<PathBuf>,
    public_url: Option<String>,
    database_url: Option<Zeroizing<String>>,
    database_url_file: Option<PathBuf>,
    databases: Option<Zeroizing<String>>,
    databases_file: Option<PathBuf>,
    database_connections: Option<String>,
    exports_dir: Option<PathBuf>,
    signing_keys: Option<Zeroizing<String>>,
    signing_keys_file: Option<PathBuf>,
    revocations_file: Option<PathBuf>,
    default_ttl_seconds: Option<String>,
    max_ttl_seconds: Option<String>,
    max_download_seconds: Option<String>,
    stall_seconds: Option<String>,
    max_downloads: Option<String>,
    max_downloads_per_user: Option<String>,
    max_downloads_per_link: Option<String>,
    max_links_per_second: Option<String>,
    seal: Option<String>,
    drain_delay_seconds: Option<String>,
    drain_seconds: Option<String>,
    jwt_hs256_secret: Option<Zeroizing<String>>,
    jwt_hs256_secret_file: Option<PathBuf>,
    jwt_public_key_file: Option<PathBuf>,
    jwt_jwks_url: Option<String>,
    jwt_algorithms: Option<String>,
    jwt_issuer: Option<String>,
    jwt_audience: Option<String>,
    jwt_user_claim: Option<String>,
    jwt_issuers_file: Option<PathBuf>,
    jwt_cookie: Option<String>,
    jwt_query_param: Option<String>,
    api_keys_file: Option<PathBuf>,
    cors_origins: Option<String>,
    trusted_proxies: Option<String>,
    proxy_header: Option<String>,
    return_url: Option<String>,
    log: Option<String>,
    log_format: Option<String>,
    otlp_endpoint: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, String>,
}

impl Config {
    /// Reads the configuration from variables such as [`std::env::vars_os`] gives.
    ///
    /// # Errors
    /// Every variable that is missing or does not fit.
    pub fn from_env(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Vec<ConfigError>> {
        let (variables, errors) = Config::variables(environment)?;
        Config::from_variables(variables, errors)
    }

    fn variables(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Variables, ConfigErrors), Vec<ConfigError>> {
        let mut errors = ConfigErrors::default();
        let mut set = Vec::new();
        for (name, value) in environment {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            match value.into_string() {
                // An empty variable is one that a template left unset.
                Ok(value) if value.is_empty() => {}
                Ok(value) => set.push((format!("{PREFIX}{name}"), value)),
                Err(_) => errors.add(name, "expected UTF-8"),
            }
        }
        match envy::prefixed(PREFIX).from_iter(set) {
            Ok(variables) => Ok((variables, errors)),
            Err(error) => {
                errors.add("", error);
                Err(errors.0)
            }
        }
    }

    fn from_variables(
        mut variables: Variables,
        mut errors: ConfigErrors,
    ) -> Result<Config, Vec<ConfigError>> {
        let bind = address(&mut errors, "BIND", variables.bind.take());
        let metrics_bind = address(&mut errors, "METRICS_BIND", variables.metrics_bind.take());
        let tls = http_config::tls(&variables, &mut errors);
        let databases = databases(&mut variables, &mut errors);
        let exports_dir = exports_dir(&mut variables);
        let reload = Reload::new(&variables);
        let keyring = keyring(&mut variables, &mut errors);
        let revocations = revocations(&mut variables, &mut errors);
        let public_url = public_url(&mut variables, &mut errors);
        let public_url = errors.required("PUBLIC_URL", public_url);
        let mut policy = policy(&mut variables, &mut errors);
        policy.public_url = public_url.unwrap_or_default();
        let drain = drain(&mut variables, &mut errors);
        let authenticator = callers::authenticator(&mut variables, &mut errors);
        let http_config =
            http_config::http_config(&mut variables, &mut errors, metrics_bind.is_some());
        let log = log::log(&mut variables, &mut errors);

        let unknown = variables.unknown.into_keys();
        match (databases, keyring, log) {
            (Some(databases), Some(keyring), Some(log)) if errors.0.is_empty() => Ok(Config {
                bind: bind.unwrap_or(DEFAULT_BIND),
                metrics_bind,
                tls,
                databases,
                exports_dir,
                keyring,
                revocations,
                policy,
                authenticator,
                http_config,
                drain,
                reload,
                log,
                unknown: unknown
                    .map(|name| format!("{PREFIX}{}", name.to_uppercase()))
                    .collect(),
            }),
            _ => Err(errors.0),
        }
    }
}

fn address(errors: &mut ConfigErrors, variable: &str, text: Option<String>) -> Option<SocketAddr> {
    let parsed = text?.parse();
    errors.check(
        variable,
        parsed.map_err(|_| "expected an address and port like 0.0.0.0:8080"),
    )
}

fn databases(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Databases> {
    let connections = variables.database_connections.take();
    let connections = errors.number("DATABASE_CONNECTIONS", connections, 10, 1..=1000);
    let url = errors.secret(
        "DATABASE_URL",
        variables.database_url.take(),
        variables.database_url_file.take(),
    );
    let url = errors.required("DATABASE_URL", url);
    let url = url.and_then(|text| errors.check("DATABASE_URL", DatabaseUrl::parse(&text)));
    let others = errors.secret(
        "DATABASES",
        variables.databases.take(),
        variables.databases_file.take(),
    );
    let others = others.and_then(|text| errors.check_all("DATABASES", database::parse_list(&text)));
    let mut urls = others.unwrap_or_default();
    urls.insert(DEFAULT_DATABASE.to_owned(), url?);
    Some(Databases { urls, connections })
}

fn exports_dir(variables: &mut Variables) -> PathBuf {
    let folder = variables.exports_dir.take();
    folder.unwrap_or_else(|| "exports".into())
}

fn keyring(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Keyring> {
    let keys = errors.secret(
        "SIGNING_KEYS",
        variables.signing_keys.take(),
        variables.signing_keys_file.take(),
    );
    let keys = errors.required("SIGNING_KEYS", keys)?;
    errors.check_all("SIGNING_KEYS", Keyring::parse(&keys))
}

fn revocations(variables: &mut Variables, errors: &mut ConfigErrors) -> Revocations {
    let revocations = variables.revocations_file.take().and_then(|path| {
        let text = errors.check("REVOCATIONS_FILE", read(&path))?;
        errors.check_all("REVOCATIONS_FILE", Revocations::parse(&text))
    });
    revocations.unwrap_or_default()
}

fn public_url(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<String> {
    let text = variables.public_url.take()?;
    errors.check("PUBLIC_URL", public_url_of(&text))
}

fn policy(variables: &mut Variables, errors: &mut ConfigErrors) -> Policy {
    let mut policy = Policy::with_defaults(String::new());
    let mut seconds = |variable: &str, text: Option<String>, default: u64| {
        errors.number(variable, text, default, 1..=604_800)
    };
    policy.ttl_seconds_max = seconds(
        "MAX_TTL_SECONDS",
        variables.max_ttl_seconds.take(),
        policy.ttl_seconds_max,
    );
    policy.ttl_seconds_default = seconds(
        "DEFAULT_TTL_SECONDS",
        variables.default_ttl_seconds.take(),
        policy.ttl_seconds_default,
    );
    policy.download_max = Duration::from_secs(seconds(
        "MAX_DOWNLOAD_SECONDS",
        variables.max_download_seconds.take(),
        policy.download_max.as_secs(),
    ));
    policy.stall_max = Duration::from_secs(seconds(
        "STALL_SECONDS",
        variables.stall_seconds.take(),
        policy.stall_max.as_secs(),
    ));
    if policy.ttl_seconds_default > policy.ttl_seconds_max {
        let message = "expected no more than ROWLINK_MAX_TTL_SECONDS";
        errors.add("DEFAULT_TTL_SECONDS", message);
    }
    let limits = &mut policy.limits;
    let mut count = |variable: &str, text: Option<String>, limit: &mut usize| {
        *limit = errors.number(variable, text, *limit, 1..=1_000_000);
    };
    count(
        "MAX_DOWNLOADS",
        variables.max_downloads.take(),
        &mut limits.downloads,
    );
    count(
        "MAX_DOWNLOADS_PER_USER",
        variables.max_downloads_per_user.take(),
        &mut limits.downloads_per_user,
    );
    count(
        "MAX_DOWNLOADS_PER_LINK",
        variables.max_downloads_per_link.take(),
        &mut limits.downloads_per_link,
    );
    limits.links_per_second = errors.number(
        "MAX_LINKS_PER_SECOND",
        variables.max_links_per_second.take(),
        limits.links_per_second,
        1..=1_000_000,
    );
    let seal = match variables.seal.take().as_deref() {
        None | Some("on-request") => Ok(false),
        Some("always") => Ok(true),
        Some(_) => Err("expected always or on-request"),
    };
    policy.seals_always = errors.check("SEAL", seal).unwrap_or_default();
    policy
}

fn drain(variables: &mut Variables, errors: &mut ConfigErrors) -> Drain {
    let mut seconds = |variable: &str, text: Option<String>, default: Duration| {
        Duration::from_secs(errors.number(variable, text, default.as_secs(), 0..=3600))
    };
    let Drain { delay, max } = Drain::default();
    Drain {
        delay: seconds(
            "DRAIN_DELAY_SECONDS",
            variables.drain_delay_seconds.take(),
            delay,
        ),
        max: seconds("DRAIN_SECONDS", variables.drain_seconds.take(), max),
    }
}

fn public_url_of(text: &str) -> Result<String, &'static str> {
    let expected =
        "expected http:// or https://, a host and perhaps a path: https://example.com/data";
    let url = Url::parse(text).map_err(|_| expected)?;
    let plain = ["http", "https"].contains(&url.scheme())
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain
        .then(|| url.as_str().trim_end_matches('/').to_owned())
        .ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn every_bad_variable_is_named_at_once() {
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
            "DATABASE_URL",
            "SIGNING_KEYS",
            "PUBLIC_URL",
            "MAX_TTL_SECONDS",
            "DEFAULT_TTL_SECONDS",
            "JWT_HS256_SECRET",
            "API_KEYS_FILE",
            "LOG",
        ];
        assert_eq!(found, expected.map(|name| format!("{PREFIX}{name}")));
    }

    #[test]
    fn what_is_required_must_be_there_and_nothing_fails_open() {
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
    fn the_default_life_is_not_longer_than_the_longest() {
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
    fn the_edge_is_as_strict_as_browsers_and_proxies_are() {
        for (name, value) in [
            ("CORS_ORIGINS", "https://shop.example.com/"),
            ("CORS_ORIGINS", "https://a.example, *"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("PROXY_HEADER", "x-real-ip"),
            ("RETURN_URL", "javascript:alert(1)"),
            ("JWT_COOKIE", "a=b"),
            ("JWT_QUERY_PARAM", "rl_token"),
            ("TLS_KEY_FILE", "/only/this"),
            ("METRICS_BIND", "9000"),
            ("DRAIN_SECONDS", "-1"),
            ("MAX_DOWNLOADS", "0"),
            ("MAX_LINKS_PER_SECOND", "many"),
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
            ("CORS_ORIGINS", "https://a.example, http://localhost:3000"),
            ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ]);
        let http_config = config.expect("a configuration").http_config;
        assert_eq!(
            http_config.cors_origins,
            ["https://a.example", "http://localhost:3000"]
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
    fn of_several_issuers_each_has_a_name_and_one_kind_of_key() {
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
    fn a_mistyped_name_is_noticed() {
        let config = config(&[("MAX_TLL_SECONDS", "5"), ("LOG", "debug")]);
        assert_eq!(
            config.expect("a configuration").unknown,
            ["ROWLINK_MAX_TLL_SECONDS"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_our_own_variables_must_be_utf_8() {
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
}
