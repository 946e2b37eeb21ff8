//! Liveness, readiness, metrics, the API description, and constant files.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Data;
use serde_json::json;

use crate::http::config::StaticFile;
use crate::http::response::problem::{Problem, unavailable};
use crate::http::state::AppState;
use crate::http::telemetry::{Snapshot, metrics};

/// The process runs. Does not check the database: a restart would not fix it.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Links can be issued and downloads served.
pub async fn readyz(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if state.lifecycle.is_draining() {
        let title = "The replica is stopping";
        return Err(unavailable("draining", title, "ask another replica"));
    }
    state.service.ping().await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// Metrics for Prometheus.
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    let snapshot = Snapshot {
        downloads: state.service.downloads(),
        is_draining: state.lifecycle.is_draining(),
        pools: state.service.pools().collect(),
        key_ids: state.service.key_ids(),
        now: (state.clock)(),
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(state.metrics.render(snapshot))
}

/// The API description.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/yaml")
        .body(include_str!("../../../openapi.yaml"))
}

/// A constant file. Its policy allows only scripts and styles of this server.
pub(in crate::http) fn static_file(file: &StaticFile) -> HttpResponse {
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
