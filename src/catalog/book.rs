//! Books: exports of several statements, each in a `.sql` file of one folder.

use std::collections::BTreeSet;
use std::mem;

use indexmap::IndexMap;
use rowlink_link::{FileName, is_export_name};
use serde::Deserialize;
use toml::Spanned;

use super::columns::ColumnSettings;
use super::file::{CheckedSettings, Reader, Settings, default_title, required_claims};
use super::filter::FilterSettings;
use super::restricted::{MASKS_MAX, masks};
use super::settings_comment::split_settings;
use super::sheet::{RowAccess, SheetSource};
use super::{Dialects, Export, FileError, Filter, Sheet, SqlDialect, Text, Variable};
use crate::toml_errors::LineError;

/// The file with the settings of a book.
pub const BOOK_FILE: &str = "book.toml";

/// The largest number of statements.
const SHEETS_MAX: usize = 100;

/// The settings of one statement. All others are the book's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SheetFileSettings {
    title: Option<Text>,
    #[serde(default)]
    unscoped: bool,
    #[serde(default)]
    filters: IndexMap<Spanned<String>, FilterSettings>,
    #[serde(default)]
    columns: IndexMap<Spanned<String>, ColumnSettings>,
}

/// Parses the book `name` from its files, each with its folder.
///
/// # Errors
/// Returns every error in the files.
pub(super) fn parse(
    name: &str,
    mut files: Vec<(&str, &str)>,
    dialects: &Dialects,
) -> Result<Export, Vec<FileError>> {
    let book_file = format!("{name}/{BOOK_FILE}");
    let in_book = |error| in_file(&book_file, error);
    if !is_export_name(name) {
        let message = "expected a folder name of 1 to 64 of A-Z a-z 0-9 _ -";
        return Err(vec![in_book(LineError::new(1, message))]);
    }
    let position = files.iter().position(|(file, _)| *file == book_file);
    let Some(position) = position else {
        let message = "missing; add the file with the settings of the book";
        return Err(vec![in_book(LineError::new(1, message))]);
    };
    let (_, book_text) = files.remove(position);
    let (files, mut errors) = numbered(files);
    let mut reader = Reader::new(book_text.trim_start_matches('\u{feff}'), 1);
    let read = reader.settings(true);
    let (mut settings, format_options) = match read {
        Ok(read) => read,
        Err(found) => {
            errors.extend(found.into_iter().chain(reader.errors).map(in_book));
            return Err(errors);
        }
    };
    reader.refuse_settings_of_sheets(&settings);
    let (filters, shared) = reader.filters(mem::take(&mut settings.filters));
    let formats = reader.formats(settings.formats.as_ref(), true);
    let time_zone = reader.time_zone(settings.timezone.as_ref());
    reader.check_feed(settings.feed.as_ref(), settings.store.as_ref());
    reader.check_claim_names(&settings.claims);
    // A file with another name has its own error.
    let has_none = files.is_empty() && errors.is_empty();
    if has_none || files.len() > SHEETS_MAX {
        let message = format!("expected 1 to {SHEETS_MAX} files such as `01_orders.sql`");
        reader.errors.push(LineError::new(1, message));
    }
    let Some((database, dialect)) = reader.database(settings.database.take(), dialects) else {
        errors.extend(reader.errors.into_iter().map(in_book));
        return Err(errors);
    };
    reader.check_dialect(&settings, dialect);
    let mut sheets = Sheets {
        filters,
        shared: &shared,
        dialect,
        row_security: settings.row_security,
        sheets: Vec::new(),
    };
    let mut text = format!("{book_file}\n{book_text}");
    for file in &files {
        text.push_str(&format!("\n{}\n{}", file.path, file.text));
        if let Err(found) = sheets.add(file) {
            errors.extend(found.into_iter().map(|error| in_file(file.path, error)));
        }
    }
    let Sheets {
        filters, sheets, ..
    } = sheets;
    // Without all files it is unknown what they use.
    if errors.is_empty() {
        reader.check_claim_uses(&settings.claims, &sheets, dialect);
        reader.check_filter_uses(&shared, &sheets);
        reader.check_number_of_masks(&sheets);
    }
    let declared: Vec<(usize, String)> = filters.iter().map(|it| (1, it.name.clone())).collect();
    let file_name = reader.file_name(settings.filename.as_ref(), &declared);
    errors.extend(mem::take(&mut reader.errors).into_iter().map(in_book));
    if !errors.is_empty() {
        return Err(errors);
    }
    let checked = CheckedSettings {
        claims: required_claims(&sheets, &settings.claims, None),
        filters,
        documents: None,
        parallel: None,
        formats,
        time_zone,
        format_options,
        database,
        file_name,
        sheets,
        text,
    };
    Ok(checked.into_export(name, settings))
}

/// A file of a book with a statement.
struct SheetFile<'t> {
    /// With the folder: `year_report/01_orders.sql`.
    path: &'t str,
    number: u32,
    /// The name of the sheet: `orders`.
    name: &'t str,
    text: &'t str,
}

/// Returns the files in the order of their numbers, and the errors in their names.
fn numbered<'t>(files: Vec<(&'t str, &'t str)>) -> (Vec<SheetFile<'t>>, Vec<FileError>) {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (path, text) in files {
        match SheetFile::of(path, text) {
            Ok(file) => found.push(file),
            Err(message) => errors.push(in_file(path, LineError::new(1, message))),
        }
    }
    found.sort_by_key(|file| file.number);
    let (mut numbers, mut names) = (BTreeSet::new(), BTreeSet::new());
    for file in &found {
        if !numbers.insert(file.number) {
            let message = format!("duplicate number {}; rename one of the files", file.number);
            errors.push(in_file(file.path, LineError::new(1, message)));
        }
        // Names of files in an archive differ without case.
        if !names.insert(file.name.to_ascii_lowercase()) {
            let message = format!("duplicate name `{}`; rename one of the files", file.name);
            errors.push(in_file(file.path, LineError::new(1, message)));
        }
    }
    (found, errors)
}

impl<'t> SheetFile<'t> {
    /// Parses the name of a file.
    ///
    /// # Errors
    /// Returns a message if the name has another form, or would name a file in an archive that Windows cannot unpack.
    fn of(path: &'t str, text: &'t str) -> Result<SheetFile<'t>, String> {
        let (number, name) = number_and_name(path).ok_or(
            "expected a file name such as `01_orders.sql`: a number, `_`, then A-Z a-z 0-9 _ -",
        )?;
        FileName::parse(name).map_err(|error| {
            format!("`{name}` is the name of a file in archives: {error}; rename the file")
        })?;
        Ok(SheetFile {
            path,
            number,
            name,
            text,
        })
    }
}

/// Returns the two parts of the name of a file; `None` if the name has another form.
fn number_and_name(path: &str) -> Option<(u32, &str)> {
    let (_, file) = path.rsplit_once('/')?;
    let (number, name) = file.strip_suffix(".sql")?.split_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|_| is_number)?;
    is_export_name(name).then_some((number, name))
}

/// The sheets so far.
struct Sheets<'b> {
    /// The filters of the book and of all sheets.
    filters: Vec<Filter>,
    /// The lines and names of the filters of the book.
    shared: &'b [(usize, String)],
    dialect: SqlDialect,
    row_security: bool,
    sheets: Vec<Sheet>,
}

impl Sheets<'_> {
    /// Parses a file and adds its sheet.
    ///
    /// # Errors
    /// Returns every error in the file.
    fn add(&mut self, file: &SheetFile<'_>) -> Result<(), Vec<LineError>> {
        let text = file.text.trim_start_matches('\u{feff}');
        let (settings_text, first_line) = split_settings(text).map_err(|error| vec![error])?;
        let mut reader = Reader::new(settings_text, first_line);
        let settings = toml::from_str(settings_text);
        let settings: SheetFileSettings = settings.map_err(|error| reader.toml_error(&error))?;
        let (filters, declared) = reader.filters(settings.filters);
        let columns = reader.columns(settings.columns);
        self.add_filters(filters, &declared, &mut reader.errors);
        let source = SheetSource {
            file: file.path.to_owned(),
            name: file.name.to_owned(),
            title: settings.title.unwrap_or_else(|| default_title(file.name)),
            text,
            dialect: self.dialect,
            columns,
            filters: &self.filters,
            declared: &declared,
            shared: self.shared,
            row_access: RowAccess {
                unscoped: settings.unscoped,
                row_security: self.row_security,
            },
        };
        let sheet = Sheet::parse(source, &mut reader.errors);
        if !reader.errors.is_empty() {
            return Err(reader.errors);
        }
        self.sheets.extend(sheet);
        Ok(())
    }

    /// Adds the filters of a file. One that the book or another file has, too, must be the same.
    fn add_filters(
        &mut self,
        filters: Vec<Filter>,
        declared: &[(usize, String)],
        errors: &mut Vec<LineError>,
    ) {
        for filter in filters {
            match self.filters.iter().find(|other| other.name == filter.name) {
                None => self.filters.push(filter),
                Some(other) if filter.is_same(other) => {}
                Some(_) => {
                    let name = &filter.name;
                    let line = declared.iter().find(|(_, declared)| declared == name);
                    let line = line.map_or(1, |(line, _)| *line);
                    let message = format!(
                        "filter `{name}`: another file of the book declares it differently; declare it only in {BOOK_FILE}"
                    );
                    errors.push(LineError::new(line, message));
                }
            }
        }
    }
}

impl Reader<'_> {
    /// Refuses settings that stand in the `.sql` files, or that no book has.
    fn refuse_settings_of_sheets(&mut self, settings: &Settings) {
        if let Some(name) = settings.columns.keys().next() {
            let message =
                "`columns`: unsupported for a book; move it to the .sql file of its sheet";
            self.add_error(name, message.into());
        }
        if settings.unscoped {
            let message =
                "`unscoped`: unsupported for a book; set it in each .sql file that needs it";
            self.errors.push(LineError::new(1, message));
        }
        if let Some(parallel) = &settings.parallel {
            let message = "`parallel`: unsupported for a book; remove it";
            self.add_error(parallel, message.into());
        }
        let message = "stored documents are unsupported in a book";
        if let Some(kind) = &settings.kind {
            self.add_error(kind, format!("`kind`: {message}"));
        }
        if let Some(file) = &settings.file {
            self.add_error(file, format!("[file]: {message}"));
        }
    }

    /// Checks that each filter of the book is used.
    fn check_filter_uses(&mut self, shared: &[(usize, String)], sheets: &[Sheet]) {
        for (line, name) in shared {
            let variable = Variable::Filter(name.clone());
            let mut variables = sheets.iter().flat_map(Sheet::variables);
            if !variables.any(|used| *used == variable) {
                let message = format!(
                    "filter `{name}`: no file has `:{name}`; use it or remove [filters.{name}]"
                );
                self.errors.push(LineError::new(*line, message));
            }
        }
    }

    fn check_number_of_masks(&mut self, sheets: &[Sheet]) {
        let masks = sheets.iter().flat_map(|sheet| masks(&sheet.restricted));
        if masks.count() > MASKS_MAX {
            let message = format!("expected at most {MASKS_MAX} columns with a mask in all files");
            self.errors.push(LineError::new(1, message));
        }
    }
}

fn in_file(file: &str, error: LineError) -> FileError {
    FileError {
        file: file.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, DEFAULT_DATABASE};

    const BOOK: &str = "title = 'Year'\n[filters.from]\ntype = 'date'\n";
    const ORDERS: &str = "/*---\ntitle = 'Orders'\n---*/\nselect 1 where :user = '' and :from = ''";

    fn catalog(files: &[(&str, &str)]) -> Catalog {
        let dialects = Dialects::from([(DEFAULT_DATABASE.to_owned(), SqlDialect::Sqlite)]);
        Catalog::parse(files.iter().copied(), &dialects)
    }

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        let catalog = catalog(files);
        catalog.errors().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_is_an_export_with_a_sheet_per_file_in_the_order_of_their_numbers() {
        let own =
            "/*---\n[filters.id]\ntype = 'integer'\n---*/\nselect 1 where :id = 1 and :user = ''";
        let catalog = catalog(&[
            ("year/10_c.sql", "select 1 where :user = ''"),
            ("year/2_b_returns.sql", own),
            ("year/01_a.sql", ORDERS),
            ("year/book.toml", BOOK),
        ]);
        assert_eq!(catalog.errors(), []);
        let export = catalog.get("year").expect("an export");
        let title = |text: &Text| export.text(text, None).clone();
        let sheets = export.sheets.iter();
        let sheets: Vec<(&str, String)> = sheets.map(|it| (&*it.name, title(&it.title))).collect();
        assert_eq!(
            sheets,
            [("a", "Orders"), ("b_returns", "B returns"), ("c", "C")]
                .map(|(name, title)| (name, title.to_owned()))
        );
        let filters: Vec<&str> = export.filters.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(filters, ["from", "id"]);
        assert_eq!(title(&export.title), "Year");
        assert!(
            export
                .formats
                .iter()
                .all(|it| it.definition().capacity.fits(true))
        );
    }

    #[test]
    fn an_error_in_the_settings_hides_no_error_of_a_file_name() {
        let found = errors(&[
            ("year/book.toml", "titel = 'Year'\n[csv]\ndelimiter = '-'"),
            ("year/a.sql", ORDERS),
        ]);
        let expected = [
            "year/a.sql:1: expected a file name such as",
            "year/book.toml:1: unknown field `titel`",
            "year/book.toml:3: `delimiter` under [csv]: expected one of",
        ];
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_filter_of_the_book_is_not_called_unused_while_a_file_is_invalid() {
        let invalid = "/*---\ntitel = 'Orders'\n---*/\nselect 1 where :user = :from";
        let misnamed = ("year/b.sql", "select 1 where :user = :from");
        for (file, expected) in [
            (("year/02_b.sql", invalid), "year/02_b.sql:2: unknown field"),
            (misnamed, "year/b.sql:1: expected a file name"),
        ] {
            let own = ("year/01_a.sql", "select :user");
            let found = errors(&[("year/book.toml", BOOK), own, file]);
            let [found] = &*found else {
                panic!("{found:?}");
            };
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn each_error_names_the_file_and_its_line() {
        let other = "/*---\n[filters.from]\ntype = 'text'\n---*/\nselect 1 where :from = :user";
        for (files, expected) in [
            (
                vec![("year/book.toml", ""), ("year/01_a.sql", "\nselect 1")],
                "year/01_a.sql:2: every caller would get every row",
            ),
            (
                vec![
                    ("year/book.toml", BOOK),
                    ("year/01_a.sql", ORDERS),
                    ("year/02_b.sql", other),
                ],
                "year/02_b.sql:2: filter `from`: another file of the book declares it differently",
            ),
            (
                vec![("year/book.toml", BOOK), ("year/01_a.sql", "select :user")],
                "year/book.toml:2: filter `from`: no file has `:from`",
            ),
            (
                vec![
                    ("year/book.toml", "unscoped = true"),
                    ("year/01_a.sql", "select :user"),
                ],
                "year/book.toml:1: `unscoped`: unsupported for a book",
            ),
            (
                vec![
                    ("year/book.toml", "formats = ['csv']"),
                    ("year/01_a.sql", "select :user"),
                ],
                "year/book.toml:1: `formats`: `csv` holds one sheet only",
            ),
            (
                vec![
                    ("year/book.toml", "database = 'x'"),
                    ("year/01_a.sql", "select :user"),
                ],
                "year/book.toml:1: `database`: unknown database `x`",
            ),
            (
                vec![
                    ("year/book.toml", ""),
                    ("year/01_a.sql", "/*---\ndatabase = 'x'\n---*/ select :user"),
                ],
                "year/01_a.sql:2: unknown field `database`",
            ),
            (
                vec![("year/book.toml", "")],
                "year/book.toml:1: expected 1 to 100 files",
            ),
            (
                vec![("year/01_a.sql", "select :user")],
                "year/book.toml:1: missing",
            ),
            (
                vec![("year/book.toml", ""), ("year/a.sql", "select :user")],
                "year/a.sql:1: expected a file name such as `01_orders.sql`",
            ),
            (
                vec![("year/book.toml", ""), ("year/01_Con.sql", "select :user")],
                "year/01_Con.sql:1: `Con` is the name of a file in archives: expected a name that Windows does not reserve; rename",
            ),
            (
                vec![("year/book.toml", ""), ("year/01_lpt1.sql", "select :user")],
                "year/01_lpt1.sql:1: `lpt1` is the name of a file in archives",
            ),
            (
                vec![
                    ("year/book.toml", ""),
                    ("year/01_a.sql", "select :user"),
                    ("year/02_A.sql", "select :user"),
                ],
                "year/02_A.sql:1: duplicate name `A`",
            ),
            (
                vec![
                    ("year.sql", "select :user"),
                    ("year/book.toml", ""),
                    ("year/01_a.sql", "select :user"),
                ],
                "year.sql:1: the folder `year` is a book with this name",
            ),
        ] {
            let found = errors(&files);
            let is_expected = found
                .first()
                .is_some_and(|error| error.starts_with(expected));
            assert!(is_expected, "{expected}: {found:?}");
        }
    }
}
