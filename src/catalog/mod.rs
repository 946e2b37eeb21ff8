//! The exports, one per `.sql` file or book, a folder of such files. Pure: no I/O, no clock, no driver.
//!
//! A [`Catalog`] is parsed from the texts of its files and keeps their errors. [`Export::resolve`]
//! checks a request's filters when a link is issued. [`Export::bind`] checks those of a verified link
//! again and returns a [`BoundQuery`], the only thing a source runs.

mod book;
mod column_display;
mod columns;
mod documents;
mod feed;
mod file;
mod file_name;
mod filter;
mod format_settings;
mod lost_setting;
mod parallel;
mod reason;
mod restricted;
mod settings_comment;
mod sheet;
mod statement;
mod store_settings;
mod template;
mod text;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::format::{Format, FormatOptions};
use crate::row::TimeZone;
use crate::toml_errors::LineError;
use rowlink_link::{VerifiedLink, is_export_name};

pub use book::BOOK_FILE;
pub use documents::{DOCUMENT_COLUMNS, DocumentSettings, ExportKind, KeyPrefix};
pub use feed::{FEED_DAYS_MAX, FeedCondition, FeedError, FeedSettings};
pub use file_name::FileNameTemplate;
pub use filter::{DayInstant, Filter, LIST_VALUES_MAX};
pub use parallel::ParallelKey;
pub use reason::ReasonSetting;
pub use restricted::{Mask, MaskedStatement, RestrictedColumn};
pub use sheet::Sheet;
pub use statement::{Argument, References, SqlDialect, Statement, Variable, clock_word};
pub use store_settings::{StoreMode, StoreSettings};
pub use text::{Language, Languages, NotALanguage, Text};
pub use value::{FilterType, Value};

/// The SQL dialect of each configured database, by its name.
pub type Dialects = BTreeMap<String, SqlDialect>;

/// The database of exports that set none.
pub const DEFAULT_DATABASE: &str = "default";

/// The claims in PostgreSQL's `request.jwt.claims` that Rowlink sets: the user id and the export's role.
pub const SESSION_CLAIMS: [&str; 2] = ["sub", "role"];

/// The exports by name, and the errors of invalid files.
#[derive(Debug, Default)]
pub struct Catalog {
    exports: BTreeMap<String, Arc<Export>>,
    errors: Vec<FileError>,
}

/// One export.
#[derive(Debug, Clone)]
pub struct Export {
    /// The name: that of its folder, or its file name without `.sql`.
    pub name: String,
    /// The title for users.
    pub title: Text,
    /// The description for users.
    pub description: Option<Text>,
    /// The language of its texts for links and requests that name none.
    pub language: Language,
    /// The languages that its texts have.
    pub languages: Languages,
    /// The scope that the caller's credential must have.
    pub scope: Option<String>,
    /// The filters, in the order of the file.
    pub filters: Vec<Filter>,
    /// Its stored documents, if its rows stand for these.
    pub documents: Option<DocumentSettings>,
    /// The formats it offers; none for stored documents.
    pub formats: Vec<Format>,
    /// The default time zone of timestamps; a link can override it.
    pub time_zone: TimeZone,
    /// The options of formats, by extension; a link can override them.
    pub format_options: BTreeMap<&'static str, FormatOptions>,
    /// The name of the database it reads.
    pub database: String,
    /// The PostgreSQL role that runs the query instead of the login role.
    pub role: Option<String>,
    /// Whether row-level security policies of PostgreSQL restrict each caller's rows.
    pub row_security: bool,
    /// Whether callers may request a size estimate before the download.
    pub is_estimated: bool,
    /// Whether links are always sealed, even if the request does not ask for it.
    pub seal: bool,
    /// Whether links need a reason.
    pub reason: ReasonSetting,
    /// The file name of links whose request names none.
    pub file_name: Option<Text<FileNameTemplate>>,
    /// The seconds without a row after which heartbeats keep the connection alive, instead of those of the deployment; 0
    /// for none.
    pub heartbeat_seconds: Option<u64>,
    /// The limits of its links and downloads.
    pub limits: ExportLimits,
    /// Which of its links may live longer than others.
    pub feed: Option<FeedSettings>,
    /// Which of its files are stored.
    pub store: StoreSettings,
    /// The column whose ranges several connections read at the same time.
    pub parallel: Option<ParallelKey>,
    /// The claims that a link must pin.
    pub claims: Vec<String>,
    /// Its statements, at least one, in the order of the file that a client gets.
    pub sheets: Vec<Sheet>,
    /// The text of its files, which tells whether one has changed.
    pub text: String,
}

/// What the operator allows for one export, in addition to the limits of the deployment. An export's file sets it under
/// `[limits]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportLimits {
    /// The most rows of a file.
    pub max_rows: Option<NonZeroU64>,
    /// The most bytes of a file, before a content coding.
    pub max_bytes: Option<NonZeroU64>,
    /// The longest duration of a download, in seconds.
    pub max_seconds: Option<NonZeroU64>,
    /// The longest lifetime of a link, in seconds.
    pub max_ttl_seconds: Option<NonZeroU64>,
    /// The most downloads that run at the same time on one server.
    pub max_downloads: Option<NonZeroUsize>,
}

/// An error in a file, displayed as `orders.sql:12: …` or `year_report/01_orders.sql:12: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The file name.
    pub file: String,
    /// The error and its line.
    pub error: LineError,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}",
            self.file, self.error.line, self.error.message
        )
    }
}

/// An invalid field of a request or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name in the request, such as `filters.from` or `expires_in`.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl Catalog {
    /// Parses the exports from `(file name, text)` pairs; those of a book have its folder in their names. Keeps all errors, so that they can be
    /// reported together with those the database returns.
    pub fn parse<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
        dialects: &Dialects,
    ) -> Catalog {
        let mut catalog = Catalog::default();
        let (of_books, files): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(file, _)| file.contains('/'));
        let mut books: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (file, text) in of_books {
            books
                .entry(export_name(file))
                .or_default()
                .push((file, text));
        }
        for (file, text) in files {
            let name = export_name(file);
            if books.remove(name).is_some() {
                let message = format!("the folder `{name}` is a book with this name; rename one");
                catalog.add_error(file, LineError::new(1, message));
                continue;
            }
            let parsed = check_name(name).and_then(|()| file::parse(name, text, dialects));
            match parsed {
                Ok(export) => {
                    catalog.exports.insert(name.to_owned(), Arc::new(export));
                }
                Err(errors) => errors
                    .into_iter()
                    .for_each(|error| catalog.add_error(file, error)),
            }
        }
        for (name, files) in books {
            match book::parse(name, files, dialects) {
                Ok(export) => {
                    catalog.exports.insert(name.to_owned(), Arc::new(export));
                }
                Err(errors) => catalog.errors.extend(errors),
            }
        }
        catalog
    }

    /// Adds an error of an invalid file.
    pub fn add_error(&mut self, file: &str, error: LineError) {
        self.errors.push(FileError {
            file: file.to_owned(),
            error,
        });
    }

    /// Removes an export.
    pub fn remove(&mut self, name: &str) {
        self.exports.remove(name);
    }

    /// Returns the errors of all files.
    pub fn errors(&self) -> &[FileError] {
        &self.errors
    }

    /// Returns the export with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Export>> {
        self.exports.get(name)
    }

    /// Iterates over all exports, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Export>> {
        self.exports.values()
    }
}

/// Returns the name of the export in a file: the folder of a book, or the file name without `.sql`.
#[must_use]
pub fn export_name(file: &str) -> &str {
    match file.split_once('/') {
        Some((folder, _)) => folder,
        None => file.strip_suffix(".sql").unwrap_or(file),
    }
}

/// Tells whether a file has the settings of a book.
#[must_use]
pub fn is_book_file(file: &str) -> bool {
    file.split_once('/')
        .is_some_and(|(_, file)| file == BOOK_FILE)
}

fn check_name(name: &str) -> Result<(), Vec<LineError>> {
    if is_export_name(name) {
        Ok(())
    } else {
        let message = "expected a file name of 1 to 64 of A-Z a-z 0-9 _ -, then `.sql`";
        Err(vec![LineError::new(1, message)])
    }
}

/// An export's statements with the values of a link. Only [`Export::bind`] creates one.
#[derive(Debug, Clone)]
pub struct BoundQuery {
    export: Arc<Export>,
    /// Those of each sheet.
    parameters: Vec<Vec<Parameter>>,
    /// Those of each sheet.
    columns: Vec<Option<Vec<String>>>,
    user: String,
    claims: BTreeMap<String, String>,
    time_zone: TimeZone,
    arrays_as_json: bool,
}

/// What the options of a link say about the rows.
#[derive(Debug, Clone)]
pub struct RowOptions {
    /// The columns of each sheet to read, in this order; `None` reads all.
    pub columns: Vec<Option<Vec<String>>>,
    /// The time zone of the file, in which the database reads dates as days.
    pub time_zone: TimeZone,
    /// Whether the format takes arrays as JSON.
    pub arrays_as_json: bool,
}

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// An omitted filter.
    Null,
    /// One value.
    One(Value),
    /// The values of a list filter.
    List(Vec<Value>),
}

impl BoundQuery {
    /// Returns the export.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Returns the statement of a sheet, by the sheet's index.
    pub fn statement(&self, sheet: usize) -> &Statement {
        &self.export.sheets[sheet].statement
    }

    /// Returns the values of the variables of a sheet's statement, in their order.
    pub fn parameters(&self, sheet: usize) -> &[Parameter] {
        &self.parameters[sheet]
    }

    /// Returns the columns of a sheet to read, in this order; `None` reads all.
    pub fn columns(&self, sheet: usize) -> Option<&[String]> {
        self.columns[sheet].as_deref()
    }

    /// Returns the user id of the link.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the pinned claims of the link.
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }

    /// Returns the time zone of the file.
    pub fn time_zone(&self) -> TimeZone {
        self.time_zone
    }

    /// Returns whether arrays are read as JSON, not as text.
    pub fn arrays_as_json(&self) -> bool {
        self.arrays_as_json
    }
}

impl Export {
    /// Returns one of its texts in a language, or in one that it falls back to.
    pub fn text<'t, T>(&self, text: &'t Text<T>, language: Option<&Language>) -> &'t T {
        text.get(language, &self.language)
    }

    /// Returns the language in which most of its texts are for a reader of `language`; `None` if no text has one.
    pub fn shown_language(&self, language: Option<&Language>) -> Option<&Language> {
        let accepted = language.into_iter().chain([&self.language]);
        let best = self.languages.best(accepted);
        best.or_else(|| self.languages.first())
    }

    /// Returns what its rows are.
    pub fn kind(&self) -> ExportKind {
        match &self.documents {
            None => ExportKind::Rows,
            Some(documents) if documents.is_archive => ExportKind::Files,
            Some(_) => ExportKind::File,
        }
    }

    /// Returns the file with its settings.
    pub fn settings_file(&self) -> String {
        let file = &self.sheets[0].file;
        match file.split_once('/') {
            Some((folder, _)) => format!("{folder}/{BOOK_FILE}"),
            None => file.clone(),
        }
    }

    /// Returns the name of a sheet's column in links and requests: `total`, or `orders.total` if there are several sheets.
    pub fn column_key(&self, sheet: &Sheet, column: &str) -> String {
        match self.sheets.len() {
            1 => column.to_owned(),
            _ => format!("{}.{column}", sheet.name),
        }
    }

    /// Returns the sheet whose statement is in a file.
    pub fn sheet_of(&self, file: &str) -> Option<&Sheet> {
        self.sheets.iter().find(|sheet| sheet.file == file)
    }

    /// Checks a request's filters and returns them as `(name, value)` pairs of the link. Includes the
    /// defaults of omitted filters: a default that changes later must not change issued links. A filter with only
    /// empty values is omitted, unless it accepts an empty text.
    ///
    /// # Errors
    /// Returns every filter that is unknown, missing or invalid.
    pub fn resolve(
        &self,
        requested: &IndexMap<String, Vec<String>>,
    ) -> Result<Vec<(String, String)>, Vec<FieldError>> {
        let is_given = |name: &String, values: &[String]| {
            let filter = self.filter(name);
            let is_omitted = |value: &String| filter.is_some_and(|filter| filter.is_omitted(value));
            values.is_empty() || !values.iter().all(is_omitted)
        };
        let mut requested = requested.clone();
        requested.retain(|name, values| is_given(name, values));
        let values = self.check(&requested)?;
        let pairs = values.iter().flat_map(|(filter, values)| {
            values
                .iter()
                .map(|value| (filter.name.clone(), value.to_string()))
        });
        Ok(pairs.collect())
    }

    /// Binds the values of a verified link to the parameters of the statements.
    ///
    /// # Errors
    /// Returns every filter or claim of the link that this catalog does not accept, or that its reason is missing. It may
    /// differ from the catalog that issued the link.
    pub fn bind(
        self: &Arc<Self>,
        verified: &VerifiedLink,
        options: RowOptions,
    ) -> Result<BoundQuery, Vec<FieldError>> {
        let link = verified.link();
        let mut filters: IndexMap<String, Vec<String>> = IndexMap::new();
        for (name, value) in &link.filters {
            filters.entry(name.clone()).or_default().push(value.clone());
        }
        let checked = self.check(&filters)?;
        self.check_claims(&link.claims)?;
        self.reason.check(&link.conditions)?;
        let text = |text: &str| Parameter::One(Value::Text(text.to_owned()));
        let bind = |variable: &Variable| match variable {
            Variable::User => text(link.user.as_str()),
            Variable::Claim(name) => text(&link.claims[name]),
            Variable::Filter(name) => {
                let found = checked.iter().find(|(filter, _)| filter.name == *name);
                found.map_or(Parameter::Null, |(filter, values)| {
                    let values = values.iter().cloned();
                    let bound = values.map(|value| filter.bound(value, options.time_zone));
                    Parameter::of(filter, bound.collect())
                })
            }
        };
        let bind_sheet = |sheet: &Sheet| sheet.statement.variables.iter().map(bind).collect();
        Ok(BoundQuery {
            export: self.clone(),
            parameters: self.sheets.iter().map(bind_sheet).collect(),
            columns: options.columns,
            user: link.user.as_str().to_owned(),
            claims: link.claims.clone(),
            time_zone: options.time_zone,
            arrays_as_json: options.arrays_as_json,
        })
    }

    /// Checks that a link's claims are exactly those that the export pins. An export that ignored a
    /// claim, such as an older version, would return more rows than were authorised.
    ///
    /// # Errors
    /// Returns every missing or unknown claim.
    pub fn check_claims(&self, claims: &BTreeMap<String, String>) -> Result<(), Vec<FieldError>> {
        let error = |name: &String, message| FieldError::new(format!("claims.{name}"), message);
        let unknown = claims.keys().filter(|name| !self.claims.contains(name));
        let unknown = unknown.map(|name| error(name, "unknown claim; this export does not pin it"));
        let missing = self
            .claims
            .iter()
            .filter(|name| !claims.contains_key(*name));
        let missing = missing.map(|name| error(name, "is required"));
        let errors: Vec<FieldError> = unknown.chain(missing).collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// Returns the filters that have values, in the order of the file.
    fn check(
        &self,
        requested: &IndexMap<String, Vec<String>>,
    ) -> Result<Vec<(&Filter, Vec<Value>)>, Vec<FieldError>> {
        let unknown = requested.keys().filter(|name| self.filter(name).is_none());
        let mut errors: Vec<FieldError> = unknown.map(|name| self.unknown_filter(name)).collect();
        let checked = self.filters.iter().filter_map(|filter| {
            let values = match requested.get(&filter.name) {
                Some(texts) => filter.check(texts),
                None if filter.required => Err("is required".to_owned()),
                None => Ok(filter.default.clone()),
            };
            match values {
                Ok(values) if values.is_empty() => None,
                Ok(values) => Some(Ok((filter, values))),
                Err(message) => {
                    let field = format!("filters.{}", filter.name);
                    Some(Err(FieldError::new(field, message)))
                }
            }
        });
        let (checked, field_errors) = partition(checked);
        errors.extend(field_errors);
        if errors.is_empty() {
            Ok(checked)
        } else {
            Err(errors)
        }
    }

    fn filter(&self, name: &str) -> Option<&Filter> {
        self.filters.iter().find(|filter| filter.name == name)
    }

    fn unknown_filter(&self, name: &str) -> FieldError {
        let names: Vec<&str> = self.filters.iter().map(|it| it.name.as_str()).collect();
        let message = if names.is_empty() {
            "unknown filter; this export has no filters".to_owned()
        } else {
            format!("unknown filter; expected one of {}", names.join(", "))
        };
        FieldError::new(format!("filters.{name}"), message)
    }
}

impl Parameter {
    fn of(filter: &Filter, mut values: Vec<Value>) -> Parameter {
        match values.pop() {
            Some(value) if !filter.list => Parameter::One(value),
            last => {
                values.extend(last);
                Parameter::List(values)
            }
        }
    }
}

fn partition<T, E>(results: impl Iterator<Item = Result<T, E>>) -> (Vec<T>, Vec<E>) {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    (values, errors)
}
