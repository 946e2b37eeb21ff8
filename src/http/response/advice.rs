//! What a person in a browser can do about a problem, in words.

use crate::texts::AdviceTexts;

/// Returns the advice for a code.
pub(super) fn advice<'t>(texts: &'t AdviceTexts, code: &str) -> &'t str {
    match code {
        "link-expired" | "link-revoked" | "link-used" => &texts.export_again,
        "bad-signature" | "malformed-link" => &texts.changed_link,
        "invalid-values" => &texts.change_values,
        "link-not-yet-valid" => &texts.open_later,
        "credential-missing" | "credential-refused" => &texts.sign_in,
        "replica-limit"
        | "export-limit"
        | "export-unavailable"
        | "user-limit"
        | "link-limit"
        | "issue-limit"
        | "database-busy"
        | "database-unavailable"
        | "keys-unavailable"
        | "single-use-unavailable"
        | "draining" => &texts.reload,
        "export-too-slow" | "file-too-large" => &texts.fewer_rows,
        "row-too-large" => &texts.shorter_rows,
        "cross-site" => &texts.from_application,
        "wrong-address" => &texts.from_network,
        "wrong-browser" => &texts.in_browser,
        "range-not-supported" => &texts.whole_file,
        "embedding-refused" => &texts.use_link,
        "http-version-not-supported" => &texts.proxy,
        "export-not-allowed" | "claim-missing" => &texts.ask_for_access,
        _ => &texts.other,
    }
}
