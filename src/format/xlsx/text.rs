//! Cell text: length limits and XML escaping.

use std::fmt;

/// Limits of a cell: ECMA-376 part 1, 18.3.1.4, and Excel's "Specifications and limits".
const UTF16_UNITS_MAX: usize = 32_767;
const LINE_FEEDS_MAX: usize = 253;

/// A text does not fit into a cell. Text is never truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// Too many UTF-16 code units; holds the count.
    Units(usize),
    /// Too many line feeds; holds the count.
    LineFeeds(usize),
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TooLong::Units(count) => {
                write!(
                    f,
                    "the text has {count} UTF-16 code units; a cell holds at most {UTF16_UNITS_MAX}"
                )
            }
            TooLong::LineFeeds(count) => {
                write!(
                    f,
                    "the text has {count} line feeds; a cell holds at most {LINE_FEEDS_MAX}"
                )
            }
        }
    }
}

/// Checks that a text fits into a cell.
///
/// # Errors
/// Returns `Units` or `LineFeeds` if the text exceeds that limit.
#[inline]
pub fn check_length(text: &str) -> Result<(), TooLong> {
    if text.len() <= LINE_FEEDS_MAX {
        return Ok(());
    }
    // A text never has more UTF-16 code units than UTF-8 bytes.
    if text.len() > UTF16_UNITS_MAX {
        let units = text.chars().map(char::len_utf16).sum();
        if units > UTF16_UNITS_MAX {
            return Err(TooLong::Units(units));
        }
    }
    let line_feeds = text.bytes().filter(|byte| *byte == b'\n').count();
    if line_feeds > LINE_FEEDS_MAX {
        return Err(TooLong::LineFeeds(line_feeds));
    }
    Ok(())
}

/// Returns whether leading or trailing whitespace needs `xml:space="preserve"`.
#[inline]
pub fn has_outer_whitespace(text: &str) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t' | b'\n' | b'\r'));
    is_space(text.as_bytes().first()) || is_space(text.as_bytes().last())
}

/// Appends text, escaped for XML.
///
/// Characters that XML 1.0 forbids are written as `_xHHHH_`. A carriage return, which a parser would turn into a line
/// feed, is a character reference (XML 1.0, section 2.11): more readers know it than `_x000D_`. Where the text itself contains `_xHHHH_`, its first underscore is escaped:
/// ECMA-376 part 1, 22.9.2.19 (`ST_Xstring`).
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut index = 0;
    while let Some(found) = bytes[index..].iter().position(|byte| is_special(*byte)) {
        index += found;
        let (length, escaped): (usize, &[u8]) = match bytes[index] {
            b'&' => (1, b"&amp;"),
            b'<' => (1, b"&lt;"),
            b'>' => (1, b"&gt;"),
            b'\r' => (1, b"&#13;"),
            b'_' if is_escape(&bytes[index..]) => (1, b"_x005F_"),
            // U+FFFE and U+FFFF.
            0xef if bytes[index..].starts_with(b"\xef\xbf\xbe") => (3, b"_xFFFE_"),
            0xef if bytes[index..].starts_with(b"\xef\xbf\xbf") => (3, b"_xFFFF_"),
            b'_' | 0xef => {
                index += 1;
                continue;
            }
            control => {
                out.extend_from_slice(&bytes[copied..index]);
                out.extend_from_slice(b"_x00");
                out.extend_from_slice(hex::encode_upper([control]).as_bytes());
                out.push(b'_');
                index += 1;
                copied = index;
                continue;
            }
        };
        out.extend_from_slice(&bytes[copied..index]);
        out.extend_from_slice(escaped);
        index += length;
        copied = index;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Returns whether a byte may need escaping.
#[inline]
fn is_special(byte: u8) -> bool {
    SPECIAL[usize::from(byte)]
}

const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        special[control] = control != 0x09 && control != 0x0a;
        control += 1;
    }
    let mut others: &[u8] = b"&<>_\xef";
    while let [byte, rest @ ..] = others {
        special[*byte as usize] = true;
        others = rest;
    }
    special
};

/// Returns whether a text contains what would be parsed as `_xHHHH_`.
pub fn contains_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|index| is_escape(&bytes[index..]))
}

/// Returns whether the bytes would be parsed as `_xHHHH_`. The last underscore may also be the first
/// of an escape sequence that follows.
fn is_escape(bytes: &[u8]) -> bool {
    let [b'_', b'x', rest @ ..] = bytes else {
        return false;
    };
    let Some((digits, rest)) = rest.split_at_checked(4) else {
        return false;
    };
    let follows = match rest {
        [b'_', ..] | [0xef, 0xbf, 0xbe | 0xbf, ..] => true,
        [b'\r', ..] => false,
        [control @ 0..0x20, ..] => is_special(*control),
        _ => false,
    };
    follows && digits.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_text(text, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    /// Decodes as Excel does: XML first, then `ST_Xstring`.
    fn read_back(xml: &str) -> String {
        let text = xml
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&#13;", "\r")
            .replace("&amp;", "&");
        let pattern = regex::Regex::new("_x([0-9A-Fa-f]{4})_").expect("a pattern");
        pattern
            .replace_all(&text, |found: &regex::Captures<'_>| {
                let unit = u32::from_str_radix(&found[1], 16).expect("digits");
                char::from_u32(unit).expect("a character").to_string()
            })
            .into_owned()
    }

    #[test]
    fn characters_that_xml_forbids_are_escaped_and_so_are_literal_escapes() {
        for (text, expected) in [
            ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
            ("one\r\ntwo\tthree", "one&#13;\ntwo\tthree"),
            ("_x0041\r", "_x0041&#13;"),
            ("\u{0}\u{1f}", "_x0000__x001F_"),
            ("\u{fffe}\u{ffff}\u{fffd}", "_xFFFE__xFFFF_\u{fffd}"),
            ("_x000D_", "_x005F_x000D_"),
            ("_x0041\u{1}", "_x005F_x0041_x0001_"),
            ("_x00_ _x000 __x1234_", "_x00_ _x000 __x005F_x1234_"),
            ("=1+1", "=1+1"),
            ("\u{7f}ｗｉｄｅ 𝄞", "\u{7f}ｗｉｄｅ 𝄞"),
        ] {
            assert_eq!(written(text), expected);
        }
    }

    #[test]
    fn a_cell_holds_at_most_32_767_units_and_253_line_feeds() {
        assert_eq!(check_length(&"x".repeat(32_767)), Ok(()));
        assert_eq!(
            check_length(&"x".repeat(32_768)),
            Err(TooLong::Units(32_768))
        );
        // Each character has two code units and four bytes.
        assert_eq!(check_length(&"𝄞".repeat(16_383)), Ok(()));
        assert_eq!(
            check_length(&"𝄞".repeat(16_384)),
            Err(TooLong::Units(32_768))
        );
        // Each character has one code unit and three bytes.
        assert_eq!(check_length(&"€".repeat(32_767)), Ok(()));
        assert_eq!(check_length(&"\n".repeat(253)), Ok(()));
        assert_eq!(
            check_length(&"\n".repeat(254)),
            Err(TooLong::LineFeeds(254))
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_back(text in "(_x[0-9A-Fa-f]{4}_|_|x|\\PC|\\r|[\\x00-\\x20]|[&<>]|\u{fffe}|\u{ffff})*") {
            let xml = written(&text);
            prop_assert!(xml.bytes().all(|byte| byte >= 0x20 || byte == b'\t' || byte == b'\n'));
            prop_assert_eq!(read_back(&xml), text);
        }
    }
}
