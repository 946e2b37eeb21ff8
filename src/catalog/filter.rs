//! Filters: which values a request may set.

use std::cmp::Ordering;

use regex::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::text::Text;
use super::value::{FilterType, Value};
use crate::row::TimeZone;

/// The maximum number of values of a list filter.
pub const LIST_VALUES_MAX: usize = 100;

/// The instant that the SQL gets for a day, in the time zone of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DayInstant {
    /// The first instant of the day.
    Start,
    /// The first instant of the next day.
    End,
}

/// A declared filter and the values it accepts.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The name in requests and links, and in SQL after a colon.
    pub name: String,
    /// The type of the values.
    pub kind: FilterType,
    /// The description for users.
    pub description: Option<Text>,
    /// Whether a request must set it.
    pub required: bool,
    /// For a date: the instant that the SQL gets; `None` passes the date.
    pub instant: Option<DayInstant>,
    /// Whether it accepts several values.
    pub list: bool,
    /// The accepted values; empty accepts any.
    pub values: Vec<Value>,
    /// The smallest accepted value.
    pub min: Option<Value>,
    /// The largest accepted value.
    pub max: Option<Value>,
    /// The maximum length of a text in characters.
    pub max_length: Option<usize>,
    /// The pattern that a whole text must match.
    pub pattern: Option<Regex>,
    /// The values if a request omits the filter.
    pub default: Vec<Value>,
}

/// The TOML table that declares a filter. Values may be any TOML scalar.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterSettings {
    #[serde(rename = "type")]
    kind: FilterType,
    description: Option<Text>,
    #[serde(default)]
    required: bool,
    instant: Option<DayInstant>,
    #[serde(default)]
    list: bool,
    values: Option<Spanned<Vec<toml::Value>>>,
    min: Option<Spanned<toml::Value>>,
    max: Option<Spanned<toml::Value>>,
    max_length: Option<Spanned<usize>>,
    pattern: Option<Spanned<String>>,
    default: Option<Spanned<toml::Value>>,
}

/// An error in a declaration.
#[derive(Debug)]
pub(super) struct FilterError {
    /// The offset of the value that is wrong; `None` for the declaration as a whole.
    pub(super) offset: Option<usize>,
    pub(super) message: String,
}

impl Filter {
    /// Tells whether another filter has the same declaration.
    pub(super) fn is_same(&self, other: &Filter) -> bool {
        // A pattern has no equality, but shows its text.
        format!("{self:?}") == format!("{other:?}")
    }

    /// Validates a declaration.
    ///
    /// # Errors
    /// Returns every error in it.
    pub(super) fn new(name: &str, settings: FilterSettings) -> Result<Filter, Vec<FilterError>> {
        let kind = settings.kind;
        let whole = |message| FilterError {
            offset: None,
            message,
        };
        let mut errors: Vec<FilterError> = check_name(name).into_iter().map(whole).collect();
        let mut parse = |setting: &str, offset: usize, value: &toml::Value| {
            let parsed = scalar_text(value).and_then(|text| kind.parse(&text));
            let error = |error| FilterError {
                offset: Some(offset),
                message: format!("`{setting}` of filter `{name}`: {error}"),
            };
            parsed.map_err(|message| errors.push(error(message))).ok()
        };
        let mut parse_one = |setting: &str, value: &Option<Spanned<toml::Value>>| {
            let value = value.as_ref()?;
            parse(setting, value.span().start, value.get_ref())
        };
        let (min, max) = (
            parse_one("min", &settings.min),
            parse_one("max", &settings.max),
        );
        let values = settings.values.iter().flat_map(|values| {
            let offset = values.span().start;
            values.get_ref().iter().map(move |value| (offset, value))
        });
        let values = values.filter_map(|(offset, value)| parse("values", offset, value));
        let values: Vec<Value> = values.collect();
        let mut filter = Filter {
            name: name.to_owned(),
            kind,
            description: settings.description,
            required: settings.required,
            instant: settings.instant,
            list: settings.list,
            values,
            min,
            max,
            max_length: settings.max_length.as_ref().map(|length| *length.get_ref()),
            pattern: None,
            default: Vec::new(),
        };
        let default_at = settings.default.as_ref().map(|value| value.span().start);
        let default = match settings.default.map(Spanned::into_inner) {
            Some(toml::Value::Array(values)) => values,
            other => other.into_iter().collect(),
        };
        let default: Vec<String> = default
            .iter()
            .filter_map(|value| parse("default", default_at.unwrap_or_default(), value))
            .map(|value| value.to_string())
            .collect();

        let mut error_at = |offset: Option<usize>, text: String| {
            errors.push(FilterError {
                offset,
                message: format!("filter `{name}`: {text}"),
            });
        };
        let start_of =
            |value: &Option<Spanned<toml::Value>>| value.as_ref().map(|it| it.span().start);
        let min_at = start_of(&settings.min).or_else(|| start_of(&settings.max));
        let pattern_at = settings
            .pattern
            .as_ref()
            .map(|pattern| pattern.span().start);
        let length_at = settings
            .max_length
            .as_ref()
            .map(|length| length.span().start);
        if !kind.is_ordered() && (filter.min.is_some() || filter.max.is_some()) {
            error_at(
                min_at,
                "`min` and `max`: expected type integer, decimal, date or timestamp".into(),
            );
        }
        if filter.instant.is_some() && (kind != FilterType::Date || filter.list) {
            error_at(None, "`instant`: expected type date, and no list".into());
        }
        if let Some(values) = settings.values.filter(|values| values.get_ref().is_empty()) {
            let offset = Some(values.span().start);
            error_at(offset, "`values`: expected at least one value".into());
        }
        if let (Some(min), Some(max)) = (&filter.min, &filter.max)
            && min > max
        {
            error_at(min_at, "`min`: expected at most `max`".into());
        }
        if kind != FilterType::Text && (filter.max_length.is_some() || settings.pattern.is_some()) {
            error_at(
                length_at.or(pattern_at),
                "`max_length` and `pattern`: expected type text".into(),
            );
        }
        if filter.required && !default.is_empty() {
            error_at(
                default_at,
                "`default`: unsupported for a required filter; remove one of them".into(),
            );
        }
        if let Some(pattern) = settings.pattern.map(Spanned::into_inner) {
            // Anchored like the pattern of an HTML input: the whole text must match. Compiled without
            // anchors first: `a)|(?:b` would escape the group and still compile.
            match Regex::new(&pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$"))) {
                Ok(pattern) => filter.pattern = Some(pattern),
                Err(cause) => error_at(pattern_at, format!("`pattern`: {cause}")),
            }
        }
        if !default.is_empty() {
            match filter.check(&default) {
                Ok(checked) => filter.default = checked,
                Err(message) => error_at(default_at, format!("`default`: {message}")),
            }
        }
        if errors.is_empty() {
            Ok(filter)
        } else {
            Err(errors)
        }
    }

    /// Returns whether a value stands for an omitted filter: an empty field of a form, where the filter does not accept
    /// an empty text.
    pub(super) fn is_omitted(&self, text: &str) -> bool {
        text.is_empty() && self.check_one(text).is_err()
    }

    /// Parses and checks the values of a request or a link.
    ///
    /// # Errors
    /// Returns a message for the caller if the number of values is wrong or one is not accepted.
    pub fn check(&self, texts: &[String]) -> Result<Vec<Value>, String> {
        match texts.len() {
            0 => return Err("expected at least one value; omit the filter for none".into()),
            1 => {}
            _ if !self.list => return Err("expected one value, not a list".into()),
            count if count > LIST_VALUES_MAX => {
                return Err(format!("expected at most {LIST_VALUES_MAX} values"));
            }
            _ => {}
        }
        let checked: Result<Vec<Value>, String> =
            texts.iter().map(|text| self.check_one(text)).collect();
        let mut values = checked?;
        // Sorted because the signature does not cover the order.
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        Ok(values)
    }

    /// Returns the type of the values that the SQL gets.
    pub fn bound_type(&self) -> FilterType {
        match self.instant {
            Some(_) => FilterType::Timestamp,
            None => self.kind,
        }
    }

    /// Returns the value that the SQL gets for a checked one, in a file of this time zone.
    pub(super) fn bound(&self, value: Value, time_zone: TimeZone) -> Value {
        match (self.instant, value) {
            (Some(DayInstant::Start), Value::Date(day)) => {
                Value::Timestamp(time_zone.start_of(day))
            }
            // Only the last day of the calendar has no next one.
            (Some(DayInstant::End), Value::Date(day)) => {
                Value::Timestamp(time_zone.start_of(day.succ_opt().unwrap_or(day)))
            }
            (_, value) => value,
        }
    }

    fn check_one(&self, text: &str) -> Result<Value, String> {
        let value = self.kind.parse(text)?;
        if !self.values.is_empty() && !self.values.contains(&value) {
            return Err(format!("expected one of {}", join(&self.values)));
        }
        if let Some(min) = self.min.as_ref().filter(|min| value < **min) {
            return Err(format!("expected {min} or more"));
        }
        if let Some(max) = self.max.as_ref().filter(|max| value > **max) {
            return Err(format!("expected {max} or less"));
        }
        if let Some(length) = self.max_length.filter(|max| text.chars().count() > *max) {
            return Err(format!("expected at most {length} characters"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|it| !it.is_match(text)) {
            return Err(format!("expected text that matches {pattern}"));
        }
        Ok(value)
    }
}

fn join(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(Value::to_string).collect();
    texts.join(", ")
}

fn check_name(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let well_formed = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        errors.push(format!(
            "filter `{name}`: expected a name of 1 to 64 of A-Z a-z 0-9 _, not starting with a digit"
        ));
    }
    if name.starts_with(rowlink_link::RESERVED_PREFIX) {
        errors.push(format!(
            "filter `{name}`: reserved name; expected one without the prefix `rl_`"
        ));
    }
    if ["user", "claim"].contains(&name) {
        errors.push(format!(
            "filter `{name}`: reserved name; `:user` and `:claim.NAME` are set by the link"
        ));
    }
    errors
}

/// Returns the text that a request would send for a TOML scalar.
fn scalar_text(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(value) => Ok(value.to_string()),
        toml::Value::Datetime(datetime) => Ok(datetime.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            Err("expected a string, a number, a boolean or a date".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(toml: &str) -> Result<Filter, Vec<FilterError>> {
        Filter::new("f", toml::from_str(toml).expect("TOML"))
    }

    fn check(toml: &str, texts: &[&str]) -> Result<Vec<String>, String> {
        let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        let values = declare(toml).expect("a filter").check(&texts)?;
        Ok(values.iter().map(Value::to_string).collect())
    }

    #[test]
    fn bounds_choices_lengths_and_patterns_are_enforced() {
        for (toml, good, bad) in [
            ("type='integer'\nmin=1\nmax=9", "9", "10"),
            ("type='decimal'\nmin=0.5", "0.50", "0.49"),
            ("type='date'\nmax=2026-12-31", "2026-12-31", "2027-01-01"),
            ("type='text'\nvalues=['paid','open']", "open", "Open"),
            ("type='text'\nmax_length=2", "äö", "abc"),
            ("type='text'\npattern='[a-z]+|x'", "abc", "abc\nDROP"),
        ] {
            assert!(check(toml, &[good]).is_ok(), "{toml}: {good} was refused");
            assert!(check(toml, &[bad]).is_err(), "{toml}: {bad} was accepted");
        }
    }

    #[test]
    fn only_a_list_accepts_several_values_up_to_the_maximum() {
        let many = vec!["1"; LIST_VALUES_MAX];
        assert!(check("type='integer'", &["1", "2"]).is_err());
        assert!(check("type='integer'\nlist=true", &many).is_ok());
        assert!(check("type='integer'\nlist=true", &[&many[..], &["1"]].concat()).is_err());
        assert!(check("type='integer'\nlist=true", &[]).is_err());
    }

    #[test]
    fn a_default_must_meet_the_rules_of_its_filter() {
        let filter = declare("type='text'\nlist=true\nvalues=['a','b']\ndefault=['a','b']");
        assert_eq!(filter.expect("a filter").default.len(), 2);
        assert!(declare("type='text'\nvalues=['a']\ndefault='c'").is_err());
        assert!(declare("type='text'\ndefault=['a','b']").is_err());
        assert!(declare("type='text'\nrequired=true\ndefault='a'").is_err());
    }

    #[test]
    fn all_errors_of_a_declaration_are_returned() {
        let errors = declare("type='boolean'\nmin=true\npattern='a)|(?:b'\nvalues=['maybe']");
        assert_eq!(errors.expect_err("refused").len(), 4);
        for invalid in [
            "type='integer'\nmin=9\nmax=1",
            "type='text'\nvalues=[]",
            "type='timestamp'\ninstant='start'",
            "type='date'\nlist=true\ninstant='start'",
        ] {
            assert!(declare(invalid).is_err(), "{invalid} was accepted");
        }
        for name in ["rl_user", "user", "claim", "1st", "a-b", ""] {
            let settings = toml::from_str("type='text'").expect("TOML");
            assert!(
                Filter::new(name, settings).is_err(),
                "{name:?} was accepted"
            );
        }
    }

    #[test]
    fn a_day_is_bound_as_an_instant_of_the_file_s_time_zone() {
        let bound = |instant: &str, zone: &str, day: &str| {
            let filter = declare(&format!("type='date'\ninstant='{instant}'")).expect("a filter");
            let value = filter.check(&[day.into()]).expect("a day").remove(0);
            let value = filter.bound(value, zone.parse().expect("a zone"));
            value.to_string()
        };
        for (instant, zone, day, expected) in [
            ("start", "UTC", "2026-01-31", "2026-01-31T00:00:00Z"),
            ("end", "UTC", "2026-01-31", "2026-02-01T00:00:00Z"),
            (
                "start",
                "Europe/Berlin",
                "2026-01-01",
                "2025-12-31T23:00:00Z",
            ),
            ("end", "Europe/Berlin", "2026-03-29", "2026-03-29T22:00:00Z"),
            (
                "end",
                "America/New_York",
                "2026-11-01",
                "2026-11-02T05:00:00Z",
            ),
        ] {
            assert_eq!(bound(instant, zone, day), expected, "{zone}");
        }
    }
}
