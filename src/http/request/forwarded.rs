//! The `Forwarded` header (RFC 7239, section 4).

/// Returns the `for` of each element of one field value, unquoted: `None` for an element without one. Returns
/// `None` for all if the value is malformed, because then it is unknown which part a proxy has written.
pub(super) fn forwarded_for(value: &str) -> Option<Vec<Option<String>>> {
    let mut rest = value;
    let mut elements = Vec::new();
    loop {
        let mut element = Element::default();
        while let Some((name, value)) = take_pair(&mut rest)? {
            if name.eq_ignore_ascii_case("for") && element.node.replace(value).is_some() {
                return None;
            }
            element.is_empty = false;
            if take_separator(&mut rest, ';').is_none() {
                break;
            }
        }
        // Empty elements of a list do not count (RFC 9110, section 5.6.1).
        if !element.is_empty {
            elements.push(element.node);
        }
        if rest.is_empty() {
            return Some(elements);
        }
        take_separator(&mut rest, ',')?;
    }
}

struct Element {
    node: Option<String>,
    is_empty: bool,
}

impl Default for Element {
    fn default() -> Element {
        Element {
            node: None,
            is_empty: true,
        }
    }
}

/// Takes a pair, or returns `Some(None)` if there is none before the next separator. Returns `None` if it is
/// malformed.
fn take_pair<'r>(rest: &mut &'r str) -> Option<Option<(&'r str, String)>> {
    *rest = rest.trim_start_matches(WHITESPACE);
    if rest.is_empty() || rest.starts_with([',', ';']) {
        return Some(None);
    }
    let (name, value) = rest.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return None;
    }
    *rest = value;
    let value = match value.strip_prefix('"') {
        Some(quoted) => take_quoted(quoted, rest)?,
        None => take_plain(rest)?,
    };
    *rest = rest.trim_start_matches(WHITESPACE);
    Some(Some((name, value)))
}

fn take_separator(rest: &mut &str, separator: char) -> Option<()> {
    *rest = rest.strip_prefix(separator)?;
    Some(())
}

/// Takes the rest of a quoted string (RFC 9110, section 5.6.4).
fn take_quoted<'r>(quoted: &'r str, rest: &mut &'r str) -> Option<String> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    loop {
        match chars.next()? {
            (end, '"') => {
                *rest = &quoted[end + 1..];
                return Some(value);
            }
            (_, '\\') => value.push(chars.next()?.1),
            (_, other) => value.push(other),
        }
    }
}

/// Takes a value without quotes. Some proxies leave them out around `[`, `]` and `:`, which separate nothing.
fn take_plain(rest: &mut &str) -> Option<String> {
    let is_end = |c: char| c == ',' || c == ';' || WHITESPACE.contains(&c);
    let end = rest.find(is_end).unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    let is_plain = |byte| is_token_byte(byte) || b"[]:".contains(&byte);
    if value.is_empty() || !value.bytes().all(is_plain) {
        return None;
    }
    *rest = after;
    Some(value.to_owned())
}

const WHITESPACE: [char; 2] = [' ', '\t'];

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(value: &str) -> Option<Vec<String>> {
        let elements = forwarded_for(value)?;
        Some(
            elements
                .into_iter()
                .map(|it| it.unwrap_or_default())
                .collect(),
        )
    }

    #[test]
    fn elements_pairs_and_quotes_are_read_as_in_the_rfc() {
        for (value, expected) in [
            ("for=192.0.2.43", Some(vec!["192.0.2.43"])),
            (
                "For=\"[2001:db8:cafe::17]:4711\"",
                Some(vec!["[2001:db8:cafe::17]:4711"]),
            ),
            (
                "for=192.0.2.60;proto=http;by=203.0.113.43",
                Some(vec!["192.0.2.60"]),
            ),
            (
                "for=192.0.2.43, for=198.51.100.17",
                Some(vec!["192.0.2.43", "198.51.100.17"]),
            ),
            ("for=_gazonk", Some(vec!["_gazonk"])),
            ("proto=https;host=a", Some(vec![""])),
            ("for=a;host=\"x,for=203.0.113.9\"", Some(vec!["a"])),
            ("for=a;host=\"x\\\",for=203.0.113.9\"", Some(vec!["a"])),
            (
                " for=a ; host=x ,, for=[::1]:8 ",
                Some(vec!["a", "[::1]:8"]),
            ),
            ("", Some(vec![])),
            ("for=a;host=\"x,for=203.0.113.9", None),
            ("for=a;host=\"x\"y,for=203.0.113.9", None),
            ("for=a;for=b", None),
            ("for = a", None),
            ("for=", None),
            ("a", None),
            ("for=a b", None),
            ("for=\"a\\", None),
        ] {
            let expected = expected.map(|it| it.iter().map(ToString::to_string).collect());
            assert_eq!(nodes(value), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn nothing_in_a_quoted_value_changes_the_elements(host in "\\PC*", forged in "[^a-z]for=1.1.1.1") {
            let host = (host + &forged).replace('\\', "\\\\").replace('"', "\\\"");
            let value = format!("for=192.0.2.1;host=\"{host}\"");
            prop_assert_eq!(nodes(&value), Some(vec!["192.0.2.1".to_owned()]));
        }

        #[test]
        fn no_value_makes_the_parser_panic(value in "[a=;, \"\\\\:\\[é]{0,40}") {
            let _ = forwarded_for(&value);
        }
    }
}
