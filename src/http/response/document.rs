//! What all pages share: their frame, headers, style sheet and policy. No script, and no resource of another origin.

use std::sync::LazyLock;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::headers::fixed;
use super::retry::Wait;
use crate::texts::{Texts, escape};

const STYLE: &str = include_str!("page.css");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| style_hash(STYLE));

/// Returns the source that allows one style sheet: CSP Level 3, section 6.7.3.3.
pub(super) fn style_hash(style: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(style)))
}

/// Returns the headers that tell what a page is, and which headers of the request have selected it.
pub(in crate::http) fn headers(texts: &'static Texts) -> [(HeaderName, HeaderValue); 3] {
    [
        fixed(header::CONTENT_TYPE, "text/html; charset=utf-8"),
        fixed(header::CONTENT_LANGUAGE, texts.language),
        fixed(header::VARY, "Accept, Accept-Language"),
    ]
}

/// An HTML document.
pub(super) struct Document<'d> {
    /// The BCP 47 tag of its language.
    pub(super) language: &'d str,
    /// Its title and first heading.
    pub(super) heading: &'d str,
    /// Whether it shows a countdown.
    pub(super) wait: Option<Wait>,
    /// What follows the heading, as HTML.
    pub(super) content: &'d str,
}

impl Document<'_> {
    pub(super) fn render(&self) -> String {
        let Document {
            language,
            wait,
            content,
            ..
        } = self;
        let heading = escape(self.heading);
        let refresh = wait.map(Wait::refresh).unwrap_or_default();
        let style = wait.map(|wait| format!("<style>{}</style>\n", wait.style()));
        let style = style.unwrap_or_default();
        format!(
            "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"robots\" content=\"noindex\">\n{refresh}\
             <title>{heading}</title>\n<style>{STYLE}</style>\n{style}</head>\n<body>\n<main>\n\
             <h1>{heading}</h1>\n{content}\
             </main>\n</body>\n</html>\n"
        )
    }
}

/// Returns the policy of a page: it allows only the page's own styles, and no page to embed it.
pub(super) fn content_security_policy(wait: Option<Wait>) -> String {
    let hash = STYLE_HASH.as_str();
    let hash_of_wait = wait.map(|wait| format!(" {}", style_hash(&wait.style())));
    let hash_of_wait = hash_of_wait.unwrap_or_default();
    format!(
        "default-src 'none'; style-src {hash}{hash_of_wait}; base-uri 'none'; frame-ancestors 'none'"
    )
}
