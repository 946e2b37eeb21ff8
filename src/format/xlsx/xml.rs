//! XML declaration, namespaces and escaping, shared by all parts.

use super::text::write_text;

pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
/// SpreadsheetML namespace: ECMA-376 part 1, annex A.2.
pub const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
/// Namespace of relationships between parts.
pub const RELATIONSHIPS: &str =
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// Escapes text between tags.
pub fn escape_text(text: &str) -> String {
    let mut out = Vec::new();
    write_text(text, &mut out);
    String::from_utf8(out).expect("UTF-8 stays UTF-8 when escaped")
}

/// Escapes text in an attribute. Unescaped line feeds and tabs would be parsed as spaces.
pub fn escape_attribute(text: &str) -> String {
    escape_text(text)
        .replace('"', "&quot;")
        .replace('\n', "&#10;")
        .replace('\t', "&#9;")
}
