//! `POST /v1/links/status` and `POST /v1/links/cancel`: the state of a file that is prepared in the store. They need no
//! credential: the link is the permission to download the file.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use rowlink_link::{ClientAddr, SplitUrl};
use serde_json::Value;

use super::inspect::link_in;
use super::preparation::{FileState, Preparation};
use crate::catalog::FieldError;
use crate::http::request::client_ip::verified_address;
use crate::http::request::json_body::read_json;
use crate::http::response::problem::{Problem, check_target_length, invalid};
use crate::http::state::AppState;

/// The longest wait in seconds. Proxies wait longer for the head of a response.
const WAIT_SECONDS_MAX: u64 = 25;

/// Returns the state of a link's file, after a wait if it is not final. Prepares it first if the request says so.
pub async fn status(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let question = read_json(payload).await?;
    let wait = match &question["wait"] {
        Value::Null => 0,
        value => {
            let seconds = value
                .as_u64()
                .filter(|seconds| *seconds <= WAIT_SECONDS_MAX);
            let expected = format!("expected 0 to {WAIT_SECONDS_MAX} seconds");
            seconds.ok_or_else(|| invalid_field("wait", &expected))?
        }
    };
    let is_prepared = match &question["prepare"] {
        Value::Null => false,
        value => value
            .as_bool()
            .ok_or_else(|| invalid_field("prepare", "expected true or false"))?,
    };
    let file = match preparation(&request, &state, &question)? {
        Some(preparation) => {
            if is_prepared {
                preparation.check_unused().await?;
                preparation.clone().begin().await?;
            }
            preparation
                .look_up_within(Duration::from_secs(wait))
                .await?
        }
        None if is_prepared => {
            let message = "unsupported: the file of this link is not stored";
            return Err(invalid_field("prepare", message));
        }
        None => FileState::Absent,
    };
    Ok(respond(&file))
}

/// Cancels the preparation of the file of a link; returns its state then.
pub async fn cancel(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let question = read_json(payload).await?;
    let file = match preparation(&request, &state, &question)? {
        Some(preparation) => preparation.cancel().await?,
        None => FileState::Absent,
    };
    Ok(respond(&file))
}

/// Verifies the link of a request as if its file was downloaded; returns `None` for a file that is not stored.
fn preparation(
    request: &HttpRequest,
    state: &Data<AppState>,
    question: &Value,
) -> Result<Option<Preparation>, Problem> {
    let SplitUrl {
        path,
        query,
        target,
    } = link_in(question)?;
    check_target_length(target)?;
    let client = ClientAddr::At(verified_address(request, &state.config));
    let now = (state.clock)();
    if path.format().is_none() {
        state.service.check(path, query, now, client)?;
        return Ok(None);
    }
    let prepared = state.service.prepare(path, query, now, client, None)?;
    state.service.check_status(&prepared)?;
    Ok(Preparation::of(state, prepared))
}

fn invalid_field(field: &str, message: &str) -> Problem {
    let error = FieldError::new(field, message);
    invalid("some values do not fit".to_owned(), vec![error])
}

fn respond(file: &FileState) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(file.describe())
}
