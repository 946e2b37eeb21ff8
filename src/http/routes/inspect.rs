//! `POST /v1/links/inspect`: explains why a link is good or bad. Runs no query.

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use rowlink_link::{
    CONDITIONS, ClientAddr, ConditionValue, EXPORTS_PATH, Inspection, Link, SplitUrl,
};
use serde_json::{Value, json};

use super::accept::unknown_file;
use crate::auth::Caller;
use crate::catalog::FieldError;
use crate::http::request::authenticate::authenticate;
use crate::http::request::json_body::read_json;
use crate::http::request::path::is_format_known;
use crate::http::response::problem::{Problem, check_target_length, invalid, unknown_path};
use crate::http::state::AppState;
use crate::unix_time::rfc3339;

/// Explains a link.
pub async fn inspect(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let question = read_json(payload).await?;
    let response = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(explain(&state, &caller, link_in(&question)?)?);
    Ok(response)
}

/// Returns the link in the field `url` of a request.
///
/// # Errors
/// Returns the problem of a URL that is no link.
pub(super) fn link_in(question: &Value) -> Result<SplitUrl<'_>, Problem> {
    let url = question["url"].as_str().ok_or_else(|| {
        let error = FieldError::new("url", "expected the link, as a text");
        invalid("some values do not fit".to_owned(), vec![error])
    })?;
    let split = SplitUrl::parse(url).map_err(|_| match url.contains(EXPORTS_PATH) {
        true => unknown_file(),
        false => unknown_path(),
    })?;
    match is_format_known(split.path) {
        true => Ok(split),
        false => Err(unknown_file()),
    }
}

fn explain(state: &AppState, caller: &Caller, link: SplitUrl<'_>) -> Result<Value, Problem> {
    let SplitUrl {
        path,
        query,
        target,
    } = link;
    let now = (state.clock)();
    let service = &state.service;
    let verdict = check_target_length(target).and_then(|()| {
        let checked = service.check(path, query, now, ClientAddr::Unchecked);
        checked.map_err(Problem::from)
    });
    let problem = verdict.err();
    let inspection = service.inspect(path, query).ok();
    let is_hidden = inspection.as_ref().is_some_and(|it| {
        let may_read = |link| service.may_read(caller, link);
        it.is_sealed && !it.link.as_ref().is_some_and(may_read)
    });
    // The errors of a sealed link would reveal its contents.
    let shown = problem.as_ref().filter(|_| !is_hidden);
    let mut explanation = json!({
        "valid": problem.is_none(),
        "code": problem.as_ref().map(Problem::code),
        "detail": shown.map(Problem::detail),
        "errors": shown.map(Problem::errors),
    });
    if let Some(inspection) = inspection {
        let contents = inspection.link.as_ref().filter(|_| !is_hidden);
        explanation["link"] = json!({
            "export": path.export(),
            "format": path.format(),
            "link_id": inspection.id,
            "key": inspection.key_id,
            "scope": inspection.scope,
            "issued_at": rfc3339(inspection.issued),
            "expires_at": rfc3339(inspection.expires),
            "seconds_left": seconds_left(&inspection, now),
            "sealed": inspection.is_sealed,
        });
        describe_contents(&mut explanation["link"], contents);
        explanation["string_to_sign"] = json!(inspection.string_to_sign);
    }
    Ok(explanation)
}

fn seconds_left(inspection: &Inspection, now: u64) -> i64 {
    let seconds = |instant: u64| i64::try_from(instant).unwrap_or(i64::MAX);
    seconds(inspection.expires) - seconds(now)
}

/// Adds the contents; null and empty if they are hidden.
fn describe_contents(explanation: &mut Value, link: Option<&Link>) {
    let filters = link.map_or(&[][..], |link| &link.filters);
    let filters = filters.iter();
    let filters = filters.map(|(name, value)| json!({"name": name, "value": value}));
    explanation["user"] = link.map(|link| link.user.as_str()).into();
    explanation["filename"] = json!(link.and_then(|link| Some(link.filename.as_ref()?.as_str())));
    explanation["claims"] = json!(link.map(|link| &link.claims));
    explanation["reveal"] = json!(link.map(|link| &link.reveal));
    explanation["options"] = json!(link.map(|link| &link.options));
    explanation["filters"] = filters.collect();
    for condition in &CONDITIONS {
        let value = link.and_then(|link| (condition.get)(&link.conditions));
        explanation[condition.name] = match value {
            None => Value::Null,
            Some(ConditionValue::Instant(seconds)) => rfc3339(seconds).into(),
            Some(ConditionValue::Network(network)) => network.to_string().into(),
            Some(ConditionValue::Count(count)) => count.into(),
            Some(ConditionValue::Flag) => true.into(),
            Some(ConditionValue::Hash(hash)) => hex::encode(hash).into(),
            Some(ConditionValue::Text(text)) => text.into(),
        };
    }
}
