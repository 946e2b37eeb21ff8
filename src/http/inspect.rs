//! `POST /v1/links/inspect`: why a link is good or bad. Runs no query.

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::downloads::file_of;
use super::links::{not_json, rfc3339};
use super::problem::Problem;
use super::{Service, credential};
use crate::link::{Inspection, Verifier};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    url: String,
}

/// Explains a link.
pub async fn inspect(
    request: HttpRequest,
    service: Data<Service>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, actix_web::Error> {
    credential::caller(&request, &service).await?;
    let question: Question = serde_json::from_slice(&body?).map_err(not_json)?;
    let answer = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(explain(&service, &question.url)?);
    Ok(answer)
}

/// Host and prefix are not signed, so they are not looked at.
fn explain(service: &Service, url: &str) -> Result<Value, Problem> {
    let start = url.find("/v1/exports/").unwrap_or(0);
    let target = url[start..].split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (export, format) = file_of(path)?;
    let now = (service.clock)();
    let verdict = service.exporter.accept(export, format, query, now);
    let problem = verdict.err().map(Problem::from);
    let mut answer = json!({
        "valid": problem.is_none(),
        "code": problem.as_ref().map(Problem::code),
        "detail": problem.as_ref().map(Problem::detail),
    });
    if let Ok(inspection) = Verifier::inspect(export, format, query) {
        answer["link"] = describe(&inspection, now);
        answer["string_to_sign"] = json!(inspection.string_to_sign);
    }
    Ok(answer)
}

fn describe(inspection: &Inspection, now: u64) -> Value {
    let link = &inspection.link;
    let filters: Vec<Value> = link
        .filters
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let seconds = |instant: u64| i64::try_from(instant).unwrap_or(i64::MAX);
    json!({
        "export": link.export,
        "format": link.format.extension(),
        "user": link.user.as_str(),
        "link_id": link.id,
        "key": inspection.key_id,
        "issued_at": rfc3339(link.issued),
        "expires_at": rfc3339(link.expires),
        "seconds_left": seconds(link.expires) - seconds(now),
        "filename": link.filename.as_ref().map(|name| name.as_str()),
        "claims": link.claims,
        "options": link.options,
        "filters": filters,
    })
}
