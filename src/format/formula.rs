//! The formula guard of text formats: what a spreadsheet would run as a formula becomes text.
//!
//! A spreadsheet runs a cell that starts with one of a few characters (OWASP, "CSV Injection"; ASVS 5.0, 1.2.10). A
//! cell may also start in the middle of a value: a reader that splits at other separators than the file's delimiter
//! ignores the quotes of all fields but the first.

use std::borrow::Cow;

/// What starts a formula: the characters of OWASP's list, with their full-width forms.
const FORMULA_STARTS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
/// What readers remove before they look at the first character: LibreOffice drops NUL and a byte order mark, and a
/// reader of TSV drops quotes.
const IGNORED: [char; 3] = ['\0', '\u{feff}', '"'];
/// What spreadsheets split lines and cells at, with their usual settings.
const SEPARATORS: [u8; 6] = *b",;|\t\r\n";

/// The first bytes of texts that may need the guard. 0xef starts U+FEFF and the full-width forms.
const MAY_START: [bool; 256] = {
    let mut may_start = [false; 256];
    let mut bytes: &[u8] = b"=+-@\t\r\n\"\0\xef";
    while let [byte, rest @ ..] = bytes {
        may_start[*byte as usize] = true;
        bytes = rest;
    }
    may_start
};

/// Guards the values of a file.
pub(super) struct FormulaGuard {
    /// For each byte, whether a reader may start a cell after it.
    is_separator: [bool; 256],
}

impl FormulaGuard {
    /// Guards values in which these bytes separate no cells: the file's delimiter, which only a reader that honours the
    /// quotes splits at, and bytes that the format escapes.
    pub(super) fn new(safe: &[u8]) -> FormulaGuard {
        let mut is_separator = [false; 256];
        for separator in SEPARATORS {
            is_separator[usize::from(separator)] = !safe.contains(&separator);
        }
        FormulaGuard { is_separator }
    }

    /// Tells whether a text without separators may need the guard; cheap, and never wrongly false.
    #[inline]
    pub(super) fn may_start_formula(text: &str) -> bool {
        let first = text.as_bytes().first();
        first.is_some_and(|byte| MAY_START[usize::from(*byte)])
    }

    /// Returns the text with an apostrophe before each formula, and before a leading TAB or line end.
    pub(super) fn guard_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut guarded = String::new();
        let mut copied = 0;
        if text.starts_with(['\t', '\r', '\n']) {
            guarded.push('\'');
        }
        for start in self.cell_starts(text) {
            if starts_formula(&text[start..]) {
                guarded.push_str(&text[copied..start]);
                guarded.push('\'');
                copied = start;
            }
        }
        if guarded.is_empty() {
            return Cow::Borrowed(text);
        }
        guarded.push_str(&text[copied..]);
        Cow::Owned(guarded)
    }

    /// Returns JSON of the same value, in which the first character of a formula is an escape such as `\u003d`. An
    /// apostrophe would change the value, or break the syntax.
    pub(super) fn guard_json<'a>(&self, json: &'a str) -> Cow<'a, str> {
        let mut guarded = String::new();
        let mut copied = 0;
        let mut strings = StringScanner::default();
        for start in self.cell_starts(json) {
            let first = json.len() - json[start..].trim_start_matches(IGNORED).len();
            // Outside strings only the sign of a number is found, and a number is no formula.
            if starts_formula(&json[first..]) && strings.is_inside(json, first) {
                let formula = json[first..].chars().next();
                let character = formula.expect("a formula has a first character");
                guarded.push_str(&json[copied..first]);
                guarded.push_str(&format!("\\u{:04x}", u32::from(character)));
                copied = first + character.len_utf8();
            }
        }
        if guarded.is_empty() {
            return Cow::Borrowed(json);
        }
        guarded.push_str(&json[copied..]);
        Cow::Owned(guarded)
    }

    /// Returns the indexes at which a reader may start a cell, in ascending order.
    fn cell_starts(&self, text: &str) -> impl Iterator<Item = usize> {
        let bytes = text.bytes().enumerate();
        let after_separator = bytes.filter_map(|(index, byte)| {
            let is_separator = self.is_separator[usize::from(byte)];
            is_separator.then_some(index + 1)
        });
        std::iter::once(0).chain(after_separator)
    }
}

fn starts_formula(cell: &str) -> bool {
    cell.trim_start_matches(IGNORED).starts_with(FORMULA_STARTS)
}

/// Tells which bytes of a JSON text are inside strings, in one pass.
#[derive(Default)]
struct StringScanner {
    scanned: usize,
    is_inside: bool,
}

impl StringScanner {
    /// Tells whether the byte at `index` is inside a string. Indexes must not descend.
    fn is_inside(&mut self, json: &str, index: usize) -> bool {
        let bytes = json.as_bytes();
        while self.scanned < index {
            match bytes[self.scanned] {
                b'"' => self.is_inside = !self.is_inside,
                // Skips the escaped byte, which may be a quote.
                b'\\' => self.scanned += 1,
                _ => {}
            }
            self.scanned += 1;
        }
        self.is_inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn guard_text(text: &str) -> String {
        FormulaGuard::new(b",").guard_text(text).into_owned()
    }

    fn guard_json(json: &str) -> String {
        FormulaGuard::new(b",").guard_json(json).into_owned()
    }

    #[test]
    fn a_formula_gets_an_apostrophe_where_a_cell_may_start() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("-5", "'-5"),
            ("＝1", "'＝1"),
            ("＠SUM(A1)", "'＠SUM(A1)"),
            ("\0=1", "'\0=1"),
            ("\u{feff}\"=1", "'\u{feff}\"=1"),
            ("\tx", "'\tx"),
            ("\nx", "'\nx"),
            ("\r\n=1", "'\r\n'=1"),
            ("a;=1;b", "a;'=1;b"),
            ("a|@x|-y", "a|'@x|'-y"),
            ("a\t\"=1", "a\t'\"=1"),
            ("notes:\n- one\n- two", "notes:\n'- one\n'- two"),
            ("a,=1", "a,=1"),
            ("a; =1, b = 2 - 1", "a; =1, b = 2 - 1"),
            ("", ""),
        ] {
            assert_eq!(guard_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn json_keeps_its_value_and_its_numbers() {
        let semicolon = FormulaGuard::new(b";");
        assert_eq!(semicolon.guard_json("[1,-2,\n-3]"), "[1,-2,\n-3]");
        assert_eq!(
            semicolon.guard_json(r#"["a\",-1","-2",-3]"#),
            r#"["a\",\u002d1","\u002d2",-3]"#
        );
        for (json, expected) in [
            (r#"{"a": "x;=1;y"}"#, r#"{"a": "x;\u003d1;y"}"#),
            (r#""=1""#, r#""\u003d1""#),
            (r#""a;＝1""#, r#""a;\uff1d1""#),
            ("-1", "-1"),
            (r#""\\;=1""#, r#""\\;\u003d1""#),
        ] {
            assert_eq!(guard_json(json), expected);
            let value = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
            assert_eq!(value(json), value(expected));
        }
    }

    proptest! {
        #[test]
        fn no_cell_starts_a_formula_and_the_text_is_otherwise_unchanged(
            text in "[a=+@＝;,|\t\r\n\0\"'-]{0,12}",
        ) {
            let guarded = guard_text(&text);
            let cells = guarded.split([';', '|', '\t', '\r', '\n']);
            for cell in cells {
                prop_assert!(!starts_formula(cell), "{:?}", guarded);
            }
            prop_assert_eq!(guarded.replace('\'', ""), text.replace('\'', ""));
            prop_assert!(guarded == text || FormulaGuard::may_start_formula(&text)
                || text.contains([';', '|', '\t', '\r', '\n']));
        }

        #[test]
        fn guarded_json_has_the_same_value(text in "[a=+@＝;,|\t\r\n\0\"\\\\-]{0,12}", number in any::<i8>()) {
            let json = serde_json::json!([text, number, {"k": text}, [number, text]]).to_string();
            let guarded = FormulaGuard::new(b"").guard_json(&json).into_owned();
            let value = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
            prop_assert_eq!(value(&guarded), value(&json));
        }
    }
}
