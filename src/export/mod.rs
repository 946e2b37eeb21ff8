//! The two use cases: issue a link, open a download. Takes values and the time, knows no HTTP.

mod download;
mod issue;
mod open;
mod options;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::Caller;
use crate::catalog::{Catalog, Export, Fault, FileFault};
use crate::link::{FileName, Keyring, Link};
use crate::row::Column;
use crate::source::{Source, SourceError};

pub use download::Download;
pub use issue::{IssueError, IssuedLink};
pub use open::{Accepted, OpenError};
pub use request::LinkRequest;

/// Issues links and opens downloads for one deployment.
pub struct Exporter {
    catalog: Catalog,
    columns: BTreeMap<String, Vec<Column>>,
    source: Arc<dyn Source>,
    keyring: Keyring,
    policy: LinkPolicy,
}

/// What the operator decides about links.
#[derive(Debug, Clone)]
pub struct LinkPolicy {
    /// Origin and prefix of every link, without a slash at the end. Never taken from a request.
    pub public_url: String,
    /// How long a link lives unless the request says otherwise.
    pub ttl_seconds_default: u64,
    /// How long a link may live.
    pub ttl_seconds_max: u64,
}

/// Why the service cannot start with this catalog and database.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// A fault of a file.
    #[error(transparent)]
    File(#[from] FileFault),
    /// The database cannot be reached.
    #[error("database: {}", causes(.0))]
    Database(#[source] SourceError),
}

impl Exporter {
    /// Prepares every export against the database.
    ///
    /// # Errors
    /// Every fault of every file at once; or that the database cannot be reached.
    pub async fn start(
        catalog: Catalog,
        source: Arc<dyn Source>,
        keyring: Keyring,
        policy: LinkPolicy,
    ) -> Result<Exporter, Vec<StartFault>> {
        let mut columns = BTreeMap::new();
        let found = catalog.faults().iter().cloned();
        let mut faults: Vec<StartFault> = found.map(StartFault::File).collect();
        for export in catalog.iter() {
            match source.describe(&export.statement).await {
                Ok(found) => {
                    let in_columns = check_columns(export, &found);
                    faults.extend(in_columns.map(|fault| file_fault(export, fault)));
                    columns.insert(export.name.clone(), found);
                }
                Err(SourceError::Query { offset, cause }) => {
                    let statement = &export.statement;
                    let line = statement.line_at(offset.unwrap_or(0));
                    let message = cause.to_string().replace(&statement.sql, "the SQL");
                    faults.push(file_fault(export, Fault::at(line, message)));
                }
                Err(error) => {
                    // The other exports would only say so again.
                    faults.push(StartFault::Database(error));
                    break;
                }
            }
        }
        if faults.is_empty() {
            Ok(Exporter {
                catalog,
                columns,
                source,
                keyring,
                policy,
            })
        } else {
            Err(faults)
        }
    }

    /// How many exports there are.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// The database, for its readiness.
    pub fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    /// The exports that a caller may have, each with its columns.
    pub fn exports_for(&self, caller: &Caller) -> impl Iterator<Item = (&Export, &[Column])> {
        self.catalog
            .iter()
            .filter(|export| may_export(caller, export))
            .map(|export| (export, self.columns_of(export)))
    }

    fn columns_of(&self, export: &Export) -> &[Column] {
        self.columns.get(&export.name).map_or(&[], Vec::as_slice)
    }
}

/// Whether the credential allows the export.
fn may_export(caller: &Caller, export: &Export) -> bool {
    let scope = export.scope.as_ref();
    scope.is_none_or(|scope| caller.scopes.contains(scope))
        && caller
            .exports
            .as_ref()
            .is_none_or(|names| names.contains(&export.name))
}

/// The name the browser will save the file under.
fn filename(link: &Link) -> String {
    let extension = link.format.extension();
    match &link.filename {
        Some(name) => FileName::with_extension(name, extension),
        None => format!("{}.{extension}", link.export),
    }
}

fn check_columns<'a>(
    export: &'a Export,
    columns: &'a [Column],
) -> impl Iterator<Item = Fault> + 'a {
    let line = export.statement.line;
    let twice = columns
        .iter()
        .enumerate()
        .filter_map(move |(index, column)| {
            let first = columns.iter().position(|other| other.name == column.name);
            let message = format!(
                "two columns are named `{}`: rename one with `as`",
                column.name
            );
            (first != Some(index)).then(|| Fault::at(line, message))
        });
    let unknown = export.labels.keys().filter_map(move |label| {
        let known = columns.iter().any(|column| column.name == *label);
        let message = format!("[columns.{label}], but the query has no such column");
        (!known).then(|| Fault::at(line, message))
    });
    let commas = columns.iter().filter(|column| column.name.contains(','));
    let commas = commas.map(move |column| {
        let message = format!("the column `{}` needs a plain name: add `as`", column.name);
        Fault::at(line, message)
    });
    twice.chain(unknown).chain(commas)
}

fn file_fault(export: &Export, fault: Fault) -> StartFault {
    let file = format!("{}.sql", export.name);
    StartFault::File(FileFault { file, fault })
}

/// An error with all its causes, for the log.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
