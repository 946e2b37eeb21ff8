//! `POST /v1/links/inspect`: why a link is good or bad. Runs no query.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::downloads::file_of;
use super::links::rfc3339;
use super::middleware::check_length;
use super::problem::{Problem, invalid};
use super::{Service, body, credential};
use crate::catalog::FieldFault;
use crate::link::{Inspection, Verifier};

/// Explains a link.
pub async fn inspect(
    request: HttpRequest,
    service: Data<Service>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    credential::caller(&request, &service).await?;
    let question = body::json(payload).await?;
    let url = question["url"].as_str().ok_or_else(|| {
        let fault = FieldFault::new("url", "expected the link, as a text");
        invalid("some values do not fit".to_owned(), vec![fault])
    })?;
    let answer = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(explain(&service, url)?);
    Ok(answer)
}

/// Host and prefix are not signed, so they are not looked at.
fn explain(service: &Service, url: &str) -> Result<Value, Problem> {
    let start = url.find("/v1/exports/").unwrap_or(0);
    let target = url[start..].split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (export, format) = file_of(path)?;
    let now = (service.clock)();
    let verdict = check_length(target).and_then(|()| {
        let accepted = service.exporter.accept(export, format, query, now);
        accepted.map_err(Problem::from)
    });
    let problem = verdict.err();
    let mut answer = json!({
        "valid": problem.is_none(),
        "code": problem.as_ref().map(Problem::code),
        "detail": problem.as_ref().map(Problem::detail),
        "errors": problem.as_ref().map(Problem::errors),
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
