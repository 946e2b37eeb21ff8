//! Liveness, readiness, metrics, the API description, and constant files.

use std::convert::Infallible;

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};

use crate::http::config::{StaticContent, StaticFile};
use crate::http::request::page_language::page_texts;
use crate::http::response::problem::{Problem, export_unavailable, unavailable};
use crate::http::state::AppState;
use crate::http::telemetry::{Snapshot, metrics};
use crate::service::FailedExport;

const OPENAPI: &[u8] = include_bytes!("../../../openapi.yaml");
/// How many bytes of a constant file are copied into the connection's buffer in one step.
const PART_BYTES: usize = 16 * 1024;

/// The process runs. Does not check the database: a restart would not fix it.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Links can be issued and downloads served, of one export at least: a replica that serves the others too may not exist.
pub async fn readyz(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if state.lifecycle.is_draining() {
        return Err(unavailable("draining", "ask another replica"));
    }
    let silent = state.service.silent_databases().await;
    let failed = state.service.failed_exports();
    if !state.service.can_serve(&silent) {
        return Err(match silent.values().next() {
            Some(error) => Problem::from(error),
            None => export_unavailable("no export can be served: the log says why".to_owned()),
        });
    }
    let mut body = json!({"status": "ready"});
    if !silent.is_empty() {
        body["silent_databases"] = silent.keys().map(String::as_str).collect();
    }
    if !failed.is_empty() {
        body["failed_exports"] = failed.iter().map(failed_export).collect();
    }
    Ok(HttpResponse::Ok().json(body))
}

fn failed_export(failed: &FailedExport) -> Value {
    json!({"export": failed.name, "code": failed.code, "serves": failed.serves()})
}

/// Metrics for Prometheus.
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    let snapshot = Snapshot {
        downloads: state.service.downloads(),
        is_draining: state.lifecycle.is_draining(),
        pools: state.service.pools().collect(),
        failed_exports: state.service.failed_exports(),
        spool: state.spool.as_deref(),
        key_ids: state.service.key_ids(),
        lost_lines: &state.lost_lines,
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
        .body(in_parts(Bytes::from_static(OPENAPI)))
}

/// A constant file, in the language that the client prefers. Its policy allows only scripts and styles of this server.
pub(in crate::http) fn static_file(request: &HttpRequest, file: &StaticFile) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    let content = match &file.content {
        StaticContent::Constant(content) => content.clone(),
        StaticContent::ByLanguage(contents) => {
            let language = page_texts(request, None).language;
            response.insert_header((header::CONTENT_LANGUAGE, language));
            response.insert_header((header::VARY, "Accept-Language"));
            let mut contents = contents.iter();
            let found = contents.find(|(known, _)| *known == language);
            found
                .map(|(_, content)| content.clone())
                .unwrap_or_default()
        }
    };
    response
        .insert_header((header::CONTENT_TYPE, file.content_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ))
        .body(in_parts(content))
}

/// Returns a body that fills no buffer of a client that does not read.
fn in_parts(content: Bytes) -> SizedStream<impl Stream<Item = Result<Bytes, Infallible>>> {
    let length = content.len() as u64;
    let parts = stream::unfold(content, async |mut rest| {
        let part = rest.split_to(rest.len().min(PART_BYTES));
        (!part.is_empty()).then_some((Ok(part), rest))
    });
    SizedStream::new(length, Box::pin(parts))
}
