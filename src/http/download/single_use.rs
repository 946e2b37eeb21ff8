//! Links that work once: what is recorded about their use, and counted if that fails.

use crate::http::request::continuation::{Continuation, Part};
use crate::http::state::AppState;
use crate::service::{Begun, OpenError};
use crate::source::causes;
use rowlink_link::VerifiedLink;

/// Checks that a link was not used, if it works once. A client with the entity tag of the file that it has begun may continue
/// that file. The tag proves the use, so nothing is asked.
///
/// # Errors
/// Returns the [`OpenError`] of a link that was used, or of which that is not known.
pub(in crate::http) async fn check_or_continue(
    state: &AppState,
    link: &VerifiedLink,
    begun: &mut Begun,
    continuation: Option<&Continuation>,
) -> Result<(), OpenError> {
    // A range from the first byte would be a second download.
    let part = continuation.and_then(|it| it.part);
    let is_rest = matches!(part, Some(Part::From(first, _)) if first > 0);
    if link.link().conditions.single_use && begun.file_id.is_some() && is_rest {
        begun.continue_use();
        return Ok(());
    }
    check(state, link).await
}

/// Checks that a link was not used, if it works once.
///
/// # Errors
/// Returns the [`OpenError`] of a link that was used, or of which that is not known.
pub(in crate::http) async fn check(state: &AppState, link: &VerifiedLink) -> Result<(), OpenError> {
    let checked = state.service.check_unused(link).await;
    checked.inspect_err(|error| report(state, link, error))
}

/// Records the use of a link that works once, just before its response begins.
///
/// # Errors
/// Returns the [`OpenError`] of a link that was used meanwhile, or whose use may not be recorded.
pub(in crate::http) async fn take(state: &AppState, link: &VerifiedLink) -> Result<(), OpenError> {
    let taken = state.service.take_use(link, (state.clock)()).await;
    taken.inspect_err(|error| report(state, link, error))
}

/// Logs and counts that it is not known whether a link was used.
fn report(state: &AppState, link: &VerifiedLink, error: &OpenError) {
    if let OpenError::UseUnknown(error) = error {
        let (link_id, cause) = (link.link().id, causes(error));
        tracing::warn!(%link_id, cause, "it is not known whether a link was used");
        state.metrics.single_use_errors.inc();
    }
}
