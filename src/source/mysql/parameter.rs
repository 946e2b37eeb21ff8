//! Values → parameters of a prepared statement.

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};
use mysql_async::Value as MysqlValue;

use crate::catalog::{
    Argument, BoundQuery, Export, FilterType, Parameter, Statement, Value, Variable,
};

/// Compares byte by byte, also the spaces at the end, whatever the collation of the column: two users never get the
/// same rows. Only MariaDB reads the first comment, and only MySQL the second.
const EXACT: &str = "(? collate /*M!100202 utf8mb4_nopad_bin */ /*!50720 utf8mb4_0900_bin */)";

/// Returns the statement to send, with a `?` per use of a variable or element of a list, and the argument of each `?`.
/// `parameters` are the values, if they are known.
pub(super) fn expand(
    export: &Export,
    statement: &Statement,
    parameters: Option<&[Parameter]>,
) -> (String, Vec<Argument>) {
    let write = |_, variable: &Variable, is_element| written(export, variable, is_element);
    statement.expand_parameters(parameters, write)
}

/// A parameter without a collation, for which MySQL reports the type that it is compared with.
pub(super) const PLAIN: &str = "?";
/// A point of the plane. MariaDB compares it with texts, and refuses to compare it with numbers and dates.
pub(super) const POINT: &str = "point(0, 0)";

/// Returns the statement with a probe in the place of its `number`th parameter.
pub(super) fn expand_with(
    probe: &str,
    export: &Export,
    statement: &Statement,
    number: usize,
) -> String {
    let write = |other, variable: &Variable, is_element| match other == number {
        true => probe.to_owned(),
        false => written(export, variable, is_element),
    };
    statement.expand_parameters(None, write).0
}

fn written(export: &Export, variable: &Variable, is_element: bool) -> String {
    let is_decimal = |name: &String| {
        let mut filters = export.filters.iter();
        filters.any(|filter| {
            filter.name == *name && filter.kind == FilterType::Decimal && filter.list == is_element
        })
    };
    match variable {
        Variable::User | Variable::Claim(_) => EXACT.to_owned(),
        // The protocol has no decimals; the server would compare a text with a decimal as floats.
        Variable::Filter(name) if is_decimal(name) => "cast(? as decimal(65,28))".to_owned(),
        Variable::Filter(_) => "?".to_owned(),
    }
}

/// Returns the values of a sheet's statement, in its order.
pub(super) fn values(query: &BoundQuery, sheet: usize, arguments: &[Argument]) -> Vec<MysqlValue> {
    let parameters = query.parameters(sheet);
    let bound = arguments
        .iter()
        .map(|argument| bind(&argument.value(parameters)));
    bound.collect()
}

/// Converts a parameter. A list becomes a JSON array: the server has no other list type.
fn bind(parameter: &Parameter) -> MysqlValue {
    match parameter {
        Parameter::Null => MysqlValue::NULL,
        Parameter::One(value) => bind_value(value),
        Parameter::List(values) => {
            let items: Vec<serde_json::Value> = values.iter().map(json).collect();
            MysqlValue::from(serde_json::Value::from(items).to_string())
        }
    }
}

fn bind_value(value: &Value) -> MysqlValue {
    match value {
        Value::Integer(number) => MysqlValue::Int(*number),
        Value::Boolean(truth) => MysqlValue::Int(i64::from(*truth)),
        Value::Date(day) => date_time(*day, NaiveDateTime::default()),
        // The session's time zone is UTC.
        Value::Timestamp(instant) => date_time(instant.date_naive(), instant.naive_utc()),
        Value::Text(_) | Value::Decimal(_) | Value::Uuid(_) => MysqlValue::from(value.to_string()),
    }
}

fn date_time(day: NaiveDate, time: NaiveDateTime) -> MysqlValue {
    let number = |value: u32| u8::try_from(value).unwrap_or_default();
    let Ok(year) = u16::try_from(day.year()) else {
        // The server has no years before 0: the zero date sorts before all its dates.
        return MysqlValue::Date(0, 0, 0, 0, 0, 0, 0);
    };
    MysqlValue::Date(
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
