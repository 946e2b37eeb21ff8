//! The types of filter values, and their one spelling in a link.

use std::fmt;

use chrono::{DateTime, Datelike as _, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The type of a filter's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilterType {
    /// Text without a NUL character.
    Text,
    /// A signed 64-bit integer.
    Integer,
    /// An exact decimal number of up to 28 digits.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// A date, `2026-01-31`.
    Date,
    /// A timestamp with a UTC offset (RFC 3339).
    Timestamp,
    /// A UUID.
    Uuid,
}

impl FilterType {
    pub(super) fn is_ordered(self) -> bool {
        matches!(
            self,
            FilterType::Integer | FilterType::Decimal | FilterType::Date | FilterType::Timestamp
        )
    }

    fn expected(self) -> &'static str {
        match self {
            FilterType::Text => "text without a NUL character",
            FilterType::Integer => "a 64-bit integer",
            FilterType::Decimal => "a decimal number of at most 28 digits, like -12.50",
            FilterType::Boolean => "true or false",
            FilterType::Date => "a date like 2026-01-31",
            FilterType::Timestamp => "a timestamp with a UTC offset, like 2026-01-31T09:30:00Z",
            FilterType::Uuid => "a UUID like 0198c2f4-6f3a-7cc1-9b2e-0242ac120002",
        }
    }

    /// Parses one value.
    ///
    /// # Errors
    /// Returns what was expected if the text is not of this type.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let value = match self {
            FilterType::Text => (!text.contains('\0')).then(|| Value::Text(text.to_owned())),
            FilterType::Integer => without_zero_places(text).parse().ok().map(Value::Integer),
            FilterType::Decimal => parse_decimal(text).map(Value::Decimal),
            FilterType::Boolean => text.parse().ok().map(Value::Boolean),
            FilterType::Date => parse_date(text).map(Value::Date),
            FilterType::Timestamp => parse_timestamp(text).map(Value::Timestamp),
            FilterType::Uuid => Uuid::try_parse(text).ok().map(Value::Uuid),
        };
        value.ok_or_else(|| format!("expected {}", self.expected()))
    }
}

/// Removes decimal places that are zero: languages without integers write `60.0`.
fn without_zero_places(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, places)) if !places.is_empty() && places.bytes().all(|it| it == b'0') => whole,
        _ => text,
    }
}

/// Parses digits with an optional sign and fraction. Exponents are rejected: a short text could name
/// a huge number.
fn parse_decimal(text: &str) -> Option<Decimal> {
    let has_no_exponent = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    has_no_exponent
        .then(|| Decimal::from_str_exact(text).ok())
        .flatten()
        .map(|decimal| decimal.normalize())
}

/// Parses exactly `YYYY-MM-DD`: `2026-1-5` is ambiguous between countries.
fn parse_date(text: &str) -> Option<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    ((1..=9999).contains(&date.year()) && date.to_string() == text).then_some(date)
}

fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (1..=9999).contains(&instant.year()).then_some(instant)
}

/// A parsed value, ready to bind.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Value {
    /// Text without a NUL character.
    Text(String),
    /// A signed 64-bit integer.
    Integer(i64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// `true` or `false`.
    Boolean(bool),
    /// A date.
    Date(NaiveDate),
    /// A timestamp in UTC.
    Timestamp(DateTime<Utc>),
    /// A UUID.
    Uuid(Uuid),
}

/// Writes the only spelling of a value in a link, so that equal requests give equal links.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Integer(number) => number.fmt(f),
            Value::Decimal(number) => number.fmt(f),
            Value::Boolean(value) => value.fmt(f),
            Value::Date(date) => date.fmt(f),
            Value::Timestamp(instant) => {
                f.write_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
            Value::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, text: &str) -> Result<Value, String> {
        let kind: FilterType = serde_json::from_value(kind.into()).expect("a type");
        kind.parse(text)
    }

    #[test]
    fn each_type_accepts_its_values_and_spells_them_one_way() {
        for (kind, given, spelled) in [
            ("text", "", ""),
            ("text", "  ' OR 1=1 --", "  ' OR 1=1 --"),
            ("integer", "-9223372036854775808", "-9223372036854775808"),
            ("integer", "007", "7"),
            ("integer", "-60.00", "-60"),
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
            let parsed = parse(kind, given).map(|value| value.to_string());
            assert_eq!(parsed, Ok(spelled.to_owned()), "{kind} {given:?}");
        }
    }

    #[test]
    fn each_type_rejects_other_values() {
        for (kind, given) in [
            ("text", "a\0b"),
            ("integer", "1.5"),
            ("integer", "1."),
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
            assert!(parse(kind, given).is_err(), "{kind} {given:?} was accepted");
        }
    }
}
