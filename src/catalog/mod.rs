//! What may be exported: one `.sql` file, one export. Pure: no I/O, no clock, no driver.
//!
//! A [`Catalog`] is read from the texts of its files, and keeps their faults. A request's filters
//! are checked by [`Export::resolve`] when a link is issued, and those of the link again by
//! [`Export::bind`], whose [`BoundQuery`] is the only thing a source runs.

mod file;
mod filter;
mod placeholder;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::format::{CsvOptions, Format, NdjsonOptions, XlsxOptions};
use crate::row::TimeZone;
use crate::toml_errors::LineError;
use rowlink_link::{VerifiedLink, is_bare_name};

pub use filter::{Filter, FilterType, LIST_VALUES_MAX, Value};
pub use placeholder::{SqlDialect, Statement, Variable};

/// The databases that an export may name, each with its dialect.
pub type Dialects = BTreeMap<String, SqlDialect>;

/// The database of an export that names none.
pub const DEFAULT_DATABASE: &str = "default";

/// All exports, by name, and what is wrong with the files that gave none.
#[derive(Debug, Default)]
pub struct Catalog {
    exports: BTreeMap<String, Arc<Export>>,
    errors: Vec<FileError>,
}

/// One export.
#[derive(Debug)]
pub struct Export {
    /// Its name: that of its file, without `.sql`.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it holds, for people.
    pub description: Option<String>,
    /// What a caller's credential must hold.
    pub scope: Option<String>,
    /// What a caller may filter by, in the order of the file.
    pub filters: Vec<Filter>,
    /// What it may be downloaded as.
    pub formats: Vec<Format>,
    /// What the header calls a column, by column name; other columns keep their name.
    pub labels: IndexMap<String, String>,
    /// Number formats of XLSX, by column name.
    pub number_formats: IndexMap<String, String>,
    /// In which instants are shown unless a link says otherwise.
    pub time_zone: TimeZone,
    /// How CSV is written unless a link says otherwise.
    pub csv: CsvOptions,
    /// How XLSX is written unless a link says otherwise.
    pub xlsx: XlsxOptions,
    /// How NDJSON is written unless a link says otherwise.
    pub ndjson: NdjsonOptions,
    /// Which database it reads.
    pub database: String,
    /// The role that PostgreSQL runs it as, instead of the one that is logged in.
    pub role: Option<String>,
    /// Whether policies of PostgreSQL are what keeps callers apart.
    pub row_security: bool,
    /// Whether callers may know about how much it will give before they have it.
    pub is_estimated: bool,
    /// Whether its links hide their contents, asked for or not.
    pub seal: bool,
    /// The claims that a link must carry.
    pub claims: Vec<String>,
    /// The SQL.
    pub statement: Statement,
}

/// A fault with its file: `orders.sql:12: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The file's name.
    pub file: String,
    /// What is wrong there.
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

/// A value that a caller gave and that does not fit, by the name it has in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `filters.from`, `csv.delimiter`, `expires_in`, ….
    pub field: String,
    /// What was expected.
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
    /// Reads the exports from `(file name, text)` pairs. What is wrong with them is kept, so that it
    /// can be reported together with what only the database finds.
    pub fn parse<'f>(
        files: impl IntoIterator<Item = (&'f str, &'f str)>,
        dialects: &Dialects,
    ) -> Catalog {
        let mut catalog = Catalog::default();
        for (file, text) in files {
            let name = file.strip_suffix(".sql").unwrap_or(file);
            let parsed = check_name(name).and_then(|()| file::parse(name, text, dialects));
            match parsed {
                Ok(export) => {
                    catalog.exports.insert(name.to_owned(), Arc::new(export));
                }
                Err(found) => found
                    .into_iter()
                    .for_each(|error| catalog.fail(file, error)),
            }
        }
        catalog
    }

    /// Adds the fault of a file that gives no export.
    pub fn fail(&mut self, file: &str, error: LineError) {
        self.errors.push(FileError {
            file: file.to_owned(),
            error,
        });
    }

    /// Every fault of every file. A catalog that has any is not served.
    pub fn errors(&self) -> &[FileError] {
        &self.errors
    }

    /// The export of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Export>> {
        self.exports.get(name)
    }

    /// All exports, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Export>> {
        self.exports.values()
    }
}

/// Whether `name` can stand in a path as it is: `[A-Za-z0-9_-]{1,64}`.
pub fn is_export_name(name: &str) -> bool {
    is_bare_name(name, 64)
}

fn check_name(name: &str) -> Result<(), Vec<LineError>> {
    if is_export_name(name) {
        Ok(())
    } else {
        let message = "an export's file name is 1 to 64 letters, digits, `_` and `-`, then `.sql`";
        Err(vec![LineError::new(1, message)])
    }
}

/// An export with the values of a link: what a source runs. Only [`Export::bind`] makes one.
#[derive(Debug, Clone)]
pub struct BoundQuery {
    export: Arc<Export>,
    parameters: Vec<Parameter>,
    columns: Option<Vec<String>>,
    user: String,
    claims: BTreeMap<String, String>,
}

/// The value of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// A filter that was left out.
    Null,
    /// One value.
    One(Value),
    /// The values of a list filter.
    List(Vec<Value>),
}

impl BoundQuery {
    /// The export.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// The values of the statement's variables, in their order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The columns to read, in that order; all of them without.
    pub fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    /// The user id of the link.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The pinned claims of the link.
    pub fn claims(&self) -> &BTreeMap<String, String> {
        &self.claims
    }
}

impl Export {
    /// Checks a request's filters and spells them as a link carries them, with the defaults of
    /// those that were left out, so that a default that changes later changes no link.
    ///
    /// # Errors
    /// Every filter that is unknown, missing or does not fit.
    pub fn resolve(
        &self,
        given: &IndexMap<String, Vec<String>>,
    ) -> Result<Vec<(String, String)>, Vec<FieldError>> {
        let values = self.check(given)?;
        let pairs = values.iter().flat_map(|(filter, values)| {
            values
                .iter()
                .map(|value| (filter.name.clone(), value.to_string()))
        });
        Ok(pairs.collect())
    }

    /// Binds the values of a verified link to the parameters of the statement, for the `columns`
    /// named or all.
    ///
    /// # Errors
    /// Every filter or claim of the link that this catalog, which may be newer, does not accept.
    pub fn bind(
        self: &Arc<Self>,
        verified: &VerifiedLink,
        columns: Option<Vec<String>>,
    ) -> Result<BoundQuery, Vec<FieldError>> {
        let link = verified.link();
        let mut given: IndexMap<String, Vec<String>> = IndexMap::new();
        for (name, value) in &link.filters {
            given.entry(name.clone()).or_default().push(value.clone());
        }
        let checked = self.check(&given)?;
        self.check_claims(&link.claims)?;
        let text = |text: &str| Parameter::One(Value::Text(text.to_owned()));
        let bind = |variable: &Variable| match variable {
            Variable::User => text(link.user.as_str()),
            Variable::Claim(name) => text(&link.claims[name]),
            Variable::Filter(name) => {
                let found = checked.iter().find(|(filter, _)| filter.name == *name);
                found.map_or(Parameter::Null, |(filter, values)| {
                    Parameter::of(filter, values.clone())
                })
            }
        };
        Ok(BoundQuery {
            export: self.clone(),
            parameters: self.statement.variables.iter().map(bind).collect(),
            columns,
            user: link.user.as_str().to_owned(),
            claims: link.claims.clone(),
        })
    }

    /// Checks that a link's claims are those that the export pins. A claim narrows the link: an export that does not
    /// know it, perhaps an older version on this replica, would give more rows than were authorised.
    ///
    /// # Errors
    /// Every claim that is missing or too much.
    pub fn check_claims(&self, claims: &BTreeMap<String, String>) -> Result<(), Vec<FieldError>> {
        let error = |name: &String, message| FieldError::new(format!("claims.{name}"), message);
        let unpinned = claims.keys().filter(|name| !self.claims.contains(name));
        let unpinned = unpinned.map(|name| error(name, "is not pinned by this export"));
        let missing = self
            .claims
            .iter()
            .filter(|name| !claims.contains_key(*name));
        let missing = missing.map(|name| error(name, "is missing"));
        let errors: Vec<FieldError> = unpinned.chain(missing).collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    /// The filters in the order of the file, each with its values; those without any left out.
    fn check(
        &self,
        given: &IndexMap<String, Vec<String>>,
    ) -> Result<Vec<(&Filter, Vec<Value>)>, Vec<FieldError>> {
        let unknown = given.keys().filter(|name| self.filter(name).is_none());
        let mut errors: Vec<FieldError> = unknown.map(|name| self.unknown_filter(name)).collect();
        let checked = self.filters.iter().filter_map(|filter| {
            let values = match given.get(&filter.name) {
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
            "unknown filter; this export has none".to_owned()
        } else {
            format!("unknown filter; this export has {}", names.join(", "))
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
