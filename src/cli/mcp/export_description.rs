//! The descriptions of exports, as the deployment sends them and tools return them.

use rmcp::schemars::{self, JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::untrusted::{TEXT_CHARS_MAX, visible};

/// The most values of a filter that are listed.
const VALUES_MAX: usize = 50;
/// The most columns of an export that are listed.
const COLUMNS_MAX: usize = 200;
/// The most characters of the label of a column.
pub(super) const LABEL_CHARS_MAX: usize = 60;
/// Marks in the log of the deployment that an agent asked. The reason of the user follows.
const REASON_OF_AGENT: &str = "MCP agent";
/// The most characters of a reason with this mark: openapi.yaml, `LinkRequest`, without the mark.
pub(super) const REASON_CHARS_MAX: u32 = 200 - 11;

/// An export.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct ExportDescription {
    /// Name to use in other tools
    pub(super) name: String,
    pub(super) title: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    /// `rows`: a file of rows. `file`, `files`: stored documents, without a format
    pub(super) kind: String,
    /// Formats of its files; empty for stored documents
    pub(super) formats: Vec<String>,
    pub(super) filters: Vec<FilterDescription>,
    /// Columns of its files. Only if one export was asked for
    #[serde(default)]
    pub(super) columns: Vec<ColumnDescription>,
    /// How many columns are not listed
    #[serde(default)]
    columns_omitted: usize,
    /// Whether links need a reason of the user: `optional` or `required`
    pub(super) reason: String,
}

/// A filter of an export.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct FilterDescription {
    name: String,
    /// `text`, `integer`, `decimal`, `boolean`, `date`, `timestamp` or `uuid`
    #[serde(rename = "type")]
    kind: String,
    required: bool,
    /// Whether it takes an array of values
    list: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The allowed values, if only some are
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
    /// How many allowed values are not listed
    #[serde(default)]
    values_omitted: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    /// Regular expression that the whole value must match
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    /// The values if the filter is left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Vec<String>>,
}

/// A column of an export.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct ColumnDescription {
    /// Name to use in `columns`
    pub(super) name: String,
    pub(super) label: String,
}

impl ExportDescription {
    /// Returns the description with short texts in which everything shows. What a caller sends back stays as it is: names, values
    /// and patterns.
    pub(super) fn shown(mut self) -> ExportDescription {
        self.title = visible(&self.title, TEXT_CHARS_MAX);
        self.description = self.description.map(|text| visible(&text, TEXT_CHARS_MAX));
        for filter in &mut self.filters {
            let description = filter.description.take();
            filter.description = description.map(|text| visible(&text, TEXT_CHARS_MAX));
            if let Some(values) = &mut filter.values {
                filter.values_omitted = values.len().saturating_sub(VALUES_MAX);
                values.truncate(VALUES_MAX);
            }
        }
        self.columns_omitted = self.columns.len().saturating_sub(COLUMNS_MAX);
        self.columns.truncate(COLUMNS_MAX);
        for column in &mut self.columns {
            column.label = visible(&column.label, LABEL_CHARS_MAX);
        }
        self
    }

    /// Returns the label of a column, or its name.
    pub(super) fn label<'s>(&'s self, column: &'s str) -> &'s str {
        let found = self.columns.iter().find(|it| it.name == column);
        found.map_or(column, |it| &it.label)
    }

    /// Returns the request for a link from arguments, whose fields have its names.
    pub(super) fn request(&self, arguments: &impl Serialize) -> Map<String, Value> {
        let Ok(Value::Object(mut request)) = serde_json::to_value(arguments) else {
            unreachable!("arguments are an object");
        };
        self.set_reason(&mut request);
        request
    }

    /// Sets the reason in a request for a link, so that the log shows that an agent asked. An export that requires the reason
    /// of a user gets no other one.
    fn set_reason(&self, request: &mut Map<String, Value>) {
        let reason = request.get("reason").and_then(Value::as_str);
        let marked = match reason {
            Some(reason) => format!("{REASON_OF_AGENT}: {reason}"),
            None if self.reason == "required" => return,
            None => REASON_OF_AGENT.to_owned(),
        };
        request.insert("reason".to_owned(), marked.into());
    }
}

/// Returns the schema of filters in arguments. Their values are checked by the deployment.
pub(super) fn filters_schema(_: &mut SchemaGenerator) -> Schema {
    let value = ["string", "number", "boolean"];
    json_schema!({
        "type": ["object", "null"],
        "description": "Values by name of the filter; an array for a list",
        "additionalProperties": {
            "oneOf": [
                {"type": value},
                {"type": "array", "items": {"type": value}, "minItems": 1, "maxItems": 100},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn described(reason: &str) -> ExportDescription {
        let values: Vec<String> = (0..60).map(|value| value.to_string()).collect();
        let filter =
            json!({"name": "n", "type": "text", "required": false, "list": true, "values": values});
        let described = json!({
            "name": "a", "title": "\u{1b}[2J".repeat(200), "description": null, "kind": "rows", "formats": ["csv"],
            "filters": [filter], "columns": [{"name": "b", "label": "B"}], "reason": reason, "unknown": 1,
        });
        serde_json::from_value(described).expect("a description")
    }

    #[test]
    fn texts_are_cut_and_shown_and_a_long_list_of_values_is_counted() {
        let shown = described("optional").shown();
        assert!(shown.title.starts_with("\\u{1b}[2J") && shown.title.ends_with('…'));
        let filter = &shown.filters[0];
        let listed = filter.values.as_ref().map(Vec::len);
        assert_eq!((listed, filter.values_omitted), (Some(VALUES_MAX), 10));
        assert_eq!((shown.label("b"), shown.label("c")), ("B", "c"));
    }

    #[test]
    fn the_reason_names_the_agent_and_never_replaces_one_that_is_required() {
        let reason = |required: &str, given: Value| {
            let mut request = Map::new();
            request.insert("reason".to_owned(), given);
            described(required).set_reason(&mut request);
            request["reason"].clone()
        };
        assert_eq!(reason("optional", Value::Null), "MCP agent");
        assert_eq!(reason("required", Value::Null), Value::Null);
        for required in ["optional", "required"] {
            let marked = reason(required, json!("ticket 4711"));
            assert_eq!(marked, "MCP agent: ticket 4711");
        }
        let mark = REASON_OF_AGENT.len() + ": ".len();
        assert_eq!(REASON_CHARS_MAX as usize + mark, 200);
    }
}
