//! The first use case: issue a link.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::options::Output;
use super::{Exporter, LinkRequest, filename, may_export};
use crate::auth::Caller;
use crate::catalog::{Export, FieldFault};
use crate::format::Format;
use crate::link::{self, Conditions, Link, Seal, SignError, URL_BYTES_MAX, UserId};

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
    /// There is no such format.
    #[error("there is no format `{name}`; the formats are {}", formats(), name = .0)]
    UnknownFormat(String),
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
    Invalid(Vec<FieldFault>),
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

impl Exporter {
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
        let misfits = request.misfits;
        if request.export.is_empty() || request.format.is_empty() {
            return Err(IssueError::Invalid(misfits));
        }
        let export = self.catalog.get(&request.export);
        let export = export.ok_or(IssueError::UnknownExport(request.export))?;
        let format = request.format.parse();
        let format: Format = format.map_err(|_| IssueError::UnknownFormat(request.format))?;
        if !may_export(caller, export) {
            return Err(IssueError::NotAllowed(export.name.clone()));
        }
        if request.user.is_some() && !caller.acts_for_others {
            return Err(IssueError::MayNotActForOthers);
        }

        let mut faults = Vec::new();
        let filters = collect(&mut faults, export.resolve(&request.filters));
        let output = collect(
            &mut faults,
            Output::parse(export, format, self.columns_of(export), &request.options),
        );
        let ttl_seconds = collect(&mut faults, self.ttl_seconds(request.ttl_seconds));
        let user = collect(&mut faults, user_of(caller, request.user));
        let conditions = request.conditions;
        let conditions = collect(&mut faults, check_conditions(conditions, ttl_seconds, now));
        // A field that did not even have its type was left out, so it seems to be missing too.
        faults.retain(|fault| !misfits.iter().any(|misfit| misfit.field == fault.field));
        faults.extend(misfits);
        let (Some(filters), Some(output), Some(ttl_seconds), Some(user), Some(conditions), true) = (
            filters,
            output,
            ttl_seconds,
            user,
            conditions,
            faults.is_empty(),
        ) else {
            return Err(IssueError::Invalid(faults));
        };

        if !self.quota.may_issue(&user, now) {
            return Err(IssueError::TooMany(self.policy.limits.links_per_second));
        }
        let link = Link {
            export: export.name.clone(),
            format,
            user,
            id: link_id,
            issued: now,
            expires: now + ttl_seconds,
            conditions,
            filename: request.filename,
            claims: pinned_claims(caller, export)?,
            options: request.options,
            filters,
        };
        let seal = match request.seal || export.seal || self.policy.seals_always {
            true => Seal::Sealed,
            false => Seal::Open,
        };
        let signed = link::sign(&link, &self.keyring.load(), seal)?;
        let url = self.policy.public_url.clone() + &signed;
        if url.len() > URL_BYTES_MAX {
            return Err(IssueError::TooLong { bytes: url.len() });
        }
        Ok(IssuedLink {
            url,
            filename: filename(&link),
            content_type: output.media_type(format),
            link,
        })
    }

    fn ttl_seconds(&self, requested: Option<u64>) -> Result<u64, Vec<FieldFault>> {
        let seconds = requested.unwrap_or(self.policy.ttl_seconds_default);
        if (1..=self.policy.ttl_seconds_max).contains(&seconds) {
            return Ok(seconds);
        }
        let message = format!("expected 1 to {} seconds", self.policy.ttl_seconds_max);
        Err(vec![FieldFault::new("expires_in", message)])
    }
}

/// The user comes from the credential, or from the request where the credential allows it.
fn user_of(caller: &Caller, requested: Option<UserId>) -> Result<UserId, Vec<FieldFault>> {
    requested.or_else(|| caller.user.clone()).ok_or_else(|| {
        vec![FieldFault::new(
            "user",
            "is required: this credential has no user of its own",
        )]
    })
}

/// A link that is over before it begins is a mistake.
fn check_conditions(
    conditions: Conditions,
    ttl_seconds: Option<u64>,
    now: u64,
) -> Result<Conditions, Vec<FieldFault>> {
    let begins = conditions.not_before.unwrap_or(now);
    if ttl_seconds.is_some_and(|seconds| begins >= now + seconds) {
        let message = "expected a moment before the link expires";
        return Err(vec![FieldFault::new("not_before", message)]);
    }
    Ok(conditions)
}

fn pinned_claims(caller: &Caller, export: &Export) -> Result<BTreeMap<String, String>, IssueError> {
    export
        .claims
        .iter()
        .map(|name| match caller.claims.get(name) {
            Some(value) => Ok((name.to_owned(), value.clone())),
            None => Err(IssueError::MissingClaim(name.to_owned())),
        })
        .collect()
}

/// The value, or its faults among those of the other fields.
fn collect<T>(faults: &mut Vec<FieldFault>, result: Result<T, Vec<FieldFault>>) -> Option<T> {
    result.map_err(|found| faults.extend(found)).ok()
}

fn formats() -> String {
    Format::ALL.map(|format| format.to_string()).join(", ")
}
