//! `list_exports`: what the user may export.

use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::deployment::Caller;
use super::errors::ToolError;
use super::export_description::ExportDescription;
use super::untrusted::{escaped_json, result};

/// The most bytes of the descriptions in a result, as escaped JSON.
const DESCRIPTIONS_BYTES_MAX: usize = 24 * 1024;
/// The most bytes of the names of other exports.
const NAMES_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListExports {
    /// Name of one export, to describe only it
    export: Option<String>,
}

/// Exports.
#[derive(Serialize, JsonSchema)]
pub(super) struct ExportList {
    exports: Vec<ExportDescription>,
    /// Names of further exports, whose descriptions did not fit: call `list_exports` with one of them
    further: Vec<String>,
    /// How many further exports are not even named, for lack of space
    omitted: usize,
}

/// Lists the exports of the caller, or describes one.
///
/// # Errors
/// Returns the [`ToolError`] of the request.
pub(super) fn run(
    caller: &Caller<'_>,
    arguments: ListExports,
) -> Result<CallToolResult, ToolError> {
    let exports = match arguments.export {
        Some(name) => vec![caller.export(&name)?],
        None => caller.exports()?.into_iter().map(without_columns).collect(),
    };
    Ok(result(&limited(exports)))
}

fn without_columns(mut export: ExportDescription) -> ExportDescription {
    export.columns.clear();
    export
}

/// Returns as many descriptions as fit, and then names.
fn limited(exports: Vec<ExportDescription>) -> ExportList {
    let mut list = ExportList {
        exports: Vec::new(),
        further: Vec::new(),
        omitted: 0,
    };
    let (mut described, mut named) = (0, 0);
    for export in exports {
        let export = export.shown();
        let description = escaped_json(&export).len() + 1;
        let name = escaped_json(&export.name).len() + 1;
        if described + description <= DESCRIPTIONS_BYTES_MAX {
            described += description;
            list.exports.push(export);
        } else if named + name <= NAMES_BYTES_MAX {
            named += name;
            list.further.push(export.name);
        } else {
            list.omitted += 1;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_of_any_length_stays_below_its_limit_and_counts_what_it_lacks() {
        let export = |number: usize| {
            let described = json!({
                "name": format!("export_{number}"), "title": "<".repeat(500), "kind": "rows", "formats": ["csv"],
                "filters": [], "reason": "optional",
            });
            serde_json::from_value(described).expect("a description")
        };
        for count in [0, 1, 5, 100, 5000] {
            let list = limited((0..count).map(export).collect());
            let [described, named] = [list.exports.len(), list.further.len()];
            assert_eq!(described + named + list.omitted, count);
            let limit = DESCRIPTIONS_BYTES_MAX + NAMES_BYTES_MAX + 200;
            assert!(escaped_json(&list).len() < limit, "{count}");
            assert_eq!(count == 5000, list.omitted > 0, "{count}");
        }
    }
}
