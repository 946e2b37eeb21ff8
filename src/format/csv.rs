//! CSV by RFC 4180: CRLF, a header row, quotes only where they are needed.

use memchr::memchr_iter;

use super::Definition;
use super::encoder::{EncodeError, Encoder, EncoderSettings};
use super::formula::starts_formula;
use super::integrity_line::LineSyntax;
use super::options::{FormatOptions, OptionDefinition};
use crate::row::{Cell, Column, RowBatch, TimeZone, with_float_text};

/// The registry entry.
pub(super) const FORMAT: Definition = Definition {
    extension: "csv",
    is_default: true,
    is_text: true,
    repeats_names: false,
    integrity_line: Some(&INTEGRITY_LINE),
    options: &OPTIONS,
    media_type,
    encoder: |columns, settings| Ok(Box::new(CsvEncoder::new(columns, &settings))),
};

/// For a CSV reader the line is a comment, or a row unlike the others.
const INTEGRITY_LINE: LineSyntax = LineSyntax {
    before_rows: "#rowlink-end,rows=",
    before_hash: ",sha256=",
    end: "\r\n",
};

/// An export sets them under `[csv]`; a link overrides them by `rl_csv.*`.
const OPTIONS: [OptionDefinition; 6] = [
    // Between fields.
    OptionDefinition {
        name: "delimiter",
        expected: "one of \",\", \";\", \"|\" or a tab",
        accepts: |text| matches!(text, "," | ";" | "|" | "\t"),
    },
    // Excel needs a byte order mark to recognise UTF-8.
    OptionDefinition::boolean("bom"),
    OptionDefinition::boolean("header"),
    // Stands for NULL. A value that equals it is quoted, so that the two stay distinct.
    OptionDefinition {
        name: "null",
        expected: "at most 16 visible ASCII characters, none of , ; | \" ' = + @",
        accepts: is_null_marker,
    },
    // Writes `1,5` for 1.5.
    OptionDefinition::boolean("decimal_comma"),
    OptionDefinition::boolean("formula_guard"),
];

/// The marker is never quoted, so it must not need quotes under any delimiter.
fn is_null_marker(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b",;|\"'=+@".contains(&byte);
    text.len() <= 16 && text.bytes().all(plain)
}

/// Returns `text/csv` with the parameters of RFC 7111 and RFC 4180.
fn media_type(options: &FormatOptions) -> &'static str {
    if options.get_bool("header", true) {
        "text/csv; charset=utf-8; header=present"
    } else {
        "text/csv; charset=utf-8; header=absent"
    }
}

/// Encodes CSV.
struct CsvEncoder {
    delimiter: u8,
    bom: bool,
    header: bool,
    /// The marker for NULL, with quotes if it needs them.
    null: Vec<u8>,
    /// The marker without quotes.
    null_marker: String,
    decimal_comma: bool,
    formula_guard: bool,
    labels: Vec<String>,
    time_zone: TimeZone,
}

impl CsvEncoder {
    fn new(columns: &[Column], settings: &EncoderSettings) -> CsvEncoder {
        let options = &settings.options;
        let null_marker = options.get("null").unwrap_or_default().to_owned();
        let null = match null_marker.as_str() {
            // With one column a bare NULL is an empty line, which readers skip: a row would be lost.
            "" if columns.len() == 1 => b"\"\"".to_vec(),
            marker => marker.as_bytes().to_vec(),
        };
        CsvEncoder {
            delimiter: options
                .get("delimiter")
                .map_or(b',', |text| text.as_bytes()[0]),
            bom: options.get_bool("bom", false),
            header: options.get_bool("header", true),
            null,
            null_marker,
            decimal_comma: options.get_bool("decimal_comma", false),
            formula_guard: options.get_bool("formula_guard", true),
            labels: settings.labels_of(columns),
            time_zone: settings.time_zone,
        }
    }

    #[inline]
    fn cell(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        match cell {
            Cell::Null => return out.extend_from_slice(&self.null),
            Cell::Float(value) => with_float_text(value, |text| self.number(text, out)),
            Cell::Decimal(value) => self.number(value, out),
            Cell::Text(value) => self.text(value, out),
            Cell::Json(value) => self.plain(value, out),
            other => other.write_text(self.time_zone, out),
        }
        // A value equal to the marker would read back as NULL. An empty one would too, by default, and
        // as the only field of its line it would be no row at all.
        if out.len() == start {
            out.extend_from_slice(b"\"\"");
        } else if !self.null_marker.is_empty() && out[start..] == *self.null_marker.as_bytes() {
            out.truncate(start);
            quoted(&self.null_marker, false, out);
        }
    }

    /// Tells whether the text has a byte that needs quotes.
    #[inline]
    fn needs_quotes(&self, text: &str) -> bool {
        let text = text.as_bytes();
        // The last piece overlaps the one before it, so that no byte is left over.
        if let Some(end) = text.last_chunk::<16>() {
            let (pieces, _) = text.as_chunks::<16>();
            pieces.iter().any(|piece| self.has_special(piece)) || self.has_special(end)
        } else if let (Some(start), Some(end)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            self.has_special(start) || self.has_special(end)
        } else {
            text.iter().any(|byte| self.is_special(*byte))
        }
    }

    /// Tells whether one of the bytes needs quotes. A loop without an early exit is vectorized.
    #[inline]
    fn has_special<const BYTES: usize>(&self, piece: &[u8; BYTES]) -> bool {
        let found = |found, byte: &u8| found | self.is_special(*byte);
        piece.iter().fold(false, found)
    }

    #[inline]
    fn is_special(&self, byte: u8) -> bool {
        (byte == b'"') | (byte == b'\r') | (byte == b'\n') | (byte == self.delimiter)
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        let guarded = self.formula_guard && starts_formula(text);
        if !guarded {
            self.plain(text, out);
        } else if self.needs_quotes(text) {
            quoted(text, true, out);
        } else {
            out.push(b'\'');
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Writes text without the formula guard, quoted if it must be.
    fn plain(&self, text: &str, out: &mut Vec<u8>) {
        if self.needs_quotes(text) {
            quoted(text, false, out);
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn number(&self, text: &str, out: &mut Vec<u8>) {
        if self.decimal_comma {
            self.plain(&text.replace('.', ","), out);
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

impl Encoder for CsvEncoder {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.bom {
            out.extend_from_slice("\u{feff}".as_bytes());
        }
        if !self.header {
            return Ok(());
        }
        for (index, label) in self.labels.iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            // Excel treats a file that starts with a bare `ID` as SYLK and refuses it.
            let like_sylk = index == 0 && label.starts_with("ID");
            if label.is_empty() || like_sylk {
                quoted(label, false, out);
            } else {
                self.plain(label, out);
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        for row in batch.iter() {
            for (index, cell) in row.enumerate() {
                if index > 0 {
                    out.push(self.delimiter);
                }
                self.cell(cell, out);
            }
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }
}

fn quoted(text: &str, guarded: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    if guarded {
        out.push(b'\'');
    }
    let mut copied = 0;
    for index in memchr_iter(b'"', text.as_bytes()) {
        out.extend_from_slice(&text.as_bytes()[copied..=index]);
        copied = index;
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encoder::tests::encode_rows;
    use crate::row::{Date, Time, Timestamp};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn encode(options: &[(&str, &str)], columns: &[&str], rows: &[&[Cell<'_>]]) -> String {
        encode_rows(&FORMAT, options, columns, rows)
    }

    #[test]
    fn each_type_has_its_form() {
        let row = [
            Cell::Null,
            Cell::Integer(i64::MIN),
            Cell::Float(0.1),
            Cell::Float(1e300),
            Cell::Float(f64::NEG_INFINITY),
            Cell::Text("plain"),
            Cell::Bytes(b"\x00\xff"),
        ];
        assert_eq!(
            encode(&[], &["a", "b", "c", "d", "e", "f", "g"], &[&row]),
            "a,b,c,d,e,f,g\r\n,-9223372036854775808,0.1,1e+300,-Infinity,plain,00ff\r\n"
        );
        let row = [
            Cell::Boolean(true),
            Cell::Decimal("-0.10"),
            Cell::Date(Date { days: 0 }),
            Cell::Time(Time { micros: 1 }),
            Cell::Timestamp(Timestamp {
                micros: i64::MIN,
                utc: true,
            }),
            Cell::Uuid(Uuid::nil()),
            Cell::Json("-1"),
            Cell::Json(r#"{"a": 1}"#),
        ];
        assert_eq!(
            encode(
                &[("header", "false")],
                &["a", "b", "c", "d", "e", "f", "g", "h"],
                &[&row]
            ),
            "true,-0.10,2000-01-01,00:00:00.000001,-infinity,\
             00000000-0000-0000-0000-000000000000,-1,\"{\"\"a\"\": 1}\"\r\n"
        );
    }

    #[test]
    fn null_and_an_empty_text_stay_apart() {
        let row: &[Cell] = &[Cell::Null, Cell::Text("")];
        assert_eq!(encode(&[], &["a", "b"], &[row]), "a,b\r\n,\"\"\r\n");
        let row: &[Cell] = &[Cell::Null, Cell::Text("NULL")];
        assert_eq!(
            encode(&[("null", "NULL")], &["a", "b"], &[row]),
            "a,b\r\nNULL,\"NULL\"\r\n"
        );
    }

    #[test]
    fn no_value_of_any_type_reads_as_null() {
        let row: &[Cell] = &[
            Cell::Null,
            Cell::Bytes(b""),
            Cell::Integer(0),
            Cell::Float(0.0),
        ];
        let columns = ["a", "b", "c", "d"];
        assert_eq!(encode(&[], &columns, &[row]), "a,b,c,d\r\n,\"\",0,0.0\r\n");
        assert_eq!(
            encode(&[("null", "0")], &columns, &[row]),
            "a,b,c,d\r\n0,\"\",\"0\",0.0\r\n"
        );
    }

    #[test]
    fn a_null_as_the_only_field_of_its_line_is_still_a_row() {
        assert_eq!(encode(&[], &["a"], &[&[Cell::Null]]), "a\r\n\"\"\r\n");
        assert_eq!(
            encode(&[("null", "\\N")], &["a"], &[&[Cell::Null]]),
            "a\r\n\\N\r\n"
        );
    }

    #[test]
    fn only_texts_are_guarded_and_only_if_configured() {
        let row = [
            Cell::Text("=1+1"),
            Cell::Text("@x,y"),
            Cell::Text("\tx"),
            Cell::Text("a=b"),
            Cell::Integer(-1),
        ];
        let columns = ["a", "b", "c", "d", "e"];
        assert_eq!(
            encode(&[("header", "false")], &columns, &[&row]),
            "'=1+1,\"'@x,y\",'\tx,a=b,-1\r\n"
        );
        assert_eq!(
            encode(
                &[("header", "false"), ("formula_guard", "false")],
                &columns,
                &[&row]
            ),
            "=1+1,\"@x,y\",\tx,a=b,-1\r\n"
        );
    }

    #[test]
    fn delimiter_byte_order_mark_header_and_decimal_comma_are_options() {
        let rows: &[&[Cell]] = &[&[Cell::Float(1.5), Cell::Text("a;b")]];
        assert_eq!(
            encode(
                &[
                    ("delimiter", ";"),
                    ("bom", "true"),
                    ("decimal_comma", "true")
                ],
                &["total", "x"],
                rows
            ),
            "\u{feff}Total, €;x\r\n1,5;\"a;b\"\r\n"
        );
        assert_eq!(
            encode(
                &[("header", "false"), ("decimal_comma", "true")],
                &["a", "b"],
                rows
            ),
            "\"1,5\",a;b\r\n"
        );
    }

    #[test]
    fn a_header_is_quoted_where_readers_would_misread_it() {
        assert_eq!(
            encode(&[], &["ID", "total"], &[]),
            "\"ID\",\"Total, €\"\r\n"
        );
    }

    #[test]
    fn bytes_that_need_quotes_are_found_at_every_position_of_texts_of_every_length() {
        let options = [("header", "false"), ("formula_guard", "false")];
        let encode = |text: &str| encode(&options, &["a"], &[&[Cell::Text(text)]]);
        for length in 1..70 {
            let plain = "x".repeat(length);
            assert_eq!(encode(&plain), format!("{plain}\r\n"));
            for place in 0..length {
                for special in [",", "\r", "\n", "\""] {
                    let mut text = plain.clone();
                    text.replace_range(place..=place, special);
                    let doubled = text.replace('"', "\"\"");
                    assert_eq!(encode(&text), format!("\"{doubled}\"\r\n"));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn another_reader_gets_every_text_back(
            rows in prop::collection::vec(prop::collection::vec("[ -~\r\n\t\"é€😀]{0,40}", 3), 0..20),
            delimiter in prop::sample::select(vec![",", ";", "\t", "|"]),
        ) {
            let cells: Vec<Vec<Cell>> =
                rows.iter().map(|row| row.iter().map(|text| Cell::Text(text)).collect()).collect();
            let cells: Vec<&[Cell]> = cells.iter().map(Vec::as_slice).collect();
            let file = encode(
                &[("delimiter", delimiter), ("formula_guard", "false")],
                &["a", "b", "c"],
                &cells,
            );
            let mut reader = csv::ReaderBuilder::new()
                .delimiter(delimiter.as_bytes()[0])
                .from_reader(file.as_bytes());
            let back: Vec<Vec<String>> = reader
                .records()
                .map(|record| record.expect("a record").iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(back, rows);
        }
    }
}
