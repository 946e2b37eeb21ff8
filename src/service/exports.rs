//! The exports that are served, and why others are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::export_service::ExportService;
use crate::catalog::{Catalog, Export, FileError, FilterType, SqlDialect};
use crate::row::{Column, Kind, TimeZone};
use crate::source::{DescribedExport, SourceError, causes};
use crate::toml_errors::LineError;

/// How many exports are described at the same time, each on a connection of its own.
const CONCURRENCY: usize = 4;

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
}

impl ServedExport {
    /// Returns the export.
    #[must_use]
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Returns the columns of its statement.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        self.described.columns()
    }

    /// Returns what its author should change: dates that are days of UTC in a file with another time zone.
    fn warning(&self, dialect: SqlDialect) -> Option<String> {
        let export = self.export();
        let mut kinds = self.columns().iter().map(|column| column.kind);
        let shows_instants = kinds.any(|kind| kind == Kind::Timestamp { utc: true });
        let is_utc = export.time_zone == TimeZone::default();
        if dialect != SqlDialect::Mysql || !shows_instants || is_utc {
            return None;
        }
        let mut filters = export.filters.iter();
        let filter = filters.find(|filter| filter.bound_type() == FilterType::Date)?;
        Some(format!(
            "{}.sql: filter `{}` is a day of UTC, but the file shows {}; add `instant = \"start\"` or \"end\" if it \
             is compared with a timestamp",
            export.name,
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
#[derive(Debug, Default)]
pub(super) struct Exports {
    pub(super) served: BTreeMap<String, Arc<ServedExport>>,
    /// By name. An export is also in `served` if its previous version is.
    pub(super) failed: BTreeMap<String, Vec<ExportError>>,
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
pub enum Describe {
    /// Those whose file has changed, and those that cannot be served.
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
    /// Serves the exports of a catalog. One that cannot be served keeps its previous version, if there is one.
    pub async fn update_exports(&self, catalog: &Catalog, describe: Describe) -> ExportsUpdate {
        let before = self.exports.load_full();
        let mut exports = Exports::default();
        let mut update = ExportsUpdate::default();
        for error in catalog.errors() {
            let name = error.file.strip_suffix(".sql").unwrap_or(&error.file);
            let errors = exports.failed.entry(name.to_owned()).or_default();
            errors.push(ExportError::File(error.clone()));
        }
        let mut to_describe = Vec::new();
        for export in catalog.iter() {
            match before.served.get(&export.name) {
                Some(served)
                    if describe == Describe::Changed && served.export.text == export.text =>
                {
                    exports.served.insert(export.name.clone(), served.clone());
                }
                _ => to_describe.push(export.clone()),
            }
        }
        for (export, described) in self.describe_all(to_describe).await {
            match described {
                Ok(described) => {
                    update.served.push(export.name.clone());
                    let dialect = self.sources[&export.database].dialect();
                    let served = Arc::new(ServedExport { export, described });
                    update.warnings.extend(served.warning(dialect));
                    exports.served.insert(served.export.name.clone(), served);
                }
                Err(errors) => drop(exports.failed.insert(export.name.clone(), errors)),
            }
        }
        for name in exports.failed.keys() {
            if let Some(previous) = before.served.get(name) {
                exports.served.insert(name.clone(), previous.clone());
            }
        }
        update.removed = before.names_missing_in(&exports);
        update.errors = exports.errors_missing_in(&before);
        self.exports.store(Arc::new(exports));
        update
    }

    /// Describes exports by their databases.
    async fn describe_all(
        &self,
        exports: Vec<Arc<Export>>,
    ) -> Vec<(
        Arc<Export>,
        Result<Arc<dyn DescribedExport>, Vec<ExportError>>,
    )> {
        // A connection to an unavailable database may take seconds to fail: the first failure is that of all its exports.
        let unavailable: Mutex<BTreeMap<String, ExportError>> = Mutex::default();
        let lock = || unavailable.lock().unwrap_or_else(PoisonError::into_inner);
        let describe = async |export: Arc<Export>| {
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
        };
        let described = stream::iter(exports).map(describe).buffered(CONCURRENCY);
        described.collect().await
    }

    async fn describe(
        &self,
        export: &Export,
    ) -> Result<Arc<dyn DescribedExport>, Vec<ExportError>> {
        let source = &self.sources[&export.database];
        match source.describe(export).await {
            Ok(described) => {
                let errors = check_columns(export, described.columns());
                let errors: Vec<_> = errors.map(|error| file_error(export, error)).collect();
                if errors.is_empty() {
                    Ok(described)
                } else {
                    Err(errors)
                }
            }
            Err(SourceError::Query { offset, cause }) => {
                let statement = &export.statement;
                let line = statement.line_at(offset.unwrap_or(0));
                let message = cause.to_string().replace(&statement.sql, "the SQL");
                let message = statement.name_parameters(&message);
                Err(vec![file_error(export, LineError::new(line, message))])
            }
            Err(error) => Err(vec![ExportError::Database {
                name: export.database.clone(),
                error: Arc::new(error),
            }]),
        }
    }

    /// Returns the exports that cannot be served, or only in their previous version.
    #[must_use]
    pub fn failed_exports(&self) -> Vec<FailedExport> {
        let exports = self.exports.load();
        let failed = exports.failed.iter();
        let failed = failed.map(|(name, errors)| FailedExport {
            name: name.clone(),
            code: errors.first().map_or("unknown", ExportError::code),
            has_previous: exports.served.contains_key(name),
        });
        failed.collect()
    }
}

impl Exports {
    fn names_missing_in(&self, other: &Exports) -> Vec<String> {
        let is_missing =
            |name: &&String| !other.served.contains_key(*name) && !other.failed.contains_key(*name);
        self.served.keys().filter(is_missing).cloned().collect()
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
        self.failed.values().flatten()
    }
}

fn check_columns<'a>(
    export: &'a Export,
    columns: &'a [Column],
) -> impl Iterator<Item = LineError> + 'a {
    let line = export.statement.line;
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
    let unknown = export.column_lines.iter().filter_map(move |(name, line)| {
        let known = columns.iter().any(|column| column.name == *name);
        let message = format!("[columns.{name}], but the query has no such column");
        (!known).then(|| LineError::new(*line, message))
    });
    let commas = columns.iter().filter(|column| column.name.contains(','));
    let commas = commas.map(move |column| {
        let message = format!("the column `{}` needs a plain name: add `as`", column.name);
        LineError::new(line, message)
    });
    duplicates.chain(unknown).chain(commas)
}

fn file_error(export: &Export, error: LineError) -> ExportError {
    let file = format!("{}.sql", export.name);
    ExportError::File(FileError { file, error })
}
