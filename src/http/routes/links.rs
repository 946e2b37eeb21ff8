//! `POST /v1/links`: issues a signed link.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use uuid::Uuid;

use super::preparation::Preparation;
use crate::auth::Caller;
use crate::http::download::audit_log;
use crate::http::request::accept_language::accepted_languages;
use crate::http::request::authenticate::authenticate;
use crate::http::request::browser_cookie::BrowserCookie;
use crate::http::request::json_body::read_json;
use crate::http::response::problem::{Problem, internal};
use crate::http::state::AppState;
use crate::service::{Estimate, EstimateKind, IssuedLink, LinkRequest};
use crate::unix_time::rfc3339;

/// Issues a link. Nothing is stored, hence 200 and not 201.
pub async fn issue(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let mut wanted = LinkRequest::from_json(read_json(payload).await?);
    let policy = state.service.policy();
    let browser = match wanted.binds_browser {
        true => Some(BrowserCookie::of(&request, policy)?),
        false => None,
    };
    wanted.conditions.bind = browser.as_ref().map(BrowserCookie::hash);
    let (is_estimate_wanted, is_prepared) = (wanted.estimate, wanted.prepare);
    state.service.probe_single_use(&wanted.conditions).await;
    let issued = issue_for(&request, &state, &caller, wanted)?;
    let mut description = describe(&issued);
    if is_estimate_wanted {
        let estimate = state.service.estimate(&issued, issued.link().issued).await;
        describe_estimate(&mut description, estimate);
    }
    if is_prepared {
        let prepared = state.service.prepare_issued(&issued)?;
        let preparation = Preparation::of(&state, prepared);
        let preparation = preparation.ok_or_else(|| internal("no store".to_owned()))?;
        description["file"] = preparation.begin().await?.describe();
    }
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(browser) = &browser {
        response.insert_header(browser.header(policy));
    }
    Ok(response.json(description))
}

/// Issues and logs a link, for both routes that return one.
pub(super) fn issue_for(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    mut wanted: LinkRequest,
) -> Result<IssuedLink, Problem> {
    if state.service.has_several_languages(&wanted.export) {
        wanted.accepted_languages = accepted_languages(request);
    }
    let now = (state.clock)();
    let issued = state.service.issue(caller, wanted, now, Uuid::now_v7())?;
    audit_log::link_issued(request, state, caller, &issued);
    Ok(issued)
}

fn describe(issued: &IssuedLink) -> Value {
    let link = issued.link();
    let methods: &[&str] = match link.conditions.confirm {
        true => &["GET", "HEAD", "POST"],
        false => &["GET", "HEAD"],
    };
    json!({
        "url": issued.url,
        "link_id": link.id.to_string(),
        "expires_at": rfc3339(link.expires),
        "expires_in": link.expires - link.issued,
        "filename": issued.filename,
        "content_type": issued.content_type,
        "methods": methods,
    })
}

/// Adds the estimate; null if there is none.
fn describe_estimate(description: &mut Value, estimate: Option<Estimate>) {
    description["estimated_rows"] = estimate.map(|it| it.rows).into();
    description["estimated_bytes"] = estimate.and_then(|it| it.bytes).into();
    let by = estimate.map(|it| match it.kind {
        EstimateKind::Planned => "planner",
        EstimateKind::Counted => "count",
        EstimateKind::AtLeast => "partial-count",
    });
    description["estimated_by"] = by.into();
}
