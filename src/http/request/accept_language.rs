//! The languages that a client accepts: RFC 9110, section 12.5.4.

use actix_web::HttpRequest;
use actix_web::http::header::{AcceptLanguage, Header as _, Quality};

use crate::catalog::Language;

/// The most languages that are looked up for one request.
const LANGUAGES_MAX: usize = 32;

/// Returns the languages that a request accepts, the best one first. What is malformed counts as absent.
pub(in crate::http) fn accepted_languages(request: &HttpRequest) -> Vec<Language> {
    let Ok(mut header) = AcceptLanguage::parse(request) else {
        return Vec::new();
    };
    header.retain(|range| range.quality > Quality::ZERO);
    let ranges = header.ranked().into_iter();
    let tags = ranges.filter_map(|range| range.item()?.as_str().parse().ok());
    tags.take(LANGUAGES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn accepted(header: &str) -> Vec<String> {
        let request = TestRequest::default().insert_header(("accept-language", header));
        let accepted = accepted_languages(&request.to_http_request());
        accepted.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn languages_are_in_the_order_of_their_weights_without_refused_and_malformed_ones() {
        for (header, expected) in [
            ("de-at, de;q=0.9, en;q=0.8", &["de-AT", "de", "en"][..]),
            ("fr;q=0.1, de;q=0.9", &["de", "fr"]),
            ("fr;q=0.5, de;q=0.5", &["fr", "de"]),
            ("de;q=0, en", &["en"]),
            ("*, de;q=0.5", &["de"]),
            ("*", &[]),
            ("!, x_y, de;q=high, en", &["en"]),
            ("", &[]),
        ] {
            assert_eq!(accepted(header), expected, "{header}");
        }
        let many = "de, ".repeat(1000);
        assert_eq!(accepted(&many).len(), LANGUAGES_MAX);
    }
}
