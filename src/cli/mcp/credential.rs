//! The credentials with which tools call the deployment. They are in no argument, result or error.

use std::env;
use std::fs;
use std::path::PathBuf;

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use ureq::http::HeaderValue;
use ureq::http::header::AUTHORIZATION;
use ureq::http::request::Parts;
use zeroize::Zeroizing;

use super::errors::ToolError;
use crate::cli::errors::{ErrorLines, error_line};

const TOKEN: &str = "ROWLINK_TOKEN";
const TOKEN_FILE: &str = "ROWLINK_TOKEN_FILE";

/// Where the credential of a call comes from.
pub(super) enum Credentials {
    /// The same for every call: the value of `Authorization`.
    Fixed(HeaderValue),
    /// A file with a token. It is read for each call, because tokens expire.
    File(PathBuf),
    /// The HTTP request that has the call. The server has none of its own.
    OfRequests,
}

impl Credentials {
    /// Returns the credential of the environment.
    ///
    /// # Errors
    /// Returns the variable that is missing or invalid.
    pub(super) fn from_env() -> Result<Credentials, ErrorLines> {
        let token = env::var_os(TOKEN).filter(|token| !token.is_empty());
        let file = env::var_os(TOKEN_FILE).filter(|path| !path.is_empty());
        match (token, file) {
            (Some(token), None) => {
                let token = Zeroizing::new(token.into_string().unwrap_or_default());
                let header = bearer(&token).ok_or_else(|| error_line(invalid(TOKEN)))?;
                Ok(Credentials::Fixed(header))
            }
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                read(&path).map_err(error_line)?;
                Ok(Credentials::File(path))
            }
            (None, None) => Err(error_line(format!(
                "{TOKEN}: is required; set it, or {TOKEN_FILE}, to an API key or a token of the deployment"
            ))),
            (Some(_), Some(_)) => Err(error_line(format!(
                "{TOKEN}: unsupported with {TOKEN_FILE}; set one of them"
            ))),
        }
    }

    /// Returns the value of `Authorization` for a call, if it has one.
    ///
    /// # Errors
    /// Returns a [`ToolError`] if the file with the token is unreadable or invalid.
    pub(super) fn of_call(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<HeaderValue>, ToolError> {
        match self {
            Credentials::Fixed(header) => Ok(Some(header.clone())),
            Credentials::File(path) => read(path).map(Some).map_err(ToolError::Other),
            Credentials::OfRequests => {
                let parts = context.extensions.get::<Parts>();
                Ok(parts.and_then(of_request))
            }
        }
    }

    /// Tells whether all calls come from the user who started the server.
    pub(super) fn is_of_one_user(&self) -> bool {
        !matches!(self, Credentials::OfRequests)
    }
}

/// Returns the value of `Authorization`, if the request has exactly one.
fn of_request(parts: &Parts) -> Option<HeaderValue> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let mut value = values.next()?.clone();
    value.set_sensitive(true);
    values.next().is_none().then_some(value)
}

fn read(path: &PathBuf) -> Result<HeaderValue, String> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| format!("{TOKEN_FILE}: cannot be read: {error}"))?;
    bearer(&text).ok_or_else(|| invalid(TOKEN_FILE))
}

fn invalid(name: &str) -> String {
    format!("{name}: expected an API key or a token, on one line")
}

/// Returns the value of `Authorization` with a token (RFC 6750, section 2.1).
fn bearer(token: &str) -> Option<HeaderValue> {
    let token = token.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = Zeroizing::new(format!("Bearer {token}"));
    let mut header = HeaderValue::try_from(value.as_str()).ok()?;
    header.set_sensitive(true);
    is_token.then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_never_printed() {
        let header = bearer(" rlk_secret\n").expect("a token");
        assert_eq!(header, "Bearer rlk_secret");
        assert!(!format!("{header:?}").contains("secret"));
        for token in ["", "\n", "two words", "rlk_\r\nX-Other: 1", "é"] {
            assert_eq!(bearer(token), None, "{token:?}");
        }
    }
}
