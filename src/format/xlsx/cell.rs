//! XML of one cell: ECMA-376 part 1, 18.3.1.4 and 18.18.11.

mod formulas;

use super::text::{TooLong, check_length, has_outer_whitespace, write_text};
use super::{serial, styles};
use crate::row::{Cell, TimeZone, Timestamp};

/// Significant digits of a number: Excel's "Specifications and limits", number precision.
const DIGITS_MAX: usize = 15;
/// Smallest positive integer with more digits.
pub(super) const INTEGER_LIMIT: u64 = 10_u64.pow(DIGITS_MAX as u32);
/// Digits before or after the decimal point. With more, Excel reads zero or infinity.
const PLACES_MAX: usize = 300;

/// A row number in decimal digits, formatted once per row.
pub struct RowNumber {
    digits: [u8; 8],
    length: usize,
}

impl RowNumber {
    pub fn new(row: u32) -> RowNumber {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(row).as_bytes();
        let mut digits = [0; 8];
        digits[..text.len()].copy_from_slice(text);
        RowNumber {
            digits,
            length: text.len(),
        }
    }

    #[inline]
    pub fn write(&self, out: &mut Vec<u8>) {
        write_prefix(&self.digits, self.length, out);
    }
}

/// Appends the first `length` bytes. Copying all `N` bytes and truncating is faster: `N` is known at
/// compile time.
#[inline(always)]
fn write_prefix<const N: usize>(bytes: &[u8; N], length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// Writes the cells of one column.
pub struct CellWriter {
    /// For example `<c r="AB`.
    prefix: [u8; 16],
    prefix_length: usize,
    /// Custom style for numbers, dates and times.
    style: Option<u32>,
    time_zone: TimeZone,
}

/// Follows the attributes of a numeric cell.
const VALUE_START: &[u8] = b"><v>";
/// Follows the value of a numeric cell, and of one with a text.
pub(super) const NUMBER_END: &[u8] = b"</v></c>";
pub(super) const TEXT_END: &[u8] = b"</t></is></c>";

impl CellWriter {
    pub fn new(letters: &str, style: Option<u32>, time_zone: TimeZone) -> CellWriter {
        let text = format!("<c r=\"{letters}");
        let mut prefix = [0; 16];
        prefix[..text.len()].copy_from_slice(text.as_bytes());
        CellWriter {
            prefix,
            prefix_length: text.len(),
            style,
            time_zone,
        }
    }

    /// Writes a text in a style, such as the header cell.
    pub fn write_label(
        &self,
        label: &str,
        style: u32,
        reference: Option<&RowNumber>,
        out: &mut Vec<u8>,
    ) {
        self.write_reference(reference, out);
        write_style_unless_default(style, out);
        write_inline_string(label, out);
    }

    /// Writes a cell; NULL is an empty cell.
    ///
    /// # Errors
    /// Returns `TooLong` if the text does not fit into a cell.
    #[inline]
    pub fn write(
        &self,
        cell: Cell<'_>,
        reference: Option<&RowNumber>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        if cell == Cell::Null {
            // Without references, the position of a cell determines its column.
            if reference.is_none() {
                out.extend_from_slice(b"<c/>");
            }
            return Ok(());
        }
        self.write_reference(reference, out);
        match cell {
            Cell::Null => {}
            Cell::Boolean(value) => {
                out.extend_from_slice(if value {
                    b" t=\"b\"><v>1</v></c>"
                } else {
                    b" t=\"b\"><v>0</v></c>"
                });
            }
            Cell::Integer(value) => {
                let mut buffer = itoa::Buffer::new();
                let text = buffer.format(value);
                if value.unsigned_abs() < INTEGER_LIMIT || is_exact(text) {
                    self.write_number(text, out);
                } else {
                    write_inline_string(text, out);
                }
            }
            Cell::Float(value) if value.is_finite() => {
                self.write_number(zmij::Buffer::new().format_finite(value), out);
            }
            Cell::Float(_) | Cell::Decimal("NaN" | "Infinity" | "-Infinity") => {
                out.extend_from_slice(b" t=\"e\"><v>#NUM!</v></c>");
            }
            Cell::Decimal(text) if is_exact(text) => self.write_number(text, out),
            Cell::Decimal(text) => write_inline_string(text, out),
            Cell::Text(text) | Cell::Json(text) => {
                check_length(text)?;
                write_inline_string(text, out);
            }
            Cell::Bytes(bytes) => {
                check_length(&hex::encode(bytes))?;
                self.write_plain(cell, out);
            }
            Cell::Date(date) => match serial::from_date(date) {
                Some(day) => self.write_serial(styles::DATE, day, 0, out),
                None => self.write_plain(cell, out),
            },
            Cell::Time(time) => match serial::from_time(time) {
                Some(millis) => self.write_serial(styles::TIME, 0, millis, out),
                None => self.write_plain(cell, out),
            },
            Cell::Timestamp(timestamp) => self.write_timestamp(timestamp, out),
            Cell::Interval(interval) => match serial::from_interval(interval) {
                Some((days, millis)) => self.write_serial(styles::DURATION, days, millis, out),
                None => self.write_plain(cell, out),
            },
            Cell::Uuid(_) => self.write_plain(cell, out),
        }
        Ok(())
    }

    #[inline]
    fn write_reference(&self, reference: Option<&RowNumber>, out: &mut Vec<u8>) {
        match reference {
            Some(row) => {
                write_prefix(&self.prefix, self.prefix_length, out);
                row.write(out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"<c"),
        }
    }

    #[inline]
    fn write_number(&self, text: &str, out: &mut Vec<u8>) {
        if let Some(style) = self.style {
            write_style(style, out);
        }
        out.extend_from_slice(VALUE_START);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(NUMBER_END);
    }

    fn write_serial(&self, style: u32, day: i64, millis: i64, out: &mut Vec<u8>) {
        let style = with_millis(style, millis);
        write_style(self.style.unwrap_or(style), out);
        out.extend_from_slice(VALUE_START);
        serial::write(day, millis, out);
        out.extend_from_slice(NUMBER_END);
    }

    /// Writes a value whose text needs no escapes.
    fn write_plain(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b" t=\"inlineStr\"><is><t>");
        cell.write_text(self.time_zone, out);
        out.extend_from_slice(TEXT_END);
    }

    fn write_timestamp(&self, timestamp: Timestamp, out: &mut Vec<u8>) {
        match serial::from_micros(timestamp.local_micros(self.time_zone)) {
            Some((day, millis)) => self.write_serial(styles::TIMESTAMP, day, millis, out),
            None => self.write_plain(Cell::Timestamp(timestamp), out),
        }
    }
}

fn write_style_unless_default(style: u32, out: &mut Vec<u8>) {
    if style != styles::DEFAULT {
        write_style(style, out);
    }
}

fn write_style(style: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b" s=\"");
    out.extend_from_slice(itoa::Buffer::new().format(style).as_bytes());
    out.push(b'"');
}

fn write_inline_string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(if has_outer_whitespace(text) {
        b" t=\"inlineStr\"><is><t xml:space=\"preserve\">"
    } else {
        &b" t=\"inlineStr\"><is><t>"[..]
    });
    write_text(text, out);
    out.extend_from_slice(TEXT_END);
}

/// Returns the style of a time, with milliseconds if it has some.
pub(super) fn with_millis(style: u32, millis: i64) -> u32 {
    match millis % 1000 {
        0 => style,
        _ => style + styles::WITH_MILLIS,
    }
}

/// Returns the style, the serial day and the milliseconds of a date or time; `None` for one that is written as text, and for
/// other values.
pub(super) fn serial_of(cell: Cell<'_>, time_zone: TimeZone) -> Option<(u32, i64, i64)> {
    let (style, (day, millis)) = match cell {
        Cell::Date(date) => (styles::DATE, (serial::from_date(date)?, 0)),
        Cell::Time(time) => (styles::TIME, (0, serial::from_time(time)?)),
        Cell::Timestamp(timestamp) => {
            let micros = timestamp.local_micros(time_zone);
            (styles::TIMESTAMP, serial::from_micros(micros)?)
        }
        Cell::Interval(interval) => (styles::DURATION, serial::from_interval(interval)?),
        _ => return None,
    };
    Some((with_millis(style, millis), day, millis))
}

/// Returns whether Excel stores a decimal number without rounding.
pub(super) fn is_exact(number: &str) -> bool {
    if number.len() <= DIGITS_MAX {
        return true;
    }
    let digits = number.trim_start_matches('-');
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let count = match (whole.trim_start_matches('0'), places.trim_end_matches('0')) {
        (whole, "") => whole.trim_end_matches('0').len(),
        ("", places) => places.trim_start_matches('0').len(),
        (whole, places) => whole.len() + places.len(),
    };
    count <= DIGITS_MAX && whole.len() <= PLACES_MAX && places.len() <= PLACES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Date, Interval, Time};

    fn written(cell: Cell<'_>) -> String {
        let mut out = Vec::new();
        let writer = CellWriter::new("B", None, TimeZone::default());
        writer
            .write(cell, Some(&RowNumber::new(12)), &mut out)
            .expect("it fits");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn each_type_has_its_cell_form() {
        for (cell, expected) in [
            (Cell::Null, ""),
            (Cell::Boolean(true), r#"<c r="B12" t="b"><v>1</v></c>"#),
            (Cell::Integer(-7), r#"<c r="B12"><v>-7</v></c>"#),
            (Cell::Float(0.1), r#"<c r="B12"><v>0.1</v></c>"#),
            (
                Cell::Float(f64::NAN),
                r#"<c r="B12" t="e"><v>#NUM!</v></c>"#,
            ),
            (
                Cell::Decimal("-Infinity"),
                r#"<c r="B12" t="e"><v>#NUM!</v></c>"#,
            ),
            (Cell::Decimal("12.50"), r#"<c r="B12"><v>12.50</v></c>"#),
            (
                Cell::Text("=1+1"),
                r#"<c r="B12" t="inlineStr"><is><t>=1+1</t></is></c>"#,
            ),
            (
                Cell::Text(" a"),
                r#"<c r="B12" t="inlineStr"><is><t xml:space="preserve"> a</t></is></c>"#,
            ),
            (
                Cell::Text(""),
                r#"<c r="B12" t="inlineStr"><is><t></t></is></c>"#,
            ),
            (
                Cell::Bytes(b"\x00\xff"),
                r#"<c r="B12" t="inlineStr"><is><t>00ff</t></is></c>"#,
            ),
            (
                Cell::Date(Date { days: 0 }),
                r#"<c r="B12" s="2"><v>36526</v></c>"#,
            ),
            (
                Cell::Date(Date { days: i32::MAX }),
                r#"<c r="B12" t="inlineStr"><is><t>infinity</t></is></c>"#,
            ),
            (
                Cell::Time(Time {
                    micros: 43_200_000_000,
                }),
                r#"<c r="B12" s="4"><v>0.5</v></c>"#,
            ),
            (
                Cell::Timestamp(Timestamp {
                    micros: 21_600_000_000,
                    utc: true,
                }),
                r#"<c r="B12" s="3"><v>36526.25</v></c>"#,
            ),
            (
                Cell::Timestamp(Timestamp {
                    micros: 86_399_999_999,
                    utc: true,
                }),
                r#"<c r="B12" s="6"><v>36526.999999988</v></c>"#,
            ),
            (
                Cell::Time(Time { micros: 1000 }),
                r#"<c r="B12" s="7"><v>0.000000012</v></c>"#,
            ),
            (
                Cell::Interval(Interval {
                    months: 0,
                    days: 1,
                    micros: 43_200_000_000,
                }),
                r#"<c r="B12" s="5"><v>1.5</v></c>"#,
            ),
            (
                Cell::Interval(Interval {
                    months: 1,
                    days: 0,
                    micros: 0,
                }),
                r#"<c r="B12" t="inlineStr"><is><t>1 mon</t></is></c>"#,
            ),
        ] {
            assert_eq!(written(cell), expected);
        }
    }

    #[test]
    fn numbers_that_excel_would_round_are_text() {
        let is_text = |cell| written(cell).contains("inlineStr");
        for exact in [
            999_999_999_999_999,
            -999_999_999_999_999,
            1_000_000_000_000_000_000,
        ] {
            assert!(!is_text(Cell::Integer(exact)), "{exact}");
        }
        for long in [1_000_000_000_000_001, i64::MIN] {
            assert!(is_text(Cell::Integer(long)), "{long}");
        }
        let zeros = "0".repeat(299);
        let (large, small) = (format!("1{zeros}"), format!("0.{zeros}1"));
        let (too_large, too_small) = (format!("1{zeros}00"), format!("0.{zeros}01"));
        for exact in [
            "123456789012345",
            "0.000000123456789012345",
            "-12345678901234.5000",
            "0",
            &large,
            &small,
        ] {
            assert!(!is_text(Cell::Decimal(exact)), "{exact}");
        }
        for long in [
            "1234567890123456",
            "1000000000000000.1",
            "0.1234567890123456",
            &too_large,
            &too_small,
        ] {
            assert!(is_text(Cell::Decimal(long)), "{long}");
        }
    }
}
