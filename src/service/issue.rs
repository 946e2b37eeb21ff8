//! The first use case: issue a link.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::mint::{LinkContext, format_of, signed_url};
use super::{ExportService, LinkRequest, filename, may_export};
use crate::auth::Caller;
use crate::catalog::{Export, FieldError};
use crate::format::{self, Format};
use rowlink_link::{Link, SignError, URL_BYTES_MAX};

/// A link as its caller gets it.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// What the link says.
    pub link: Link,
    /// The URL to open.
    pub url: String,
    /// The name the browser will save the file under.
    pub filename: String,
    /// The file's media type.
    pub content_type: &'static str,
}

/// Why no link was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// There is no such export.
    #[error("there is no export `{0}`")]
    UnknownExport(String),
    /// There is no such format, or not of this export.
    #[error(
        "there is no format `{name}`; the formats are {}",
        format::names(known)
    )]
    UnknownFormat {
        /// What was asked for.
        name: String,
        /// What may be asked for.
        known: Vec<Format>,
    },
    /// The caller may not have this export.
    #[error("this credential may not export `{0}`")]
    NotAllowed(String),
    /// The request names a user, but the credential may not act for others.
    #[error("this credential may not act for another user; leave `user` out")]
    MayNotActForOthers,
    /// The export pins a claim that the credential does not have.
    #[error("this export needs the claim `{0}`, which this credential does not have")]
    MissingClaim(String),
    /// Values that do not fit.
    #[error("some values do not fit")]
    Invalid(Vec<FieldError>),
    /// As many links were issued for this user within this second as may be.
    #[error("{0} links a second are issued for one user; wait a second")]
    TooMany(u32),
    /// The signing key may not, or there is no randomness for a sealed link.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The URL would be too long for browsers and proxies.
    #[error(
        "the link would have {bytes} bytes, more than {URL_BYTES_MAX}; use fewer or shorter values"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl ExportService {
    /// Issues a link for a caller at `now`, in Unix seconds, under the id `link_id`.
    ///
    /// # Errors
    /// Why not.
    pub fn issue(
        &self,
        caller: &Caller,
        request: LinkRequest,
        now: u64,
        link_id: Uuid,
    ) -> Result<IssuedLink, IssueError> {
        if request.export.is_empty() || request.format.is_empty() {
            return Err(IssueError::Invalid(request.field_errors));
        }
        let export = self.catalog.get(&request.export);
        let export = export.ok_or_else(|| IssueError::UnknownExport(request.export.clone()))?;
        let format = format_of(&request, Some(export))?;
        if !may_export(caller, export) {
            return Err(IssueError::NotAllowed(export.name.clone()));
        }
        if request.user.is_some() && !caller.acts_for_others {
            return Err(IssueError::MayNotActForOthers);
        }

        let context = LinkContext {
            export: Some(export),
            columns: Some(self.columns_of(export)),
            format,
            policy: &self.policy,
        };
        let user = request.user.clone().or_else(|| caller.user.clone());
        let unsigned = context.check(request, user, now)?;
        if !self.quota.may_issue(&unsigned.user, now) {
            return Err(IssueError::TooMany(self.policy.limits.links_per_second));
        }
        let claims = pinned_claims(caller, export)?;
        let seal = unsigned.seal;
        let content_type = unsigned.content_type;
        let link = unsigned.link(export.name.clone(), format, claims, now, link_id);
        Ok(IssuedLink {
            url: signed_url(&link, &self.keyring.load(), &self.policy, seal)?,
            filename: filename(&link),
            content_type,
            link,
        })
    }
}

/// The claims of a link that this caller asks for.
pub(super) fn pinned_claims(
    caller: &Caller,
    export: &Export,
) -> Result<BTreeMap<String, String>, IssueError> {
    export
        .claims
        .iter()
        .map(|name| match caller.claims.get(name) {
            Some(value) => Ok((name.to_owned(), value.clone())),
            None => Err(IssueError::MissingClaim(name.to_owned())),
        })
        .collect()
}
