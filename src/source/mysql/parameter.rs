//! Values → parameters of a prepared statement.

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};
use mysql_async::Value as Bound;

use crate::catalog::{BoundQuery, Export, FilterType, Parameter, Value, Variable};

/// The statement as the server gets it, and the index of the variable of each of its parameters: these are `?`, one for
/// each use.
pub(super) fn statement(export: &Export) -> (String, Vec<usize>) {
    export.statement.expand_parameters(|_, variable| {
        let is_decimal = |name: &String| {
            let mut filters = export.filters.iter();
            filters.any(|filter| {
                filter.name == *name && filter.kind == FilterType::Decimal && !filter.list
            })
        };
        match variable {
            // The protocol has no decimals, and text is compared with one as a float.
            Variable::Filter(name) if is_decimal(name) => "cast(? as decimal(65,28))".to_owned(),
            _ => "?".to_owned(),
        }
    })
}

/// What the parameters of a query are, in their order.
pub(super) fn values(query: &BoundQuery, variables: &[usize]) -> Vec<Bound> {
    let parameters = query.parameters();
    let bound = variables
        .iter()
        .map(|variable| bind(&parameters[*variable]));
    bound.collect()
}

/// A list is a JSON array: there are no others.
fn bind(parameter: &Parameter) -> Bound {
    match parameter {
        Parameter::Null => Bound::NULL,
        Parameter::One(value) => bind_value(value),
        Parameter::List(values) => {
            let items: Vec<serde_json::Value> = values.iter().map(json).collect();
            Bound::from(serde_json::Value::from(items).to_string())
        }
    }
}

fn bind_value(value: &Value) -> Bound {
    match value {
        Value::Integer(number) => Bound::Int(*number),
        Value::Boolean(truth) => Bound::Int(i64::from(*truth)),
        Value::Date(day) => moment(*day, NaiveDateTime::default()),
        // The session's time zone is UTC.
        Value::Timestamp(instant) => moment(instant.date_naive(), instant.naive_utc()),
        Value::Text(_) | Value::Decimal(_) | Value::Uuid(_) => Bound::from(value.to_string()),
    }
}

fn moment(day: NaiveDate, time: NaiveDateTime) -> Bound {
    let number = |value: u32| u8::try_from(value).unwrap_or_default();
    let Ok(year) = u16::try_from(day.year()) else {
        // Before all that the server knows.
        return Bound::Date(0, 0, 0, 0, 0, 0, 0);
    };
    Bound::Date(
        year,
        number(day.month()),
        number(day.day()),
        number(time.hour()),
        number(time.minute()),
        number(time.second()),
        time.nanosecond() % 1_000_000_000 / 1000,
    )
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
        text => text.to_string().into(),
    }
}
