//! Shows what does not show: texts that others wrote can move a terminal's cursor, reorder a line, or carry a text that only
//! programs read.

/// Returns a text in which everything that does not show is escaped, such as `\u{1b}`.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_hidden(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// Returns the same JSON, in which everything that does not show, and what `is_special` names, is escaped. Only texts may
/// contain that, and every character of a text may be escaped (RFC 8259, section 7). Line feeds are between values.
pub(super) fn escape_json(json: &str, is_special: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && (is_hidden(character) || is_special(character)) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Tells whether a character does not show: control characters, and what Unicode calls ignorable by default, or gives a
/// direction.
pub(super) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_controls_a_terminal_is_printed() {
        let text = "a\u{1b}[31mb\r\n\u{9b}2J\u{202e}é 日";
        let shown = "a\\u{1b}[31mb\\u{d}\\u{a}\\u{9b}2J\\u{202e}é 日";
        assert_eq!(printable(text), shown);
    }

    #[test]
    fn json_keeps_its_value_and_its_lines() {
        let value = serde_json::json!({"a\u{9b}31m": ["\u{202e}<\u{e0041}\n"]});
        let escaped = escape_json(&format!("{value:#}"), |it| it == '<');
        assert_eq!(
            escaped,
            "{\n  \"a\\u009b31m\": [\n    \"\\u202e\\u003c\\udb40\\udc41\\n\"\n  ]\n}"
        );
        let read: serde_json::Value = serde_json::from_str(&escaped).expect("JSON");
        assert_eq!(read, value);
    }
}
