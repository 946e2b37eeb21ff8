//! What a link says, and its signature. Pure: no I/O, no clock, no HTTP.
//!
//! A link is a URL whose query carries the user, the filters, the options and the times, all under
//! one HMAC-SHA256, made in three steps:
//!
//! 1. the **canonical request**: the path and the query, parsed once, re-encoded and sorted
//!    ([`canonical`](self));
//! 2. the **string to sign**: a label for version and algorithm, the path, the canonical query;
//! 3. the **signature**: lower-case hex of the MAC under the first key of the [`Keyring`].
//!
//! A [`Verifier`] goes the same way and is the only source of a [`VerifiedLink`], which is the only
//! thing that can be bound to a query. `docs/signed-link.md` is the specification.
//!
//! ```
//! use rowlink::format::Format;
//! use rowlink::link::{
//!     Client, Keyring, Link, LinkError, Revocations, Seal, UserId, Verifier, generate, sign,
//! };
//!
//! let keyring = Keyring::parse(&generate("2026a")?).expect("a fresh key");
//! let now = 1_769_853_600;
//! let link = Link {
//!     export: "orders".into(),
//!     format: Format::Csv,
//!     user: UserId::parse("42")?,
//!     id: uuid::Uuid::nil(),
//!     issued: now,
//!     expires: now + 60,
//!     conditions: Default::default(),
//!     filename: None,
//!     claims: Default::default(),
//!     options: Default::default(),
//!     filters: vec![("from".into(), "2026-01-01".into())],
//! };
//! let url = sign(&link, &keyring, Seal::Open)?;
//! let (path, query) = url.split_once('?').expect("a query");
//! assert_eq!(path, "/v1/exports/orders.csv");
//!
//! let revocations = Revocations::default();
//! let verifier = Verifier { keyring: &keyring, revocations: &revocations, ttl_seconds_max: 3600 };
//! let verified = verifier.verify("orders", Format::Csv, query, now + 59, ClientAddr::Unchecked)?;
//! assert_eq!(verified.link(), &link);
//!
//! let late = verifier.verify("orders", Format::Csv, query, now + 60, ClientAddr::Unchecked);
//! assert_eq!(late, Err(LinkError::Expired { seconds: 0 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod canonical;
mod conditions;
mod filename;
mod keyring;
mod parameters;
mod revocation;
mod scope;
mod seal;
mod sign;
mod verifier;

use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use crate::format::Format;

pub use canonical::{Pair, parse_query, percent_encode, split_url};
pub use conditions::{ClientAddr, Conditions, Network};
pub use filename::{FileName, FileNameError};
pub use keyring::{
    KEY_BYTES_MIN, KEY_ID_BYTES_MAX, Keyring, KeyringError, NoParentKey, generate, generate_child,
    is_key_id,
};
pub use parameters::{is_claim_name, is_option_name};
pub use revocation::Revocations;
pub use scope::Scope;
pub use sign::{Seal, SignError, sign};
pub use verifier::{Inspection, VerifiedLink, Verifier};

/// Reserved parameters start with this; filters may not.
pub const RESERVED_PREFIX: &str = "rl_";

/// A URL is at most this long: what every proxy and browser still accepts.
pub const URL_BYTES_MAX: usize = 4096;

/// `rl_issued` may be this far ahead of the replica's clock.
pub const CLOCK_SKEW_SECONDS_MAX: u64 = 30;

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The export's name.
    pub export: String,
    /// The file's format.
    pub format: Format,
    /// Whose rows.
    pub user: UserId,
    /// Joins the audit line of the issue with that of the download.
    pub id: Uuid,
    /// When it was issued, in Unix seconds.
    pub issued: u64,
    /// The first second in which it is no longer valid, in Unix seconds.
    pub expires: u64,
    /// What it demands beyond its times.
    pub conditions: Conditions,
    /// What the browser shall call the file.
    pub filename: Option<FileName>,
    /// Further pinned claims of the caller, by name.
    pub claims: BTreeMap<String, String>,
    /// Output options as they stand in the link, without `rl_`: `columns`, `csv.delimiter`, ….
    pub options: BTreeMap<String, String>,
    /// Filters in the order in which they were given; a list repeats its name.
    pub filters: Vec<(String, String)>,
}

/// A user id: 1 to 256 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// Checks a user id.
    ///
    /// # Errors
    /// It is empty, too long, or has a control character.
    pub fn parse(text: impl Into<String>) -> Result<UserId, TextError> {
        let text = text.into();
        check_text(&text)?;
        Ok(UserId(text))
    }

    /// The id as it is bound to `:user`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user id or a claim has a form that no link may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 256 bytes without control characters")]
pub struct TextError;

/// The rule for user ids and claims' values.
///
/// # Errors
/// It is empty, longer than 256 bytes, or has a control character.
pub fn check_text(text: &str) -> Result<(), TextError> {
    let fits = (1..=256).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then_some(()).ok_or(TextError)
}

/// Whether `name` is 1 to `bytes_max` of `A-Z a-z 0-9 _ -`, and so stands in a path, a query and a
/// TOML key as it is.
pub fn is_bare_name(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Why a link was refused, sorted by what its holder can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was cut, doubled or mistyped on its way: copy it again.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It was changed, or no key here made it. An unknown key id answers exactly like this.
    #[error("the signature does not match the link")]
    BadSignature,
    /// Genuine, but the minter's clock or policy says later.
    #[error("the link becomes valid in {seconds} s")]
    NotYetValid {
        /// Until then.
        seconds: u64,
    },
    /// Genuine, but it lives longer than this deployment allows.
    #[error("the link lives {seconds} s, more than the {seconds_max} s allowed here")]
    LivesTooLong {
        /// Its life from issue to expiry.
        seconds: u64,
        /// The maximum here.
        seconds_max: u64,
    },
    /// Genuine, but over: ask for a new one.
    #[error("the link expired {seconds} s ago")]
    Expired {
        /// Since then.
        seconds: u64,
    },
    /// Genuine, but it works from elsewhere alone.
    #[error("the link does not work from this address")]
    WrongAddress,
    /// Made with a child key, which may not make it.
    #[error("the link's key may not sign it: {0} is outside its scope")]
    OutsideScope(&'static str),
    /// Genuine, but the operator withdrew it and others with it.
    #[error("the link was revoked")]
    Revoked,
}

impl LinkError {
    /// Its stable code, the same over HTTP.
    pub fn code(&self) -> &'static str {
        match self {
            LinkError::Malformed(_) => "malformed-link",
            LinkError::BadSignature => "bad-signature",
            LinkError::NotYetValid { .. } => "link-not-yet-valid",
            LinkError::LivesTooLong { .. } => "link-lives-too-long",
            LinkError::WrongAddress => "wrong-address",
            LinkError::OutsideScope(_) => "outside-scope",
            LinkError::Expired { .. } => "link-expired",
            LinkError::Revoked => "link-revoked",
        }
    }
}

/// A link that does not follow the grammar: which parameter, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    parameter: String,
    reason: &'static str,
}

impl Malformed {
    fn new(parameter: &str, reason: &'static str) -> Malformed {
        Malformed {
            parameter: parameter.to_owned(),
            reason,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parameter.is_empty() {
            f.write_str(self.reason)
        } else {
            // Whoever made it may have put anything into its name.
            write!(f, "{}: {}", self.parameter.escape_debug(), self.reason)
        }
    }
}

impl std::error::Error for Malformed {}
