//! `POST /v1/links/inspect`: why a link is good or bad. Runs no query.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::downloads::file_of;
use super::middleware::check_length;
use super::problem::{Problem, invalid};
use super::{AppState, body, credential};
use crate::auth::Caller;
use crate::catalog::FieldError;
use crate::unix_time::rfc3339;
use rowlink_link::{ClientAddr, Inspection, Link};

/// Explains a link.
pub async fn inspect(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = credential::caller(&request, &state).await?;
    let question = body::json(payload).await?;
    let url = question["url"].as_str().ok_or_else(|| {
        let error = FieldError::new("url", "expected the link, as a text");
        invalid("some values do not fit".to_owned(), vec![error])
    })?;
    let answer = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(explain(&state, &caller, url)?);
    Ok(answer)
}

/// Host and prefix are not signed, so they are not looked at.
fn explain(state: &AppState, caller: &Caller, url: &str) -> Result<Value, Problem> {
    let start = url.find("/v1/exports/").unwrap_or(0);
    let target = url[start..].split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (export, format) = file_of(path)?;
    let now = (state.clock)();
    let service = &state.service;
    let verdict = check_length(target).and_then(|()| {
        let prepared = service.prepare(export, format, query, now, ClientAddr::Unchecked);
        prepared.map_err(Problem::from)
    });
    let problem = verdict.err();
    let inspection = service.inspect(export, format, query).ok();
    let is_hidden = inspection.as_ref().is_some_and(|it| {
        let may_read = |link| service.may_read(caller, link);
        it.is_sealed && !it.link.as_ref().is_some_and(may_read)
    });
    // What is wrong with a link that is sealed says what is in it.
    let said = problem.as_ref().filter(|_| !is_hidden);
    let mut answer = json!({
        "valid": problem.is_none(),
        "code": problem.as_ref().map(Problem::code),
        "detail": said.map(Problem::detail),
        "errors": said.map(Problem::errors),
    });
    if let Some(inspection) = inspection {
        let contents = inspection.link.as_ref().filter(|_| !is_hidden);
        answer["link"] = json!({
            "export": export,
            "format": format.extension(),
            "link_id": inspection.id,
            "key": inspection.key_id,
            "scope": inspection.scope,
            "issued_at": rfc3339(inspection.issued),
            "expires_at": rfc3339(inspection.expires),
            "seconds_left": seconds_left(&inspection, now),
            "sealed": inspection.is_sealed,
        });
        describe_contents(&mut answer["link"], contents);
        answer["string_to_sign"] = json!(inspection.string_to_sign);
    }
    Ok(answer)
}

fn seconds_left(inspection: &Inspection, now: u64) -> i64 {
    let seconds = |instant: u64| i64::try_from(instant).unwrap_or(i64::MAX);
    seconds(inspection.expires) - seconds(now)
}

/// Null and empty where they are hidden.
fn describe_contents(answer: &mut Value, link: Option<&Link>) {
    let conditions = link.map(|link| &link.conditions);
    let filters = link.map_or(&[][..], |link| &link.filters);
    let filters = filters.iter();
    let filters = filters.map(|(name, value)| json!({"name": name, "value": value}));
    answer["user"] = link.map(|link| link.user.as_str()).into();
    answer["filename"] = json!(link.and_then(|link| Some(link.filename.as_ref()?.as_str())));
    answer["claims"] = json!(link.map(|link| &link.claims));
    answer["options"] = json!(link.map(|link| &link.options));
    answer["filters"] = filters.collect();
    answer["not_before"] = json!(conditions.and_then(|it| rfc3339(it.not_before?)));
    answer["ip"] = json!(conditions.and_then(|it| Some(it.network?.to_string())));
    answer["max_rows"] = conditions.and_then(|it| it.rows_max).into();
    answer["max_bytes"] = conditions.and_then(|it| it.bytes_max).into();
}
