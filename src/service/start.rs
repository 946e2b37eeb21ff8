//! Starting the service: every export is prepared against its database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use rowlink_link::Keyring;

use super::export_service::ExportService;
use super::policy::Policy;
use crate::catalog::{Catalog, Export, FileError};
use crate::row::Column;
use crate::source::{SourceError, Sources, causes};
use crate::toml_errors::LineError;

/// How many exports are described at the same time, each on a connection of its own.
const CONCURRENCY: usize = 4;

/// Why the service cannot start with this catalog and these databases.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file has an error.
    #[error(transparent)]
    File(#[from] FileError),
    /// A database is unavailable.
    #[error("database `{name}`: {}", causes(.error))]
    Database {
        /// Its name in the configuration.
        name: String,
        /// The reason.
        #[source]
        error: SourceError,
    },
}

impl ExportService {
    /// Prepares every export against its database.
    ///
    /// # Errors
    /// Returns all errors of all files, and every database that is unavailable.
    pub async fn start(
        catalog: Catalog,
        sources: Sources,
        keyring: Keyring,
        policy: Policy,
    ) -> Result<ExportService, Vec<StartError>> {
        let mut columns = BTreeMap::new();
        let in_files = catalog.errors().iter().cloned();
        let mut errors: Vec<StartError> = in_files.map(StartError::File).collect();
        let mut unavailable = BTreeSet::new();
        let describe = |export: &Arc<Export>| {
            let (export, source) = (export.clone(), sources[&export.database].clone());
            async move {
                let described = source.describe(&export).await;
                (export, described)
            }
        };
        let exports: Vec<_> = catalog.iter().map(describe).collect();
        let mut described = stream::iter(exports).buffered(CONCURRENCY);
        while let Some((export, described)) = described.next().await {
            match described {
                Ok(described) => {
                    let in_columns = check_columns(&export, &described);
                    errors.extend(in_columns.map(|error| file_error(&export, error)));
                    columns.insert(export.name.clone(), described);
                }
                Err(SourceError::Query { offset, cause }) => {
                    let statement = &export.statement;
                    let line = statement.line_at(offset.unwrap_or(0));
                    let message = cause.to_string().replace(&statement.sql, "the SQL");
                    let message = statement.name_parameters(&message);
                    errors.push(file_error(&export, LineError::new(line, message)));
                }
                // Other exports of an unavailable database would only repeat the error.
                Err(error) if unavailable.insert(export.database.clone()) => {
                    let name = export.database.clone();
                    errors.push(StartError::Database { name, error });
                }
                Err(_) => {}
            }
        }
        drop(described);
        if errors.is_empty() {
            Ok(ExportService::new(
                catalog, columns, sources, keyring, policy,
            ))
        } else {
            Err(errors)
        }
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

fn file_error(export: &Export, error: LineError) -> StartError {
    let file = format!("{}.sql", export.name);
    StartError::File(FileError { file, error })
}
