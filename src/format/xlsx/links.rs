//! Cells that link to a URL.
//!
//! A link is the formula `HYPERLINK(url, text)`: ECMA-376 part 1, 18.17.7. The other form, an element `hyperlink`, follows all
//! rows of a sheet, so that all URLs would be kept until then. It needs a relationship part per sheet, and Excel reads
//! 65,530 of them per sheet.

use std::borrow::Cow;

use super::cell::{INTEGER_LIMIT, is_exact, serial_of};
use super::serial;
use super::text::{contains_escape, write_text};
use crate::format::column_display::{
    LINK_SCHEMES, LINK_UNITS_MAX, LinkPart, LinkTemplate, MAIL_SCHEME,
};
use crate::row::{Cell, Column, TimeZone};

/// Longest number in a formula, in characters. Excel reads 15 digits; longer ones have many zeros.
const NUMBER_CHARS_MAX: usize = 30;

/// The URL of the cells of a column.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// The value of the column with this index.
    Value(usize),
    /// Texts, and values that are percent-encoded.
    Parts(Vec<Part>),
}

#[derive(Debug, Clone)]
pub(super) enum Part {
    Text(String),
    /// The value of the column with this index.
    Value(usize),
}

impl Link {
    /// Returns the link of a column; `None` if it needs one that the file does not have.
    pub(super) fn of(template: &LinkTemplate, columns: &[Column]) -> Option<Link> {
        let index = |name: &String| columns.iter().position(|column| column.name == *name);
        let parts = match template {
            LinkTemplate::Value(name) => return index(name).map(Link::Value),
            LinkTemplate::Parts(parts) => parts,
        };
        let part = |part: &LinkPart| match part {
            LinkPart::Text(text) => Some(Part::Text(text.clone())),
            LinkPart::Column(name) => index(name).map(Part::Value),
        };
        parts
            .iter()
            .map(part)
            .collect::<Option<_>>()
            .map(Link::Parts)
    }

    /// Returns the URL for a row; `None` if a value is NULL, has another scheme or does not fit into a formula.
    pub(super) fn url<'c>(
        &self,
        row: impl Iterator<Item = Cell<'c>> + Clone,
        time_zone: TimeZone,
    ) -> Option<String> {
        let value = |index: usize| text_of(row.clone().nth(index)?, time_zone);
        let url = match self {
            Link::Value(index) => value(*index).filter(|url| has_known_scheme(url))?,
            Link::Parts(parts) => {
                let mut url = String::new();
                for part in parts {
                    match part {
                        Part::Text(text) => url.push_str(text),
                        Part::Value(index) => {
                            // The `@` of an address is literal: RFC 6068, section 2.
                            let is_address = has_scheme(&url, MAIL_SCHEME) && !url.contains('?');
                            let kept = is_address.then_some(b'@');
                            percent_encode(&value(*index)?, kept, &mut url);
                        }
                    }
                }
                Cow::Owned(url)
            }
        };
        is_literal(&url).then(|| url.into_owned())
    }
}

/// Returns a value as text; `None` for NULL.
fn text_of(cell: Cell<'_>, time_zone: TimeZone) -> Option<Cow<'_, str>> {
    match cell {
        Cell::Null => None,
        Cell::Text(text) | Cell::Json(text) | Cell::Decimal(text) => Some(Cow::Borrowed(text)),
        _ => {
            let mut text = Vec::new();
            cell.write_text(time_zone, &mut text);
            String::from_utf8(text).ok().map(Cow::Owned)
        }
    }
}

fn has_scheme(url: &str, scheme: &str) -> bool {
    let start = url.as_bytes().get(..scheme.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
}

fn has_known_scheme(url: &str) -> bool {
    LINK_SCHEMES.iter().any(|scheme| has_scheme(url, scheme))
}

/// Appends a value in which every byte but the unreserved ones, and the `kept` one, is encoded: RFC 3986, sections 2.1 and
/// 2.3.
fn percent_encode(value: &str, kept: Option<u8>, url: &mut String) {
    for byte in value.bytes() {
        match byte {
            _ if Some(byte) == kept => url.push(char::from(byte)),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(byte));
            }
            _ => {
                url.push('%');
                url.push_str(&hex::encode_upper([byte]));
            }
        }
    }
}

/// What a cell with a link shows.
#[derive(Debug, PartialEq)]
pub(super) enum LinkText {
    /// A number, and the style of its type. It stays a number, so that readers sort and add it up, and it keeps its format.
    Number(String, u32),
    /// A text.
    Text(String),
}

impl LinkText {
    /// Returns what a cell shows; `None` for a cell that has no link: a boolean, an error, or a text that does not fit into
    /// a formula.
    pub(super) fn of(cell: Cell<'_>, time_zone: TimeZone) -> Option<LinkText> {
        let text = match cell {
            Cell::Null | Cell::Boolean(_) => return None,
            Cell::Integer(value) => {
                let text = value.to_string();
                if value.unsigned_abs() < INTEGER_LIMIT || is_exact(&text) {
                    return Some(LinkText::Number(text, 0));
                }
                text
            }
            Cell::Float(value) if value.is_finite() => {
                // The grammar of formulas has an upper-case E.
                let text = zmij::Buffer::new().format_finite(value).to_uppercase();
                return Some(LinkText::Number(text, 0));
            }
            Cell::Float(_) | Cell::Decimal("NaN" | "Infinity" | "-Infinity") => return None,
            Cell::Decimal(text) if is_exact(text) => {
                let fits = text.len() <= NUMBER_CHARS_MAX;
                return fits.then(|| LinkText::Number(text.to_owned(), 0));
            }
            _ => match serial_of(cell, time_zone) {
                Some((style, day, millis)) => {
                    return Some(LinkText::Number(serial::text(day, millis), style));
                }
                None => text_of(cell, time_zone)?.into_owned(),
            },
        };
        is_literal(&text).then_some(LinkText::Text(text))
    }
}

/// Appends the formula of a link, escaped for XML. `url` and a text are literals as [`is_literal`] accepts them.
pub(super) fn write_formula(url: &str, shown: &LinkText, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HYPERLINK(");
    write_literal(url, out);
    out.push(b',');
    match shown {
        LinkText::Number(number, _) => out.extend_from_slice(number.as_bytes()),
        LinkText::Text(text) => write_literal(text, out),
    }
    out.push(b')');
}

/// Returns whether a text can be a literal of a formula. The limit of its length is that of the text without its doubled
/// quotes; they are counted here, because not every reader does it that way.
///
/// Control characters, noncharacters and `_xHHHH_` cannot: it depends on the reader whether an escape of ECMA-376 part 1,
/// 22.9.2.19 is decoded inside a formula. A quote that appears by decoding would end the literal.
fn is_literal(text: &str) -> bool {
    if text.len() > 4 * LINK_UNITS_MAX {
        return false;
    }
    let units = |c: char| if c == '"' { 2 } else { c.len_utf16() };
    let count: usize = text.chars().map(units).sum();
    let is_forbidden = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    count <= LINK_UNITS_MAX && !text.chars().any(is_forbidden) && !contains_escape(text)
}

fn write_literal(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_text(&text.replace('"', "\"\""), out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Date, Time};
    use proptest::prelude::*;

    const UTC: fn() -> TimeZone = TimeZone::default;

    fn columns(names: &[&str]) -> Vec<Column> {
        names.iter().map(|name| Column::text(*name)).collect()
    }

    fn orders() -> LinkTemplate {
        LinkTemplate::Parts(vec![
            LinkPart::Text("https://shop.example/orders/".into()),
            LinkPart::Column("id".into()),
            LinkPart::Text("?note=".into()),
            LinkPart::Column("note".into()),
        ])
    }

    fn url(template: &LinkTemplate, row: &[Cell<'_>]) -> Option<String> {
        let link = Link::of(template, &columns(&["id", "note"])).expect("its columns");
        link.url(row.iter().copied(), UTC())
    }

    /// Splits a formula as XML into its arguments: `(url, text)`, or `(url, number)` with the number as it is.
    fn arguments(formula: &str) -> Option<(String, String)> {
        let formula = formula
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&");
        let rest = formula.strip_prefix("HYPERLINK(")?.strip_suffix(')')?;
        let (url, rest) = literal(rest)?;
        let rest = rest.strip_prefix(',')?;
        match literal(rest) {
            Some((text, "")) => Some((url, text)),
            Some(_) => None,
            None => Some((url, rest.parse::<f64>().ok().map(|_| rest.to_owned())?)),
        }
    }

    /// Returns the literal at the start, and what follows it. Written for this test, from the grammar of formulas.
    fn literal(formula: &str) -> Option<(String, &str)> {
        let mut rest = formula.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let (part, after) = rest.split_once('"')?;
            text.push_str(part);
            rest = match after.strip_prefix('"') {
                Some(after) => after,
                None => return Some((text, after)),
            };
            text.push('"');
        }
    }

    #[test]
    fn values_in_a_url_are_percent_encoded() {
        let found = url(&orders(), &[Cell::Integer(7), Cell::Text("a b/ü?&\"-._~")]);
        let expected = "https://shop.example/orders/7?note=a%20b%2F%C3%BC%3F%26%22-._~";
        assert_eq!(found.as_deref(), Some(expected));
        let mail = LinkTemplate::Parts(vec![
            LinkPart::Text("MailTo:".into()),
            LinkPart::Column("id".into()),
            LinkPart::Text("?subject=".into()),
            LinkPart::Column("note".into()),
        ]);
        let found = url(
            &mail,
            &[Cell::Text("ann+1@shop.example"), Cell::Text("a@b")],
        );
        let expected = "MailTo:ann%2B1@shop.example?subject=a%40b";
        assert_eq!(found.as_deref(), Some(expected));
        let found = url(&orders(), &[Cell::Date(Date { days: 0 }), Cell::Text("")]);
        let expected = "https://shop.example/orders/2000-01-01?note=";
        assert_eq!(found.as_deref(), Some(expected));
        assert_eq!(url(&orders(), &[Cell::Integer(7), Cell::Null]), None);
    }

    #[test]
    fn a_link_without_one_of_its_columns_is_none() {
        assert!(Link::of(&orders(), &columns(&["note", "id", "more"])).is_some());
        assert!(Link::of(&orders(), &columns(&["id"])).is_none());
        let value = LinkTemplate::Value("url".into());
        assert!(Link::of(&value, &columns(&["id"])).is_none());
    }

    #[test]
    fn a_url_from_a_column_has_a_scheme_of_the_web_or_of_mail() {
        let template = LinkTemplate::Value("note".into());
        let found = |text| url(&template, &[Cell::Integer(7), Cell::Text(text)]);
        for good in [
            "https://a.example/?q=\"x\"&y",
            "http://a.example",
            "HTTPS://a.example",
            "mailto:a@b.example",
        ] {
            assert_eq!(found(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "http:/a.example",
            " https://a.example",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "\\\\server\\share",
            "a.example",
            "https://a.example/\n",
            "https://a.example/_x0022_",
            "ftp://a.example",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_url_or_text_that_is_longer_than_a_literal_is_none() {
        let template = LinkTemplate::Value("note".into());
        let of = |text: &str| url(&template, &[Cell::Null, Cell::Text(text)]);
        let start = "https://a.example/";
        for (letter, count) in [("x", 237), ("€", 237), ("𝄞", 118), ("\"", 118)] {
            assert!(of(&format!("{start}{}", letter.repeat(count))).is_some());
            assert!(of(&format!("{start}{}", letter.repeat(count + 1))).is_none());
        }
        let shown = |text: &str| LinkText::of(Cell::Text(text), UTC());
        assert!(shown(&"x".repeat(255)).is_some());
        assert_eq!(shown(&"x".repeat(256)), None);
        assert_eq!(shown("two\nlines"), None);
    }

    #[test]
    fn numbers_and_times_stay_numbers() {
        let number = |text: &str, style| Some(LinkText::Number(text.into(), style));
        let text = |text: &str| Some(LinkText::Text(text.into()));
        for (cell, expected) in [
            (Cell::Integer(-42), number("-42", 0)),
            (
                Cell::Integer(1_234_567_890_123_456),
                text("1234567890123456"),
            ),
            (Cell::Decimal("12.50"), number("12.50", 0)),
            (Cell::Float(1e-30), number("1E-30", 0)),
            (Cell::Float(f64::NAN), None),
            (Cell::Decimal("NaN"), None),
            (Cell::Boolean(true), None),
            (Cell::Null, None),
            (
                Cell::Date(Date { days: 0 }),
                number("36526", super::super::styles::DATE),
            ),
            (Cell::Time(Time { micros: Time::END }), text("24:00:00")),
            (Cell::Bytes(b"\x00\xff"), text("00ff")),
        ] {
            assert_eq!(LinkText::of(cell, UTC()), expected, "{cell:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_breaks_out_of_the_formula(
            id in "(\"|_x0022_|,|\\)|=|&|<|>|'|[\\x00-\\x20\\x7f-\\x9f]|\u{fffe}|\\PC){0,30}",
            note in "(https?://|mailto:)?(\"|\"\"|_x0022_|&quot;|,|\\)|[\\x00-\\x20]|\\PC){0,30}",
        ) {
            let row = [Cell::Text(&id), Cell::Text(&note)];
            for template in [orders(), LinkTemplate::Value("note".into())] {
                let link = Link::of(&template, &columns(&["id", "note"])).expect("its columns");
                let url = link.url(row.into_iter(), UTC());
                for cell in row {
                    let (Some(url), Some(shown)) = (&url, LinkText::of(cell, UTC())) else { continue };
                    let mut formula = Vec::new();
                    write_formula(url, &shown, &mut formula);
                    let formula = String::from_utf8(formula).expect("UTF-8");
                    prop_assert!(!formula.contains(['<', '>']) && !formula.chars().any(char::is_control));
                    let text = match &shown {
                        LinkText::Text(text) | LinkText::Number(text, _) => text.clone(),
                    };
                    prop_assert_eq!(arguments(&formula), Some((url.clone(), text)), "{}", formula);
                }
            }
        }

        #[test]
        fn an_encoded_value_has_only_unreserved_bytes_and_escapes(value in any::<String>()) {
            let mut encoded = String::new();
            percent_encode(&value, None, &mut encoded);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8();
            prop_assert_eq!(decoded.expect("UTF-8"), value);
        }
    }
}
