//! Finds the settings in a file: they are in its leading comment.

use crate::toml_errors::LineError;

const OPEN: &str = "/*---";
const CLOSE: &str = "---*/";

/// Returns the TOML of the leading comment, and the line on which it starts. Without a comment the
/// TOML is empty.
///
/// # Errors
/// Returns an error if the comment is not closed or is interrupted by `*/`, or if settings stand
/// elsewhere. Ignoring them could drop the `scope` and open the export to all callers.
pub(super) fn split_settings(text: &str) -> Result<(&str, usize), LineError> {
    let line_at = |offset: usize| 1 + text[..offset].matches('\n').count();
    let (settings, end) = match text.trim_start().strip_prefix(OPEN) {
        None => ("", 0),
        Some(rest) => {
            let offset = text.len() - rest.len();
            let Some(length) = rest.find(CLOSE) else {
                let message = format!("`{OPEN}`: not closed; add `{CLOSE}`");
                return Err(LineError::new(line_at(offset), message));
            };
            (&rest[..length], offset + length + CLOSE.len())
        }
    };
    let start = end.saturating_sub(CLOSE.len() + settings.len());
    if let Some(offset) = settings.find("*/") {
        let message = "`*/`: ends the SQL comment early; remove it from the settings";
        return Err(LineError::new(line_at(start + offset), message));
    }
    let misplaced = [OPEN, CLOSE]
        .iter()
        .filter_map(|delimiter| text[end..].find(delimiter))
        .min();
    if let Some(offset) = misplaced {
        let message = format!(
            "misplaced settings; put them between `{OPEN}` and `{CLOSE}` at the start of the file"
        );
        return Err(LineError::new(line_at(end + offset), message));
    }
    Ok((settings, line_at(start)))
}
