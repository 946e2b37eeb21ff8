//! `POST /v1/links`: who asks, and what for, becomes a signed link.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use uuid::Uuid;

use super::problem::Problem;
use super::{AppState, audit, body, credential};
use crate::auth::Caller;
use crate::service::{Estimate, EstimateKind, IssuedLink, LinkRequest};
use crate::unix_time::rfc3339;

/// Issues a link. Nothing is created, hence 200 and not 201.
pub async fn issue(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = credential::caller(&request, &state).await?;
    let wanted = LinkRequest::from_json(body::json(payload).await?);
    let is_estimate_wanted = wanted.estimate;
    let issued = issue_for(&request, &state, &caller, wanted)?;
    let mut answer = describe(&issued);
    if is_estimate_wanted {
        let estimate = state.service.estimate(&issued, issued.link.issued).await;
        describe_estimate(&mut answer, estimate);
    }
    let answer = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(answer);
    Ok(answer)
}

/// The one way to a link, whatever the request was.
pub(super) fn issue_for(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    wanted: LinkRequest,
) -> Result<IssuedLink, Problem> {
    let now = (state.clock)();
    let issued = state.service.issue(caller, wanted, now, Uuid::now_v7())?;
    audit::link_issued(request, state, caller, &issued.link);
    Ok(issued)
}

fn describe(issued: &IssuedLink) -> Value {
    let link = &issued.link;
    json!({
        "url": issued.url,
        "link_id": link.id.to_string(),
        "expires_at": rfc3339(link.expires),
        "expires_in": link.expires - link.issued,
        "filename": issued.filename,
        "content_type": issued.content_type,
        "methods": ["GET", "HEAD"],
    })
}

/// Null where it was not to be had: a page then says nothing of it.
fn describe_estimate(answer: &mut Value, estimate: Option<Estimate>) {
    answer["estimated_rows"] = estimate.map(|it| it.rows).into();
    answer["estimated_bytes"] = estimate.and_then(|it| it.bytes).into();
    let by = estimate.map(|it| match it.kind {
        EstimateKind::RowEstimate => "planner",
        EstimateKind::Counted => "count",
        EstimateKind::AtLeast => "partial-count",
    });
    answer["estimated_by"] = by.into();
}
