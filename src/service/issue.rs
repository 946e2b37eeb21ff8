//! The first use case: issue a link.

use std::collections::BTreeMap;

use rowlink_link::{Link, SignedLink, VerifiedLink, sign};
use uuid::Uuid;

use super::errors::{IssueError, OpenError};
use super::export_service::{ExportService, file_name};
use super::mint::{LinkContext, requested_format};
use super::open::PreparedDownload;
use super::request::LinkRequest;
use crate::auth::Caller;
use crate::catalog::{Export, ExportKind, FieldError, StoreMode};
use crate::format::Format;

/// A link as its caller gets it.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// The URL to open.
    pub url: String,
    /// The file name that the browser suggests. One stored document may have another one of its own.
    pub filename: String,
    /// The file's media type. One stored document has its own.
    pub content_type: &'static str,
    verified: VerifiedLink,
}

impl IssuedLink {
    /// Returns what the link says.
    #[must_use]
    pub fn link(&self) -> &Link {
        self.verified.link()
    }

    pub(super) fn verified(&self) -> &VerifiedLink {
        &self.verified
    }
}

/// A signed link, and what is known of its file.
struct Signed {
    signed: SignedLink,
    /// `None` for one stored document.
    extension: Option<&'static str>,
    content_type: &'static str,
}

impl ExportService {
    /// Issues a link for a caller at `now`, in Unix seconds, under the id `link_id`.
    ///
    /// # Errors
    /// Returns the [`IssueError`] that names what is not allowed or does not fit.
    pub fn issue(
        &self,
        caller: &Caller,
        mut request: LinkRequest,
        now: u64,
        link_id: Uuid,
    ) -> Result<IssuedLink, IssueError> {
        let single_use_error = self.single_use_error(&request.conditions);
        request.field_errors.extend(single_use_error);
        let Signed {
            signed,
            extension,
            content_type,
        } = self.sign(caller, request, now, link_id)?;
        let link = signed.verified().link();
        Ok(IssuedLink {
            url: signed.url(&self.policy.public_url)?,
            filename: match (extension, &link.filename) {
                (Some(extension), _) => file_name(link, extension),
                (None, Some(name)) => name.to_string(),
                (None, None) => link.export.clone(),
            },
            content_type,
            verified: signed.into_verified(),
        })
    }

    /// Authorizes a download without a URL, whose length would limit the request. The link is verified
    /// by construction.
    ///
    /// # Errors
    /// Returns the [`IssueError`] that names what is not allowed or does not fit.
    pub fn authorize(
        &self,
        caller: &Caller,
        request: LinkRequest,
        now: u64,
        link_id: Uuid,
    ) -> Result<VerifiedLink, IssueError> {
        let signed = self.sign(caller, request, now, link_id)?.signed;
        Ok(signed.into_verified())
    }

    fn sign(
        &self,
        caller: &Caller,
        mut request: LinkRequest,
        now: u64,
        link_id: Uuid,
    ) -> Result<Signed, IssueError> {
        if request.export.is_empty() {
            return Err(IssueError::Invalid(request.field_errors));
        }
        let served = self.export_for(caller, &request.export)?;
        let export = &served.export;
        let format = requested_format(&mut request, Some(export))?;
        if request.user.is_some() && !caller.acts_for_others {
            return Err(IssueError::MayNotActForOthers);
        }

        check_claims(&request.claims, caller, export)?;

        let context = LinkContext {
            export: Some(export),
            columns: Some(served.columns()),
            format,
            policy: &self.policy,
        };
        request.choose_language(export);
        let chosen = request.options.get("columns").map(String::as_str);
        request.reveal = export.revealed_to(&caller.scopes, chosen);
        let storing_error = self.storing_error(&request, export);
        request.field_errors.extend(storing_error);
        let requested_claims = request.claims.clone();
        let user = request.user.clone().or_else(|| caller.user.clone());
        let unsigned = context.check(request, user, now)?;
        if !self.quota.may_issue(&unsigned.user, now) {
            return Err(IssueError::RateLimited(self.policy.limits.links_per_second));
        }
        let claims = pinned_claims(caller, &requested_claims, export)?;
        let (seal, content_type) = (unsigned.seal, unsigned.content_type);
        let link = unsigned.into_link(export.name.clone(), format, claims, now, link_id);
        let signed = sign(link, &self.keyring.load(), seal)?;
        let is_archive = export.kind() == ExportKind::Files;
        let of_archive = is_archive.then_some("zip");
        Ok(Signed {
            signed,
            extension: format.map(Format::extension).or(of_archive),
            content_type,
        })
    }

    /// Returns why a file cannot be stored, if the request wants that.
    fn storing_error(&self, request: &LinkRequest, export: &Export) -> Option<FieldError> {
        let delivery = request.options.get("delivery").map(String::as_str);
        let field = match (request.prepare, delivery) {
            (true, _) => "prepare",
            (false, Some("stored")) => "delivery",
            (false, _) => return None,
        };
        let message = if !self.has_store() {
            "unsupported: this deployment has no store"
        } else if export.store.mode == StoreMode::Never {
            "unsupported: the files of this export are not stored"
        } else if delivery == Some("stream") {
            "unsupported with the `delivery` `stream`"
        } else {
            return None;
        };
        Some(FieldError::new(field, message))
    }

    /// Binds the query of a link that was just issued.
    ///
    /// # Errors
    /// Returns the [`OpenError`] if the export was removed or changed meanwhile.
    pub fn prepare_issued(&self, issued: &IssuedLink) -> Result<PreparedDownload, OpenError> {
        self.prepare_verified(issued.verified.clone(), issued.link().issued)
    }

    /// Tells whether a caller could request a link that says the same: then it may read a sealed one.
    #[must_use]
    pub fn may_read(&self, caller: &Caller, link: &Link) -> bool {
        let is_own = caller.acts_for_others || caller.user.as_ref() == Some(&link.user);
        let served = self.export_for(caller, &link.export);
        is_own
            && served.is_ok_and(|served| {
                let may_choose = |name: &String| caller.settable_claims.contains(name);
                served.export.check_claims(&link.claims).is_ok()
                    && served.export.may_reveal(&caller.scopes, &link.reveal)
                    && link.claims.iter().all(|(name, value)| {
                        may_choose(name) || caller.claims.get(name) == Some(value)
                    })
            })
    }
}

/// Checks that a caller may set these claims, and that the export pins them.
fn check_claims(
    requested: &BTreeMap<String, String>,
    caller: &Caller,
    export: &Export,
) -> Result<(), IssueError> {
    let is_settable = |name: &&String| caller.settable_claims.contains(*name);
    if let Some(name) = requested.keys().find(|name| !is_settable(name)) {
        return Err(IssueError::MayNotSetClaim(name.clone()));
    }
    let unknown = requested
        .keys()
        .filter(|name| !export.claims.contains(name));
    let unknown: Vec<FieldError> = unknown
        .map(|name| {
            let message = "unknown claim; this export does not pin it";
            FieldError::new(format!("claims.{name}"), message)
        })
        .collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(IssueError::Invalid(unknown)),
    }
}

/// Returns the claims that the export pins, with the values of the request, else of the caller.
fn pinned_claims(
    caller: &Caller,
    requested: &BTreeMap<String, String>,
    export: &Export,
) -> Result<BTreeMap<String, String>, IssueError> {
    export
        .claims
        .iter()
        .map(
            |name| match requested.get(name).or_else(|| caller.claims.get(name)) {
                Some(value) => Ok((name.to_owned(), value.clone())),
                None => Err(IssueError::MissingClaim(name.to_owned())),
            },
        )
        .collect()
}
