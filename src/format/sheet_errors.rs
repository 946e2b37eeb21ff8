//! Errors of an encoder that name the sheet, if there are several.

use super::NewEncoder;
use super::encoder::{EncodeError, Encoder, EncoderSettings};
use crate::row::{Column, RowBatch};

/// An encoder of several statements, whose errors name the sheet of the statement.
pub(super) struct SheetErrors {
    encoder: Box<dyn Encoder>,
    /// The names of the sheets.
    sheets: Vec<String>,
    statement: usize,
}

impl SheetErrors {
    /// Creates an encoder with these settings, whose errors have the names of its sheets.
    pub(super) fn of(
        columns: &[Column],
        settings: EncoderSettings,
        encoder: NewEncoder,
    ) -> Result<Box<dyn Encoder>, EncodeError> {
        let names = settings.sheets.iter().map(|sheet| sheet.name.clone());
        let sheets: Vec<String> = names.collect();
        let encoder = encoder(columns, settings);
        let encoder = encoder.map_err(|error| name_sheet(error, sheets.first()))?;
        Ok(Box::new(SheetErrors {
            encoder,
            sheets,
            statement: 0,
        }))
    }

    fn name(&self, error: EncodeError) -> EncodeError {
        name_sheet(error, self.sheets.get(self.statement))
    }
}

fn name_sheet(error: EncodeError, sheet: Option<&String>) -> EncodeError {
    match (error, sheet) {
        (error @ (EncodeError::Failed(_) | EncodeError::NoThread(_)), _) | (error, None) => error,
        (error, Some(sheet)) => EncodeError::Sheet {
            sheet: sheet.clone(),
            error: Box::new(error),
        },
    }
}

impl Encoder for SheetErrors {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encoder.begin(out).map_err(|error| self.name(error))
    }

    fn next_statement(&mut self, columns: &[Column], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.statement += 1;
        let next = self.encoder.next_statement(columns, out);
        next.map_err(|error| self.name(error))
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let rows = self.encoder.rows(batch, out);
        rows.map_err(|error| self.name(error))
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encoder.flush(out)
    }

    fn heartbeat(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encoder.heartbeat(out)
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.encoder.finish(out).map_err(|error| self.name(error))
    }

    fn wants_thread(&self) -> bool {
        self.encoder.wants_thread()
    }
}
