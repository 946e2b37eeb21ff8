//! TSV, `text/tab-separated-values`: a header line, fields separated by TAB, lines ended by LF.
//!
//! The registration (IANA, 1993) allows no TAB or line end inside a field and has no quotes. Text
//! therefore escapes them with a backslash, and NULL is `\N`: the default text format of PostgreSQL's
//! `COPY` and of MySQL's `LOAD DATA`, which both read the file back exactly.

use super::encoder::{EncodeError, Encoder};
use super::formula::FormulaGuard;
use super::integrity_line::LineSyntax;
use super::options::OptionDefinition;
use super::{Capacity, Definition};
use crate::row::{Cell, RowBatch, TimeZone};

/// The registry entry.
pub(super) const FORMAT: Definition = Definition {
    extension: "tsv",
    is_default: true,
    capacity: Capacity::One,
    is_text: true,
    is_json: false,
    integrity_line: Some(&INTEGRITY_LINE),
    heartbeats: None,
    options: &OPTIONS,
    media_type: |_| "text/tab-separated-values; charset=utf-8",
    encoder: |columns, settings| {
        Ok(Box::new(TsvEncoder {
            header: settings.options.get_bool("header", true),
            formula_guard: (settings.options.get_bool("formula_guard", true))
                .then(|| FormulaGuard::new(b"\t\r\n")),
            labels: settings.labels_of(columns),
            time_zone: settings.time_zone,
        }))
    },
};

const INTEGRITY_LINE: LineSyntax = LineSyntax {
    before_rows: "#rowlink-end,rows=",
    before_hash: ",sha256=",
    end: "\n",
};

/// An export sets them under `[tsv]`; a link overrides them by `rl_tsv.*`.
const OPTIONS: [OptionDefinition; 2] = [
    OptionDefinition::boolean("header"),
    OptionDefinition::boolean("formula_guard"),
];

/// Encodes TSV.
struct TsvEncoder {
    header: bool,
    formula_guard: Option<FormulaGuard>,
    labels: Vec<String>,
    time_zone: TimeZone,
}

impl TsvEncoder {
    fn cell(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => out.extend_from_slice(b"\\N"),
            Cell::Text(text) => match &self.formula_guard {
                Some(guard) => escaped(&guard.guard_text(text), out),
                None => escaped(text, out),
            },
            Cell::Json(json) => match &self.formula_guard {
                Some(guard) => escaped(&guard.guard_json(json), out),
                None => escaped(json, out),
            },
            other => other.write_text(self.time_zone, out),
        }
    }
}

impl Encoder for TsvEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !self.header {
            return Ok(());
        }
        for (index, label) in self.labels.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            escaped(label, out);
        }
        out.push(b'\n');
        Ok(())
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for row in batch.iter() {
            for cell in row {
                self.cell(cell, out);
                out.push(b'\t');
            }
            // A row has a cell, so that this is a TAB.
            out.pop();
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Appends text with TAB, LF, CR and backslash escaped.
fn escaped(text: &str, out: &mut Vec<u8>) {
    let text = text.as_bytes();
    let mut copied = 0;
    let special = |byte: u8| match byte {
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\\' => Some(b'\\'),
        _ => None,
    };
    for (index, byte) in text.iter().enumerate() {
        if let Some(letter) = special(*byte) {
            out.extend_from_slice(&text[copied..index]);
            out.extend_from_slice(&[b'\\', letter]);
            copied = index + 1;
        }
    }
    out.extend_from_slice(&text[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encoder::tests::encode_rows;
    use proptest::prelude::*;

    fn encode(options: &[(&str, &str)], columns: &[&str], rows: &[&[Cell<'_>]]) -> String {
        encode_rows(&FORMAT, options, columns, rows)
    }

    #[test]
    fn tabs_line_ends_and_backslashes_are_escaped_and_null_stays_distinct() {
        let row: &[Cell] = &[
            Cell::Text("a\tb\r\nc\\"),
            Cell::Null,
            Cell::Text(""),
            Cell::Text("\\N"),
        ];
        assert_eq!(
            encode(&[], &["total", "b", "c", "d"], &[row]),
            "Total, €\tb\tc\td\na\\tb\\r\\nc\\\\\t\\N\t\t\\\\N\n"
        );
    }

    #[test]
    fn header_and_formula_guard_are_options() {
        let row: &[Cell] = &[Cell::Text("=1+1"), Cell::Integer(-1), Cell::Text("\tx")];
        let columns = ["a", "b", "c"];
        assert_eq!(
            encode(&[("header", "false")], &columns, &[row]),
            "'=1+1\t-1\t'\\tx\n"
        );
        let unguarded = [("header", "false"), ("formula_guard", "false")];
        assert_eq!(encode(&unguarded, &columns, &[row]), "=1+1\t-1\t\\tx\n");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_after_unescaping(texts in prop::collection::vec(".*|[\t\r\n\\\\Nt]{0,9}", 3)) {
            let options = [("header", "false"), ("formula_guard", "false")];
            let cells: Vec<Cell> = texts.iter().map(|text| Cell::Text(text)).collect();
            let file = encode(&options, &["a", "b", "c"], &[&cells]);
            let line = file.strip_suffix('\n').expect("a line end");
            prop_assert!(!line.contains(['\n', '\r']));
            let unescape = |field: &str| {
                let mut text = String::new();
                let mut characters = field.chars();
                while let Some(character) = characters.next() {
                    text.push(match character {
                        '\\' => match characters.next() {
                            Some('t') => '\t',
                            Some('n') => '\n',
                            Some('r') => '\r',
                            other => other.expect("an escape"),
                        },
                        other => other,
                    });
                }
                text
            };
            let back: Vec<String> = line.split('\t').map(unescape).collect();
            prop_assert_eq!(back, texts);
        }
    }
}
