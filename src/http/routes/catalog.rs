//! `GET /v1/exports` and `GET /v1/exports/{export}`: what the caller may export.

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::catalog::{self, ExportKind, Filter, Sheet};
use crate::http::request::authenticate::authenticate;
use crate::http::response::problem::{Problem, unknown_export};
use crate::http::state::AppState;
use crate::row::Column;
use crate::service::{IssueError, ServedExport};

/// Lists the exports.
pub async fn list(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let exports = state.service.exports_for(&caller);
    let exports: Vec<Value> = exports
        .iter()
        .map(|export| describe(export, &caller))
        .collect();
    Ok(respond(&json!({ "exports": exports })))
}

/// Describes one export, if the list includes it.
pub async fn show(
    request: HttpRequest,
    state: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let found = state.service.export_for(&caller, &name);
    let found = found.map_err(|error| match error {
        error @ IssueError::ExportUnavailable(_) => Problem::from(error),
        _ => unknown_export(format!("unknown export `{name}` for this credential")),
    });
    Ok(respond(&describe(&*found?, &caller)))
}

fn respond(body: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .json(body)
}

fn describe(served: &ServedExport, caller: &Caller) -> Value {
    let export = served.export();
    let sheets: Vec<Value> = served
        .sheets_for(&caller.scopes)
        .map(|(sheet, columns)| describe_sheet(sheet, &columns))
        .collect();
    // The columns of stored documents are the server's.
    let has_columns = export.kind() == ExportKind::Rows;
    let columns = match sheets.as_slice() {
        [sheet] if has_columns => sheet["columns"].clone(),
        _ => json!([]),
    };
    let mut described = json!({
        "name": export.name,
        "title": export.title,
        "description": export.description,
        "kind": export.kind().name(),
        "formats": export.formats.iter().map(|format| format.extension()).collect::<Vec<_>>(),
        "filters": export.filters.iter().map(describe_filter).collect::<Vec<_>>(),
        "columns": columns,
        "reason": export.reason.name(),
    });
    if sheets.len() > 1 {
        described["sheets"] = json!(sheets);
    }
    described
}

fn describe_sheet(sheet: &Sheet, columns: &[&Column]) -> Value {
    let columns = columns.iter();
    let columns = columns.map(|it| json!({"name": it.name, "label": it.label(&sheet.labels)}));
    json!({
        "name": sheet.name,
        "title": sheet.title,
        "columns": columns.collect::<Vec<_>>(),
    })
}

fn describe_filter(filter: &Filter) -> Value {
    let texts = |values: &[catalog::Value]| -> Value {
        values.iter().map(|value| value.to_string()).collect()
    };
    let mut fields = Map::new();
    fields.insert("name".into(), json!(filter.name));
    fields.insert("type".into(), json!(filter.kind));
    fields.insert("required".into(), json!(filter.required));
    fields.insert("list".into(), json!(filter.list));
    let optional = [
        (
            "description",
            filter.description.as_ref().map(|text| json!(text)),
        ),
        (
            "values",
            (!filter.values.is_empty()).then(|| texts(&filter.values)),
        ),
        ("min", filter.min.as_ref().map(|min| json!(min.to_string()))),
        ("max", filter.max.as_ref().map(|max| json!(max.to_string()))),
        ("max_length", filter.max_length.map(|length| json!(length))),
        (
            "pattern",
            filter
                .pattern
                .as_ref()
                .map(|pattern| json!(pattern.as_str())),
        ),
        (
            "default",
            (!filter.default.is_empty()).then(|| texts(&filter.default)),
        ),
    ];
    for (name, value) in optional {
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    fields.into()
}
