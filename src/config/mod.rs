//! The environment → [`Config`]. Every bad variable is reported at once.

mod database;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use url::Url;
use zeroize::Zeroizing;

use crate::auth::{ApiKeys, Door, JWT_SECRET_BYTES_MIN, JwtVerifier};
use crate::catalog::DEFAULT_DATABASE;
use crate::export::Policy;
use crate::link::Keyring;

pub use database::DatabaseUrl;

/// Every variable starts with this.
pub const PREFIX: &str = "ROWLINK_";

/// What a deployment is configured to do.
pub struct Config {
    /// Where to listen.
    pub bind: SocketAddr,
    /// Where the rows are, by the names that exports use.
    pub databases: BTreeMap<String, DatabaseUrl>,
    /// How many downloads may have a connection to a database at a time.
    pub database_connections: usize,
    /// The folder of `.sql` files.
    pub exports_dir: PathBuf,
    /// What signs and verifies links.
    pub keyring: Keyring,
    /// What links and downloads may be.
    pub policy: Policy,
    /// Who may ask for links.
    pub door: Door,
    /// What to log.
    pub log: EnvFilter,
    /// Variables in our prefix that nothing reads: most likely typing errors. Not faults, because
    /// Kubernetes adds such variables for a service named `rowlink`.
    pub unknown: Vec<String>,
}

/// A variable that does not fit: its name, and what was expected. Never its value, which may be
/// a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {message}")]
pub struct ConfigFault {
    /// The variable's name.
    pub variable: String,
    /// What was expected.
    pub message: String,
}

/// The variables as they stand in the environment.
#[derive(Default, Deserialize)]
struct Variables {
    bind: Option<String>,
    public_url: Option<String>,
    database_url: Option<Zeroizing<String>>,
    database_url_file: Option<PathBuf>,
    databases: Option<Zeroizing<String>>,
    databases_file: Option<PathBuf>,
    database_connections: Option<String>,
    exports_dir: Option<PathBuf>,
    signing_keys: Option<Zeroizing<String>>,
    signing_keys_file: Option<PathBuf>,
    default_ttl_seconds: Option<String>,
    max_ttl_seconds: Option<String>,
    max_download_seconds: Option<String>,
    stall_seconds: Option<String>,
    jwt_hs256_secret: Option<Zeroizing<String>>,
    jwt_hs256_secret_file: Option<PathBuf>,
    jwt_issuer: Option<String>,
    jwt_audience: Option<String>,
    api_keys_file: Option<PathBuf>,
    log: Option<String>,
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
    ) -> Result<Config, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        let mut set = Vec::new();
        for (name, value) in environment {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            match value.into_string() {
                // An empty variable is one that a template left unset.
                Ok(value) if value.is_empty() => {}
                Ok(value) => set.push((format!("{PREFIX}{name}"), value)),
                Err(_) => faults.add(name, "expected UTF-8"),
            }
        }
        match envy::prefixed(PREFIX).from_iter(set) {
            Ok(variables) => Config::from_variables(variables, faults),
            Err(error) => {
                faults.add("", error);
                Err(faults.0)
            }
        }
    }

    fn from_variables(
        variables: Variables,
        mut faults: Faults,
    ) -> Result<Config, Vec<ConfigFault>> {
        let bind = variables.bind.as_deref().unwrap_or("127.0.0.1:8080");
        let bind: Option<SocketAddr> = bind
            .parse()
            .map_err(|_| faults.add("BIND", "expected an address and port like 0.0.0.0:8080"))
            .ok();
        let public_url = faults.required("PUBLIC_URL", variables.public_url);
        let public_url =
            public_url.and_then(|text| faults.check("PUBLIC_URL", public_url_of(&text)));
        let database = faults.secret(
            "DATABASE_URL",
            variables.database_url,
            variables.database_url_file,
        );
        let database = faults.required("DATABASE_URL", database);
        let database =
            database.and_then(|text| faults.check("DATABASE_URL", DatabaseUrl::parse(&text)));
        let others = faults.secret("DATABASES", variables.databases, variables.databases_file);
        let others = others.map(|text| {
            faults
                .check_all("DATABASES", database::parse_list(&text))
                .unwrap_or_default()
        });
        let database_connections = faults.number(
            "DATABASE_CONNECTIONS",
            variables.database_connections,
            10,
            1..=1000,
        );
        let keys = faults.secret(
            "SIGNING_KEYS",
            variables.signing_keys,
            variables.signing_keys_file,
        );
        let keys = faults.required("SIGNING_KEYS", keys);
        let keyring = keys.and_then(|text| faults.check_all("SIGNING_KEYS", Keyring::parse(&text)));
        let mut policy = Policy::with_defaults(public_url.unwrap_or_default());
        let mut seconds = |variable: &str, text: Option<String>, default: u64| {
            faults.number(variable, text, default, 1..=604_800)
        };
        policy.ttl_seconds_max = seconds(
            "MAX_TTL_SECONDS",
            variables.max_ttl_seconds,
            policy.ttl_seconds_max,
        );
        policy.ttl_seconds_default = seconds(
            "DEFAULT_TTL_SECONDS",
            variables.default_ttl_seconds,
            policy.ttl_seconds_default,
        );
        policy.download_max = Duration::from_secs(seconds(
            "MAX_DOWNLOAD_SECONDS",
            variables.max_download_seconds,
            policy.download_max.as_secs(),
        ));
        policy.stall_max = Duration::from_secs(seconds(
            "STALL_SECONDS",
            variables.stall_seconds,
            policy.stall_max.as_secs(),
        ));
        if policy.ttl_seconds_default > policy.ttl_seconds_max {
            faults.add(
                "DEFAULT_TTL_SECONDS",
                "expected no more than ROWLINK_MAX_TTL_SECONDS",
            );
        }

        let nobody = variables.jwt_hs256_secret.is_none()
            && variables.jwt_hs256_secret_file.is_none()
            && variables.api_keys_file.is_none();
        let secret = faults.secret(
            "JWT_HS256_SECRET",
            variables.jwt_hs256_secret,
            variables.jwt_hs256_secret_file,
        );
        let (issuer, audience) = (variables.jwt_issuer, variables.jwt_audience);
        let jwt = secret.and_then(|secret| {
            faults.check(
                "JWT_HS256_SECRET",
                jwt_of(&secret, issuer.as_deref(), audience.as_deref()),
            )
        });
        let api_keys = variables.api_keys_file.and_then(|path| {
            let text = faults.check("API_KEYS_FILE", read(&path))?;
            faults.check_all("API_KEYS_FILE", ApiKeys::parse(&text))
        });
        if nobody {
            faults.add(
                "JWT_HS256_SECRET",
                "set this, ROWLINK_API_KEYS_FILE or both: without them nobody could ask for a link",
            );
        }

        let unknown = variables.unknown.into_keys();
        let log = faults.check("LOG", log_filter(variables.log.as_deref()));

        match (bind, database, keyring, log) {
            (Some(bind), Some(database), Some(keyring), Some(log)) if faults.0.is_empty() => {
                let mut databases = others.unwrap_or_default();
                databases.insert(DEFAULT_DATABASE.to_owned(), database);
                Ok(Config {
                    bind,
                    databases,
                    database_connections,
                    exports_dir: variables.exports_dir.unwrap_or_else(|| "exports".into()),
                    keyring,
                    policy,
                    door: Door { jwt, api_keys },
                    log,
                    unknown: unknown
                        .map(|name| format!("{PREFIX}{}", name.to_uppercase()))
                        .collect(),
                })
            }
            _ => Err(faults.0),
        }
    }
}

#[derive(Default)]
struct Faults(Vec<ConfigFault>);

impl Faults {
    fn add(&mut self, variable: &str, message: impl fmt::Display) {
        self.0.push(ConfigFault {
            variable: format!("{PREFIX}{variable}"),
            message: message.to_string(),
        });
    }

    fn check<T, E: fmt::Display>(&mut self, variable: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|fault| self.add(variable, fault)).ok()
    }

    fn check_all<T, E: fmt::Display>(
        &mut self,
        variable: &str,
        result: Result<T, Vec<E>>,
    ) -> Option<T> {
        let add_all = |found: Vec<E>| found.iter().for_each(|fault| self.add(variable, fault));
        result.map_err(add_all).ok()
    }

    fn required<T>(&mut self, variable: &str, value: Option<T>) -> Option<T> {
        let reported =
            |fault: &ConfigFault| fault.variable.starts_with(&format!("{PREFIX}{variable}"));
        if value.is_none() && !self.0.iter().any(reported) {
            self.add(variable, "is required");
        }
        value
    }

    /// A secret from its variable, or from the file that `X_FILE` names.
    fn secret(
        &mut self,
        variable: &str,
        value: Option<Zeroizing<String>>,
        file: Option<PathBuf>,
    ) -> Option<Zeroizing<String>> {
        let file_variable = format!("{variable}_FILE");
        match (value, file) {
            (Some(_), Some(_)) => {
                self.add(
                    &file_variable,
                    format!("set this or {PREFIX}{variable}, not both"),
                );
                None
            }
            (None, Some(path)) => self.check(&file_variable, read(&path)),
            (value, None) => value,
        }
    }

    fn number<T: FromStr + PartialOrd + fmt::Display>(
        &mut self,
        variable: &str,
        text: Option<String>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T {
        let Some(text) = text else {
            return default;
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                let message = format!("expected a whole number from {least} to {most}");
                self.add(variable, message);
                default
            }
        }
    }
}

/// What to log: a level, or directives as `tracing` has them.
///
/// # Errors
/// It is neither.
pub fn log_filter(text: Option<&str>) -> Result<EnvFilter, &'static str> {
    // The framework's own line for a broken body repeats ours without saying which download.
    // The driver repeats every notice that the database gives.
    let default = "info,actix_server=warn,actix_http=off,tokio_postgres=warn";
    let text = text.unwrap_or(default);
    // The filter's own parser panics on some text that is not ASCII.
    Some(text)
        .filter(|text| text.is_ascii())
        .and_then(|text| EnvFilter::try_new(text).ok())
        .ok_or("expected error, warn, info, debug, trace, or a filter like rowlink=debug")
}

/// The text of a file without the line end that editors add.
fn read(path: &PathBuf) -> Result<Zeroizing<String>, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = Zeroizing::new(text);
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
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

fn jwt_of(
    secret: &str,
    issuer: Option<&str>,
    audience: Option<&str>,
) -> Result<JwtVerifier, String> {
    if secret.len() < JWT_SECRET_BYTES_MIN {
        return Err(format!("expected at least {JWT_SECRET_BYTES_MIN} bytes"));
    }
    Ok(JwtVerifier::hs256(secret.as_bytes(), issuer, audience))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            .map_err(|faults| faults.iter().map(|fault| fault.variable.clone()).collect())
    }

    fn faults(changes: &[(&str, &str)]) -> Vec<String> {
        config(changes).err().expect("refused")
    }

    #[test]
    fn four_variables_are_enough() {
        let config = config(&[]).expect("a configuration");
        assert_eq!(config.policy.public_url, "https://example.com/data");
        assert_eq!(config.policy.ttl_seconds_default, 60);
        assert_eq!(config.databases.len(), 1);
        assert!(matches!(
            &config.databases[DEFAULT_DATABASE],
            DatabaseUrl::Sqlite(path) if path == "/var/lib/shop.db"
        ));
        assert_eq!(config.policy.download_max, Duration::from_secs(900));
        assert_eq!(config.exports_dir, PathBuf::from("exports"));
    }

    #[test]
    fn every_bad_variable_is_named_at_once() {
        let found = faults(&[
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
            "PUBLIC_URL",
            "DATABASE_URL",
            "SIGNING_KEYS",
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
            assert_eq!(faults(&[(name, "")]), [format!("{PREFIX}{name}")]);
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
            faults(&[("SIGNING_KEYS_FILE", path)]),
            ["ROWLINK_SIGNING_KEYS_FILE"]
        );
        assert_eq!(
            faults(&[("SIGNING_KEYS", ""), ("SIGNING_KEYS_FILE", "/nonexistent")]),
            ["ROWLINK_SIGNING_KEYS_FILE"]
        );
    }

    #[test]
    fn the_default_life_is_not_longer_than_the_longest() {
        assert_eq!(
            faults(&[("MAX_TTL_SECONDS", "30")]),
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
        let names: Vec<&str> = databases.keys().map(String::as_str).collect();
        assert_eq!(names, ["archive", "default", "warehouse"]);
        assert!(matches!(databases["warehouse"], DatabaseUrl::Postgres(_)));
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
        let faults = Config::from_env([
            (OsString::from("HOME"), bytes()),
            (bytes(), bytes()),
            (OsString::from("ROWLINK_LOG"), bytes()),
        ]);
        let faults = faults.err().expect("refused");
        assert_eq!(faults[0].to_string(), "ROWLINK_LOG: expected UTF-8");
        assert!(
            faults
                .iter()
                .any(|fault| fault.variable == "ROWLINK_JWT_HS256_SECRET")
        );
    }
}
