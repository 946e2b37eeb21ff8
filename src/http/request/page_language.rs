//! The language of a page.

use actix_web::HttpRequest;
use rowlink_link::RESERVED_PREFIX;

use super::accept_language::accepted_languages;
use crate::catalog::Language;
use crate::service::LANGUAGE;
use crate::texts::{Texts, all, english};

/// Returns the texts of a page: in the language that a link names, else in the one that the client prefers, else in English.
pub(in crate::http) fn page_texts(
    request: &HttpRequest,
    link_language: Option<&str>,
) -> &'static Texts {
    let of_link = link_language.and_then(|language| language.parse::<Language>().ok());
    let mut languages = of_link.into_iter().chain(accepted_languages(request));
    let texts = languages.find_map(|language| {
        let mut tags = language.with_general();
        tags.find_map(|tag| all().iter().find(|it| it.language == tag))
    });
    texts.unwrap_or_else(english)
}

/// Returns the language that the query of a refused link shows. A forged one only selects the language of the page.
pub(in crate::http) fn language_of_query(request: &HttpRequest) -> Option<&str> {
    let mut pairs = request.uri().query()?.split('&');
    pairs.find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.strip_prefix(RESERVED_PREFIX)? == LANGUAGE).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::ACCEPT_LANGUAGE;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_page_has_the_language_of_its_link_before_that_of_the_client() {
        let language = |target: &str, accepted: &str| {
            let request = TestRequest::with_uri(target);
            let request = request.insert_header((ACCEPT_LANGUAGE, accepted));
            let request = request.to_http_request();
            page_texts(&request, language_of_query(&request)).language
        };
        let path = "/v1/exports/orders.csv";
        assert_eq!(language(path, "fr"), "en");
        assert_eq!(language(path, "fr, de;q=0.5"), "de");
        let german = format!("{path}?rl_expires=60&rl_language=de-AT&rl_user=alice");
        assert_eq!(language(&german, "en"), "de");
        let french = format!("{path}?rl_language=fr");
        assert_eq!(language(&french, "de"), "de");
        for other in [
            "language=de",
            "rl_language",
            "rl_languages=de",
            "rl_language=",
        ] {
            assert_eq!(language(&format!("{path}?{other}"), "en"), "en", "{other}");
        }
    }
}
