//! Errors of database sources.

use std::error::Error;

use crate::catalog::Variable;

/// Why rows are missing, grouped by what an operator can do. For logs only: a cause may quote SQL.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The database is unreachable or busy; a later attempt may succeed.
    #[error("database unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// All connections of the pool are in use.
    #[error("all {connections} database connections are in use")]
    Busy {
        /// The size of the pool.
        connections: usize,
    },
    /// The query exceeded its time limit.
    #[error("the query exceeded its time limit")]
    TooSlow,
    /// The query kept other programs from writing to the database file for too long.
    #[error(
        "the query kept writers from the database file for {0} s (ROWLINK_SQLITE_LOCK_SECONDS); \
         with `pragma journal_mode = wal` it would not"
    )]
    LockHeld(u64),
    /// The database rejected a value of the link before it ran the query.
    #[error("the database rejected a value")]
    BadValue {
        /// The variable, if the database reports it.
        variable: Option<Variable>,
        /// The database's error.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// The database rejected the query, or the query failed.
    #[error("the query failed")]
    Query {
        /// The byte offset of the error in the SQL, if the database reports it.
        offset: Option<usize>,
        /// The database's error.
        #[source]
        cause: Box<dyn Error + Send + Sync>,
    },
    /// A text value is not valid UTF-8.
    #[error("row {row}, column `{column}`: expected UTF-8 text")]
    NotUtf8 {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
    },
    /// A value is not in the format of its column's type.
    #[error("row {row}, column `{column}`: unsupported value format")]
    InvalidValue {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
    },
    /// A row is larger than the operator allows, so it was not read.
    #[error(
        "row {row}, {}: larger than the {row_bytes_max} bytes of ROWLINK_MAX_ROW_BYTES",
        columns_text(columns)
    )]
    RowTooLarge {
        /// The row, from 1.
        row: u64,
        /// The column with which the row exceeds the limit; several if the database does not tell which.
        columns: Vec<String>,
        /// The limit.
        row_bytes_max: usize,
    },
    /// The rows ended before the last one: the query was cancelled or its thread panicked.
    #[error("the rows ended before the last one")]
    Truncated,
}

impl SourceError {
    /// Returns the error of a row that is counted from 1 after `rows` others, with its number among all. Texts are checked later,
    /// when rows are counted among all.
    pub(super) fn after_rows(self, rows: u64) -> SourceError {
        match self {
            SourceError::RowTooLarge {
                row,
                columns,
                row_bytes_max,
            } => SourceError::RowTooLarge {
                row: row + rows,
                columns,
                row_bytes_max,
            },
            SourceError::InvalidValue { row, column } => SourceError::InvalidValue {
                row: row + rows,
                column,
            },
            other => other,
        }
    }
}

/// Returns a [`SourceError::Query`] that Rowlink raises itself, without an offset.
pub(super) fn query_error(message: impl Into<String>) -> SourceError {
    SourceError::Query {
        offset: None,
        cause: message.into().into(),
    }
}

/// How many columns a message names.
const COLUMNS_SHOWN: usize = 5;

/// Formats the columns that may be too large: "column `a`", or "one of its columns `a`, `b`".
fn columns_text(columns: &[String]) -> String {
    let shown = columns.iter().take(COLUMNS_SHOWN);
    let mut names: Vec<String> = shown.map(|name| format!("`{name}`")).collect();
    if columns.len() > COLUMNS_SHOWN {
        names.push(format!("{} more", columns.len() - COLUMNS_SHOWN));
    }
    match columns {
        [_] => format!("column {}", names[0]),
        _ => format!("its columns {}", names.join(", ")),
    }
}

/// Returns the error for a column of the link that the statement does not return now.
pub(super) fn unknown_column_error(name: &str) -> SourceError {
    query_error(format!("unknown column `{name}`; request a new link"))
}

/// Formats an error with all its causes, for the log.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
