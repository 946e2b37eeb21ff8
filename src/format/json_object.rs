//! JSON objects (RFC 8259), one per row, for the formats that consist of them. Members are the columns
//! by their names in the query.

use super::encoder::EncoderSettings;
use super::options::OptionDefinition;
use crate::row::{Cell, Column, RowBatch, TimeZone};

/// The largest integer that every reader keeps exact: RFC 7493, section 2.2.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
/// The number of digits that a 64-bit float always preserves.
const SAFE_DIGITS_MAX: usize = 15;

/// The options of both formats: `large_numbers` says how to write integers beyond 2⁵³ and decimals with
/// more than 15 significant digits, which readers with 64-bit floats round (RFC 8259, section 6).
pub(super) const OPTIONS: [OptionDefinition; 1] = [OptionDefinition {
    name: "large_numbers",
    expected: "`number` or `string`",
    accepts: |text| matches!(text, "number" | "string"),
    sets: &[],
}];

/// Writes rows as JSON objects.
pub(super) struct ObjectWriter {
    large_numbers_as_strings: bool,
    time_zone: TimeZone,
    /// The bytes before the value of each column: `{"id":`, `,"name":`.
    keys: Vec<Vec<u8>>,
}

impl ObjectWriter {
    pub(super) fn new(columns: &[Column], settings: &EncoderSettings) -> ObjectWriter {
        let key = |(index, column): (usize, &Column)| {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            string(&column.name, &mut key);
            key.push(b':');
            key
        };
        ObjectWriter {
            large_numbers_as_strings: settings.options.get("large_numbers") == Some("string"),
            time_zone: settings.time_zone,
            keys: columns.iter().enumerate().map(key).collect(),
        }
    }

    /// Appends the objects of a batch: before each `start`, and `end` instead of its closing brace.
    #[inline]
    pub(super) fn write(&self, batch: &RowBatch, out: &mut Vec<u8>, start: &[u8], end: &[u8]) {
        for row in batch.iter() {
            out.extend_from_slice(start);
            for (key, cell) in self.keys.iter().zip(row) {
                out.extend_from_slice(key);
                self.cell(cell, out);
            }
            out.extend_from_slice(end);
        }
    }

    #[inline]
    fn cell(&self, cell: Cell<'_>, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Boolean(_) => cell.write_text(self.time_zone, out),
            Cell::Integer(value) => {
                let is_safe = value.unsigned_abs() <= SAFE_INTEGER_MAX;
                self.number(itoa::Buffer::new().format(value), is_safe, out);
            }
            Cell::Float(value) if value.is_finite() => cell.write_text(self.time_zone, out),
            // JSON has no NaN and no infinities.
            Cell::Decimal(value) if value.ends_with(|c: char| !c.is_ascii_digit()) => {
                string(value, out);
            }
            Cell::Decimal(value) => self.number(value, is_safe_decimal(value), out),
            Cell::Text(value) => string(value, out),
            Cell::Json(value) => json(value, out),
            other => quoted(out, |out| other.write_text(self.time_zone, out)),
        }
    }

    fn number(&self, text: &str, is_safe: bool, out: &mut Vec<u8>) {
        let digits = |out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
        if self.large_numbers_as_strings && !is_safe {
            quoted(out, digits);
        } else {
            digits(out);
        }
    }
}

/// Tells whether a 64-bit float keeps all digits of a decimal.
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

/// Appends JSON as the database returns it, except for what readers refuse or split lines at: line ends between its
/// tokens become spaces, line separators inside strings escapes, and halves of surrogate pairs U+FFFD.
fn json(text: &str, out: &mut Vec<u8>) {
    let must_change = |byte: u8| (byte < 0x20) | starts_separator(byte) | (byte == b'\\');
    // A loop without an early exit is vectorized.
    if !text
        .bytes()
        .fold(false, |any, byte| any | must_change(byte))
    {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match character {
            '\n' | '\r' => out.push(b' '),
            '\\' => length = json_escape(rest.as_bytes(), out),
            separator if SEPARATORS.contains(&separator) => unicode_escape(separator, out),
            _ => out.extend_from_slice(&rest.as_bytes()[..length]),
        }
        rest = &rest[length..];
    }
}

/// Appends the escape sequence with which `rest` starts; returns its length. A half of a surrogate pair is no character
/// (RFC 8259, section 8.2): it becomes U+FFFD, as Unicode recommends (section 3.9).
fn json_escape(rest: &[u8], out: &mut Vec<u8>) -> usize {
    const HIGH: std::ops::Range<u16> = 0xd800..0xdc00;
    const LOW: std::ops::Range<u16> = 0xdc00..0xe000;
    let unit = |start: usize| {
        let digits = rest.get(start..start + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let length = match (unit(0), unit(6)) {
        (Some(high), Some(low)) if HIGH.contains(&high) && LOW.contains(&low) => 12,
        (Some(half), _) if HIGH.contains(&half) || LOW.contains(&half) => {
            out.extend_from_slice(b"\\ufffd");
            return 6;
        }
        (Some(_), _) => 6,
        // Every other escape has one ASCII character.
        (None, _) => 1 + usize::from(rest.get(1).is_some_and(u8::is_ascii)),
    };
    out.extend_from_slice(&rest[..length]);
    length
}

/// Further line ends than LF and CR, at which readers split lines: NEL, LINE SEPARATOR and PARAGRAPH SEPARATOR.
const SEPARATORS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Returns whether the byte may be the first one of a separator.
#[inline]
fn starts_separator(byte: u8) -> bool {
    (byte == 0xc2) | (byte == 0xe2)
}

/// Appends a string with the escapes that RFC 8259, section 7, requires, and those of the separators.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let must_escape =
        |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | starts_separator(byte);
    // A loop without an early exit is vectorized.
    if text
        .bytes()
        .fold(false, |any, byte| any | must_escape(byte))
    {
        escaped(text, out);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

#[cold]
fn escaped(text: &str, out: &mut Vec<u8>) {
    let mut copied = 0;
    for (index, character) in text.char_indices() {
        let short = match character {
            '"' | '\\' => character as u8,
            '\n' => b'n',
            '\r' => b'r',
            '\t' => b't',
            '\0'..' ' | '\u{85}' | '\u{2028}' | '\u{2029}' => 0,
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[copied..index]);
        copied = index + character.len_utf8();
        match short {
            0 => unicode_escape(character, out),
            short => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
}

/// Appends `\u2028` for a character of the basic plane.
fn unicode_escape(character: char, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let code = u32::from(character);
    out.extend_from_slice(b"\\u");
    let digits = [12, 8, 4, 0].map(|shift| DIGITS[(code >> shift & 15) as usize]);
    out.extend_from_slice(&digits);
}
