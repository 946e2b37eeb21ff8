//! What all parts share: the declaration, namespaces, text between tags.

use super::text::write_text;

pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";
/// The namespace of SpreadsheetML: ECMA-376 part 1, annex A.2.
pub const MAIN: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
/// The namespace of references to other parts.
pub const RELATIONSHIPS: &str =
    "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// Text between tags.
pub fn content(text: &str) -> String {
    let mut out = Vec::new();
    write_text(text, &mut out);
    String::from_utf8(out).expect("what is written for UTF-8 is UTF-8")
}

/// Text in an attribute: a parser would make spaces of its line feeds and tabs.
pub fn attribute(text: &str) -> String {
    content(text)
        .replace('"', "&quot;")
        .replace('\n', "&#10;")
        .replace('\t', "&#9;")
}
