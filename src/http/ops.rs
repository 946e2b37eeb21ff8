//! For operators: liveness, readiness and the contract.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::Service;
use super::problem::Problem;

/// The process runs. Says nothing about the database, or a restart would be tried as its cure.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Links can be issued and downloads served.
pub async fn readyz(service: Data<Service>) -> Result<HttpResponse, Problem> {
    service.exporter.ping().await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// The contract, as it stands at the top of the repository.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/yaml")
        .body(include_str!("../../openapi.yaml"))
}
