//! Why a link is refused.

use std::fmt;

/// Why a link was refused, sorted by what its holder can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link was truncated, doubled or mistyped: copy it again.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The link was changed, or none of the keys signed it. An unknown key id gets the same answer.
    #[error("the signature does not match the link")]
    BadSignature,
    /// The link is genuine, but its time has not come.
    #[error("the link becomes valid in {seconds} s")]
    NotYetValid {
        /// The seconds until then.
        seconds: u64,
    },
    /// The link is genuine, but its lifetime exceeds this deployment's limit.
    #[error("the link's lifetime is {seconds} s; at most {seconds_max} s are allowed here")]
    LivesTooLong {
        /// The seconds from issue to expiry.
        seconds: u64,
        /// The limit in seconds.
        seconds_max: u64,
    },
    /// The link is genuine, but its lifetime exceeds this deployment's limit for links of its kind.
    #[error(
        "the link's lifetime is {seconds} s; at most {seconds_max} s are allowed here for a link {kind}"
    )]
    LivesTooLongFor {
        /// The seconds from issue to expiry.
        seconds: u64,
        /// The limit in seconds.
        seconds_max: u64,
        /// The kind in words: ``without `ip` ``.
        kind: &'static str,
    },
    /// The link is genuine, but expired: ask for a new one.
    #[error("the link expired {seconds} s ago")]
    Expired {
        /// The seconds since then.
        seconds: u64,
    },
    /// The link is genuine, but bound to another client address.
    #[error("the link does not work from this address")]
    WrongAddress,
    /// A child key signed a link outside its scope.
    #[error("the link is outside the scope of its key: {0}")]
    OutsideScope(&'static str),
    /// The link is genuine, but the operator revoked it.
    #[error("the link was revoked")]
    Revoked,
}

impl LinkError {
    /// Returns the stable code, which is the same over HTTP.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            LinkError::Malformed(_) => "malformed-link",
            LinkError::BadSignature => "bad-signature",
            LinkError::NotYetValid { .. } => "link-not-yet-valid",
            LinkError::LivesTooLong { .. } | LinkError::LivesTooLongFor { .. } => {
                "link-lives-too-long"
            }
            LinkError::WrongAddress => "wrong-address",
            LinkError::OutsideScope(_) => "outside-scope",
            LinkError::Expired { .. } => "link-expired",
            LinkError::Revoked => "link-revoked",
        }
    }

    /// Returns the verification step that refused the link.
    #[must_use]
    pub fn step(&self) -> Step {
        match self {
            LinkError::Malformed(_) => Step::Syntax,
            LinkError::BadSignature => Step::Signature,
            LinkError::OutsideScope(_) => Step::Scope,
            LinkError::NotYetValid { .. }
            | LinkError::LivesTooLong { .. }
            | LinkError::LivesTooLongFor { .. }
            | LinkError::Expired { .. } => Step::Times,
            LinkError::WrongAddress => Step::Address,
            LinkError::Revoked => Step::Revocation,
        }
    }
}

/// The steps of verification, in their order. A holder of no key learns only that the signature is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The grammar of everything that is readable.
    Syntax,
    /// The MAC, in constant time.
    Signature,
    /// The sealed contents and their grammar.
    Contents,
    /// The scope of a child key.
    Scope,
    /// Lifetime, start and expiry.
    Times,
    /// The client's address.
    Address,
    /// The operator's revocations.
    Revocation,
}

impl Step {
    /// All steps in their order.
    pub const ALL: [Step; 7] = [
        Step::Syntax,
        Step::Signature,
        Step::Contents,
        Step::Scope,
        Step::Times,
        Step::Address,
        Step::Revocation,
    ];

    /// Returns the step's name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::Syntax => "syntax",
            Step::Signature => "signature",
            Step::Contents => "contents",
            Step::Scope => "scope",
            Step::Times => "times",
            Step::Address => "address",
            Step::Revocation => "revocation",
        }
    }
}

/// Shorter than a signature.
const NAME_BYTES_MAX: usize = 63;

/// A link that breaks the grammar: the parameter, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    parameter: String,
    reason: &'static str,
}

impl Malformed {
    /// Of a name that no link has, only the start is kept: the rest may be a signature whose `=` was escaped
    /// or lost.
    pub(crate) fn new(parameter: &str, reason: &'static str) -> Malformed {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let end = parameter.bytes().position(|byte| !is_plain(byte));
        let start = &parameter[..end.unwrap_or(parameter.len())];
        let parameter = match start.len() {
            0..=NAME_BYTES_MAX if end.is_none() => start.to_owned(),
            0..=NAME_BYTES_MAX => format!("{start}…"),
            _ => "…".to_owned(),
        };
        Malformed { parameter, reason }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parameter.is_empty() {
            f.write_str(self.reason)
        } else {
            // The name comes from the link and may hold any character.
            write!(f, "{}: {}", self.parameter.escape_debug(), self.reason)
        }
    }
}

impl std::error::Error for Malformed {}
