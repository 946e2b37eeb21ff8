//! Signed download links: what a link says, and its signature.
//!
//! Pure: no I/O, no clock, no HTTP, no SQL. The time is an argument. This crate is what the Rowlink
//! server verifies links with, and the Rust minter for back ends that sign links themselves.
//!
//! A link is a URL whose query carries the user, the filters, the options and the times, all under one
//! HMAC-SHA256, in three steps:
//!
//! 1. the **canonical request**: path and query, parsed once, re-encoded and sorted;
//! 2. the **string to sign**: a label for version and algorithm, the path, the canonical query;
//! 3. the **signature**: lower-case hex of the MAC under the first key of the [`Keyring`].
//!
//! [`sign`] makes a link, a [`Verifier`] checks it. They are the only sources of a [`VerifiedLink`],
//! the only type that a server binds to a query. The [`specification`] has every rule.
//!
//! ```
//! use rowlink_link::{
//!     ClientAddr, Keyring, Link, LinkError, Revocations, Seal, SplitUrl, UserId, Verifier, generate, sign,
//! };
//!
//! let keyring = Keyring::parse(&generate("2026a")?).expect("a fresh key");
//! let now = 1_769_853_600;
//! let mut link = Link::new("orders", "csv", UserId::parse("42")?, now, 60);
//! link.filters.push(("from".into(), "2026-01-01".into()));
//! let url = sign(link.clone(), &keyring, Seal::Open)?.url("https://shop.example.com")?;
//! assert!(url.starts_with("https://shop.example.com/v1/exports/orders.csv?from=2026-01-01&rl_"));
//!
//! let revocations = Revocations::default();
//! let verifier = Verifier { keyring: &keyring, revocations: &revocations, ttl_seconds_max: 3600 };
//! let SplitUrl { path, query, .. } = SplitUrl::parse(&url)?;
//! let verified = verifier.verify(path, query, now + 59, ClientAddr::Unchecked)?;
//! assert_eq!(verified.link(), &link);
//!
//! let late = verifier.verify(path, query, now + 60, ClientAddr::Unchecked);
//! assert_eq!(late, Err(LinkError::Expired { seconds: 0 }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod conditions;
mod entity_tag;
mod error;
mod file_name;
mod keyring;
mod network;
mod object_name;
mod parameters;
mod path;
mod query;
mod revocations;
mod scope;
mod seal;
mod sign;
mod string_to_sign;
mod text;
mod verifier;

use std::collections::BTreeMap;

use uuid::{NoContext, Timestamp, Uuid};

pub use conditions::{CONDITIONS, Condition, ConditionType, ConditionValue, Conditions};
pub use error::{LinkError, Malformed, Step};
pub use file_name::{FileName, FileNameError};
pub use keyring::{
    KEY_BYTES_MIN, KEY_ID_BYTES_MAX, Keyring, KeyringError, NoParentKey, generate, generate_child,
    is_key_id,
};
pub use network::{ClientAddr, Network};
pub use path::{DownloadPath, EXPORTS_PATH, FILES_PATH, SplitUrl, below_exports, is_too_long};
pub use query::{Pair, parse_query, percent_encode};
pub use revocations::Revocations;
pub use scope::Scope;
pub use sign::{Seal, SignError, SignedLink, UrlTooLong, sign};
pub use text::{
    TextError, UserId, check_text, is_bare_name, is_claim_name, is_export_name, is_format_name,
    is_option_name,
};
pub use verifier::{Inspection, Resumption, VerifiedLink, Verifier};

#[doc = include_str!("../../../docs/signed-link.md")]
pub mod specification {}

/// The prefix of reserved parameters. A filter's name may not start with it.
pub const RESERVED_PREFIX: &str = "rl_";

/// The largest length of a URL in bytes that every proxy and browser accepts.
pub const URL_BYTES_MAX: usize = 4096;

/// The number of seconds by which `rl_issued` may be ahead of the verifier's clock.
pub const CLOCK_SKEW_SECONDS_MAX: u64 = 30;

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The export's name.
    pub export: String,
    /// The file's format, which is the extension of the path: `csv`. `None` for a stored document.
    pub format: Option<String>,
    /// The user whose rows it downloads.
    pub user: UserId,
    /// The link's id. It joins the log lines of the issue and of the download.
    pub id: Uuid,
    /// When it was issued, in Unix seconds.
    pub issued: u64,
    /// The first second in which it is no longer valid, in Unix seconds.
    pub expires: u64,
    /// Its conditions beyond its lifetime.
    pub conditions: Conditions,
    /// The file name that a browser suggests.
    pub filename: Option<FileName>,
    /// Further pinned claims of the caller, by name.
    pub claims: BTreeMap<String, String>,
    /// The columns with a scope that it may show, or show unmasked. All others with a scope are withheld.
    pub reveal: Vec<String>,
    /// Output options by their names in the link, without `rl_`: `columns`, `csv.delimiter`, ….
    pub options: BTreeMap<String, String>,
    /// Filters in the order in which they were given; a list repeats its name.
    pub filters: Vec<(String, String)>,
}

impl Link {
    /// Returns the name of its format; `file` for stored documents.
    #[must_use]
    pub fn format_name(&self) -> &str {
        self.format.as_deref().unwrap_or("file")
    }

    /// Creates a link to rows in a format, with a fresh id, that is issued at `now`, in Unix seconds, and lives for
    /// `ttl_seconds`. It has no conditions, claims, columns to reveal, options or filters yet.
    #[must_use]
    pub fn new(
        export: impl Into<String>,
        format: impl Into<String>,
        user: UserId,
        now: u64,
        ttl_seconds: u64,
    ) -> Link {
        Link {
            export: export.into(),
            format: Some(format.into()),
            user,
            id: Uuid::new_v7(Timestamp::from_unix(NoContext, now, 0)),
            issued: now,
            expires: now.saturating_add(ttl_seconds),
            conditions: Conditions::default(),
            filename: None,
            claims: BTreeMap::new(),
            reveal: Vec::new(),
            options: BTreeMap::new(),
            filters: Vec::new(),
        }
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
