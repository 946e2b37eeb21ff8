//! The HTML page of a refused navigation: what it offers to go on.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use super::config::HttpConfig;
use super::request::page_language::{language_of_query, page_texts};
use super::request::requested_file::RequestedFile;
use super::request::return_url::return_url;
use super::response::document;
use super::response::error_page::NextSteps;
use super::response::exports_page::{self, Frame, SignInPage};
use super::response::problem::Problem;
use super::response::retry::{Retry, Wait};
use super::state::AppState;
use crate::texts::Texts;

/// The shortest time until a page reloads itself. `Retry-After` is for programs, which give up after some attempts; a page
/// does not count them.
const WAIT_SECONDS_MIN: u64 = 5;

/// Problems of a link that a new link does not have.
const SOLVED_BY_NEW_LINK: [&str; 4] =
    ["link-expired", "link-revoked", "link-used", "wrong-address"];

/// Problems that every request for the file has, and those of a request that a page of another site may have made up.
const FINAL: [&str; 6] = [
    "claim-missing",
    "cross-site",
    "embedding-refused",
    "export-not-allowed",
    "unknown-export",
    "unknown-format",
];

/// Returns the page of a problem.
pub(super) fn refusal_page(
    request: &HttpRequest,
    state: &AppState,
    problem: &Problem,
    request_id: Uuid,
) -> HttpResponse {
    let config = &state.config;
    let texts = page_texts(request, language_of_query(request));
    if problem.status() == StatusCode::UNAUTHORIZED && exports_page::is_page(request.path()) {
        return sign_in_page(request, config, problem, texts, request_id);
    }
    let file = RequestedFile::of(request, state).filter(|_| !FINAL.contains(&problem.code()));
    let next = NextSteps {
        retry: retry(request.method(), problem, file.as_ref(), config),
        return_url: return_url(request.headers(), config, file.as_ref()),
    };
    problem.page(texts, request_id, next)
}

/// Returns the page that tells how to sign in to the page of exports.
fn sign_in_page(
    request: &HttpRequest,
    config: &HttpConfig,
    problem: &Problem,
    texts: &'static Texts,
    request_id: Uuid,
) -> HttpResponse {
    let page = SignInPage {
        frame: Frame {
            texts,
            root: exports_page::root_of(request.path()),
        },
        is_refused: problem.code() == "credential-refused",
        has_cookie: config.jwt_cookie.is_some(),
        provider: config.oidc_client.as_ref(),
        return_url: config.return_url.as_deref(),
        code: problem.code(),
        request_id,
    };
    let mut response = problem.response();
    for header in exports_page::HEADERS
        .into_iter()
        .chain(document::headers(texts))
    {
        response.insert_header(header);
    }
    let policy = page.content_security_policy();
    response.insert_header((header::CONTENT_SECURITY_POLICY, policy));
    response.body(page.render())
}

/// Returns how another attempt may succeed, if one may.
fn retry(
    method: &Method,
    problem: &Problem,
    file: Option<&RequestedFile<'_>>,
    config: &HttpConfig,
) -> Option<Retry> {
    if SOLVED_BY_NEW_LINK.contains(&problem.code()) {
        // Without a cookie the browser would send no credential.
        let file = file.filter(|file| file.has_plain_link && config.jwt_cookie.is_some())?;
        return Some(Retry::NewLink(file.plain_link()));
    }
    let is_get = method == Method::GET;
    let is_signed = file.is_some_and(|file| file.is_signed);
    // Another method would be repeated as a GET. For a signed link that leads to the page whose button was pressed.
    let is_repeatable = is_get || is_signed;
    let wait = problem.retry_after().filter(|_| is_repeatable);
    match wait {
        // A page cannot count its reloads, so only one whose URL expires reloads itself: that of a signed link. Then its
        // problem is another one. A plain link never expires, and an open tab would request it for ever.
        Some(seconds) => Some(Retry::SameUrl(Some(Wait {
            seconds: seconds.max(WAIT_SECONDS_MIN),
            reloads: is_get && is_signed,
        }))),
        None if is_repeatable && problem.code() == "link-not-yet-valid" => {
            Some(Retry::SameUrl(None))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use rowlink_link::DownloadPath;

    use super::*;
    use crate::http::response::problem::{method_not_allowed, too_many};

    /// Returns what a page offers for a link to `orders.csv`, where cookies authenticate or not.
    fn offered(problem: &Problem, is_signed: bool, has_cookie: bool) -> Option<Retry> {
        let file = RequestedFile {
            path: DownloadPath::new("orders", "csv").expect("a path"),
            filters: vec![("from".into(), "2026-01-01".into())],
            is_signed,
            has_plain_link: true,
        };
        let config = HttpConfig {
            jwt_cookie: has_cookie.then(|| "session".into()),
            ..HttpConfig::default()
        };
        retry(&Method::GET, problem, Some(&file), &config)
    }

    fn problem(code: &'static str) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, code, "a detail")
    }

    #[test]
    fn a_new_link_is_offered_where_cookies_authenticate_and_it_solves_the_problem() {
        for code in SOLVED_BY_NEW_LINK {
            let expected = Retry::NewLink("?from=2026-01-01".into());
            assert_eq!(
                offered(&problem(code), true, true),
                Some(expected),
                "{code}"
            );
            assert_eq!(offered(&problem(code), true, false), None, "{code}");
        }
        for code in [
            &FINAL[..],
            &["bad-signature", "invalid-values", "export-failed"],
        ]
        .concat()
        {
            assert_eq!(offered(&problem(code), true, true), None, "{code}");
        }
        assert_eq!(offered(&method_not_allowed("GET, HEAD"), true, true), None);
    }

    #[test]
    fn only_the_page_of_a_signed_link_reloads_itself_and_not_often() {
        for (seconds, expected) in [(1, 5), (5, 5), (6, 6), (60, 60)] {
            for is_signed in [true, false] {
                let limited = too_many("user-limit", "a detail".into(), seconds);
                let wait = Wait {
                    seconds: expected,
                    reloads: is_signed,
                };
                let offer = offered(&limited, is_signed, false);
                assert_eq!(offer, Some(Retry::SameUrl(Some(wait))));
            }
        }
    }

    #[test]
    fn another_method_is_not_tried_again() {
        let limited = too_many("issue-limit", "a detail".into(), 1);
        let config = HttpConfig::default();
        assert_eq!(retry(&Method::POST, &limited, None, &config), None);
        assert!(retry(&Method::GET, &limited, None, &config).is_some());
    }

    #[test]
    fn a_refused_confirmation_leads_to_its_page_by_hand() {
        let file = RequestedFile {
            path: DownloadPath::new("orders", "csv").expect("a path"),
            filters: Vec::new(),
            is_signed: true,
            has_plain_link: false,
        };
        let limited = too_many("user-limit", "a detail".into(), 7);
        let offer = retry(&Method::POST, &limited, Some(&file), &HttpConfig::default());
        let wait = Wait {
            seconds: 7,
            reloads: false,
        };
        assert_eq!(offer, Some(Retry::SameUrl(Some(wait))));
    }

    #[test]
    fn a_link_that_is_not_valid_yet_is_tried_again_by_hand() {
        let offer = offered(&problem("link-not-yet-valid"), true, false);
        assert_eq!(offer, Some(Retry::SameUrl(None)));
    }
}
