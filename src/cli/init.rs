//! `rowlink init`: writes a first configuration into a new folder.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf, absolute};

use clap::Args;
use zeroize::Zeroizing;

use super::database_args::{OpenDatabase, url_argument};
use super::errors::{ErrorLines, error_line, error_lines};
use super::init_questions::{FirstExport, choose};
use super::new::{RowsArgs, export_text, is_plain_word, shell_word};
use super::new_folder::{NewFile, NewFolder};
use super::request::user_id;
use crate::auth::NewApiKey;
use crate::config::{DatabaseUrl, InitConfig};
use rowlink_link::UserId;

/// The origin of links, which is where a server with these variables listens.
const PUBLIC_URL: &str = "http://127.0.0.1:8080";
/// The longest name of an export.
const NAME_CHARS_MAX: usize = 64;

#[derive(Args)]
pub(super) struct InitArgs {
    /// Folder to write: a new one, or an empty one
    #[arg(default_value = "rowlink")]
    dir: PathBuf,
    /// URL of the database without its password; `-` reads the URL from standard input [default: ROWLINK_DATABASE_URL]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Table or view of the first export, as `rowlink tables` names it; asked for on a terminal
    #[arg(long, value_name = "TABLE")]
    from: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
    /// User whose rows the API key reads
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: Option<UserId>,
}

/// Writes the folder, and prints the token of its API key once.
///
/// # Errors
/// Returns what is missing or wrong. Then nothing is written.
pub(super) async fn init(args: InitArgs) -> Result<(), ErrorLines> {
    let dir = absolute_text(&args.dir)?;
    let folder = NewFolder::at(Path::new(&dir))?;
    let url = database_url(args.database.as_deref())?;
    let database = OpenDatabase::at(&url)?;
    let tables = database.tables().await?;
    let first = choose(&tables, args.from, args.rows, args.user)?;
    let name = export_name(&first.table.name);
    let text = export_text(&database, &name, first.table, &first.rows).await?;
    let token = write(folder, &dir, &url, &name, text, &first)?;
    eprintln!("Token of the API key, shown once: {}", token.as_str());
    let message = next_steps(&dir, &name);
    io::stdout()
        .write_all(message.as_bytes())
        .map_err(error_line)
}

/// Writes all files; returns the token.
fn write(
    folder: NewFolder<'_>,
    dir: &str,
    url: &str,
    name: &str,
    text: String,
    first: &FirstExport<'_>,
) -> Result<Zeroizing<String>, ErrorLines> {
    let signing_key = rowlink_link::generate("k1").map_err(error_line)?;
    let api_key = NewApiKey::generate().map_err(error_line)?;
    let user = toml_edit::Value::from(first.user.as_str()).to_string();
    let entry = format!(
        "# `user` is the user whose rows the key reads. docs/callers.md has the other settings.\n\
         [keys.first]\nsha256 = \"{}\"\nuser = {}\n",
        api_key.sha256,
        user.trim()
    );
    let secret = |name: &str, text: String| NewFile::secret(name, Zeroizing::new(text));
    let export = NewFile::public(&format!("exports/{name}.sql"), text);
    folder.create(&[
        secret("signing-keys", format!("{}\n", signing_key.as_str())),
        secret("api-keys.toml", entry),
        secret("database-url", format!("{url}\n")),
        secret("environment", environment(dir)),
        export,
    ])?;
    Ok(api_key.token)
}

/// Returns the variables, for a shell and for `EnvironmentFile` of systemd.
fn environment(dir: &str) -> String {
    let path = |name: &str| quoted(&format!("{dir}/{name}"));
    format!(
        "# Variables of Rowlink, for a shell and for systemd (EnvironmentFile). Secrets are in the files beside this one.\n\
         ROWLINK_PUBLIC_URL={PUBLIC_URL}\n\
         ROWLINK_EXPORTS_DIR={}\n\
         ROWLINK_DATABASE_URL_FILE={}\n\
         ROWLINK_SIGNING_KEYS_FILE={}\n\
         ROWLINK_API_KEYS_FILE={}\n\
         # Empty, so that a variable of the shell does not contradict its file.\n\
         ROWLINK_DATABASE_URL=\n\
         ROWLINK_SIGNING_KEYS=\n",
        path("exports"),
        path("database-url"),
        path("signing-keys"),
        path("api-keys.toml"),
    )
}

/// Returns a value as both a shell and systemd read it.
fn quoted(value: &str) -> String {
    if is_plain_word(value) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in value.chars() {
        if "\\\"$`".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

fn next_steps(dir: &str, name: &str) -> String {
    let file = shell_word(&Path::new(dir).join("environment"));
    let dir = Path::new(dir).display();
    format!(
        "{dir}: written: environment, signing-keys, api-keys.toml, database-url, exports/{name}.sql\n\
         Next: set -a && . {file} && set +a && rowlink check && rowlink serve\n\
         Then, with the token in TOKEN: curl -s {PUBLIC_URL}/v1/links -H \"Authorization: Bearer $TOKEN\" \
         -d '{{\"export\": \"{name}\", \"format\": \"csv\"}}'\n"
    )
}

/// Returns the absolute path of a folder, as text that a file of variables can hold.
fn absolute_text(dir: &Path) -> Result<String, ErrorLines> {
    let named = |error: &dyn std::fmt::Display| error_line(format!("{}: {error}", dir.display()));
    let path = absolute(dir).map_err(|error| named(&error))?;
    let text = path.to_str().map(|text| text.trim_end_matches('/'));
    let text = text.filter(|text| !text.chars().any(char::is_control));
    let expected = "expected a path in UTF-8 without control characters";
    text.map(str::to_owned).ok_or_else(|| named(&expected))
}

/// Returns the URL of the database, that of a file with its absolute path.
fn database_url(argument: Option<&str>) -> Result<Zeroizing<String>, ErrorLines> {
    let url = match argument {
        Some(argument) => Some(url_argument(argument)?),
        None => {
            InitConfig::from_env(env::vars_os())
                .map_err(error_lines)?
                .database_url
        }
    };
    let missing = "--database: is required; give it, or set ROWLINK_DATABASE_URL";
    let url = url.ok_or_else(|| error_line(missing))?;
    match DatabaseUrl::parse(&url) {
        Ok(DatabaseUrl::Sqlite(path)) => {
            Ok(Zeroizing::new(format!("sqlite:{}", absolute_text(&path)?)))
        }
        // An error is reported when the database is opened.
        _ => Ok(url),
    }
}

/// Returns a name for the export of a table.
fn export_name(table: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let replaced = table.chars().map(|c| if is_allowed(c) { c } else { '_' });
    replaced.take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_any_character_is_one_value_of_a_shell() {
        assert_eq!(quoted("/srv/row-link/a.b"), "/srv/row-link/a.b");
        assert_eq!(quoted("/a b/$x`\"\\"), "\"/a b/\\$x\\`\\\"\\\\\"");
    }

    #[test]
    fn a_table_gives_its_export_a_valid_name() {
        assert_eq!(export_name("orders"), "orders");
        assert_eq!(export_name("größe 2"), "gr__e_2");
        assert!(rowlink_link::is_export_name(&export_name(&"x".repeat(90))));
    }
}
