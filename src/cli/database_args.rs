//! Which database a command reads.

use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::errors::{ErrorLines, error_line, error_lines};
use super::load::sources;
use crate::catalog::DEFAULT_DATABASE;
use crate::config::{DatabaseUrl, RowsConfig};
use crate::service::Policy;
use crate::source::{Sources, Table, causes};

/// The variables of the URL of the default database.
const URL_VARIABLES: [&str; 2] = ["ROWLINK_DATABASE_URL", "ROWLINK_DATABASE_URL_FILE"];

#[derive(Args)]
pub(super) struct DatabaseArgs {
    /// Name of a database in ROWLINK_DATABASES, or the URL of another database without its password; `-` reads the URL from
    /// standard input [default: ROWLINK_DATABASE_URL]
    #[arg(long, value_name = "DATABASE")]
    database: Option<String>,
}

/// A database, and the settings of commands that read rows.
pub(super) struct OpenDatabase {
    /// Its name in the configuration.
    pub(super) name: String,
    /// All databases of the configuration.
    pub(super) sources: Sources,
    pub(super) exports_dir: PathBuf,
    pub(super) policy: Policy,
}

impl DatabaseArgs {
    /// Opens the database. No connection is opened yet.
    ///
    /// # Errors
    /// Returns every error of the configuration, or why the argument is none.
    pub(super) fn open(&self) -> Result<OpenDatabase, ErrorLines> {
        match self.url()? {
            Some(url) => OpenDatabase::at(&url),
            None => OpenDatabase::named(self.database.as_deref()),
        }
    }

    /// Returns the URL of the argument; `None` if it is a name, or is missing.
    ///
    /// # Errors
    /// Returns why it is no URL, or that it has a password.
    fn url(&self) -> Result<Option<Zeroizing<String>>, ErrorLines> {
        let Some(text) = self.database.as_deref() else {
            return Ok(None);
        };
        let is_name = text != "-" && !text.contains(':');
        (!is_name).then(|| url_argument(text)).transpose()
    }
}

/// Returns the URL of an argument, or of standard input for `-`.
///
/// # Errors
/// Returns why it is no URL, or that the argument has a password.
pub(super) fn url_argument(text: &str) -> Result<Zeroizing<String>, ErrorLines> {
    let named = |error: &dyn Display| error_line(format!("--database: {error}"));
    let (url, is_argument) = match text {
        "-" => (read_url().map_err(|error| named(&error))?, false),
        text => (Zeroizing::new(text.to_owned()), true),
    };
    let parsed = DatabaseUrl::parse(&url).map_err(|error| named(&error))?;
    if is_argument && parsed.has_password() {
        return Err(named(
            &"has a password, which process lists show; set ROWLINK_DATABASE_URL, or write `--database -` and give the \
              URL on standard input",
        ));
    }
    Ok(url)
}

fn read_url() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    io::stdin().read_to_string(&mut text)?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

impl OpenDatabase {
    /// Opens the database at a URL, in place of the configured one.
    ///
    /// # Errors
    /// Returns every error of the other settings.
    pub(super) fn at(url: &str) -> Result<OpenDatabase, ErrorLines> {
        let others = env::vars_os().filter(|(name, _)| !URL_VARIABLES.iter().any(|it| name == it));
        let url = (URL_VARIABLES[0].into(), url.into());
        OpenDatabase::of(others.chain([url]), DEFAULT_DATABASE)
    }

    /// Opens a configured database.
    ///
    /// # Errors
    /// Returns every error of the configuration, and that it has no such database.
    pub(super) fn named(name: Option<&str>) -> Result<OpenDatabase, ErrorLines> {
        OpenDatabase::of(env::vars_os(), name.unwrap_or(DEFAULT_DATABASE))
    }

    fn of(
        environment: impl Iterator<Item = (OsString, OsString)>,
        name: &str,
    ) -> Result<OpenDatabase, ErrorLines> {
        let config = RowsConfig::from_env(environment).map_err(error_lines)?;
        let sources = sources(config.databases)?;
        if !sources.contains_key(name) {
            let known: Vec<&str> = sources.keys().map(String::as_str).collect();
            let known = known.join(", ");
            // Not quoted: it may be a connection string with a password.
            return Err(error_line(format!(
                "--database: unknown database; expected one of {known}, or a URL"
            )));
        }
        Ok(OpenDatabase {
            name: name.to_owned(),
            sources,
            exports_dir: config.exports_dir,
            policy: config.policy,
        })
    }

    /// Returns the tables and views.
    ///
    /// # Errors
    /// Returns why the database cannot be read.
    pub(super) async fn tables(&self) -> Result<Vec<Table>, ErrorLines> {
        let source = &self.sources[&self.name];
        let tables = source.tables().await;
        source.close_descriptions().await;
        tables.map_err(|error| error_line(format!("database `{}`: {}", self.name, causes(&error))))
    }
}
