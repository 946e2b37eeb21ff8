//! The formula guard: text that a spreadsheet would run is prefixed by an apostrophe.

/// Tells whether a spreadsheet would run a cell that starts like this (OWASP, "CSV Injection").
#[inline]
pub(super) fn starts_formula(text: &str) -> bool {
    matches!(
        text.as_bytes().first(),
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r')
    )
}
