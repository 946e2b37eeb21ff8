//! Databases: their URLs, and the folder of exports.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::errors::ConfigErrors;
use super::{Databases, Variables};
use crate::catalog::DEFAULT_DATABASE;
use crate::service::Policy;
use crate::source::{
    MysqlSource, MysqlUrl, PostgresSource, PostgresUrl, Source, SourceOptions, SqliteSorts,
    SqliteSource,
};
use rowlink_link::is_bare_name;
use zeroize::Zeroizing;

pub(super) fn databases(
    variables: &mut Variables,
    errors: &mut ConfigErrors,
    policy: &Policy,
) -> Option<Databases> {
    let options = options(variables, errors, policy);
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
    let others = others.and_then(|text| errors.check_all("DATABASES", parse_list(&text)));
    let mut urls = others.unwrap_or_default();
    urls.insert(DEFAULT_DATABASE.to_owned(), url?);
    Some(Databases { urls, options })
}

fn options(variables: &mut Variables, errors: &mut ConfigErrors, policy: &Policy) -> SourceOptions {
    let default = SourceOptions::default();
    let sorts = match variables.sqlite_sorts.take().as_deref() {
        None | Some("files") => Ok(SqliteSorts::InFiles),
        Some("memory") => Ok(SqliteSorts::InMemory),
        Some(_) => Err("expected files or memory"),
    };
    SourceOptions {
        connections: errors.number(
            "DATABASE_CONNECTIONS",
            variables.database_connections.take(),
            default.connections,
            1..=1000,
        ),
        parallel_connections: errors.number(
            "PARALLEL_CONNECTIONS",
            variables.parallel_connections.take(),
            default.parallel_connections,
            1..=16,
        ),
        statement_timeout: policy.query_max,
        row_bytes_max: errors.number(
            "MAX_ROW_BYTES",
            variables.max_row_bytes.take(),
            default.row_bytes_max,
            1 << 16..=1 << 30,
        ),
        sqlite_lock_max: Duration::from_secs(errors.number(
            "SQLITE_LOCK_SECONDS",
            variables.sqlite_lock_seconds.take(),
            default.sqlite_lock_max.as_secs(),
            1..=604_800,
        )),
        sqlite_sorts: errors
            .check("SQLITE_SORTS", sorts)
            .unwrap_or(default.sqlite_sorts),
    }
}

pub(super) fn exports_dir(variables: &mut Variables) -> PathBuf {
    let folder = variables.exports_dir.take();
    folder.unwrap_or_else(|| "exports".into())
}

/// The URL of a database.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`.
    Sqlite(PathBuf),
    /// `postgres://…`.
    Postgres(Box<PostgresUrl>),
    /// `mysql://…`, also for MariaDB.
    Mysql(Box<MysqlUrl>),
}

const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];
const MYSQL: [&str; 2] = ["mysql://", "mariadb://"];
const SQLITE: &str = "sqlite:";

impl DatabaseUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// Returns what was expected, never a part of the URL, which may hold a password.
    pub fn parse(text: &str) -> Result<DatabaseUrl, String> {
        let starts_with = |schemes: [&str; 2]| schemes.iter().any(|it| text.starts_with(it));
        if let Some(path) = text.strip_prefix(SQLITE) {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.is_empty() {
                return Ok(DatabaseUrl::Sqlite(path.into()));
            }
        } else if starts_with(POSTGRES) {
            let url = PostgresUrl::parse(&escape_login(text)?);
            return url.map(|url| DatabaseUrl::Postgres(Box::new(url)));
        } else if starts_with(MYSQL) {
            let url = MysqlUrl::parse(&escape_login(text)?);
            return url.map(|url| DatabaseUrl::Mysql(Box::new(url)));
        }
        let expected =
            "expected sqlite:PATH, postgres://user@host/database or mysql://user@host/database";
        Err(expected.into())
    }

    /// Tells whether it holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        match self {
            DatabaseUrl::Sqlite(_) => false,
            DatabaseUrl::Postgres(url) => url.has_password(),
            DatabaseUrl::Mysql(url) => url.has_password(),
        }
    }

    /// Creates the source. No connection is opened yet.
    ///
    /// # Errors
    /// Returns a message if a file that the URL names cannot be read.
    pub fn source(self, options: SourceOptions) -> Result<Arc<dyn Source>, String> {
        Ok(match self {
            DatabaseUrl::Sqlite(path) => Arc::new(SqliteSource::new(path, options)),
            DatabaseUrl::Postgres(url) => Arc::new(PostgresSource::new(*url, options)?),
            DatabaseUrl::Mysql(url) => Arc::new(MysqlSource::new(*url, options)?),
        })
    }
}

/// Returns the URL with each `@` of its login as `%40`, so that no parser takes a part of a password for the host.
///
/// # Errors
/// Returns a message if the password has a character that ends the login, so that its rest would seem to be a path or an
/// option.
fn escape_login(url: &str) -> Result<Zeroizing<String>, &'static str> {
    let start = url.find("://").map_or(0, |index| index + 3);
    let length = url[start..].find(['/', '?', '#']);
    let (authority, rest) = url[start..].split_at(length.unwrap_or(url.len() - start));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let is_password = path.contains('@') || (path.is_empty() && rest.contains('@'));
    if !authority.is_empty() && !authority.contains('@') && is_password {
        return Err("percent-encode the password: `/` as %2F, `?` as %3F, `#` as %23");
    }
    let Some((login, host)) = authority.rsplit_once('@') else {
        return Ok(Zeroizing::new(url.to_owned()));
    };
    let login = Zeroizing::new(login.replace('@', "%40"));
    let escaped = [&url[..start], &login, "@", host, rest].concat();
    Ok(Zeroizing::new(escaped))
}

/// Parses `warehouse=postgres://…,archive=sqlite:…`. A comma between two hosts of a URL does not
/// separate databases: a database starts with a name and a scheme.
pub(super) fn parse_list(text: &str) -> Result<BTreeMap<String, DatabaseUrl>, Vec<String>> {
    let starts = |piece: &str| {
        piece.split_once('=').is_some_and(|(_, url)| {
            let mut schemes = [SQLITE].into_iter().chain(POSTGRES).chain(MYSQL);
            schemes.any(|scheme| url.starts_with(scheme))
        })
    };
    let mut entries: Vec<String> = Vec::new();
    for piece in text.split([',', '\n']).map(str::trim) {
        match entries.last_mut() {
            Some(entry) if !starts(piece) => {
                entry.push(',');
                entry.push_str(piece);
            }
            _ => entries.push(piece.to_owned()),
        }
    }
    let mut databases = BTreeMap::new();
    let mut errors = Vec::new();
    for entry in &entries {
        // Only a valid name of the entry may be shown: the rest holds a password.
        let Some((name, url)) = entry
            .split_once('=')
            .filter(|(name, _)| is_bare_name(name, 64))
        else {
            errors.push("expected name=URL, separated by commas".to_owned());
            continue;
        };
        match DatabaseUrl::parse(url) {
            Err(error) => errors.push(format!("{name}: {error}")),
            Ok(_) if name == DEFAULT_DATABASE || databases.contains_key(name) => {
                errors.push(format!("{name}: duplicate name"));
            }
            Ok(database) => {
                databases.insert(name.to_owned(), database);
            }
        }
    }
    if errors.is_empty() {
        Ok(databases)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_password_is_taken_for_the_host_or_shown() {
        for (url, host) in [
            ("postgres://rl:s3cret@top-half@host/db", "host"),
            ("mysql://rl:s3cret@top-half@host/db", "host"),
            (
                "mysql://rl:s3cret@host/db?ssl-ca=/a@b&ssl-mode=verify_identity",
                "host",
            ),
            ("postgres://a@x:s3cret@h1,h2/db", "h1"),
        ] {
            let parsed = DatabaseUrl::parse(url).expect(url);
            let shown = format!("{parsed:?}");
            let has_host = shown.contains(&format!("\"{host}\""));
            assert!(has_host && !shown.contains("top-half"), "{url}: {shown}");
        }
        for scheme in ["postgres", "mysql", "mariadb"] {
            for password in ["s3/cret", "12?s3cret", "12#s3cret", "12/s3cret"] {
                let error = DatabaseUrl::parse(&format!("{scheme}://rl:{password}@host/db"));
                let error = error.expect_err("refused");
                assert!(
                    error.contains("percent-encode"),
                    "{scheme} {password}: {error}"
                );
                assert!(!error.contains("cret"), "{scheme} {password}: {error}");
            }
        }
        assert!(DatabaseUrl::parse("postgres://host:5432/db?user=a@b").is_ok());
        assert!(DatabaseUrl::parse("postgres:///db?host=/run&user=a@b").is_ok());
    }

    #[test]
    fn a_wrong_database_is_named_without_its_password() {
        for (text, named) in [
            ("secret", "name=URL"),
            ("=sqlite:secret", "name=URL"),
            ("default=sqlite:/secret", "default"),
            ("a=sqlite:/secret,a=sqlite:/secret", "a: duplicate name"),
            ("w=oracle:secret", "w: expected"),
            ("w=postgres://u:secret@h:x/d", "port"),
            ("w=mysql://u:secret@h:x/d", "port"),
            ("w=mariadb://u:secret@h", "database"),
        ] {
            let errors = parse_list(text).expect_err("refused");
            assert_eq!(errors.len(), 1, "{text}");
            assert!(errors[0].contains(named), "{text}: {}", errors[0]);
            assert!(!errors[0].contains("secret"), "{text}: {}", errors[0]);
        }
    }
}
