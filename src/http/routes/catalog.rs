//! `GET /v1/exports` and `GET /v1/exports/{export}`: what the caller may export.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::catalog::{self, Export, ExportKind, Filter, Language, Sheet, Text};
use crate::http::request::accept_language::accepted_languages;
use crate::http::request::authenticate::authenticate;
use crate::http::response::problem::{Problem, unknown_export};
use crate::http::state::AppState;
use crate::row::Column;
use crate::service::{IssueError, ServedExport};

/// Lists the exports.
pub async fn list(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let reader = Reader::of(&request, &caller);
    let exports = state.service.exports_for(&caller);
    let described: Vec<Value> = exports
        .iter()
        .map(|served| reader.describe(served))
        .collect();
    let languages = exports.iter().filter_map(|it| reader.shown(it.export()));
    let languages = languages.collect();
    Ok(respond(&json!({ "exports": described }), languages))
}

/// Describes one export, if the list includes it.
pub async fn show(
    request: HttpRequest,
    state: Data<AppState>,
    name: Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&request, &state).await?;
    let reader = Reader::of(&request, &caller);
    let found = described_export(&state, &caller, &name)?;
    let languages = reader.shown(found.export()).into_iter().collect();
    Ok(respond(&reader.describe(&found), languages))
}

/// Returns an export that may be described to a caller.
///
/// # Errors
/// Returns 404 `unknown-export` also for one that the caller may not use, and 503 `export-unavailable`.
pub(super) fn described_export(
    state: &AppState,
    caller: &Caller,
    name: &str,
) -> Result<Arc<ServedExport>, Problem> {
    let found = state.service.export_for(caller, name);
    found.map_err(|error| match error {
        error @ IssueError::ExportUnavailable(_) => Problem::from(error),
        _ => unknown_export(format!("unknown export `{name}` for this credential")),
    })
}

/// Returns a description with the languages of its texts.
fn respond(body: &Value, languages: BTreeSet<&str>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "private, no-store"));
    response.insert_header((header::VARY, "Accept-Language"));
    if !languages.is_empty() {
        let languages: Vec<&str> = languages.into_iter().collect();
        response.insert_header((header::CONTENT_LANGUAGE, languages.join(", ")));
    }
    response.json(body)
}

/// The caller for whom exports are described.
struct Reader<'c> {
    caller: &'c Caller,
    accepted: Vec<Language>,
}

impl Reader<'_> {
    fn of<'c>(request: &HttpRequest, caller: &'c Caller) -> Reader<'c> {
        Reader {
            caller,
            accepted: accepted_languages(request),
        }
    }

    /// Returns the language in which an export is described, if its texts have one.
    fn shown<'e>(&self, export: &'e Export) -> Option<&'e str> {
        let language = export.languages.best(&self.accepted);
        export.shown_language(language).map(Language::as_str)
    }

    fn describe(&self, served: &ServedExport) -> Value {
        let export = served.export();
        let language = export.languages.best(&self.accepted);
        let text = |text: &Text| export.text(text, language).clone();
        let sheets: Vec<Value> = served
            .sheets_for(&self.caller.scopes)
            .map(|(sheet, columns)| describe_sheet(sheet, &columns, text))
            .collect();
        // The columns of stored documents are the server's.
        let has_columns = export.kind() == ExportKind::Rows;
        let columns = match sheets.as_slice() {
            [sheet] if has_columns => sheet["columns"].clone(),
            _ => json!([]),
        };
        let filters = export.filters.iter();
        let filters = filters.map(|filter| describe_filter(filter, text));
        let mut described = json!({
            "name": export.name,
            "title": text(&export.title),
            "description": export.description.as_ref().map(text),
            "kind": export.kind().name(),
            "formats": export.formats.iter().map(|format| format.extension()).collect::<Vec<_>>(),
            "filters": filters.collect::<Vec<_>>(),
            "columns": columns,
            "reason": export.reason.name(),
        });
        if sheets.len() > 1 {
            described["sheets"] = json!(sheets);
        }
        described
    }
}

fn describe_sheet(sheet: &Sheet, columns: &[&Column], text: impl Fn(&Text) -> String) -> Value {
    let columns = columns.iter().map(|column| {
        let label = sheet.labels.get(&column.name).map(&text);
        json!({"name": column.name, "label": label.as_ref().unwrap_or(&column.name)})
    });
    json!({
        "name": sheet.name,
        "title": text(&sheet.title),
        "columns": columns.collect::<Vec<_>>(),
    })
}

fn describe_filter(filter: &Filter, text: impl Fn(&Text) -> String) -> Value {
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
            filter.description.as_ref().map(|it| json!(text(it))),
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
