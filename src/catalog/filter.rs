//! A filter: what values a caller may give for it.

use std::cmp::Ordering;
use std::fmt;

use chrono::{DateTime, Datelike as _, NaiveDate, SecondsFormat, Utc};
use regex::Regex;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A list filter takes at most this many values.
pub const LIST_VALUES_MAX: usize = 100;

/// The type of a filter's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterType {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// An exact decimal number of up to 28 digits.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// A day, `2026-01-31`.
    Date,
    /// An instant with its offset, RFC 3339.
    Timestamp,
    /// A UUID.
    Uuid,
}

impl FilterType {
    fn is_ordered(self) -> bool {
        matches!(
            self,
            FilterType::Integer | FilterType::Decimal | FilterType::Date | FilterType::Timestamp
        )
    }

    fn expected(self) -> &'static str {
        match self {
            FilterType::Text => "a text without a NUL character",
            FilterType::Integer => "a whole number of at most 64 bits",
            FilterType::Decimal => "a decimal number of at most 28 digits, like -12.50",
            FilterType::Boolean => "true or false",
            FilterType::Date => "a date like 2026-01-31",
            FilterType::Timestamp => "an instant with its offset, like 2026-01-31T09:30:00Z",
            FilterType::Uuid => "a UUID like 0198c2f4-6f3a-7cc1-9b2e-0242ac120002",
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let value = match self {
            FilterType::Text => (!text.contains('\0')).then(|| Value::Text(text.to_owned())),
            FilterType::Integer => text.parse().ok().map(Value::Integer),
            FilterType::Decimal => parse_decimal(text).map(Value::Decimal),
            FilterType::Boolean => text.parse().ok().map(Value::Boolean),
            FilterType::Date => parse_date(text).map(Value::Date),
            FilterType::Timestamp => parse_timestamp(text).map(Value::Timestamp),
            FilterType::Uuid => Uuid::try_parse(text).ok().map(Value::Uuid),
        };
        value.ok_or_else(|| format!("expected {}", self.expected()))
    }
}

/// Digits with an optional sign and fraction; no exponent, which could name a huge number cheaply.
fn parse_decimal(text: &str) -> Option<Decimal> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    plain
        .then(|| Decimal::from_str_exact(text).ok())
        .flatten()
        .map(|decimal| decimal.normalize())
}

/// `YYYY-MM-DD` and nothing looser: `2026-1-5` means two days in two countries.
fn parse_date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    ((1..=9999).contains(&date.year()) && date.to_string() == text).then_some(date)
}

fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (1..=9999).contains(&instant.year()).then_some(instant)
}

/// A checked value, as it is bound.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// Any text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// A truth value.
    Boolean(bool),
    /// A day.
    Date(NaiveDate),
    /// An instant.
    Timestamp(DateTime<Utc>),
    /// A UUID.
    Uuid(Uuid),
}

/// The one spelling that a value has in a link, so that equal requests give equal links.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Integer(number) => number.fmt(f),
            Value::Decimal(number) => number.fmt(f),
            Value::Boolean(truth) => truth.fmt(f),
            Value::Date(date) => date.fmt(f),
            Value::Timestamp(instant) => {
                f.write_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
            Value::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// What a filter accepts.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Its name in requests, links and, after a colon, in SQL.
    pub name: String,
    /// The type of its values.
    pub kind: FilterType,
    /// What it means, for people.
    pub description: Option<String>,
    /// Whether a request must give it.
    pub required: bool,
    /// Whether it takes several values.
    pub list: bool,
    /// The only values it takes, or empty for any.
    pub values: Vec<Value>,
    /// The smallest value it takes.
    pub min: Option<Value>,
    /// The largest value it takes.
    pub max: Option<Value>,
    /// How many characters a text may have.
    pub max_length: Option<usize>,
    /// What a whole text must match.
    pub pattern: Option<Regex>,
    /// What it is when a request leaves it out.
    pub default: Vec<Value>,
}

/// A filter as it is declared. Values are any TOML scalar.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterSettings {
    #[serde(rename = "type")]
    kind: FilterType,
    description: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    list: bool,
    values: Option<Vec<toml::Value>>,
    min: Option<toml::Value>,
    max: Option<toml::Value>,
    max_length: Option<usize>,
    pattern: Option<String>,
    default: Option<toml::Value>,
}

impl Filter {
    /// Checks a declaration.
    ///
    /// # Errors
    /// Every fault in it, as text.
    pub(super) fn declare(name: &str, settings: FilterSettings) -> Result<Filter, Vec<String>> {
        let kind = settings.kind;
        let mut errors = check_name(name);
        let mut parse = |setting: &str, value: &toml::Value| {
            let parsed = scalar(value).and_then(|text| kind.parse(&text));
            parsed
                .map_err(|error| errors.push(format!("`{setting}` of filter `{name}`: {error}")))
                .ok()
        };
        let no_values = settings.values.as_ref().is_some_and(Vec::is_empty);
        let values = settings.values.iter().flatten();
        let mut filter = Filter {
            name: name.to_owned(),
            kind,
            description: settings.description,
            required: settings.required,
            list: settings.list,
            values: values.filter_map(|value| parse("values", value)).collect(),
            min: settings.min.as_ref().and_then(|value| parse("min", value)),
            max: settings.max.as_ref().and_then(|value| parse("max", value)),
            max_length: settings.max_length,
            pattern: None,
            default: Vec::new(),
        };
        let default = match settings.default {
            Some(toml::Value::Array(values)) => values,
            other => other.into_iter().collect(),
        };
        let default: Vec<String> = default
            .iter()
            .filter_map(|value| parse("default", value))
            .map(|value| value.to_string())
            .collect();

        let mut error = |text: String| errors.push(format!("filter `{name}`: {text}"));
        if !kind.is_ordered() && (filter.min.is_some() || filter.max.is_some()) {
            error("`min` and `max` need a number, a date or a timestamp".into());
        }
        if no_values {
            error("`values` is empty: no value would be accepted".into());
        }
        if let (Some(min), Some(max)) = (&filter.min, &filter.max)
            && min > max
        {
            error("`min` is more than `max`".into());
        }
        if kind != FilterType::Text && (filter.max_length.is_some() || settings.pattern.is_some()) {
            error("`max_length` and `pattern` need the type text".into());
        }
        if filter.required && !default.is_empty() {
            error("a required filter has no use for a `default`".into());
        }
        if let Some(pattern) = settings.pattern {
            // Anchored, as the pattern of an HTML input is: a caller must not smuggle text around it.
            // Alone first: `a)|(?:b` would escape the anchors and still compile with them.
            match Regex::new(&pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$"))) {
                Ok(pattern) => filter.pattern = Some(pattern),
                Err(cause) => error(format!("`pattern`: {cause}")),
            }
        }
        if !default.is_empty() {
            match filter.check(&default) {
                Ok(checked) => filter.default = checked,
                Err(message) => error(format!("`default`: {message}")),
            }
        }
        if errors.is_empty() {
            Ok(filter)
        } else {
            Err(errors)
        }
    }

    /// Checks the values that a request or a link gives.
    ///
    /// # Errors
    /// What is wrong, as text for the caller.
    pub fn check(&self, texts: &[String]) -> Result<Vec<Value>, String> {
        match texts.len() {
            0 => return Err("expected at least one value; leave the filter out for none".into()),
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
        // The signature does not cover their order, so it must not matter.
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        Ok(values)
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
            return Err(format!("expected a text that matches {pattern}"));
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
            "filter `{name}`: a name is letters, digits and `_`, at most 64, not starting with a digit"
        ));
    }
    if name.starts_with(rowlink_link::RESERVED_PREFIX) {
        errors.push(format!("filter `{name}`: names in `rl_` are reserved"));
    }
    if ["user", "claim"].contains(&name) {
        errors.push(format!(
            "filter `{name}`: `:user` and `:claim.NAME` come from the link"
        ));
    }
    errors
}

/// A TOML scalar as the text a caller would send for it.
fn scalar(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Float(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        toml::Value::Datetime(datetime) => Ok(datetime.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => Err("expected a single value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(toml: &str) -> Result<Filter, Vec<String>> {
        Filter::declare("f", toml::from_str(toml).expect("TOML"))
    }

    fn check(toml: &str, texts: &[&str]) -> Result<Vec<String>, String> {
        let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        let values = declare(toml).expect("a filter").check(&texts)?;
        Ok(values.iter().map(Value::to_string).collect())
    }

    #[test]
    fn each_type_accepts_its_values_and_spells_them_one_way() {
        for (kind, given, spelled) in [
            ("text", "", ""),
            ("text", "  ' OR 1=1 --", "  ' OR 1=1 --"),
            ("integer", "-9223372036854775808", "-9223372036854775808"),
            ("integer", "007", "7"),
            ("decimal", "12.50", "12.5"),
            ("decimal", "-0.1", "-0.1"),
            ("boolean", "true", "true"),
            ("date", "2024-02-29", "2024-02-29"),
            (
                "timestamp",
                "2026-01-01T01:00:00+01:00",
                "2026-01-01T00:00:00Z",
            ),
            (
                "timestamp",
                "2026-01-01T00:00:00.250Z",
                "2026-01-01T00:00:00.250Z",
            ),
            (
                "uuid",
                "0198C2F4-6F3A-7CC1-9B2E-0242AC120002",
                "0198c2f4-6f3a-7cc1-9b2e-0242ac120002",
            ),
        ] {
            let checked = check(&format!("type = '{kind}'"), &[given]);
            assert_eq!(checked, Ok(vec![spelled.to_owned()]), "{kind} {given:?}");
        }
    }

    #[test]
    fn each_type_refuses_what_is_not_of_it() {
        for (kind, given) in [
            ("text", "a\0b"),
            ("integer", "1.0"),
            ("integer", "9223372036854775808"),
            ("integer", " 1"),
            ("integer", "٣"),
            ("decimal", "1e5"),
            ("decimal", "NaN"),
            ("decimal", "0.00000000000000000000000000001"),
            ("decimal", ""),
            ("boolean", "TRUE"),
            ("boolean", "1"),
            ("date", "2026-02-29"),
            ("date", "2026-1-5"),
            ("date", "26-01-05"),
            ("date", "10000-01-01"),
            ("date", "2026-01-31T00:00:00Z"),
            ("timestamp", "2026-01-01T00:00:00"),
            ("timestamp", "2026-01-01"),
            ("uuid", "0198c2f4"),
        ] {
            let refusal = check(&format!("type = '{kind}'"), &[given]);
            assert!(refusal.is_err(), "{kind} {given:?} was accepted");
        }
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
    fn only_a_list_takes_several_values_and_not_too_many() {
        let many = vec!["1"; LIST_VALUES_MAX];
        assert!(check("type='integer'", &["1", "2"]).is_err());
        assert!(check("type='integer'\nlist=true", &many).is_ok());
        assert!(check("type='integer'\nlist=true", &[&many[..], &["1"]].concat()).is_err());
        assert!(check("type='integer'\nlist=true", &[]).is_err());
    }

    #[test]
    fn a_default_follows_the_filters_own_rules() {
        let filter = declare("type='text'\nlist=true\nvalues=['a','b']\ndefault=['a','b']");
        assert_eq!(filter.expect("a filter").default.len(), 2);
        assert!(declare("type='text'\nvalues=['a']\ndefault='c'").is_err());
        assert!(declare("type='text'\ndefault=['a','b']").is_err());
        assert!(declare("type='text'\nrequired=true\ndefault='a'").is_err());
    }

    #[test]
    fn declarations_that_make_no_sense_are_refused_all_at_once() {
        let errors = declare("type='boolean'\nmin=true\npattern='a)|(?:b'\nvalues=['maybe']");
        assert_eq!(errors.expect_err("refused").len(), 4);
        for nonsense in ["type='integer'\nmin=9\nmax=1", "type='text'\nvalues=[]"] {
            assert!(declare(nonsense).is_err(), "{nonsense} was accepted");
        }
        for name in ["rl_user", "user", "claim", "1st", "a-b", ""] {
            let settings = toml::from_str("type='text'").expect("TOML");
            assert!(
                Filter::declare(name, settings).is_err(),
                "{name:?} was accepted"
            );
        }
    }
}
