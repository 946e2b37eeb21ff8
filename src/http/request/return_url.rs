//! The page to which a person can go back after a refusal.

use actix_web::http::header::{self, HeaderMap};
use url::Url;

use crate::http::config::HttpConfig;

/// Returns the configured page, else the one with the link, if the browser tells that it is a page of the same site (W3C
/// "Fetch Metadata Request Headers", section 2.3). A page of another site gets no button: it would seem to be the
/// application.
pub(in crate::http) fn return_url(headers: &HeaderMap, config: &HttpConfig) -> Option<String> {
    config
        .return_url
        .clone()
        .or_else(|| same_site_page(headers))
}

fn same_site_page(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if !matches!(text("sec-fetch-site"), Some("same-origin" | "same-site")) {
        return None;
    }
    let page = Url::parse(text(header::REFERER.as_str())?).ok()?;
    matches!(page.scheme(), "http" | "https").then(|| page.into())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_the_browser_names_a_page_of_the_same_site() {
        for (site, page, expected) in [
            (
                "same-origin",
                "https://a.example/x?y=1",
                Some("https://a.example/x?y=1"),
            ),
            (
                "same-site",
                "https://app.a.example/",
                Some("https://app.a.example/"),
            ),
            ("cross-site", "https://evil.example/", None),
            ("none", "https://a.example/", None),
            ("", "https://a.example/", None),
            ("same-origin", "javascript:alert(1)", None),
            ("same-origin", "a.example", None),
        ] {
            let fields = [("sec-fetch-site", site), ("referer", page)];
            let fields = fields.map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            let headers = HeaderMap::from_iter(fields);
            let config = HttpConfig::default();
            assert_eq!(
                return_url(&headers, &config).as_deref(),
                expected,
                "{site} {page}"
            );
            let config = HttpConfig {
                return_url: Some("https://set.example/".into()),
                ..config
            };
            let configured = return_url(&headers, &config);
            assert_eq!(configured.as_deref(), Some("https://set.example/"));
        }
    }
}
