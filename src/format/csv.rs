//! CSV by RFC 4180: CRLF, a header row, quotes only where a reader needs them.

use std::borrow::Cow;

use memchr::memchr_iter;

use super::csv_preset::{DateForm, Preset, SET_OPTIONS};
use super::encoder::{EncodeError, Encoder, EncoderSettings};
use super::formula::FormulaGuard;
use super::integrity_line::LineSyntax;
use super::options::{FormatOptions, OptionDefinition};
use super::{Capacity, Definition};
use crate::row::{Cell, Column, RowBatch, TimeZone, with_float_text};

/// The registry entry.
pub(super) const FORMAT: Definition = Definition {
    extension: "csv",
    is_default: true,
    capacity: Capacity::One,
    is_text: true,
    is_json: false,
    integrity_line: Some(&INTEGRITY_LINE),
    heartbeats: None,
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

/// As a line of its own it ends the data for PostgreSQL's `COPY`, which ignores the rest of the file.
const END_OF_DATA: &str = "\\.";

/// An export sets them under `[csv]`; a link overrides them by `rl_csv.*`.
const OPTIONS: [OptionDefinition; 8] = [
    // The form of a spreadsheet with the settings of one country.
    OptionDefinition {
        name: "preset",
        expected: "`excel-de`, `excel-fr`, `excel-us` or `none`",
        accepts: Preset::exists,
        sets: SET_OPTIONS,
    },
    // Between fields.
    OptionDefinition {
        name: "delimiter",
        expected: "one of \",\", \";\", \"|\" or a tab",
        accepts: |text| matches!(text, "," | ";" | "|" | "\t"),
        sets: &[],
    },
    // Excel needs a byte order mark to recognise UTF-8.
    OptionDefinition::boolean("bom"),
    OptionDefinition::boolean("header"),
    // Stands for NULL. A value that equals it is quoted, so that the two stay distinct.
    OptionDefinition {
        name: "null",
        expected: "at most 16 visible ASCII characters, none of , ; | \" ' = + @, and not \\.",
        accepts: is_null_marker,
        sets: &[],
    },
    // Writes `1,5` for 1.5.
    OptionDefinition::boolean("decimal_comma"),
    // Spreadsheets take `2026-01-31T11:00:00+01:00` for a text, and recognise `2026-01-31 11:00:00`.
    OptionDefinition {
        name: "timestamps",
        expected: "`rfc3339` or `spreadsheet`",
        accepts: |text| matches!(text, "rfc3339" | "spreadsheet"),
        sets: &[],
    },
    OptionDefinition::boolean("formula_guard"),
];

/// The marker is never quoted, so it must not need quotes under any delimiter.
fn is_null_marker(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b",;|\"'=+@".contains(&byte);
    text.len() <= 16 && text.bytes().all(plain) && text != END_OF_DATA
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
    /// Whether timestamps are written for spreadsheets.
    local_timestamps: bool,
    /// Another form than RFC 3339 is a preset's, and then times are the preset's, too.
    date_form: DateForm,
    /// `false`, then `true`.
    booleans: [&'static str; 2],
    formula_guard: Option<FormulaGuard>,
    labels: Vec<String>,
    time_zone: TimeZone,
    /// Whether no line has been written.
    is_empty: bool,
}

impl CsvEncoder {
    fn new(columns: &[Column], settings: &EncoderSettings) -> CsvEncoder {
        let options = &settings.options;
        let preset = Preset::of(options.get("preset"));
        let null_marker = options.get("null").unwrap_or_default().to_owned();
        let null = match null_marker.as_str() {
            // With one column a bare NULL is an empty line, which readers skip: a row would be lost.
            "" if columns.len() == 1 => b"\"\"".to_vec(),
            marker => marker.as_bytes().to_vec(),
        };
        let delimiter = options.get("delimiter");
        let delimiter = delimiter.map_or(preset.delimiter, |text| text.as_bytes()[0]);
        let timestamps = options.get("timestamps");
        let is_guarded = options.get_bool("formula_guard", true);
        CsvEncoder {
            delimiter,
            bom: options.get_bool("bom", preset.bom),
            header: options.get_bool("header", true),
            null,
            null_marker,
            decimal_comma: options.get_bool("decimal_comma", preset.decimal_comma),
            local_timestamps: timestamps
                .map_or(preset.local_timestamps, |text| text == "spreadsheet"),
            date_form: preset.date_form,
            booleans: preset.booleans,
            formula_guard: is_guarded.then(|| FormulaGuard::new(&[delimiter])),
            labels: settings.labels_of(columns),
            time_zone: settings.time_zone,
            is_empty: true,
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
            Cell::Json(value) => self.json(value, out),
            Cell::Timestamp(value) if self.local_timestamps => {
                value.write_local(self.time_zone, out);
                self.rewrite(start, out);
            }
            Cell::Date(value) => {
                value.write(out);
                self.rewrite(start, out);
            }
            Cell::Time(value) => {
                value.write(out);
                self.rewrite(start, out);
            }
            Cell::Boolean(value) => {
                out.extend_from_slice(self.booleans[usize::from(value)].as_bytes());
            }
            other => other.write_text(self.time_zone, out),
        }
        // A value equal to the marker would read back as NULL. An empty one would too, by default, and
        // as the only field of its line it would be no row at all.
        if out.len() == start {
            out.extend_from_slice(b"\"\"");
        } else if !self.null_marker.is_empty() && out[start..] == *self.null_marker.as_bytes() {
            out.truncate(start);
            quoted(&self.null_marker, out);
        }
    }

    /// Rewrites the date or time at `start` as the preset says.
    #[inline]
    fn rewrite(&self, start: usize, out: &mut Vec<u8>) {
        if self.date_form != DateForm::Iso {
            self.rewrite_by_preset(start, out);
        }
    }

    /// Not inlined, to keep the path without a preset short.
    #[inline(never)]
    fn rewrite_by_preset(&self, start: usize, out: &mut Vec<u8>) {
        let fraction = out[start..].iter().position(|byte| *byte == b'.');
        if let Some(fraction) = fraction.filter(|_| self.decimal_comma) {
            out[start + fraction] = b',';
            if self.delimiter == b',' {
                self.date_form.rewrite(start, out);
                out.insert(start, b'"');
                return out.push(b'"');
            }
        }
        self.date_form.rewrite(start, out);
    }

    fn text(&self, text: &str, out: &mut Vec<u8>) {
        let needs_quotes = needs_quotes(text) || text == END_OF_DATA;
        if !needs_quotes && !FormulaGuard::may_start_formula(text) {
            return out.extend_from_slice(text.as_bytes());
        }
        let guard = self.formula_guard.as_ref();
        let text = guard.map_or(Cow::Borrowed(text), |guard| guard.guard_text(text));
        write_field(&text, needs_quotes, out);
    }

    fn json(&self, json: &str, out: &mut Vec<u8>) {
        let guard = self.formula_guard.as_ref();
        let json = guard.map_or(Cow::Borrowed(json), |guard| guard.guard_json(json));
        write_field(&json, needs_quotes(&json), out);
    }

    /// Quotes the first field of the file, which starts at `start`, if programs would take its first letters for the
    /// file's type: Excel takes `ID` for SYLK, LibreOffice `PK` for a ZIP archive. Both refuse the file.
    fn quote_first_field(&mut self, start: usize, out: &mut Vec<u8>) {
        self.is_empty = false;
        let field = &out[start..];
        if field.starts_with(b"ID") || field.starts_with(b"PK") {
            let is_end = |byte: &u8| *byte == self.delimiter || *byte == b'\r';
            let end = field.iter().position(is_end);
            let end = start + end.expect("a line has an end");
            out.insert(end, b'"');
            out.insert(start, b'"');
        }
    }

    fn number(&self, text: &str, out: &mut Vec<u8>) {
        if self.decimal_comma && text.contains('.') {
            write_field(&text.replace('.', ","), self.delimiter == b',', out);
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
        let start = out.len();
        for (index, label) in self.labels.iter().enumerate() {
            if index > 0 {
                out.push(self.delimiter);
            }
            let is_quoted = label.is_empty() || label == END_OF_DATA || needs_quotes(label);
            write_field(label, is_quoted, out);
        }
        out.extend_from_slice(b"\r\n");
        self.quote_first_field(start, out);
        Ok(())
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        for row in batch.iter() {
            for cell in row {
                self.cell(cell, out);
                out.push(self.delimiter);
            }
            // A row has a cell, so that this is a delimiter.
            out.pop();
            out.extend_from_slice(b"\r\n");
        }
        if self.is_empty && out.len() > start {
            self.quote_first_field(start, out);
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Tells whether the text has a byte that needs quotes.
#[inline]
fn needs_quotes(text: &str) -> bool {
    let text = text.as_bytes();
    // The last piece overlaps the one before it, so that no byte is left over.
    if let Some(end) = text.last_chunk::<16>() {
        let (pieces, _) = text.as_chunks::<16>();
        pieces.iter().any(has_special) || has_special(end)
    } else if let (Some(start), Some(end)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        has_special(start) || has_special(end)
    } else {
        text.iter().any(|byte| is_special(*byte))
    }
}

/// Tells whether one of the bytes needs quotes. A loop without an early exit is vectorized.
#[inline]
fn has_special<const BYTES: usize>(piece: &[u8; BYTES]) -> bool {
    let found = |found, byte: &u8| found | is_special(*byte);
    piece.iter().fold(false, found)
}

/// Tells whether a reader could take the byte for a quote, the end of a line or a delimiter. Readers guess the
/// delimiter, or split at several, so every usual one counts, whatever the file's is.
#[inline]
fn is_special(byte: u8) -> bool {
    // TAB, LF, CR, and with them VT and FF: one comparison.
    (byte == b'"') | (byte == b',') | (byte == b';') | (byte == b'|') | (byte.wrapping_sub(9) < 5)
}

fn write_field(text: &str, is_quoted: bool, out: &mut Vec<u8>) {
    if is_quoted {
        quoted(text, out);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
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
            "'=1+1,\"'@x,y\",\"'\tx\",a=b,-1\r\n"
        );
        assert_eq!(
            encode(
                &[("header", "false"), ("formula_guard", "false")],
                &columns,
                &[&row]
            ),
            "=1+1,\"@x,y\",\"\tx\",a=b,-1\r\n"
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
            "\u{feff}\"Total, €\";x\r\n1,5;\"a;b\"\r\n"
        );
        assert_eq!(
            encode(
                &[("header", "false"), ("decimal_comma", "true")],
                &["a", "b"],
                rows
            ),
            "\"1,5\",\"a;b\"\r\n"
        );
    }

    #[test]
    fn a_preset_writes_what_a_spreadsheet_of_its_country_reads() {
        let instant = |micros| Cell::Timestamp(Timestamp { micros, utc: true });
        let rows: &[&[Cell]] = &[
            &[
                Cell::Float(-1.5),
                Cell::Decimal("12.50"),
                Cell::Boolean(true),
                Cell::Boolean(false),
                Cell::Date(Date { days: 30 }),
                instant(0),
                Cell::Text("a;b"),
            ],
            &[
                Cell::Integer(-1),
                Cell::Null,
                Cell::Text("true"),
                Cell::Text("-1,5"),
                Cell::Date(Date { days: i32::MAX }),
                instant(1_234_999),
                Cell::Time(Time { micros: 1 }),
            ],
        ];
        let columns = ["total", "b", "c", "d", "e", "f", "g"];
        for (preset, expected) in [
            (
                "excel-de",
                "\u{feff}\"Total, €\";b;c;d;e;f;g\r\n\
                 -1,5;12,50;WAHR;FALSCH;31.01.2000;01.01.2000 00:00:00;\"a;b\"\r\n\
                 -1;;true;\"'-1,5\";infinity;01.01.2000 00:00:01,234;00:00:00,000001\r\n",
            ),
            (
                "excel-fr",
                "\u{feff}\"Total, €\";b;c;d;e;f;g\r\n\
                 -1,5;12,50;VRAI;FAUX;31/01/2000;01/01/2000 00:00:00;\"a;b\"\r\n\
                 -1;;true;\"'-1,5\";infinity;01/01/2000 00:00:01,234;00:00:00,000001\r\n",
            ),
            (
                "excel-us",
                "\u{feff}\"Total, €\",b,c,d,e,f,g\r\n\
                 -1.5,12.50,TRUE,FALSE,1/31/2000,1/1/2000 00:00:00,\"a;b\"\r\n\
                 -1,,true,\"'-1,5\",infinity,1/1/2000 00:00:01.234,00:00:00.000001\r\n",
            ),
        ] {
            assert_eq!(encode(&[("preset", preset)], &columns, rows), expected);
        }
    }

    #[test]
    fn options_take_precedence_over_those_of_the_preset() {
        let rows: &[&[Cell]] = &[&[
            Cell::Float(1.5),
            Cell::Timestamp(Timestamp {
                micros: 500_000,
                utc: true,
            }),
            Cell::Date(Date { days: 0 }),
            Cell::Boolean(true),
        ]];
        let columns = ["a", "b", "c", "d"];
        let german = [
            ("preset", "excel-de"),
            ("bom", "false"),
            ("header", "false"),
        ];
        for (options, expected) in [
            (&[][..], "1,5;01.01.2000 00:00:00,5;01.01.2000;WAHR\r\n"),
            (
                &[("delimiter", ",")],
                "\"1,5\",\"01.01.2000 00:00:00,5\",01.01.2000,WAHR\r\n",
            ),
            (
                &[("preset", "none")],
                "1.5,2000-01-01T00:00:00.5Z,2000-01-01,true\r\n",
            ),
            (
                &[("decimal_comma", "false")],
                "1.5;01.01.2000 00:00:00.5;01.01.2000;WAHR\r\n",
            ),
            (
                &[("timestamps", "rfc3339")],
                "1,5;2000-01-01T00:00:00.5Z;01.01.2000;WAHR\r\n",
            ),
            (
                &[("timestamps", "spreadsheet"), ("null", "WAHR")],
                "1,5;01.01.2000 00:00:00,5;01.01.2000;\"WAHR\"\r\n",
            ),
        ] {
            let options = [&german[..], options].concat();
            assert_eq!(encode(&options, &columns, rows), expected, "{options:?}");
        }
    }

    #[test]
    fn timestamps_can_be_local_times_that_spreadsheets_recognise() {
        let instant = |micros, utc| Cell::Timestamp(Timestamp { micros, utc });
        let rows: &[&[Cell]] = &[
            &[instant(0, true), instant(0, false)],
            &[instant(1_234_999, true), instant(i64::MAX, true)],
        ];
        let local = [("timestamps", "spreadsheet"), ("header", "false")];
        assert_eq!(
            encode(&local, &["a", "b"], rows),
            "2000-01-01 00:00:00,2000-01-01 00:00:00\r\n2000-01-01 00:00:01.234,infinity\r\n"
        );
    }

    #[test]
    fn a_field_is_quoted_where_readers_would_misread_the_file() {
        assert_eq!(
            encode(&[], &["ID", "total"], &[]),
            "\"ID\",\"Total, €\"\r\n"
        );
        assert_eq!(encode(&[], &["PKG"], &[]), "\"PKG\"\r\n");
        let rows: &[&[Cell]] = &[
            &[Cell::Text("PK\u{3}"), Cell::Text("\\.")],
            &[Cell::Text("IDA"), Cell::Text("\\.x")],
        ];
        assert_eq!(
            encode(&[("header", "false")], &["a", "b"], rows),
            "\"PK\u{3}\",\"\\.\"\r\nIDA,\\.x\r\n"
        );
        assert_eq!(
            encode(&[], &["id", "\\."], rows),
            "id,\"\\.\"\r\nPK\u{3},\"\\.\"\r\nIDA,\\.x\r\n"
        );
        assert!(!is_null_marker("\\.") && is_null_marker("\\N"));
    }

    #[test]
    fn bytes_that_need_quotes_are_found_at_every_position_of_texts_of_every_length() {
        let options = [("header", "false"), ("formula_guard", "false")];
        let encode = |text: &str| encode(&options, &["a"], &[&[Cell::Text(text)]]);
        for length in 1..70 {
            let plain = "x".repeat(length);
            assert_eq!(encode(&plain), format!("{plain}\r\n"));
            for place in 0..length {
                for special in [",", ";", "|", "\t", "\r", "\n", "\""] {
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
