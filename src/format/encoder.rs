//! The trait that every format implements, and what it gets to know.

use indexmap::IndexMap;

use super::column_display::ColumnDisplay;
use super::options::FormatOptions;
use crate::row::{Column, RowBatch, TimeZone};

/// Encodes rows as the bytes of a file.
///
/// Every call appends to `out`, which is sent as a chunk if it is not empty. What the bytes decode to depends only on
/// the rows and settings, never on how the rows were batched.
pub trait Encoder: Send {
    /// Starts the file.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if that fails.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Starts the rows of the next statement, after those of the one before. Only formats that hold several statements
    /// get this call.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if the format cannot hold the columns.
    fn next_statement(&mut self, columns: &[Column], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let _ = (columns, out);
        let message = "this format holds the rows of one statement";
        Err(EncodeError::Failed(message.to_owned()))
    }

    /// Encodes rows. An encoder may hold back bytes, for example to compress them.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if the format cannot hold a value.
    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Appends what is held back, so that the client can read all rows so far. Called when the query
    /// pauses; an encoder that cannot end a block early ignores it.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if that fails.
    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let _ = out;
        Ok(())
    }

    /// Appends a heartbeat after a [flush](Self::flush). A format without heartbeats of its own ignores it.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if that fails.
    fn heartbeat(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let _ = out;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Returns the [`EncodeError`] if that fails.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Tells whether encoding takes so long that it needs a thread of its own.
    fn wants_thread(&self) -> bool {
        false
    }
}

/// What an encoder knows of its file.
#[derive(Debug, Clone, Default)]
pub struct EncoderSettings {
    /// The options of the format.
    pub options: FormatOptions,
    /// The options of the format of the files in an archive.
    pub entry_options: FormatOptions,
    /// The time zone in which instants are shown.
    pub time_zone: TimeZone,
    /// What is known of the rows of each statement, in their order. Without any, columns have only their names.
    pub sheets: Vec<SheetSettings>,
    /// What the file says about itself.
    pub properties: Properties,
    /// The heartbeats of the format that were sent, after their [start](super::Heartbeats::start), before the first row;
    /// `None` if nothing was sent.
    pub heartbeats: Option<u64>,
}

impl EncoderSettings {
    /// Returns the label of each column, for a format with the rows of one statement.
    #[must_use]
    pub fn labels_of(&self, columns: &[Column]) -> Vec<String> {
        let no_labels = IndexMap::new();
        let labels = self
            .sheets
            .first()
            .map_or(&no_labels, |sheet| &sheet.labels);
        let label = |column: &Column| column.label(labels).to_owned();
        columns.iter().map(label).collect()
    }
}

/// What an encoder knows of the rows of one statement.
#[derive(Debug, Clone, Default)]
pub struct SheetSettings {
    /// The name, unique in the file, without case.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// The labels of columns, by column name; other columns keep their name.
    pub labels: IndexMap<String, String>,
    /// The number formats of columns, by column name.
    pub number_formats: IndexMap<String, String>,
    /// How workbooks show columns, by column name.
    pub displays: IndexMap<String, ColumnDisplay>,
}

/// What a file says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// The title.
    pub title: String,
    /// An identifier that no other file has.
    pub identifier: String,
    /// When the file was created, in Unix seconds.
    pub created: u64,
}

/// Why a file is not encoded. Nothing is truncated to fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A value does not fit.
    #[error("row {row}, column `{column}`: {reason}")]
    Value {
        /// The row, from 1.
        row: u64,
        /// The column's name.
        column: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// A row does not fit.
    #[error("row {row}: {reason}")]
    Row {
        /// The row, from 1.
        row: u64,
        /// What does not fit, and what would.
        reason: &'static str,
    },
    /// A column's label does not fit.
    #[error("header, column `{column}`: {reason}")]
    Label {
        /// The column's name.
        column: String,
        /// What does not fit, and what would.
        reason: String,
    },
    /// The columns do not fit.
    #[error("{0}")]
    Columns(String),
    /// One of several sheets does not fit.
    #[error("sheet `{sheet}`: {error}")]
    Sheet {
        /// The sheet's name.
        sheet: String,
        /// What does not fit.
        error: Box<EncodeError>,
    },
    /// The encoder failed, whatever the rows are.
    #[error("the file could not be written: {0}")]
    Failed(String),
    /// The system has no thread left for the encoder: try again later.
    #[error("no thread for the encoder: {0}")]
    NoThread(String),
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::Definition;
    use crate::row::{Cell, RowBuffer};

    /// Encodes rows of text columns in a text format.
    pub fn encode_rows(
        format: &Definition,
        options: &[(&str, &str)],
        columns: &[&str],
        rows: &[&[Cell<'_>]],
    ) -> String {
        let columns: Vec<Column> = columns.iter().map(|name| Column::text(*name)).collect();
        let mut settings = EncoderSettings {
            sheets: vec![SheetSettings {
                labels: IndexMap::from([("total".into(), "Total, €".into())]),
                ..SheetSettings::default()
            }],
            ..EncoderSettings::default()
        };
        for (name, value) in options {
            let set = settings.options.set(format.options, name, value);
            set.expect("an option");
        }
        let encoder = (format.encoder)(&columns, settings);
        let mut encoder = encoder.expect("columns that fit");
        let mut out = Vec::new();
        encoder.begin(&mut out).expect("a start");
        if !rows.is_empty() {
            let mut buffer = RowBuffer::default();
            buffer.reset(columns.len());
            rows.concat().iter().for_each(|cell| buffer.push(*cell));
            let batch = buffer.finish().expect("UTF-8");
            encoder.rows(&batch, &mut out).expect("rows that fit");
        }
        encoder.finish(&mut out).expect("an end");
        String::from_utf8(out).expect("UTF-8")
    }
}
