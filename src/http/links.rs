//! `POST /v1/links`: who asks, and what for, becomes a signed link.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, SecondsFormat};
use serde_json::json;
use uuid::Uuid;

use super::problem::Problem;
use super::{Service, caller, request_id};
use crate::export::{IssuedLink, LinkRequest};

/// Issues a link. Nothing is created, hence 200 and not 201.
pub async fn issue(
    request: HttpRequest,
    service: Data<Service>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, actix_web::Error> {
    let caller = caller(&request, &service)?;
    let body = serde_json::from_slice(&body?).map_err(not_json)?;
    let now = (service.clock)();
    let issued = service
        .exporter
        .issue(&caller, LinkRequest::from_json(body), now, Uuid::now_v7())
        .map_err(Problem::from)?;

    let link = &issued.link;
    tracing::info!(
        request_id = %request_id(&request),
        link_id = %link.id,
        credential = caller.credential,
        user = %link.user,
        export = link.export,
        format = %link.format,
        filters = ?link.filters.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ttl_seconds = link.expires - link.issued,
        "link issued"
    );
    let answer = HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(describe(&issued));
    Ok(answer)
}

fn describe(issued: &IssuedLink) -> serde_json::Value {
    let link = &issued.link;
    let expires_at = i64::try_from(link.expires)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map(|instant| instant.to_rfc3339_opts(SecondsFormat::Secs, true));
    json!({
        "url": issued.url,
        "link_id": link.id,
        "expires_at": expires_at,
        "expires_in": link.expires - link.issued,
        "filename": issued.filename,
        "content_type": issued.content_type,
        "methods": ["GET", "HEAD"],
    })
}

fn not_json(error: serde_json::Error) -> Problem {
    let title = "The body is not JSON";
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed-json",
        title,
        error.to_string(),
    )
}
