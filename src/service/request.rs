//! A request for a link, read from JSON with every misfit at once.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::catalog::FieldError;
use crate::format::Format;
use crate::unix_time;
use rowlink_link::{Conditions, FileName, Network, UserId};

/// What a caller asks for. Texts are not checked against the catalog yet.
#[derive(Debug, Clone, Default)]
pub struct LinkRequest {
    /// The export's name.
    pub export: String,
    /// The format's extension.
    pub format: String,
    /// The filters' values by name.
    pub filters: IndexMap<String, Vec<String>>,
    /// How long the link shall live.
    pub ttl_seconds: Option<u64>,
    /// What the browser shall call the file.
    pub filename: Option<FileName>,
    /// Output options as they stand in a link: `columns`, `csv.delimiter`, ….
    pub options: BTreeMap<String, String>,
    /// Whether the answer shall say about how much the file will be.
    pub estimate: bool,
    /// Whose rows, where the credential may act for others.
    pub user: Option<UserId>,
    /// What the link shall demand beyond its times.
    pub conditions: Conditions,
    /// Whether its contents shall be hidden.
    pub seal: bool,
    /// Fields that did not even have their type.
    pub(super) field_errors: Vec<FieldError>,
}

const FIELDS: [&str; 19] = [
    "export",
    "format",
    "filters",
    "expires_in",
    "filename",
    "columns",
    "timezone",
    "end_line",
    "length",
    "estimate",
    "csv",
    "xlsx",
    "ndjson",
    "user",
    "not_before",
    "ip",
    "max_rows",
    "max_bytes",
    "seal",
];

impl LinkRequest {
    /// Asks for a file, filtered, and all else as it is without being said.
    pub fn for_file(
        export: &str,
        format: Format,
        filters: IndexMap<String, Vec<String>>,
    ) -> LinkRequest {
        LinkRequest {
            export: export.to_owned(),
            format: format.to_string(),
            filters,
            ..LinkRequest::default()
        }
    }

    /// Reads the JSON object of a request. What does not fit is reported when the link is issued,
    /// together with what the catalog refuses.
    pub fn from_json(body: Value) -> LinkRequest {
        let mut request = LinkRequest::default();
        let Value::Object(fields) = body else {
            request.field_error("", "expected a JSON object");
            return request;
        };
        for (name, value) in fields {
            request.read(&name, value);
        }
        for (name, value) in [("export", &request.export), ("format", &request.format)] {
            let reported = request
                .field_errors
                .iter()
                .any(|field_error| field_error.field == name);
            if value.is_empty() && !reported {
                request
                    .field_errors
                    .push(FieldError::new(name, "is required"));
            }
        }
        request
    }

    fn read(&mut self, name: &str, value: Value) {
        match (name, value) {
            (unknown, _) if !FIELDS.contains(&unknown) => {
                let message = format!("unknown field; the fields are {}", FIELDS.join(", "));
                self.field_error(name, &message);
            }
            // As if it were not there: what a form sends for a field that is empty.
            (_, Value::Null) => {}
            ("export", Value::String(text)) => self.export = text,
            ("format", Value::String(text)) => self.format = text,
            ("filters", Value::Object(filters)) => self.read_filters(filters),
            ("expires_in", value) => match value.as_u64() {
                Some(seconds) => self.ttl_seconds = Some(seconds),
                None => self.field_error(name, "expected a whole number of seconds"),
            },
            ("filename", Value::String(text)) => match FileName::parse(text) {
                Ok(filename) => self.filename = Some(filename),
                Err(error) => self.field_error(name, &error.to_string()),
            },
            ("columns", Value::Array(columns)) => match texts(columns) {
                // In a link they are separated by commas, so no name has one.
                Some(columns) if !columns.is_empty() && !columns.concat().contains(',') => {
                    self.options.insert("columns".into(), columns.join(","));
                }
                _ => self.field_error(name, "expected an array of column names"),
            },
            ("timezone" | "length", Value::String(text)) => {
                self.options.insert(name.to_owned(), text);
            }
            ("estimate", Value::Bool(wanted)) => self.estimate = wanted,
            ("end_line", Value::Bool(wanted)) => {
                self.options.insert("end_line".into(), wanted.to_string());
            }
            ("seal", Value::Bool(wanted)) => self.seal = wanted,
            ("end_line" | "estimate" | "seal", _) => {
                self.field_error(name, "expected true or false")
            }
            ("csv" | "xlsx" | "ndjson", Value::Object(options)) => self.read_options(name, options),
            ("user", Value::String(text)) => match UserId::parse(text) {
                Ok(user) => self.user = Some(user),
                Err(error) => self.field_error(name, &error.to_string()),
            },
            ("not_before", Value::String(text)) => match unix_time::parse(&text) {
                Some(seconds) => self.conditions.not_before = Some(seconds),
                None => self.field_error(name, "expected a moment: 2026-01-31T10:00:00Z"),
            },
            ("ip", Value::String(text)) => match Network::parse(&text) {
                Ok(network) => self.conditions.network = Some(network),
                Err(message) => self.field_error(name, message),
            },
            ("max_rows" | "max_bytes", value) => match value.as_u64().filter(is_count) {
                Some(count) if name == "max_rows" => self.conditions.rows_max = Some(count),
                Some(count) => self.conditions.bytes_max = Some(count),
                None => self.field_error(name, "expected a whole number above 0"),
            },
            (
                "export" | "format" | "filename" | "timezone" | "length" | "user" | "ip"
                | "not_before",
                _,
            ) => {
                self.field_error(name, "expected a text");
            }
            ("filters" | "csv" | "xlsx" | "ndjson", _) => {
                self.field_error(name, "expected a JSON object")
            }
            _ => self.field_error(name, "expected an array of column names"),
        }
    }

    fn read_filters(&mut self, filters: Map<String, Value>) {
        for (name, value) in filters {
            let values = match value {
                Value::Null => continue,
                Value::Array(values) => texts(values),
                single => texts(vec![single]),
            };
            match values {
                Some(values) => {
                    self.filters.insert(name, values);
                }
                None => self.field_error(
                    &format!("filters.{name}"),
                    "expected a text, a number, true, false, or an array of these",
                ),
            }
        }
    }

    fn read_options(&mut self, format: &str, options: Map<String, Value>) {
        for (name, value) in options {
            let option = format!("{format}.{name}");
            match text(value) {
                Some(text) => {
                    self.options.insert(option, text);
                }
                None => self.field_error(&option, "expected a text, true or false"),
            }
        }
    }

    fn field_error(&mut self, field: &str, message: &str) {
        self.field_errors.push(FieldError::new(field, message));
    }
}

/// What a link can carry for it.
fn is_count(count: &u64) -> bool {
    (1..1_000_000_000_000_000).contains(count)
}

fn texts(values: Vec<Value>) -> Option<Vec<String>> {
    values.into_iter().map(text).collect()
}

/// A scalar as the text that a link carries for it.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
