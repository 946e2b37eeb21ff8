//! The cookie by which a browser is recognised, so that a link works only in that browser. Its value is random and is kept
//! nowhere else: a link has the hash of it.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rowlink_link::VerifiedLink;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::authenticate::cookie_values;
use crate::http::response::problem::{Problem, internal};
use crate::http::state::AppState;
use crate::service::Policy;

const NAME: &str = "rowlink-browser";
/// Browsers accept this prefix only from the host itself over HTTPS, so that no other host of the domain can set the cookie
/// (draft-ietf-httpbis-rfc6265bis, section 4.1.3.2).
const SECURE_NAME: &str = "__Host-rowlink-browser";

/// The cookie of a browser. It is not printed.
pub(in crate::http) struct BrowserCookie {
    /// 32 random bytes in base64url.
    value: String,
}

impl BrowserCookie {
    /// Returns the cookie of the browser that sends a request, or a new one.
    ///
    /// # Errors
    /// Returns the problem of an operating system that provides no randomness.
    pub(in crate::http) fn of(
        request: &HttpRequest,
        policy: &Policy,
    ) -> Result<BrowserCookie, Problem> {
        let known = cookie_values(request, name(policy));
        let known = known.into_iter().find(|value| is_well_formed(value));
        if let Some(value) = known {
            let value = value.to_owned();
            return Ok(BrowserCookie { value });
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| internal(error.to_string()))?;
        let value = URL_SAFE_NO_PAD.encode(random);
        Ok(BrowserCookie { value })
    }

    /// Returns the hash that a link has.
    pub(in crate::http) fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.value).into()
    }

    /// Returns the header that sets the cookie. It stays as long as a link may live, and then its download be continued.
    pub(in crate::http) fn header(&self, policy: &Policy) -> (HeaderName, HeaderValue) {
        let (name, value) = (name(policy), &self.value);
        let max_age = policy.ttl_seconds_max.saturating_mul(2);
        let secure = if is_https(policy) { "; Secure" } else { "" };
        // Lax: a link in a mail is followed with the cookie, a form of another site is sent without it.
        let cookie =
            format!("{name}={value}; Max-Age={max_age}; Path=/; HttpOnly; SameSite=Lax{secure}");
        let cookie = HeaderValue::try_from(cookie);
        let mut cookie = cookie.expect("a name, base64url and a number are visible ASCII");
        cookie.set_sensitive(true);
        (header::SET_COOKIE, cookie)
    }
}

/// Checks that a request comes from the browser to which its link is bound, if it is bound to one.
///
/// # Errors
/// Returns 403 `wrong-browser` if the request does not have the cookie.
pub(in crate::http) fn check(
    request: &HttpRequest,
    state: &AppState,
    link: &VerifiedLink,
) -> Result<(), Problem> {
    let Some(expected) = link.link().conditions.bind else {
        return Ok(());
    };
    let cookies = cookie_values(request, name(state.service.policy()));
    let is_expected = |value: &str| {
        let hash: [u8; 32] = Sha256::digest(value).into();
        bool::from(hash.ct_eq(&expected[..]))
    };
    if cookies.into_iter().any(is_expected) {
        return Ok(());
    }
    let detail = "open the link in the browser in which it was requested";
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong-browser", detail))
}

fn name(policy: &Policy) -> &'static str {
    match is_https(policy) {
        true => SECURE_NAME,
        false => NAME,
    }
}

fn is_https(policy: &Policy) -> bool {
    policy.public_url.starts_with("https://")
}

/// Tells whether a cookie may be one that this server has set.
fn is_well_formed(value: &str) -> bool {
    let decoded = URL_SAFE_NO_PAD.decode(value);
    decoded.is_ok_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn policy(public_url: &str) -> Policy {
        Policy::with_defaults(public_url.to_owned())
    }

    fn sent(cookies: &str) -> HttpRequest {
        let request = TestRequest::default().insert_header((header::COOKIE, cookies));
        request.to_http_request()
    }

    const VALUE: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";

    fn value(cookies: &str, policy: &Policy) -> String {
        let cookie = BrowserCookie::of(&sent(cookies), policy);
        cookie.expect("randomness").value
    }

    #[test]
    fn a_browser_keeps_a_cookie_that_is_well_formed() {
        let http = policy("http://localhost:8080");
        let cookies = format!("a=b; rowlink-browser={VALUE}");
        assert_eq!(value(&cookies, &http), VALUE);
        // One of another path may stand before it.
        let cookies = format!("rowlink-browser=x; rowlink-browser={VALUE}");
        assert_eq!(value(&cookies, &http), VALUE);
        let other = policy("https://shop.example.com");
        assert_ne!(value(&cookies, &other), VALUE);
        let cookies = format!("__Host-rowlink-browser={VALUE}");
        assert_eq!(value(&cookies, &other), VALUE);
    }

    #[test]
    fn a_new_cookie_replaces_what_is_not_well_formed() {
        let http = policy("http://localhost:8080");
        let long = format!("{VALUE}A");
        // Its last character has bits beyond the last byte.
        let other_spelling = VALUE.replace("ZWY", "ZWZ");
        for bad in ["", "x", &VALUE[1..], &long, &other_spelling] {
            let cookies = format!("rowlink-browser={bad}");
            let [one, other] = [value(&cookies, &http), value(&cookies, &http)];
            assert!(is_well_formed(&one) && one.len() == 43, "{one}");
            assert!(one != bad && one != other, "{bad}");
        }
    }

    #[test]
    fn the_cookie_is_for_this_host_only_and_hidden_from_scripts() {
        let cookie = BrowserCookie {
            value: VALUE.to_owned(),
        };
        let (name, set) = cookie.header(&policy("https://shop.example.com/data"));
        let expected = format!(
            "__Host-rowlink-browser={VALUE}; Max-Age=7200; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(name, header::SET_COOKIE);
        assert_eq!(set, *expected);
        assert!(!format!("{set:?}").contains(VALUE));
        let (_, set) = cookie.header(&policy("http://localhost:8080"));
        let expected =
            format!("rowlink-browser={VALUE}; Max-Age=7200; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set, *expected);
    }
}
