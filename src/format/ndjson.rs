//! NDJSON: one JSON object per line.

use super::encoder::{EncodeError, Encoder};
use super::integrity_line::LineSyntax;
use super::json_object::{OPTIONS, ObjectWriter};
use super::{Capacity, Definition};
use crate::row::RowBatch;

/// The registry entry. The media type is not registered, but it is what other software sends. JSON is
/// UTF-8, and its type has no parameter (RFC 8259, section 11).
pub(super) const FORMAT: Definition = Definition {
    extension: "ndjson",
    is_default: true,
    capacity: Capacity::One,
    is_text: true,
    is_json: true,
    integrity_line: Some(&INTEGRITY_LINE),
    heartbeats: None,
    options: &OPTIONS,
    media_type: |_| "application/x-ndjson",
    encoder: |columns, settings| {
        Ok(Box::new(NdjsonEncoder(ObjectWriter::new(
            columns, &settings,
        ))))
    },
};

/// A JSON object like every other line.
const INTEGRITY_LINE: LineSyntax = LineSyntax {
    before_rows: r#"{"rowlink_end":{"rows":"#,
    before_hash: r#","sha256":""#,
    end: "\"}}\n",
};

/// Encodes NDJSON.
struct NdjsonEncoder(ObjectWriter);

impl Encoder for NdjsonEncoder {
    fn begin(&mut self, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }

    fn rows(&mut self, batch: &RowBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.0.write(batch, out, b"", b"}\n");
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encoder::tests::encode_rows;
    use crate::format::options::FormatOptions;
    use crate::row::{Cell, Date, Interval, Time, Timestamp};
    use proptest::prelude::*;
    use serde_json::Value;
    use uuid::Uuid;

    fn encode(options: &[(&str, &str)], columns: &[&str], rows: &[&[Cell<'_>]]) -> String {
        encode_rows(&FORMAT, options, columns, rows)
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
    fn a_line_holds_no_other_line_end_and_json_no_half_of_a_pair() {
        let separators = "a\u{85}b\u{2028}c\u{2029}d “é” €";
        let cells = [
            Cell::Text(separators),
            Cell::Json("{\"a\u{2028}\":\n\"\u{85} “\u{2029}\"}"),
            Cell::Json(r#"["\ud800", "\udc00x", "\uD83D\uDE00", "\ud800\ud83d\ude00"]"#),
            Cell::Json(r#"["\\ud800", "\"\u2028\u00e9\n"]"#),
        ];
        let expected = [
            r#""a\u0085b\u2028c\u2029d “é” €""#,
            r#"{"a\u2028": "\u0085 “\u2029"}"#,
            r#"["\ufffd", "\ufffdx", "\uD83D\uDE00", "\ufffd\ud83d\ude00"]"#,
            r#"["\\ud800", "\"\u2028\u00e9\n"]"#,
        ];
        assert_eq!(values(&[], &cells), expected);
        let read: Value = serde_json::from_str(expected[0]).expect("JSON");
        assert_eq!(read, separators);
        let rows: &[&[Cell]] = &[&[Cell::Integer(1)]];
        assert_eq!(encode(&[], &["a\u{2028}"], rows), "{\"a\\u2028\":1}\n");
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
    fn a_refused_option_says_what_was_expected() {
        let mut options = FormatOptions::default();
        let error = options
            .set(&OPTIONS, "large_numbers", "yes")
            .expect_err("refused");
        assert_eq!(error.to_string(), "expected `number` or `string`");
        let error = options
            .set(&OPTIONS, "pretty", "true")
            .expect_err("refused");
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
