//! Links that work once.

use std::sync::Arc;
use std::time::Duration;

use rowlink_link::{Conditions, VerifiedLink};

use super::errors::OpenError;
use super::export_service::ExportService;
use crate::catalog::FieldError;
use crate::used_links::{UseError, UsedLinks};

/// The first line of the text whose MAC names the use of a link.
const USE: &str = "use";
/// For how many seconds a use is recorded after the link has ended: longer than the clocks of servers differ.
const MARGIN_SECONDS: u64 = 60;

impl ExportService {
    /// Sets where uses of links are recorded.
    #[must_use]
    pub fn with_used_links(mut self, used_links: Option<UsedLinks>) -> ExportService {
        self.used_links = used_links.map(Arc::new);
        self
    }

    /// Checks that a link was not used, if it works once.
    ///
    /// # Errors
    /// Returns [`OpenError::Used`], or [`OpenError::UseUnknown`] if that is not known.
    pub async fn check_unused(&self, link: &VerifiedLink) -> Result<(), OpenError> {
        if !link.link().conditions.single_use {
            return Ok(());
        }
        let used_links = self.used_links()?;
        match used_links.is_used(&self.name_of_use(link)?).await? {
            false => Ok(()),
            true => Err(OpenError::Used),
        }
    }

    /// Records at `now`, in Unix seconds, that a link is used, if it works once. Of all calls one succeeds.
    ///
    /// # Errors
    /// Returns [`OpenError::Used`], or [`OpenError::UseUnknown`] if it may not be recorded.
    pub async fn take_use(&self, link: &VerifiedLink, now: u64) -> Result<(), OpenError> {
        let contents = link.link();
        if !contents.conditions.single_use {
            return Ok(());
        }
        let resume_seconds = contents.conditions.resume_seconds.unwrap_or(0);
        let end = contents.expires.saturating_add(resume_seconds);
        let lifetime = Duration::from_secs(end.saturating_sub(now).saturating_add(MARGIN_SECONDS));
        let used_links = self.used_links()?;
        match used_links.take(&self.name_of_use(link)?, lifetime).await? {
            true => Ok(()),
            false => Err(OpenError::Used),
        }
    }

    /// Probes whether the store can record uses, before a link that works once is issued.
    pub async fn probe_single_use(&self, conditions: &Conditions) {
        if conditions.single_use
            && let Some(used_links) = &self.used_links
        {
            // A link is also issued while its use cannot be recorded.
            used_links.probe().await;
        }
    }

    /// Returns why no link can work once, if the request wants that.
    pub(super) fn single_use_error(&self, conditions: &Conditions) -> Option<FieldError> {
        let used_links = self.used_links.as_ref();
        let is_supported = used_links.is_some_and(|it| !it.is_unsuitable());
        let message =
            "unsupported: needs ROWLINK_REDIS_URL, or a store that honours conditional creates";
        (conditions.single_use && !is_supported).then(|| FieldError::new("single_use", message))
    }

    fn used_links(&self) -> Result<&UsedLinks, UseError> {
        self.used_links.as_deref().ok_or(UseError::Unconfigured)
    }

    fn name_of_use(&self, link: &VerifiedLink) -> Result<String, UseError> {
        let name = link.own_name(&self.keyring.load(), USE);
        name.map(hex::encode).ok_or(UseError::NoKey)
    }
}
