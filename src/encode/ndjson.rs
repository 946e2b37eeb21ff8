//! NDJSON: one JSON object (RFC 8259) a line. Its members are the columns, by their names in the query.

use uuid::Uuid;

use super::Encoder;
use crate::format::{LargeNumbers, NdjsonOptions};
use crate::row::{Cell, Column, RowBatch, TimeZone};

/// What every reader takes exactly: RFC 7493, section 2.2.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
/// As many digits as a 64-bit float always gives back.
const SAFE_DIGITS_MAX: usize = 15;

/// Writes NDJSON.
pub struct NdjsonEncoder {
    options: NdjsonOptions,
    time_zone: TimeZone,
    /// What stands before the value of each column: `{"id":`, `,"name":`.
    keys: Vec<Vec<u8>>,
}

impl NdjsonEncoder {
    /// Writes with these options; instants are shown in the time zone.
    pub fn new(options: NdjsonOptions, time_zone: TimeZone) -> NdjsonEncoder {
        NdjsonEncoder {
            options,
            time_zone,
            keys: Vec::new(),
        }
    }

    #[inline]
    fn cell(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Boolean(true) => out.extend_from_slice(b"true"),
            Cell::Boolean(false) => out.extend_from_slice(b"false"),
            Cell::Integer(value) => {
                let is_safe = value.unsigned_abs() <= SAFE_INTEGER_MAX;
                self.number(itoa::Buffer::new().format(value), is_safe, out);
            }
            Cell::Float(value) if value.is_finite() => {
                out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
            }
            Cell::Float(value) if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
            Cell::Float(value) if value > 0.0 => out.extend_from_slice(b"\"Infinity\""),
            Cell::Float(_) => out.extend_from_slice(b"\"-Infinity\""),
            // JSON has no such numbers either.
            Cell::Decimal(value) if value.ends_with(|c: char| !c.is_ascii_digit()) => {
                string(value, out);
            }
            Cell::Decimal(value) => self.number(value, is_safe_decimal(value), out),
            Cell::Text(value) => string(value, out),
            Cell::Bytes(value) => quoted(out, |out| {
                out.extend_from_slice(hex::encode(value).as_bytes());
            }),
            Cell::Date(value) => quoted(out, |out| value.write(out)),
            Cell::Time(value) => quoted(out, |out| value.write(out)),
            Cell::Timestamp(value) => quoted(out, |out| value.write(self.time_zone, out)),
            Cell::Interval(value) => quoted(out, |out| value.write(out)),
            Cell::Uuid(value) => quoted(out, |out| {
                let mut buffer = Uuid::encode_buffer();
                out.extend_from_slice(value.hyphenated().encode_lower(&mut buffer).as_bytes());
            }),
            Cell::Json(value) => json(value, out),
        }
    }

    fn number(&self, text: &str, is_safe: bool, out: &mut Vec<u8>) {
        let digits = |out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
        match self.options.large_numbers {
            LargeNumbers::String if !is_safe => quoted(out, digits),
            _ => digits(out),
        }
    }
}

impl Encoder for NdjsonEncoder {
    fn begin(&mut self, columns: &[Column], _: &mut Vec<u8>) {
        let key = |(index, column): (usize, &Column)| {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            string(&column.name, &mut key);
            key.push(b':');
            key
        };
        self.keys = columns.iter().enumerate().map(key).collect();
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) {
        for row in batch.iter() {
            for (key, cell) in self.keys.iter().zip(row) {
                out.extend_from_slice(key);
                self.cell(cell, out);
            }
            out.extend_from_slice(b"}\n");
        }
    }
}

/// Whether a decimal reads back from a 64-bit float with all its digits.
fn is_safe_decimal(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '0', '.']);
    let digits = match digits.contains('.') || text.starts_with("0.") || text.starts_with("-0.") {
        true => digits.trim_end_matches('0'),
        false => digits,
    };
    digits.bytes().filter(u8::is_ascii_digit).count() <= SAFE_DIGITS_MAX
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// JSON as the database keeps it. Between its tokens may be line ends, which would end the row; a string in it has none.
fn json(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// RFC 8259, section 7: only what must be escaped is.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let must_escape = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    // Without a way out of the loop it is done for many bytes at once.
    if text
        .bytes()
        .fold(false, |any, byte| any | must_escape(byte))
    {
        text.bytes().for_each(|byte| escaped(byte, out));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

#[cold]
fn escaped(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0..0x20 => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[high], DIGITS[low]]);
            return;
        }
        plain => return out.push(plain),
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Date, Interval, RowBuffer, Time, Timestamp};
    use proptest::prelude::*;
    use serde_json::Value;

    fn encode(options: &[(&str, &str)], columns: &[&str], rows: &[&[Cell<'_>]]) -> String {
        let mut ndjson = NdjsonOptions::default();
        for (name, value) in options {
            ndjson.set(name, value).expect("an option");
        }
        let column = |name: &&str| Column::text(*name);
        let columns: Vec<Column> = columns.iter().map(column).collect();
        let mut buffer = RowBuffer::default();
        buffer.reset(columns.len());
        rows.concat().iter().for_each(|cell| buffer.push(*cell));
        let batch = buffer.finish().expect("UTF-8");
        let mut encoder = NdjsonEncoder::new(ndjson, TimeZone::default());
        let mut out = Vec::new();
        encoder.begin(&columns, &mut out);
        encoder.rows(&batch, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn values(options: &[(&str, &str)], cells: &[Cell<'_>]) -> Vec<String> {
        let rows: Vec<&[Cell]> = cells.chunks(1).collect();
        let text = encode(options, &["v"], &rows);
        let value = |line: &str| Some(line.strip_prefix(r#"{"v":"#)?.strip_suffix('}')?.to_owned());
        text.lines()
            .map(|line| value(line).expect("a value"))
            .collect()
    }

    #[test]
    fn each_type_has_its_form() {
        let cells = [
            Cell::Null,
            Cell::Boolean(true),
            Cell::Boolean(false),
            Cell::Integer(i64::MIN),
            Cell::Float(0.1),
            Cell::Float(1e300),
            Cell::Float(f64::NAN),
            Cell::Float(f64::INFINITY),
            Cell::Float(f64::NEG_INFINITY),
            Cell::Decimal("-0.10"),
            Cell::Decimal("NaN"),
            Cell::Decimal("-Infinity"),
            Cell::Text("Zoë \"x\" \\ \u{1}\t\r\n\u{7f}"),
            Cell::Bytes(b"\x00\xff"),
            Cell::Date(Date { days: 0 }),
            Cell::Time(Time { micros: 1 }),
            Cell::Timestamp(Timestamp {
                micros: 0,
                utc: true,
            }),
            Cell::Timestamp(Timestamp {
                micros: i64::MIN,
                utc: true,
            }),
            Cell::Interval(Interval {
                months: 0,
                days: 1,
                micros: 0,
            }),
            Cell::Uuid(Uuid::nil()),
            Cell::Json("{\"a\":\r\n [1]}"),
        ];
        let expected = [
            "null",
            "true",
            "false",
            "-9223372036854775808",
            "0.1",
            "1e+300",
            r#""NaN""#,
            r#""Infinity""#,
            r#""-Infinity""#,
            "-0.10",
            r#""NaN""#,
            r#""-Infinity""#,
            "\"Zoë \\\"x\\\" \\\\ \\u0001\\t\\r\\n\u{7f}\"",
            r#""00ff""#,
            r#""2000-01-01""#,
            r#""00:00:00.000001""#,
            r#""2000-01-01T00:00:00Z""#,
            r#""-infinity""#,
            r#""1 day""#,
            r#""00000000-0000-0000-0000-000000000000""#,
            r#"{"a":   [1]}"#,
        ];
        assert_eq!(values(&[], &cells), expected);
    }

    #[test]
    fn a_row_is_an_object_of_columns_in_their_order() {
        let rows: &[&[Cell]] = &[
            &[Cell::Integer(1), Cell::Null],
            &[Cell::Integer(2), Cell::Text("")],
        ];
        let expected = "{\"b\":1,\"a \\\"x\\\"\":null}\n{\"b\":2,\"a \\\"x\\\"\":\"\"}\n";
        assert_eq!(encode(&[], &["b", "a \"x\""], rows), expected);
        assert_eq!(encode(&[], &["b"], &[]), "");
    }

    #[test]
    fn numbers_that_floats_would_round_can_be_strings() {
        let cells = [
            (Cell::Integer(9_007_199_254_740_991), "9007199254740991"),
            (Cell::Integer(9_007_199_254_740_992), "\"9007199254740992\""),
            (Cell::Integer(-9_007_199_254_740_991), "-9007199254740991"),
            (Cell::Integer(i64::MIN), "\"-9223372036854775808\""),
            (Cell::Decimal("123456789012345"), "123456789012345"),
            (Cell::Decimal("1234567890123456"), "\"1234567890123456\""),
            (
                Cell::Decimal("-12345678901234.56"),
                "\"-12345678901234.56\"",
            ),
            (
                Cell::Decimal("1.50000000000000000000"),
                "1.50000000000000000000",
            ),
            (
                Cell::Decimal("0.00000000000000000012"),
                "0.00000000000000000012",
            ),
            (Cell::Decimal("0.000"), "0.000"),
            (
                Cell::Decimal("10000000000000000000"),
                "\"10000000000000000000\"",
            ),
        ];
        let large = [("large_numbers", "string")];
        for (cell, expected) in cells {
            assert_eq!(values(&large, &[cell]), [expected], "{cell:?}");
            assert_eq!(
                values(&[], &[cell]),
                [expected.trim_matches('"')],
                "{cell:?}"
            );
        }
    }

    #[test]
    fn an_option_says_what_it_takes() {
        let mut options = NdjsonOptions::default();
        let error = options.set("large_numbers", "yes").expect_err("refused");
        assert_eq!(error.to_string(), "expected `number` or `string`");
        let error = options.set("pretty", "true").expect_err("refused");
        assert_eq!(
            error.to_string(),
            "unknown option; the options are large_numbers"
        );
    }

    proptest! {
        #[test]
        fn another_reader_gets_every_text_back(texts in prop::collection::vec(".*", 2), name in ".{1,9}") {
            let names = [name.as_str(), "other column"];
            let cells: Vec<Cell> = texts.iter().map(|text| Cell::Text(text)).collect();
            let line = encode(&[], &names, &[&cells]);
            prop_assert_eq!(line.bytes().filter(|byte| *byte == b'\n').count(), 1);
            let read: Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(&read[&name], &texts[0]);
            prop_assert_eq!(&read["other column"], &texts[1]);
        }
    }
}
