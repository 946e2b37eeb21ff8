//! A problem as an HTML page for people in a browser: what happened, and what to do. No script, and no
//! resource of another origin.

use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, Accept, Header as _, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const STYLE: &str = include_str!("error_page.css");

/// Allows only the page's own style.
pub(in crate::http) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
});

/// Tells whether a request is a navigation: `text/html` has the highest preference.
pub(in crate::http) fn is_navigation(request: &HttpRequest) -> bool {
    // Programs never name it; skips ranking their preferences.
    let names_html = |value: &HeaderValue| value.as_bytes().windows(9).any(|it| it == b"text/html");
    if !request.headers().get_all(ACCEPT).any(names_html) {
        return false;
    }
    let accepted = Accept::parse(request).ok();
    let ranked = accepted.map(|accepted| accepted.ranked());
    let first = ranked.and_then(|types| types.into_iter().next());
    first.is_some_and(|first| first.essence_str() == "text/html")
}

/// Where to go on if the way back is not known.
const WITHOUT_BUTTON: &str = "If there is no page to go back to, open the application where you found the link, or \
     ask for a new link whoever sent it.";

/// The texts of a page.
pub(in crate::http) struct Page<'p> {
    pub(in crate::http) heading: &'p str,
    pub(in crate::http) advice: &'p str,
    /// The invalid fields, each with what is wrong.
    pub(in crate::http) errors: Vec<(&'p str, &'p str)>,
    pub(in crate::http) status: u16,
    pub(in crate::http) code: &'p str,
    pub(in crate::http) request_id: Uuid,
    /// The target of the button, if there is one.
    pub(in crate::http) return_url: Option<&'p str>,
}

impl Page<'_> {
    pub(in crate::http) fn render(&self) -> String {
        let (heading, advice) = (escape(self.heading), escape(self.advice));
        let error = |(field, message): &(&str, &str)| {
            format!(
                "<li><code>{}</code>: {}</li>\n",
                escape(field),
                escape(message)
            )
        };
        let errors: String = self.errors.iter().map(error).collect();
        let errors = match errors.as_str() {
            "" => errors,
            items => format!("<ul>\n{items}</ul>\n"),
        };
        let Page {
            status,
            code,
            request_id,
            ..
        } = self;
        let way_on = match self.return_url {
            Some(url) => {
                let url = escape(url);
                format!("<p><a class=\"button\" href=\"{url}\">Back to the application</a></p>\n")
            }
            None => format!("<p>{WITHOUT_BUTTON}</p>\n"),
        };
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <title>{heading}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{heading}</h1>\n{errors}<p>{advice}</p>\n{way_on}\
             <p class=\"small\">If it happens again, tell the operator this: \
             <code>{status} {code}</code>, request <code>{request_id}</code>.</p>\n\
             </main>\n</body>\n</html>\n"
        )
    }
}

/// Returns what a person in a browser can do about a problem.
pub(in crate::http) fn advice(code: &str) -> &'static str {
    match code {
        "link-expired" | "link-revoked" => "Go back and press Export again.",
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
        | "draining" => "Wait a moment, and reload this page.",
        "export-too-slow" => "Go back, choose fewer rows, and press Export again.",
        "cross-site" => "Open the application, and press Export there.",
        "wrong-address" => "Open the link from the network it was made for.",
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

/// Returns a number of seconds in the unit that people would use.
pub(in crate::http) fn in_words(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// Escapes text for HTML, also inside a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_unit_that_people_use() {
        let said = [0, 1, 12, 119, 120, 7199, 7200, 172_799, 172_800].map(in_words);
        let expected = [
            "0 seconds",
            "1 second",
            "12 seconds",
            "119 seconds",
            "2 minutes",
            "119 minutes",
            "2 hours",
            "47 hours",
            "2 days",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn texts_on_a_page_are_escaped() {
        let page = Page {
            heading: "<script>alert(1)</script>",
            advice: "a & \"b\" 'c'",
            errors: vec![("<b>", "expected <i>")],
            status: 410,
            code: "link-expired",
            request_id: Uuid::nil(),
            return_url: Some("https://example.com/?a=1&b=\"><script>"),
        };
        let html = page.render();
        assert!(!html.contains("<script"));
        assert!(html.contains("<li><code>&lt;b&gt;</code>: expected &lt;i&gt;</li>"));
        assert!(html.contains("a &amp; &quot;b&quot; &#39;c&#39;"));
    }
}
