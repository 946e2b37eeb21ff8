//! One cell: its reference, its type, its value. ECMA-376 part 1, 18.3.1.4 and 18.18.11.

use uuid::Uuid;

use super::text::{TooLong, check_length, has_outer_space, write_text};
use super::{serial, styles};
use crate::row::{Cell, TimeZone, Timestamp};

/// What a number of Excel's keeps: "Specifications and limits", number precision.
const DIGITS_MAX: usize = 15;
/// The first integer that may have more.
const INTEGER_LIMIT: u64 = 10_u64.pow(DIGITS_MAX as u32);
/// Beyond these places a number is zero or infinite to Excel.
const PLACES_MAX: usize = 300;

/// The number of a row, as text.
pub struct RowNumber {
    digits: [u8; 8],
    length: usize,
}

impl RowNumber {
    pub fn of(row: u32) -> RowNumber {
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
        put_start(&self.digits, self.length, out);
    }
}

/// Appends the start of some bytes. A length that is known when this is compiled costs a fraction of
/// one that is not.
#[inline(always)]
fn put_start<const N: usize>(bytes: &[u8; N], length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    out.extend_from_slice(bytes);
    out.truncate(end);
}

/// Writes the cells of one column.
pub struct CellWriter {
    /// `<c r="AB`.
    start: [u8; 16],
    start_length: usize,
    /// The style of its numbers, dates and times, where it has its own.
    style: Option<u32>,
    time_zone: TimeZone,
}

/// The start of a number's cell after its reference, in general format.
const NUMBER: &[u8] = b"><v>";

impl CellWriter {
    pub fn new(letters: &str, style: Option<u32>, time_zone: TimeZone) -> CellWriter {
        let text = format!("<c r=\"{letters}");
        let mut start = [0; 16];
        start[..text.len()].copy_from_slice(text.as_bytes());
        CellWriter {
            start,
            start_length: text.len(),
            style,
            time_zone,
        }
    }

    /// Writes the cell of the header.
    pub fn write_label(&self, label: &str, reference: Option<&RowNumber>, out: &mut Vec<u8>) {
        self.write_start(reference, out);
        write_style(styles::HEADER, out);
        write_inline(label, out);
    }

    /// Writes a cell, which is empty for NULL.
    ///
    /// # Errors
    /// The text is longer than a cell.
    #[inline]
    pub fn write(
        &self,
        cell: Cell<'_>,
        reference: Option<&RowNumber>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        if cell == Cell::Null {
            // Without references a cell's place is what tells its column.
            if reference.is_none() {
                out.extend_from_slice(b"<c/>");
            }
            return Ok(());
        }
        self.write_start(reference, out);
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
                    write_inline(text, out);
                }
            }
            Cell::Float(value) if value.is_finite() => {
                self.write_number(zmij::Buffer::new().format_finite(value), out);
            }
            Cell::Float(_) | Cell::Decimal("NaN" | "Infinity" | "-Infinity") => {
                out.extend_from_slice(b" t=\"e\"><v>#NUM!</v></c>");
            }
            Cell::Decimal(text) if is_exact(text) => self.write_number(text, out),
            Cell::Decimal(text) => write_inline(text, out),
            Cell::Text(text) | Cell::Json(text) => {
                check_length(text)?;
                write_inline(text, out);
            }
            Cell::Bytes(bytes) => {
                let text = hex::encode(bytes);
                check_length(&text)?;
                write_inline(&text, out);
            }
            Cell::Date(date) => match serial::of_date(date) {
                Some(day) => self.write_serial(styles::DATE, day, 0, out),
                None => write_as_text(|text| date.write(text), out),
            },
            Cell::Time(time) => match serial::of_time(time) {
                Some(millis) => self.write_serial(styles::TIME, 0, millis, out),
                None => write_as_text(|text| time.write(text), out),
            },
            Cell::Timestamp(timestamp) => self.write_timestamp(timestamp, out),
            Cell::Interval(interval) => match serial::of_interval(interval) {
                Some((days, millis)) => self.write_serial(styles::DURATION, days, millis, out),
                None => write_as_text(|text| interval.write(text), out),
            },
            Cell::Uuid(uuid) => {
                let mut buffer = Uuid::encode_buffer();
                write_inline(uuid.hyphenated().encode_lower(&mut buffer), out);
            }
        }
        Ok(())
    }

    #[inline]
    fn write_start(&self, reference: Option<&RowNumber>, out: &mut Vec<u8>) {
        match reference {
            Some(row) => {
                put_start(&self.start, self.start_length, out);
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
        out.extend_from_slice(NUMBER);
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"</v></c>");
    }

    fn write_serial(&self, style: u32, day: i64, millis: i64, out: &mut Vec<u8>) {
        write_style(self.style.unwrap_or(style), out);
        out.extend_from_slice(NUMBER);
        serial::write(day, millis, out);
        out.extend_from_slice(b"</v></c>");
    }

    fn write_timestamp(&self, timestamp: Timestamp, out: &mut Vec<u8>) {
        match serial::of_micros(timestamp.local_micros(self.time_zone)) {
            Some((day, millis)) => self.write_serial(styles::TIMESTAMP, day, millis, out),
            None => write_as_text(|text| timestamp.write(self.time_zone, text), out),
        }
    }
}

fn write_style(style: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b" s=\"");
    out.extend_from_slice(itoa::Buffer::new().format(style).as_bytes());
    out.push(b'"');
}

fn write_inline(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(if has_outer_space(text) {
        b" t=\"inlineStr\"><is><t xml:space=\"preserve\">"
    } else {
        &b" t=\"inlineStr\"><is><t>"[..]
    });
    write_text(text, out);
    out.extend_from_slice(b"</t></is></c>");
}

fn write_as_text(write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    out.extend_from_slice(b" t=\"inlineStr\"><is><t>");
    write(out);
    out.extend_from_slice(b"</t></is></c>");
}

/// Whether a decimal number keeps its value in Excel.
fn is_exact(number: &str) -> bool {
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
            .write(cell, Some(&RowNumber::of(12)), &mut out)
            .expect("it fits");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn each_type_has_its_cell() {
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
