//! Requests with a cookie that a page of another site has sent: OWASP, "Cross-Site Request Forgery Prevention",
//! section "Fetch Metadata".

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use url::Url;

use crate::http::config::HttpConfig;
use crate::http::response::problem::{Problem, malformed};

/// Refuses a request that a browser may have sent with its cookie for a page of another site. A user who
/// follows a link on such a page is served; images, scripts, frames, forms and opened windows are not.
///
/// # Errors
/// Returns 403 `cross-site`, and 400 for a body whose type is not JSON: a form needs no permission to send it.
pub(in crate::http) fn refuse_cross_site(
    method: &Method,
    headers: &HeaderMap,
    config: &HttpConfig,
    public_url: &str,
) -> Result<(), Problem> {
    if is_cross_site(headers, config, public_url) {
        let detail = "a cookie is not accepted in a request that a page of another site has sent";
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", detail));
    }
    let content_type = text(headers, "content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if method == Method::POST && !media_type.eq_ignore_ascii_case("application/json") {
        return Err(malformed(
            "expected `Content-Type: application/json`".to_owned(),
        ));
    }
    Ok(())
}

fn is_cross_site(headers: &HeaderMap, config: &HttpConfig, public_url: &str) -> bool {
    let origin = text(headers, header::ORIGIN.as_str());
    let is_own = |origin: &str| {
        let own = Url::parse(public_url).map(|url| url.origin().ascii_serialization());
        own.is_ok_and(|own| own == origin)
    };
    let is_listed = |origin: &str| config.cors_origins.iter().any(|listed| listed == origin);
    if origin.is_some_and(|origin| is_own(origin) || is_listed(origin)) {
        return false;
    }
    match text(headers, "sec-fetch-site") {
        Some("same-origin" | "none") => false,
        Some("cross-site") => !is_followed_link(headers),
        // A browser without these headers, or another client. An unreadable origin counts as that of another site.
        _ => headers.contains_key(header::ORIGIN),
    }
}

fn is_followed_link(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-mode") == Some("navigate")
        && text(headers, "sec-fetch-dest") == Some("document")
        && text(headers, "sec-fetch-user") == Some("?1")
        && !headers.contains_key(header::ORIGIN)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn an_origin_is_ours_only_as_a_whole() {
        let config = HttpConfig::default();
        for (origin, expected) in [
            (b"https://shop.example.com".as_slice(), false),
            (b"https://shop.example.co", true),
            (b"https://shop.example.com.evil.example", true),
            (b"https://", true),
            (b"https:", true),
            (b"", true),
            (b"\xff", true),
        ] {
            let origin = HeaderValue::from_bytes(origin).expect("a value");
            let headers = HeaderMap::from_iter([(header::ORIGIN, origin.clone())]);
            let is_refused = is_cross_site(&headers, &config, "https://shop.example.com/data");
            assert_eq!(is_refused, expected, "{origin:?}");
        }
    }
}
