//! For operators: liveness, readiness, metrics and the contract; and files beside them.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use serde_json::json;

use super::metrics;
use super::problem::{Problem, unavailable};
use super::{AppState, StaticFile};

/// The process runs. Says nothing about the database, or a restart would be tried as its cure.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Links can be issued and downloads served, and will be for a while.
pub async fn readyz(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if state.lifecycle.is_draining() {
        let title = "This replica stops";
        return Err(unavailable("draining", title, "ask another replica"));
    }
    state.service.ping().await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// Counts and times, as Prometheus reads them.
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(state.metrics.render(&state))
}

/// The contract, as it stands at the top of the repository.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/yaml")
        .body(include_str!("../../openapi.yaml"))
}

/// A file that is always the same. Only what is served here may run in it.
pub(super) fn file(file: &StaticFile) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, file.content_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ))
        .body(file.content.clone().into_owned())
}
