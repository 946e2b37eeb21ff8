//! The query of an unsigned URL: filters, and a token if the deployment accepts one there.

use actix_web::http::StatusCode;
use rowlink_link::{LinkError, RESERVED_PREFIX, parse_query};

use crate::http::config::HttpConfig;
use crate::http::response::problem::Problem;

/// The parameter that every link has.
const SIGNATURE: &str = "rl_signature";

/// The query of an unsigned URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct PlainQuery {
    /// The value of `ROWLINK_JWT_QUERY_PARAM`.
    pub(in crate::http) token: Option<String>,
    /// The other names and values.
    pub(in crate::http) filters: Vec<(String, String)>,
}

impl PlainQuery {
    /// Parses a query; `None` if it has a reserved parameter, as that of a link.
    ///
    /// # Errors
    /// Returns 400 if the query is malformed, also if it has the remains of a signature: `&amp;rl_signature=` or
    /// `;rl_signature=` come from a link that was escaped once too often.
    pub(in crate::http) fn parse(
        raw_query: &str,
        config: &HttpConfig,
    ) -> Result<Option<PlainQuery>, Problem> {
        if raw_query.is_empty() {
            return Ok(Some(PlainQuery::default()));
        }
        // True for every link. Only a name with escapes makes it necessary to decode the query twice.
        if raw_query
            .split('&')
            .any(|pair| pair.starts_with(RESERVED_PREFIX))
        {
            return Ok(None);
        }
        let pairs = parse_query(raw_query).map_err(LinkError::from)?;
        if pairs
            .iter()
            .any(|(name, _)| name.starts_with(RESERVED_PREFIX))
        {
            return Ok(None);
        }
        if raw_query.contains(SIGNATURE) {
            let detail = "the link was changed, perhaps by an escaped `&`; use it as it was issued";
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed-link",
                detail,
            ));
        }
        let token_name = config.jwt_query_param.as_deref();
        let owned = |(name, value): (_, _)| (String::from(name), String::from(value));
        let (tokens, filters): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .map(owned)
            .partition(|(name, _)| token_name == Some(name.as_str()));
        Ok(Some(PlainQuery {
            token: tokens.into_iter().next().map(|(_, token)| token),
            filters,
        }))
    }
}
