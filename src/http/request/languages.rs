//! The language that a client prefers: RFC 9110, section 12.5.4.

use std::iter::successors;

use actix_web::HttpRequest;
use actix_web::http::header::{AcceptLanguage, Header as _, Quality};

/// Returns the language of the list that the client prefers, by its BCP 47 tag; `None` if it names none of them.
pub(in crate::http) fn preferred<'l>(
    request: &HttpRequest,
    languages: &[&'l str],
) -> Option<&'l str> {
    let mut accepted = AcceptLanguage::parse(request).ok()?;
    // "Not acceptable": RFC 9110, section 12.4.2.
    accepted.0.retain(|range| range.quality > Quality::ZERO);
    let ranges = accepted.ranked().into_iter();
    let mut named = ranges.filter_map(|range| Some(range.item()?.to_string()));
    named.find_map(|range| look_up(&range, languages))
}

/// Returns the language that matches a range: by lookup, so that `de-AT` finds `de`, else by basic filtering, so that `de`
/// finds `de-AT` (RFC 4647, sections 3.4 and 3.3.1).
pub(super) fn look_up<'l>(range: &str, languages: &[&'l str]) -> Option<&'l str> {
    let mut prefixes = successors(Some(range), |range| Some(range.rsplit_once('-')?.0));
    let find = |is_match: &dyn Fn(&str) -> bool| {
        let mut languages = languages.iter().copied();
        languages.find(|language| is_match(language))
    };
    let found = prefixes.find_map(|range| find(&|language| language.eq_ignore_ascii_case(range)));
    found.or_else(|| {
        let prefix = format!("{range}-").to_ascii_lowercase();
        find(&|language| language.to_ascii_lowercase().starts_with(&prefix))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::ACCEPT_LANGUAGE;
    use actix_web::test::TestRequest;

    use super::*;

    fn preferred_by(accepted: &str, languages: &[&'static str]) -> Option<&'static str> {
        let request = TestRequest::default().insert_header((ACCEPT_LANGUAGE, accepted));
        preferred(&request.to_http_request(), languages)
    }

    #[test]
    fn the_language_with_the_highest_weight_is_preferred() {
        for (accepted, expected) in [
            ("de-AT,de;q=0.9,en;q=0.5", Some("de")),
            ("en-GB,en;q=0.9,de;q=0.8", Some("en")),
            ("en;q=0.5, de", Some("de")),
            ("fr-CH, fr;q=0.9, de;q=0.1", Some("de")),
            ("DE", Some("de")),
            ("de-Latn-CH-1996", Some("de")),
            ("en;q=0, de;q=0.2", Some("de")),
            ("fr", None),
            ("deu", None),
            ("de;q=0", None),
            ("*", None),
            ("", None),
            ("de;;;, ?, en", Some("en")),
        ] {
            assert_eq!(
                preferred_by(accepted, &["en", "de"]),
                expected,
                "{accepted}"
            );
        }
        let request = TestRequest::default().to_http_request();
        assert_eq!(preferred(&request, &["en", "de"]), None);
        assert_eq!(preferred_by("de", &[]), None);
    }

    #[test]
    fn a_range_finds_a_longer_tag_if_there_is_no_shorter_one() {
        let languages = ["pt-BR", "de-CH", "de"];
        assert_eq!(preferred_by("pt", &languages), Some("pt-BR"));
        assert_eq!(preferred_by("PT-br", &languages), Some("pt-BR"));
        assert_eq!(preferred_by("pt-PT", &languages), None);
        assert_eq!(preferred_by("de-CH", &languages), Some("de-CH"));
        assert_eq!(preferred_by("de-LU", &languages), Some("de"));
    }
}
