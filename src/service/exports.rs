//! The exports that are served, and why others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::export_service::ExportService;
use crate::catalog::{
    Catalog, DOCUMENT_COLUMNS, Export, FileError, FilterType, Sheet, SqlDialect, StoreMode,
    export_name,
};
use crate::format::LinkTemplate;
use crate::row::{Column, Kind, TimeZone};
use crate::source::{
    CONCURRENT_DESCRIPTIONS, DESCRIBE_TIMEOUT, DescribeError, DescribedExport, SourceError, causes,
};
use crate::toml_errors::LineError;

/// An export that its database has described, or its errors.
type Described = Result<ServedExport, Vec<ExportError>>;

/// Why an export is not served, or only in its previous version.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExportError {
    /// Its file has an error.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its database is unavailable.
    #[error("database `{name}`: {}", causes(.error))]
    Database {
        /// Its name in the configuration.
        name: String,
        /// The reason.
        #[source]
        error: Arc<SourceError>,
    },
}

impl ExportError {
    /// Returns the kind of error as a word that shows nothing of the file and the database.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ExportError::File(_) => "invalid-export",
            ExportError::Database { .. } => "database-unavailable",
        }
    }
}

/// One version of an export, and its description by the database. They are replaced together, so a query never runs with
/// the plan of another version.
pub struct ServedExport {
    pub(super) export: Arc<Export>,
    pub(super) described: Arc<dyn DescribedExport>,
    /// Differs if the file or its columns do, or the version of the server.
    pub(super) definition: String,
    /// The export with columns masked, by their names.
    variants: BTreeMap<BTreeSet<String>, Arc<ServedExport>>,
}

impl ServedExport {
    fn new(
        export: Arc<Export>,
        described: Arc<dyn DescribedExport>,
        masked: &BTreeSet<String>,
    ) -> ServedExport {
        let columns = described.columns().iter().flatten();
        let columns: Vec<&String> = columns.map(|column| &column.name).collect();
        let definition = format!(
            "{}\n{columns:?}\n{masked:?}\n{}",
            env!("CARGO_PKG_VERSION"),
            export.text
        );
        ServedExport {
            definition: hex::encode(Sha256::digest(definition)),
            export,
            described,
            variants: BTreeMap::new(),
        }
    }

    /// Returns the export as it is for a link that reveals these columns.
    pub(super) fn for_reveal(self: &Arc<Self>, reveal: &[String]) -> Option<Arc<ServedExport>> {
        let masked = self.export.masked(reveal);
        match masked.is_empty() {
            true => Some(self.clone()),
            false => self.variants.get(&masked).cloned(),
        }
    }

    /// Returns the sheets with the columns that a holder of these scopes may see, also if they are masked.
    pub fn sheets_for(
        &self,
        scopes: &BTreeSet<String>,
    ) -> impl Iterator<Item = (&Sheet, Vec<&Column>)> {
        let export = &self.export;
        let withheld = export.withheld(&export.revealed_to(scopes, None));
        self.sheets().map(move |(sheet, columns)| {
            let is_withheld =
                |column: &&Column| withheld.contains_key(&export.column_key(sheet, &column.name));
            let columns = columns.iter().filter(|column| !is_withheld(column));
            (sheet, columns.collect())
        })
    }

    /// Returns the export.
    #[must_use]
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Returns the columns of each of its statements.
    #[must_use]
    pub fn columns(&self) -> &[Vec<Column>] {
        self.described.columns()
    }

    /// Returns its sheets with their columns.
    pub fn sheets(&self) -> impl Iterator<Item = (&Sheet, &[Column])> {
        let columns = self.described.columns().iter().map(Vec::as_slice);
        self.export.sheets.iter().zip(columns)
    }

    /// Returns what its author should change.
    fn warnings(&self, dialect: SqlDialect, has_store: bool) -> Vec<String> {
        let days = self.warning_of_days(dialect);
        let is_stored = self.export.store.mode != StoreMode::Never;
        let no_store = (is_stored && !has_store).then(|| {
            let file = self.export.settings_file();
            format!("{file}: `[store]` has no effect without ROWLINK_STORE_URL")
        });
        let of_parallel = self.warning_of_parallel();
        let warnings = days.into_iter().chain(no_store);
        warnings.chain(of_parallel).collect()
    }

    /// Returns a warning of an export with `parallel` that is read over one connection, for all or for some links.
    fn warning_of_parallel(&self) -> Option<String> {
        let key = self.export.parallel.as_ref()?;
        let of_variant = |(masked, variant): (&BTreeSet<String>, &Arc<ServedExport>)| {
            let reason = variant.described.parallel_obstacle()?;
            let names: Vec<String> = masked.iter().map(|name| format!("`{name}`")).collect();
            Some(format!("with {} masked, {reason}", names.join(", ")))
        };
        let reason = self.described.parallel_obstacle().map(str::to_owned);
        let reason = reason.or_else(|| self.variants.iter().find_map(of_variant))?;
        let file = self.export.settings_file();
        let line = key.line;
        Some(format!(
            "{file}:{line}: `parallel`: {reason}; it is read over one connection"
        ))
    }

    /// Returns a warning of dates that are days of UTC in a file with another time zone.
    fn warning_of_days(&self, dialect: SqlDialect) -> Option<String> {
        let export = self.export();
        let columns = self.described.columns().iter().flatten();
        let mut kinds = columns.map(|column| column.kind);
        let shows_instants = kinds.any(|kind| kind == Kind::Timestamp { utc: true });
        let is_utc = export.time_zone == TimeZone::default();
        if dialect != SqlDialect::Mysql || !shows_instants || is_utc {
            return None;
        }
        let mut filters = export.filters.iter();
        let filter = filters.find(|filter| filter.bound_type() == FilterType::Date)?;
        Some(format!(
            "{}: filter `{}` is a day of UTC, but the file shows {}; add `instant = \"start\"` or \"end\" if it \
             is compared with a timestamp",
            export.settings_file(),
            filter.name,
            export.time_zone.name()
        ))
    }
}

impl fmt::Debug for ServedExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServedExport").field(&self.export).finish()
    }
}

/// All exports at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Exports {
    pub(super) served: BTreeMap<String, Arc<ServedExport>>,
    /// By name. An export is also in `served` if its previous version is.
    pub(super) failed: BTreeMap<String, Failure>,
}

/// Why an export cannot be served.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure {
    /// The export, if its file is valid.
    pub(super) export: Option<Arc<Export>>,
    errors: Vec<ExportError>,
}

/// An export that cannot be served, or only in its previous version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedExport {
    /// Its name.
    pub name: String,
    /// The kind of its error: see [`ExportError::code`].
    pub code: &'static str,
    /// Whether its previous version is served.
    pub has_previous: bool,
}

impl FailedExport {
    /// Returns what is served: `nothing` or `previous`, the previous version.
    #[must_use]
    pub fn serves(&self) -> &'static str {
        match self.has_previous {
            true => "previous",
            false => "nothing",
        }
    }
}

/// Which exports the databases describe again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportsToDescribe {
    /// Those whose file has changed, and those that failed.
    Changed,
    /// All: their tables may have changed.
    All,
}

/// What an update of the exports has changed.
#[derive(Debug, Default)]
pub struct ExportsUpdate {
    /// The exports that are served in a new version, or again.
    pub served: Vec<String>,
    /// The exports whose files are gone.
    pub removed: Vec<String>,
    /// The errors that were not there before.
    pub errors: Vec<ExportError>,
    /// What the authors of the exports in `served` should change.
    pub warnings: Vec<String>,
}

impl ExportService {
    /// Serves the exports of a catalog. One that cannot be served keeps its previous version, if there is one. Exports
    /// whose files are gone, or are unchanged, do not wait for a database.
    pub async fn update_exports(
        &self,
        catalog: &Catalog,
        to_describe: ExportsToDescribe,
    ) -> ExportsUpdate {
        let before = self.exports.load_full();
        let mut exports = Exports::default();
        for error in catalog.errors() {
            let name = export_name(&error.file);
            exports.keep_previous(name, &before);
            let failure = exports.failed.entry(name.to_owned()).or_default();
            failure.errors.push(ExportError::File(error.clone()));
        }
        let mut changed = Vec::new();
        for export in catalog.iter() {
            exports.keep_previous(&export.name, &before);
            let served = before.served.get(&export.name);
            let is_same = served.is_some_and(|served| served.export.text == export.text);
            let has_failed = before.failed.get(&export.name);
            if to_describe == ExportsToDescribe::All || !is_same || has_failed.is_some() {
                changed.push(export.clone());
                let known = has_failed.map(|failure| (export.name.clone(), failure.clone()));
                exports.failed.extend(known);
            }
        }
        let mut update = ExportsUpdate {
            removed: before.names_missing_in(&exports, catalog),
            ..ExportsUpdate::default()
        };
        self.exports.store(Arc::new(exports.clone()));
        let unavailable = Mutex::default();
        let describe = |export| self.describe_unless_unavailable(export, &unavailable);
        let described = stream::iter(changed).map(describe);
        let mut described = described.buffered(CONCURRENT_DESCRIPTIONS);
        while let Some((export, described)) = described.next().await {
            let name = export.name.clone();
            match described {
                Ok(served) => {
                    let dialect = self.sources[&export.database].dialect();
                    let served = Arc::new(served);
                    update
                        .warnings
                        .extend(served.warnings(dialect, self.has_store()));
                    exports.failed.remove(&name);
                    exports.served.insert(name.clone(), served);
                    update.served.push(name);
                }
                Err(errors) => {
                    let export = Some(export);
                    exports.failed.insert(name, Failure { export, errors });
                }
            }
            self.exports.store(Arc::new(exports.clone()));
        }
        let sources = self.sources.values();
        join_all(sources.map(|source| source.close_descriptions())).await;
        update.errors = exports.errors_missing_in(&before);
        update
    }

    /// Describes an export, unless its database was found to be unavailable: a connection may take seconds to fail.
    async fn describe_unless_unavailable(
        &self,
        export: Arc<Export>,
        unavailable: &Mutex<BTreeMap<String, ExportError>>,
    ) -> (Arc<Export>, Described) {
        let lock = || unavailable.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&export.database).cloned();
        let described = match known {
            Some(error) => Err(vec![error]),
            None => self.describe(&export).await,
        };
        if let Err(errors) = &described
            && let [error @ ExportError::Database { name, .. }] = errors.as_slice()
        {
            lock().insert(name.clone(), error.clone());
        }
        (export, described)
    }

    async fn describe(&self, export: &Arc<Export>) -> Described {
        let described = self.describe_statements(export).await;
        let described = described.map_err(|error| vec![error])?;
        let errors: Vec<_> = self.check_described(export, &*described).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut served = ServedExport::new(export.clone(), described, &BTreeSet::new());
        for masked in export.mask_sets() {
            let variant = self.describe_variant(&served, &masked).await;
            let variant = variant.map_err(|error| vec![error])?;
            served.variants.insert(masked, Arc::new(variant));
        }
        Ok(served)
    }

    /// Describes an export with some columns masked.
    async fn describe_variant(
        &self,
        served: &ServedExport,
        masked: &BTreeSet<String>,
    ) -> Result<ServedExport, ExportError> {
        let export = Arc::new(served.export.with_masks(masked));
        let described = self.describe_statements(&export).await;
        let described = described.map_err(|found| match found {
            ExportError::File(found) => match export.sheet_of(&found.file) {
                Some(sheet) if !export.masks_of(sheet, masked).is_empty() => {
                    mask_error(&export, sheet, masked, &found.error.message)
                }
                _ => ExportError::File(found),
            },
            unavailable @ ExportError::Database { .. } => unavailable,
        })?;
        // The item that was replaced was the column, and nothing else.
        let sheets = described.columns().iter().zip(served.described.columns());
        for (sheet, (columns, others)) in export.sheets.iter().zip(sheets) {
            let names = columns.iter().map(|column| &column.name);
            if !names.eq(others.iter().map(|column| &column.name)) {
                let message =
                    "its column has another name in the select list; add `as` and the name";
                return Err(mask_error(&export, sheet, masked, message));
            }
        }
        Ok(ServedExport::new(export, described, masked))
    }

    async fn describe_statements(
        &self,
        export: &Export,
    ) -> Result<Arc<dyn DescribedExport>, ExportError> {
        let source = &self.sources[&export.database];
        let time_limit = DESCRIBE_TIMEOUT * export.sheets.len() as u32;
        let described = timeout(time_limit, source.describe(export)).await;
        let DescribeError { sheet, error } = match described {
            Ok(Ok(described)) => return Ok(described),
            Ok(Err(error)) => error,
            // Only a statement of its own is certainly the slow one.
            Err(_) if export.sheets.len() == 1 => SourceError::TooSlow.into(),
            Err(_) => {
                let seconds = time_limit.as_secs();
                let message = format!("the database did not describe its files within {seconds} s");
                return Err(ExportError::File(FileError {
                    file: export.settings_file(),
                    error: LineError::new(1, message),
                }));
            }
        };
        let sheet = &export.sheets[sheet];
        let statement = &sheet.statement;
        let (offset, message) = match error {
            error @ SourceError::Unavailable(_) => {
                return Err(ExportError::Database {
                    name: export.database.clone(),
                    error: Arc::new(error),
                });
            }
            SourceError::Query { offset, cause } => (offset, cause.to_string()),
            SourceError::TooSlow => {
                let seconds = DESCRIBE_TIMEOUT.as_secs();
                (
                    None,
                    format!("the database did not describe it within {seconds} s"),
                )
            }
            other => (None, causes(&other)),
        };
        let line = statement.line_at(offset.unwrap_or(0));
        let message = message.replace(&statement.sql, "the SQL");
        let message = statement.name_parameters(&message);
        Err(file_error(sheet, LineError::new(line, message)))
    }

    /// Checks the columns of an export's statements.
    fn check_described<'a>(
        &'a self,
        export: &'a Export,
        described: &'a dyn DescribedExport,
    ) -> impl Iterator<Item = ExportError> + 'a {
        let sheets = export.sheets.iter().zip(described.columns());
        sheets.flat_map(move |(sheet, columns)| {
            let of_documents = self.check_documents(export, sheet, columns);
            let errors = check_columns(sheet, columns).chain(of_documents);
            let errors = errors.chain(check_parallel(export, columns));
            errors.map(|error| file_error(sheet, error))
        })
    }

    /// Checks that the store of an export's documents exists, and that its columns describe documents.
    fn check_documents(
        &self,
        export: &Export,
        sheet: &Sheet,
        columns: &[Column],
    ) -> Vec<LineError> {
        let Some(documents) = &export.documents else {
            return Vec::new();
        };
        let mut errors = Vec::new();
        let name = &documents.store;
        if !self.document_stores.contains_key(name) {
            let message =
                format!("`store` in [file]: unknown store `{name}`; add it to ROWLINK_STORES");
            errors.push(LineError::new(documents.line, message));
        }
        let line = sheet.statement.line;
        let expected = DOCUMENT_COLUMNS.join(", ");
        let is_unknown = |column: &&Column| !DOCUMENT_COLUMNS.contains(&column.name.as_str());
        for column in columns.iter().filter(is_unknown) {
            let message = format!("unknown column `{}`; expected {expected}", column.name);
            errors.push(LineError::new(line, message));
        }
        if !columns
            .iter()
            .any(|column| column.name == DOCUMENT_COLUMNS[0])
        {
            let message = format!("expected a column `object`, and perhaps others of {expected}");
            errors.push(LineError::new(line, message));
        }
        errors
    }

    /// Tells whether the texts of an export are in several languages, so that a caller may choose.
    #[must_use]
    pub fn has_several_languages(&self, export: &str) -> bool {
        let exports = self.exports.load();
        let served = exports.served.get(export);
        served.is_some_and(|served| served.export.languages.are_several())
    }

    /// Returns the exports that cannot be served, or only in their previous version.
    #[must_use]
    pub fn failed_exports(&self) -> Vec<FailedExport> {
        let exports = self.exports.load();
        let failed = exports.failed.iter();
        let failed = failed.map(|(name, failure)| FailedExport {
            name: name.clone(),
            code: failure.errors.first().map_or("unknown", ExportError::code),
            has_previous: exports.served.contains_key(name),
        });
        failed.collect()
    }
}

impl Exports {
    fn keep_previous(&mut self, name: &str, before: &Exports) {
        if let Some(previous) = before.served.get(name) {
            self.served.insert(name.to_owned(), previous.clone());
        }
    }

    /// Returns the names that neither another version nor a catalog has.
    fn names_missing_in(&self, other: &Exports, catalog: &Catalog) -> Vec<String> {
        let is_missing = |name: &&String| {
            !other.failed.contains_key(*name) && catalog.get(name.as_str()).is_none()
        };
        self.served.keys().filter(is_missing).cloned().collect()
    }

    /// Returns the export with this name, also if it cannot be served now.
    pub(super) fn known(&self, name: &str) -> Option<&Export> {
        let served = self.served.get(name).map(|served| &served.export);
        let failed = || self.failed.get(name)?.export.as_ref();
        served.or_else(failed).map(Arc::as_ref)
    }

    /// Returns the errors, each once, that another version does not have.
    fn errors_missing_in(&self, other: &Exports) -> Vec<ExportError> {
        let mut known: BTreeSet<String> = other.errors().map(ToString::to_string).collect();
        let new = self
            .errors()
            .filter(|error| known.insert(error.to_string()));
        new.cloned().collect()
    }

    fn errors(&self) -> impl Iterator<Item = &ExportError> {
        self.failed.values().flat_map(|failure| &failure.errors)
    }
}

fn check_columns<'a>(
    sheet: &'a Sheet,
    columns: &'a [Column],
) -> impl Iterator<Item = LineError> + 'a {
    let line = sheet.statement.line;
    let duplicates = columns
        .iter()
        .enumerate()
        .filter_map(move |(index, column)| {
            let first = columns.iter().position(|other| other.name == column.name);
            let message = format!(
                "two columns are named `{}`: rename one with `as`",
                column.name
            );
            (first != Some(index)).then(|| LineError::new(line, message))
        });
    let unknown = sheet.column_lines.iter().filter_map(move |(name, line)| {
        let known = columns.iter().any(|column| column.name == *name);
        let message = format!("[columns.{name}], but the query has no such column");
        (!known).then(|| LineError::new(*line, message))
    });
    let links = sheet.displays.iter().flat_map(move |(name, display)| {
        let needed = display.link.iter().flat_map(LinkTemplate::columns);
        let missing = needed.filter(|needed| !columns.iter().any(|it| it.name == **needed));
        let line = sheet.column_lines.get(name).copied().unwrap_or(line);
        missing.map(move |missing| {
            let message = format!(
                "`link` of `{name}`: the query has no column `{missing}`; correct the name or add it to the query"
            );
            LineError::new(line, message)
        })
    });
    let commas = columns.iter().filter(|column| column.name.contains(','));
    let commas = commas.map(move |column| {
        let message = format!("the column `{}` needs a plain name: add `as`", column.name);
        LineError::new(line, message)
    });
    duplicates.chain(unknown).chain(links).chain(commas)
}

/// Checks that the column of `parallel` exists.
fn check_parallel(export: &Export, columns: &[Column]) -> Option<LineError> {
    let key = export.parallel.as_ref()?;
    let is_known = columns.iter().any(|column| column.name == key.column);
    let message = format!(
        "`parallel`: the query has no column `{}`; correct the name or add it to the query",
        key.column
    );
    (!is_known).then(|| LineError::new(key.line, message))
}

/// Returns the error of a sheet whose columns in `masked` are masked.
fn mask_error(
    export: &Export,
    sheet: &Sheet,
    masked: &BTreeSet<String>,
    message: &str,
) -> ExportError {
    let masks = export.masks_of(sheet, masked);
    let line = masks.first().map_or(1, |(_, mask)| mask.line);
    let names: Vec<String> = masks.iter().map(|(name, _)| format!("`{name}`")).collect();
    let message = format!("`mask` of {}: {message}", names.join(", "));
    file_error(sheet, LineError::new(line, message))
}

fn file_error(sheet: &Sheet, error: LineError) -> ExportError {
    let file = sheet.file.clone();
    ExportError::File(FileError { file, error })
}
