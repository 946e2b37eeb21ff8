//! A request for a link. Parsing its JSON collects all field errors.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rowlink_link::{
    CONDITIONS, Condition, ConditionType, ConditionValue, Conditions, FileName, Network, UserId,
    check_text,
};
use serde_json::{Map, Value};

use super::options::LANGUAGE;
use crate::catalog::{Export, FieldError, Language};
use crate::format::Format;
use crate::unix_time;

/// What a caller asks for. The values are not checked against the catalog yet.
#[derive(Debug, Clone, Default)]
pub struct LinkRequest {
    /// The export's name.
    pub export: String,
    /// The format's extension.
    pub format: String,
    /// The values of filters, by name.
    pub filters: IndexMap<String, Vec<String>>,
    /// The lifetime of the link in seconds.
    pub ttl_seconds: Option<u64>,
    /// The file name that the browser suggests.
    pub filename: Option<FileName>,
    /// Output options by their names in a link: `columns`, `csv.delimiter`, ….
    pub options: BTreeMap<String, String>,
    /// The languages that the caller accepts, the best one first. They count if the options name none. The caller that has
    /// the request's header sets them.
    pub accepted_languages: Vec<Language>,
    /// Whether the response includes an estimate of the file's size.
    pub estimate: bool,
    /// Whether the file is prepared in the store.
    pub prepare: bool,
    /// The user whose rows are downloaded, if the credential may act for others.
    pub user: Option<UserId>,
    /// The values of claims, if the credential may choose them.
    pub claims: BTreeMap<String, String>,
    /// The columns with a scope that the link shows. Only the server and the holder of a key set them.
    pub reveal: Vec<String>,
    /// The conditions of the link.
    pub conditions: Conditions,
    /// Whether the link works only in the browser that requests it. The caller that knows the browser sets the condition.
    pub binds_browser: bool,
    /// Whether the link is sealed.
    pub seal: bool,
    /// Fields that do not have their type.
    pub(super) field_errors: Vec<FieldError>,
}

/// A field: its name, and the function that stores its value or says what was expected.
type Field = (
    &'static str,
    fn(&mut LinkRequest, Value) -> Result<(), String>,
);

/// All fields but conditions and options of formats, which have tables of their own.
const FIELDS: [Field; 17] = [
    ("export", |request, value| {
        request.export = expect_text(value)?;
        Ok(())
    }),
    ("format", |request, value| {
        request.format = expect_text(value)?;
        Ok(())
    }),
    ("filters", |request, value| {
        // PHP has one type for lists and objects, and writes an empty one as a list.
        let is_empty_list = value.as_array().is_some_and(Vec::is_empty);
        if !is_empty_list {
            request.read_filters(expect_object(value)?);
        }
        Ok(())
    }),
    ("expires_in", |request, value| {
        let seconds = whole_number(&value).ok_or("expected a whole number of seconds")?;
        request.ttl_seconds = Some(seconds);
        Ok(())
    }),
    ("filename", |request, value| {
        let filename = FileName::parse(expect_text(value)?);
        request.filename = Some(filename.map_err(|error| error.to_string())?);
        Ok(())
    }),
    ("columns", |request, value| {
        let names = match value {
            Value::Array(names) => texts(names),
            _ => None,
        };
        // A link separates them by commas, so no name has one.
        let names = names.filter(|names| !names.is_empty() && !names.concat().contains(','));
        let names = names.ok_or("expected an array of column names")?;
        request.options.insert("columns".into(), names.join(","));
        Ok(())
    }),
    ("timezone", |request, value| {
        let name = expect_text(value)?;
        request.options.insert("timezone".into(), name);
        Ok(())
    }),
    (LANGUAGE, |request, value| {
        let tag = expect_text(value)?;
        request.options.insert(LANGUAGE.into(), tag);
        Ok(())
    }),
    ("length", |request, value| {
        let length = expect_text(value)?;
        request.options.insert("length".into(), length);
        Ok(())
    }),
    ("delivery", |request, value| {
        let delivery = expect_text(value)?;
        request.options.insert("delivery".into(), delivery);
        Ok(())
    }),
    ("end_line", |request, value| {
        let wanted = expect_bool(&value)?.to_string();
        request.options.insert("end_line".into(), wanted);
        Ok(())
    }),
    ("estimate", |request, value| {
        request.estimate = expect_bool(&value)?;
        Ok(())
    }),
    ("prepare", |request, value| {
        request.prepare = expect_bool(&value)?;
        Ok(())
    }),
    ("bind", |request, value| {
        request.binds_browser = value == "cookie";
        match request.binds_browser {
            true => Ok(()),
            false => Err("expected `cookie`".to_owned()),
        }
    }),
    ("seal", |request, value| {
        request.seal = expect_bool(&value)?;
        Ok(())
    }),
    ("user", |request, value| {
        let user = UserId::parse(expect_text(value)?);
        request.user = Some(user.map_err(|error| error.to_string())?);
        Ok(())
    }),
    ("claims", |request, value| {
        request.read_claims(expect_object(value)?);
        Ok(())
    }),
];

impl LinkRequest {
    /// Creates a request for a file with these filters and default options; without a format for stored documents.
    #[must_use]
    pub fn for_file(
        export: &str,
        format: Option<Format>,
        filters: IndexMap<String, Vec<String>>,
    ) -> LinkRequest {
        LinkRequest {
            export: export.to_owned(),
            format: format.map(|format| format.to_string()).unwrap_or_default(),
            filters,
            ..LinkRequest::default()
        }
    }

    /// Parses the JSON object of a request. Its errors are kept, and reported when the link is issued,
    /// together with those of the catalog.
    #[must_use]
    pub fn from_json(body: Value) -> LinkRequest {
        let mut request = LinkRequest::default();
        let Value::Object(fields) = body else {
            request.add_error("", "expected a JSON object");
            return request;
        };
        for (name, value) in fields {
            if let Err(message) = request.read(&name, value) {
                request.add_error(&name, message);
            }
        }
        if request.export.is_empty() {
            request.add_missing("export");
        }
        request
    }

    /// Chooses the language by those that the caller accepts. An export without a choice gets none, so that its links do
    /// not depend on a header.
    pub(super) fn choose_language(&mut self, export: &Export) {
        let best = export.languages.best(&self.accepted_languages);
        if let Some(best) = best.filter(|_| export.languages.are_several()) {
            let options = self.options.entry(LANGUAGE.to_owned());
            options.or_insert_with(|| best.to_string());
        }
    }

    /// Adds the error of a field that is missing, unless another error of it is known.
    pub(super) fn add_missing(&mut self, name: &str) {
        if !self.field_errors.iter().any(|error| error.field == name) {
            self.add_error(name, "is required");
        }
    }

    fn read(&mut self, name: &str, value: Value) -> Result<(), String> {
        let field = FIELDS.iter().find(|(field, _)| *field == name);
        let condition = CONDITIONS.iter().find(|condition| condition.name == name);
        let format = Format::with_options().find(|format| format.extension() == name);
        match (field, condition, format) {
            (None, None, None) => {
                let names = field_names().join(", ");
                Err(format!("unknown field; the fields are {names}"))
            }
            // As if it were absent: what a form sends for an empty field.
            _ if value.is_null() => Ok(()),
            (Some((_, read)), ..) => read(self, value),
            (_, Some(condition), _) => self.read_condition(condition, value),
            (.., Some(format)) => {
                let options = expect_object(value)?;
                self.read_options(format, options);
                Ok(())
            }
        }
    }

    fn read_condition(&mut self, condition: &Condition, value: Value) -> Result<(), String> {
        let value = match condition.value_type {
            ConditionType::Instant => {
                let seconds = unix_time::parse(&expect_text(value)?);
                let seconds = seconds.ok_or("expected a time: 2026-01-31T10:00:00Z")?;
                ConditionValue::Instant(seconds)
            }
            ConditionType::Network => {
                ConditionValue::Network(Network::parse(&expect_text(value)?)?)
            }
            ConditionType::Count => {
                let text = whole_number(&value).map(|count| count.to_string());
                let count = text.and_then(|text| ConditionType::Count.parse(&text).ok());
                count.ok_or("expected a whole number of at least 1")?
            }
            ConditionType::Flag => match expect_bool(&value)? {
                true => ConditionValue::Flag,
                false => return Ok(()),
            },
            // It has a field of its own, with another type.
            ConditionType::Hash => return Err("unsupported".to_owned()),
            ConditionType::Text => ConditionType::Text.parse(&expect_text(value)?)?,
        };
        (condition.set)(&mut self.conditions, value);
        Ok(())
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
                None => self.add_error(
                    &format!("filters.{name}"),
                    "expected a text, a number, true, false, or an array of these",
                ),
            }
        }
    }

    fn read_claims(&mut self, claims: Map<String, Value>) {
        for (name, value) in claims {
            let field = format!("claims.{name}");
            // A floating-point number has several texts.
            let is_exact = !value.is_number() || value.is_i64() || value.is_u64();
            match text(value).filter(|_| is_exact) {
                None => self.add_error(&field, "expected a text, an integer, true or false"),
                Some(text) => match check_text(&text) {
                    Ok(()) => drop(self.claims.insert(name, text)),
                    Err(error) => self.add_error(&field, error.to_string()),
                },
            }
        }
    }

    fn read_options(&mut self, format: Format, options: Map<String, Value>) {
        for (name, value) in options {
            let option = format!("{format}.{name}");
            match text(value) {
                Some(text) => {
                    self.options.insert(option, text);
                }
                None => self.add_error(&option, "expected a text, true or false"),
            }
        }
    }

    pub(super) fn add_error(&mut self, field: &str, message: impl Into<String>) {
        self.field_errors.push(FieldError::new(field, message));
    }
}

fn field_names() -> Vec<&'static str> {
    let formats = Format::with_options();
    let fields = FIELDS.iter().map(|(name, _)| *name);
    // A hash has a field of its own.
    let conditions = CONDITIONS
        .iter()
        .filter(|condition| condition.value_type != ConditionType::Hash);
    fields
        .chain(conditions.map(|condition| condition.name))
        .chain(formats.map(Format::extension))
        .collect()
}

fn expect_text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("expected a text".to_owned()),
    }
}

/// Returns a whole number that is not negative, also if it is written `60.0`, as languages without integers do.
fn whole_number(value: &Value) -> Option<u64> {
    let text = match value {
        Value::Number(number) => number.as_str(),
        _ => return None,
    };
    let whole = match text.split_once('.') {
        Some((whole, places))
            if !places.is_empty() && places.bytes().all(|digit| digit == b'0') =>
        {
            whole
        }
        _ => text,
    };
    whole.parse().ok()
}

fn expect_bool(value: &Value) -> Result<bool, String> {
    let expected = || "expected true or false".to_owned();
    value.as_bool().ok_or_else(expected)
}

fn expect_object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("expected a JSON object".to_owned()),
    }
}

fn texts(values: Vec<Value>) -> Option<Vec<String>> {
    values.into_iter().map(text).collect()
}

/// Returns a scalar as the text that a link carries.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
