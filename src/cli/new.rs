//! `rowlink new`: writes the file of a new export of one table.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::database_args::OpenDatabase;
use super::errors::{ErrorLines, error_line, error_lines};
use super::export::one_time_keyring;
use super::export_text::{NewExport, Quoting};
use super::visible::printable;
use crate::catalog::{Catalog, DEFAULT_DATABASE};
use crate::service::ExportService;
use crate::source::{Table, dialects};
use rowlink_link::is_export_name;

#[derive(Args)]
pub(super) struct NewArgs {
    /// Name of the export, and of its file: 1 to 64 of A-Z a-z 0-9 _ -
    #[arg(value_parser = export_name)]
    name: String,
    /// Table or view, as `rowlink tables` names it
    #[arg(long, value_name = "TABLE")]
    from: String,
    #[command(flatten)]
    rows: RowsArgs,
    /// Name of a database in ROWLINK_DATABASES [default: that of ROWLINK_DATABASE_URL]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Folder of the file [default: ROWLINK_EXPORTS_DIR, or exports]
    #[arg(long, value_name = "DIR")]
    exports_dir: Option<PathBuf>,
}

/// The rows that callers get, and what they may filter by.
#[derive(Args)]
pub(super) struct RowsArgs {
    /// Column with the user ids: a caller gets only the rows of the link's user
    #[arg(long, value_name = "COLUMN")]
    pub(super) user_column: Option<String>,
    /// Every caller gets every row
    #[arg(long, conflicts_with = "user_column")]
    pub(super) for_all_users: bool,
    /// Column that callers may filter by, a time by its first and last day; repeatable
    #[arg(long = "filter", value_name = "COLUMN")]
    pub(super) filters: Vec<String>,
}

/// Writes the file after the database has accepted its statement.
///
/// # Errors
/// Returns why no such export can be, or not be written.
pub(super) async fn new(args: NewArgs) -> Result<(), ErrorLines> {
    let database = OpenDatabase::named(args.database.as_deref())?;
    let folder = args.exports_dir.as_ref().unwrap_or(&database.exports_dir);
    let path = folder.join(format!("{}.sql", args.name));
    ensure_unused(&path)?;
    let tables = database.tables().await?;
    let table = find_table(&tables, &args.from)?;
    let text = export_text(&database, &args.name, table, &args.rows).await?;
    write_new(&path, &text)?;
    let check = match args.exports_dir.is_some() {
        true => format!("ROWLINK_EXPORTS_DIR={} rowlink check", shell_word(folder)),
        false => "rowlink check".to_owned(),
    };
    let shown = path.display();
    let count = table.columns.len();
    let message = format!(
        "{shown}: written with {count} columns; remove those that callers must not get\nNext: {check}\n"
    );
    io::stdout()
        .write_all(message.as_bytes())
        .map_err(error_line)
}

fn export_name(text: &str) -> Result<String, &'static str> {
    is_export_name(text)
        .then(|| text.to_owned())
        .ok_or("expected 1 to 64 of A-Z a-z 0-9 _ -")
}

/// Refuses the path of an export that exists, also as a book.
fn ensure_unused(path: &Path) -> Result<(), ErrorLines> {
    let book = path.with_extension("");
    match [path, &book]
        .into_iter()
        .find(|it| it.symlink_metadata().is_ok())
    {
        None => Ok(()),
        Some(existing) => Err(exists_error(existing)),
    }
}

fn exists_error(path: &Path) -> ErrorLines {
    let path = path.display();
    error_line(format!(
        "{path}: exists already; choose another name, or edit it"
    ))
}

/// Returns the table with this name, with or without its schema.
///
/// # Errors
/// Returns how to list the tables, or that two have this name.
pub(super) fn find_table<'t>(tables: &'t [Table], name: &str) -> Result<&'t Table, ErrorLines> {
    let is_named = |table: &&Table| {
        table.full_name() == name || format!("{}.{}", table.schema, table.name) == name
    };
    let found: Vec<&Table> = tables.iter().filter(is_named).collect();
    match found[..] {
        [table] => Ok(table),
        [] => {
            let name = printable(name);
            Err(error_line(format!(
                "--from: unknown table `{name}`; `rowlink tables` lists those that the login may read"
            )))
        }
        _ => {
            let name = printable(name);
            Err(error_line(format!(
                "--from: `{name}` is the name of two tables; rename one, or write the export by hand"
            )))
        }
    }
}

/// Returns the text of an export that the database accepts.
///
/// # Errors
/// Returns that it is not said whose rows a caller gets, each wrong column, or the database's error.
pub(super) async fn export_text(
    database: &OpenDatabase,
    name: &str,
    table: &Table,
    rows: &RowsArgs,
) -> Result<String, ErrorLines> {
    if rows.user_column.is_none() && !rows.for_all_users {
        return Err(error_line(format!(
            "--user-column: is required; name the column with the user ids, one of {}; or add --for-all-users, and every \
             caller gets every row",
            column_names(table)
        )));
    }
    let user_column = rows.user_column.as_deref();
    let dialect = database.sources[&database.name].dialect();
    let mut export = NewExport::new(name, table, dialect, user_column, &rows.filters)?;
    export.database = Some(database.name.as_str()).filter(|name| *name != DEFAULT_DATABASE);
    let text = export.text(Quoting::IfNeeded);
    let Err(errors) = check(database, name, &text).await else {
        return Ok(text);
    };
    // A keyword of this database only.
    let text = export.text(Quoting::Always);
    check(database, name, &text)
        .await
        .map(|()| text)
        .map_err(|_| errors)
}

fn column_names(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|it| it.name.as_str()).collect();
    printable(&names.join(", "))
}

/// Checks a text as `rowlink check` does.
async fn check(database: &OpenDatabase, name: &str, text: &str) -> Result<(), ErrorLines> {
    let file = format!("{name}.sql");
    let catalog = Catalog::parse([(file.as_str(), text)], &dialects(&database.sources));
    let (sources, policy) = (database.sources.clone(), database.policy.clone());
    let service = ExportService::new(sources, one_time_keyring()?, policy);
    let service = service.start(&catalog).await.map_err(error_lines)?;
    service.close().await;
    Ok(())
}

/// Writes a file under a name that no other file has. A server that reads the folder never finds a part of it.
fn write_new(path: &Path, text: &str) -> Result<(), ErrorLines> {
    let named = |error: &io::Error| error_line(format!("{}: {error}", path.display()));
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(error_line(format!("{folder}: is no folder; create it")));
    }
    let written = tempfile::Builder::new()
        .prefix(".rowlink-new-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        });
    let written = written.map_err(|error| named(&error))?;
    match written.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists_error(path)),
        Err(error) => Err(named(&error.error)),
    }
}

/// Tells whether a shell reads a text as it is.
pub(super) fn is_plain_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    text.chars().all(is_plain)
}

/// Returns a path as a word of a shell.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    match !text.is_empty() && is_plain_word(&text) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str) -> Table {
        Table {
            schema: schema.to_owned(),
            is_in_default_schema: schema == "public",
            name: name.to_owned(),
            is_view: false,
            rows: None,
            columns: Vec::new(),
        }
    }

    #[test]
    fn a_table_is_found_by_its_name_or_with_its_schema_and_never_by_guess() {
        let tables = [
            ("public", "orders"),
            ("app", "orders"),
            ("public", "app.b"),
            ("app", "b"),
        ];
        let tables = tables.map(|(schema, name)| table(schema, name));
        for (name, expected) in [
            ("orders", Some(0)),
            ("public.orders", Some(0)),
            ("app.orders", Some(1)),
            ("public.app.b", Some(2)),
            ("app.b", None),
            ("b", None),
        ] {
            let expected = expected.map(|index: usize| &tables[index]);
            assert_eq!(find_table(&tables, name).ok(), expected, "{name}");
        }
    }
}
