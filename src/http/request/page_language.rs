//! The language of a page.

use actix_web::HttpRequest;

use super::languages::{look_up, preferred};
use crate::texts::{Texts, all, english};

/// The option of a link that names the language of its file.
const LINK_LANGUAGE: &str = "rl_language=";

/// Returns the texts of a page: in the language of the link, else in the one that the client prefers, else in English.
pub(in crate::http) fn page_texts(request: &HttpRequest) -> &'static Texts {
    let languages: Vec<&str> = all().iter().map(|texts| texts.language).collect();
    let language = of_link(request, &languages).or_else(|| preferred(request, &languages));
    let texts = language.and_then(|language| all().iter().find(|it| it.language == language));
    texts.unwrap_or_else(english)
}

/// Returns the language of the request's link, if its query shows it. A forged one is harmless: it only selects a page.
fn of_link<'l>(request: &HttpRequest, languages: &[&'l str]) -> Option<&'l str> {
    let mut pairs = request.uri().query()?.split('&');
    let language = pairs.find_map(|pair| pair.strip_prefix(LINK_LANGUAGE))?;
    look_up(language, languages)
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
            page_texts(&request.to_http_request()).language
        };
        let path = "/v1/exports/orders.csv";
        assert_eq!(language(path, "fr"), "en");
        assert_eq!(language(path, "fr, de;q=0.5"), "de");
        let german = format!("{path}?rl_expires=60&rl_language=de-AT&rl_user=alice");
        assert_eq!(language(&german, "en"), "de");
        let french = format!("{path}?rl_language=fr");
        assert_eq!(language(&french, "de"), "de");
        assert_eq!(language(&format!("{path}?language=de"), "en"), "en");
    }
}
