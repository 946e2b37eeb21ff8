//! What a person in a browser can do about a problem, in words.

/// Returns the advice for a code.
pub(super) fn advice(code: &str) -> &'static str {
    match code {
        "link-expired" | "link-revoked" | "link-used" => "Go back and press Export again.",
        "bad-signature" | "malformed-link" => {
            "The link was changed before it came here. Go back and press Export again, or copy the whole link."
        }
        "invalid-values" => "Go back, change these values, and press Export again.",
        "link-not-yet-valid" => "Wait a little, and open it again.",
        "credential-missing" | "credential-refused" => {
            "Sign in to the application, and press Export again."
        }
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
        | "draining" => "Wait a moment, and reload this page.",
        "export-too-slow" => "Go back, choose fewer rows, and press Export again.",
        "cross-site" => "Open the application, and press Export there.",
        "wrong-address" => "Open the link from the network it was made for.",
        "wrong-browser" => {
            "Open the link in the browser in which you requested it, or request a new one in this browser."
        }
        "file-too-large" => "Go back, choose fewer rows, and press Export again.",
        "row-too-large" => "Go back, leave out columns with long texts, and press Export again.",
        "range-not-supported" => {
            "The rest of a file cannot be fetched later. Remove the incomplete download, go back and press Export again."
        }
        "embedding-refused" => "Go back, and use the link itself.",
        "http-version-not-supported" => {
            "Only the operator can change this: the proxy must send HTTP/1.1 to Rowlink."
        }
        "export-not-allowed" | "claim-missing" => "Ask for access to this export.",
        _ => "Go back and press Export again. If that does not help, tell the operator.",
    }
}

/// The advice if the page has a plain link.
pub(super) const WITH_NEW_LINK: &str =
    "Try again: you get a new link, if you are signed in to the application.";

/// Where to go on if the way back is not known.
pub(super) const WITHOUT_BUTTON: &str = "If there is no page to go back to, open the application where you found the link, or \
     ask its sender for a new link.";
