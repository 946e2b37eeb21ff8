//! CSV as RFC 4180 has it: CRLF, a header row, quotes only where they are needed.

use indexmap::IndexMap;
use memchr::memchr_iter;
use uuid::Uuid;

use super::Encoder;
use crate::format::CsvOptions;
use crate::row::{Cell, Column, RowBatch, TimeZone};

/// Writes CSV.
pub struct CsvEncoder {
    options: CsvOptions,
    labels: IndexMap<String, String>,
    time_zone: TimeZone,
    /// What stands for NULL, quotes included where it needs them.
    null: Vec<u8>,
}

impl CsvEncoder {
    /// Writes with these options; `labels` names columns in the header, by column name; instants are
    /// shown in the time zone.
    pub fn new(
        options: CsvOptions,
        labels: IndexMap<String, String>,
        time_zone: TimeZone,
    ) -> CsvEncoder {
        let null = options.null.clone().into_bytes();
        CsvEncoder {
            options,
            labels,
            time_zone,
            null,
        }
    }

    #[inline]
    fn cell(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        match cell {
            Cell::Null => return out.extend_from_slice(&self.null),
            Cell::Boolean(true) => out.extend_from_slice(b"true"),
            Cell::Boolean(false) => out.extend_from_slice(b"false"),
            Cell::Integer(value) => {
                out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            Cell::Float(value) => self.float(value, out),
            Cell::Decimal(value) => self.number(value, out),
            Cell::Text(value) => self.text(value, out),
            Cell::Bytes(value) => out.extend_from_slice(hex::encode(value).as_bytes()),
            Cell::Date(value) => value.write(out),
            Cell::Time(value) => value.write(out),
            Cell::Timestamp(value) => value.write(self.time_zone, out),
            Cell::Interval(value) => value.write(out),
            Cell::Uuid(value) => {
                let mut buffer = Uuid::encode_buffer();
                out.extend_from_slice(value.hyphenated().encode_lower(&mut buffer).as_bytes());
            }
            Cell::Json(value) => self.plain(value, out),
        }
        // A value that reads like the marker would read back as NULL. One that is empty would too,
        // by default, and alone on its line it would be no row at all.
        if out.len() == start {
            out.extend_from_slice(b"\"\"");
        } else if !self.options.null.is_empty() && out[start..] == *self.options.null.as_bytes() {
            out.truncate(start);
            quoted(&self.options.null, false, out);
        }
    }

    /// Whether the text has a byte that makes quotes necessary.
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

    /// Whether one of so many bytes makes quotes necessary. Without a way out of the loop they are compared at once.
    #[inline]
    fn has_special<const BYTES: usize>(&self, piece: &[u8; BYTES]) -> bool {
        let found = |found, byte: &u8| found | self.is_special(*byte);
        piece.iter().fold(false, found)
    }

    #[inline]
    fn is_special(&self, byte: u8) -> bool {
        (byte == b'"') | (byte == b'\r') | (byte == b'\n') | (byte == self.options.delimiter)
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        let guarded = self.options.formula_guard && starts_a_formula(text);
        if !guarded {
            self.plain(text, out);
        } else if self.needs_quotes(text) {
            quoted(text, true, out);
        } else {
            out.push(b'\'');
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Text that is no formula, quoted where it must be.
    fn plain(&self, text: &str, out: &mut Vec<u8>) {
        if self.needs_quotes(text) {
            quoted(text, false, out);
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }

    fn float(&self, value: f64, out: &mut Vec<u8>) {
        let mut buffer = zmij::Buffer::new();
        let text = match value {
            value if value.is_nan() => "NaN",
            f64::INFINITY => "Infinity",
            f64::NEG_INFINITY => "-Infinity",
            value => buffer.format_finite(value),
        };
        self.number(text, out);
    }

    fn number(&self, text: &str, out: &mut Vec<u8>) {
        if self.options.decimal_comma {
            self.plain(&text.replace('.', ","), out);
        } else {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

impl Encoder for CsvEncoder {
    fn begin(&mut self, columns: &[Column], out: &mut Vec<u8>) {
        // In a file of one column a bare NULL is an empty line, which readers skip: a row less.
        if columns.len() == 1 && self.null.is_empty() {
            self.null = b"\"\"".to_vec();
        }
        if self.options.bom {
            out.extend_from_slice("\u{feff}".as_bytes());
        }
        if !self.options.header {
            return;
        }
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.push(self.options.delimiter);
            }
            let label = column.label(&self.labels);
            // Excel takes a file that starts with a bare `ID` for SYLK and refuses it.
            let like_sylk = index == 0 && label.starts_with("ID");
            if label.is_empty() || like_sylk {
                quoted(label, false, out);
            } else {
                self.plain(label, out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) {
        for row in batch.iter() {
            for (index, cell) in row.enumerate() {
                if index > 0 {
                    out.push(self.options.delimiter);
                }
                self.cell(cell, out);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// OWASP, "CSV Injection": what makes a spreadsheet run a cell.
fn starts_a_formula(text: &str) -> bool {
    matches!(
        text.as_bytes().first(),
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r')
    )
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
    use crate::row::{Date, RowBuffer, Time, Timestamp};
    use proptest::prelude::*;

    fn encode(options: &[(&str, &str)], columns: &[&str], rows: &[&[Cell<'_>]]) -> String {
        let mut csv = CsvOptions::default();
        for (name, value) in options {
            csv.set(name, value).expect("an option");
        }
        let columns: Vec<Column> = columns.iter().map(|name| Column::text(*name)).collect();
        let mut buffer = RowBuffer::default();
        buffer.reset(columns.len());
        rows.concat().iter().for_each(|cell| buffer.push(*cell));
        let batch = buffer.finish().expect("UTF-8");
        let mut encoder = CsvEncoder::new(
            csv,
            IndexMap::from([("total".into(), "Total, €".into())]),
            TimeZone::default(),
        );
        let mut out = Vec::new();
        encoder.begin(&columns, &mut out);
        encoder.rows(&batch, &mut out);
        String::from_utf8(out).expect("UTF-8")
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
    fn no_value_of_any_type_reads_like_null() {
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
    fn a_null_alone_on_its_line_is_still_a_row() {
        assert_eq!(encode(&[], &["a"], &[&[Cell::Null]]), "a\r\n\"\"\r\n");
        assert_eq!(
            encode(&[("null", "\\N")], &["a"], &[&[Cell::Null]]),
            "a\r\n\\N\r\n"
        );
    }

    #[test]
    fn only_texts_are_guarded_and_only_while_asked() {
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
    fn delimiter_mark_header_and_decimal_comma_are_options() {
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
    fn a_header_is_quoted_where_readers_would_stumble() {
        assert_eq!(
            encode(&[], &["ID", "total"], &[]),
            "\"ID\",\"Total, €\"\r\n"
        );
    }

    #[test]
    fn what_needs_quotes_is_found_at_every_place_of_texts_of_every_length() {
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
