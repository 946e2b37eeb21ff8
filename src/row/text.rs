//! The text form of a cell, the same in every format that writes values as text.

use uuid::Uuid;

use super::{Cell, TimeZone};

impl Cell<'_> {
    /// Appends the cell as text without quotes or escapes; NULL appends nothing. Instants are shown in
    /// the time zone, bytes in hexadecimal.
    #[inline]
    pub fn write_text(self, time_zone: TimeZone, out: &mut Vec<u8>) {
        match self {
            Cell::Null => {}
            Cell::Boolean(true) => out.extend_from_slice(b"true"),
            Cell::Boolean(false) => out.extend_from_slice(b"false"),
            Cell::Integer(value) => {
                out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            Cell::Float(value) => with_float_text(value, |text| {
                out.extend_from_slice(text.as_bytes());
            }),
            Cell::Decimal(value) | Cell::Text(value) | Cell::Json(value) => {
                out.extend_from_slice(value.as_bytes());
            }
            Cell::Bytes(value) => out.extend_from_slice(hex::encode(value).as_bytes()),
            Cell::Date(value) => value.write(out),
            Cell::Time(value) => value.write(out),
            Cell::Timestamp(value) => value.write(time_zone, out),
            Cell::Interval(value) => value.write(out),
            Cell::Uuid(value) => {
                let mut buffer = Uuid::encode_buffer();
                out.extend_from_slice(value.hyphenated().encode_lower(&mut buffer).as_bytes());
            }
        }
    }
}

/// Passes on the shortest text that reads back as the same float, or `NaN`, `Infinity`, `-Infinity`.
#[inline]
pub fn with_float_text<T>(value: f64, use_text: impl FnOnce(&str) -> T) -> T {
    match value {
        value if value.is_nan() => use_text("NaN"),
        f64::INFINITY => use_text("Infinity"),
        f64::NEG_INFINITY => use_text("-Infinity"),
        value => use_text(zmij::Buffer::new().format_finite(value)),
    }
}
