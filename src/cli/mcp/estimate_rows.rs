//! `estimate_rows`: how large a file would be.

use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::deployment::Caller;
use super::errors::ToolError;
use super::export_description::{REASON_CHARS_MAX, filters_schema};
use super::untrusted::{TEXT_CHARS_MAX, result, visible};

/// The fields have the names of the request to the deployment.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EstimateRows {
    /// Name of the export
    export: String,
    /// Format of the file, for its size; default: the first one of the export
    format: Option<String>,
    #[serde(default)]
    #[schemars(schema_with = "filters_schema")]
    filters: Option<Map<String, Value>>,
    /// Why the user wants the file; some exports require it
    #[schemars(length(min = 1, max = REASON_CHARS_MAX))]
    reason: Option<String>,
}

/// The size of a file.
#[derive(Serialize, JsonSchema)]
pub(super) struct EstimatedRows {
    /// Null if no estimate is available
    estimated_rows: Option<u64>,
    /// Before compression. Null for XLSX and Parquet
    estimated_bytes: Option<u64>,
    /// `planner`: a guess of the database, which may be several times too low or too high. `count`: an exact count.
    /// `partial-count`: there are more rows
    estimated_by: Option<String>,
}

/// Estimates the rows of a file. The link that the deployment issues for it is dropped.
///
/// # Errors
/// Returns the [`ToolError`] of the request.
pub(super) fn run(
    caller: &Caller<'_>,
    mut arguments: EstimateRows,
) -> Result<CallToolResult, ToolError> {
    let export = caller.export(&arguments.export)?;
    arguments.format = arguments.format.or(export.formats.first().cloned());
    let mut request = export.request(&arguments);
    request.insert("estimate".to_owned(), true.into());
    let link = caller.issue(request)?;
    Ok(result(&EstimatedRows {
        estimated_rows: link.estimated_rows,
        estimated_bytes: link.estimated_bytes,
        estimated_by: link.estimated_by.map(|by| visible(&by, TEXT_CHARS_MAX)),
    }))
}
