//! How long links to an export may live.

use std::num::NonZeroU64;

use rowlink_link::{Conditions, LinkError, Seal, VerifiedLink};

use crate::catalog::{Export, FeedSettings, FieldError};

/// The longest lifetimes of links to an export, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Lifetimes<'e> {
    /// The maximum of any link: the smaller one of the deployment and the export.
    pub(super) normal_max: u64,
    /// What allows a longer lifetime.
    feed: Option<&'e FeedSettings>,
}

impl<'e> Lifetimes<'e> {
    /// Returns those of an export, if it is known, in a deployment with this maximum.
    pub(super) fn of(export: Option<&'e Export>, deployment_max: u64) -> Lifetimes<'e> {
        let of_export = export.and_then(|export| export.limits.max_ttl_seconds);
        let of_export = of_export.map_or(u64::MAX, NonZeroU64::get);
        Lifetimes {
            normal_max: deployment_max.min(of_export),
            feed: export.and_then(|export| export.feed.as_ref()),
        }
    }

    /// Returns the longest lifetime of a link that has every condition of a feed.
    pub(super) fn max(self) -> u64 {
        let of_feed = self.feed.map_or(0, |feed| feed.max_ttl_seconds);
        self.normal_max.max(of_feed)
    }

    /// Checks the lifetime that a request asks for.
    ///
    /// # Errors
    /// Returns the field that is too long, or each field without which it is.
    pub(super) fn check_request(
        self,
        seconds: u64,
        conditions: &Conditions,
        seal: Seal,
    ) -> Result<(), Vec<FieldError>> {
        let max = self.max();
        if !(1..=max).contains(&seconds) {
            let message = format!("expected 1 to {max} seconds");
            return Err(vec![FieldError::new("expires_in", message)]);
        }
        let Some(feed) = self.feed.filter(|_| seconds > self.normal_max) else {
            return Ok(());
        };
        let errors = feed.errors(conditions, seal).into_iter();
        let errors: Vec<FieldError> = errors
            .map(|error| {
                let (expected, max) = (error.expected, self.normal_max);
                let message =
                    format!("{expected}, because `expires_in` is more than {max} seconds");
                FieldError::new(error.field, message)
            })
            .collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors),
        }
    }

    /// Checks the lifetime of a verified link, which may have been signed elsewhere.
    ///
    /// # Errors
    /// Returns [`LinkError::LivesTooLong`], or [`LinkError::LivesTooLongFor`] if a condition is missing.
    pub(super) fn check_link(self, verified: &VerifiedLink) -> Result<(), LinkError> {
        let link = verified.link();
        let lifetime = link.expires.saturating_sub(link.issued);
        let resume = link.conditions.resume_seconds.unwrap_or(0);
        let (seconds, seconds_max) = (lifetime.max(resume), self.normal_max);
        if seconds <= seconds_max {
            return Ok(());
        }
        // A feed extends the lifetime, not the time in which a download is continued.
        let allows =
            |feed: &&FeedSettings| resume <= self.normal_max && lifetime <= feed.max_ttl_seconds;
        let Some(feed) = self.feed.filter(allows) else {
            return Err(LinkError::LivesTooLong {
                seconds,
                seconds_max,
            });
        };
        match feed.errors(&link.conditions, verified.seal()).first() {
            None => Ok(()),
            Some(error) => Err(LinkError::LivesTooLongFor {
                seconds,
                seconds_max,
                kind: error.kind,
            }),
        }
    }
}
