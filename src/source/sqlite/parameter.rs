//! The values of a statement's parameters.

use rusqlite::types::{ToSqlOutput, Value as SqliteValue};
use rust_decimal::prelude::ToPrimitive as _;

use crate::catalog::{Argument, Parameter, Statement, Value};
use crate::source::spelling::is_identity;

/// Returns the statement in which the user id and the claims are compared byte by byte, also with columns that are
/// declared `collate nocase`, and the argument of each parameter. `parameters` are the values, if they are known.
pub(super) fn exact(
    statement: &Statement,
    parameters: Option<&[Parameter]>,
) -> (String, Vec<Argument>) {
    statement.expand_parameters(parameters, |number, variable, _| {
        match is_identity(variable) {
            true => format!("(?{number} collate binary)"),
            false => format!("?{number}"),
        }
    })
}

/// Converts a parameter. SQLite has neither lists nor dates: a list becomes a JSON array for `json_each`, a date
/// becomes ISO 8601.
pub(super) fn bind(parameter: &Parameter) -> ToSqlOutput<'static> {
    let value = match parameter {
        Parameter::Null => SqliteValue::Null,
        Parameter::One(value) => sqlite_value(value),
        Parameter::List(values) => {
            let items: Vec<serde_json::Value> = values.iter().map(json).collect();
            SqliteValue::Text(serde_json::Value::from(items).to_string())
        }
    };
    ToSqlOutput::Owned(value)
}

fn sqlite_value(value: &Value) -> SqliteValue {
    match value {
        Value::Integer(number) => SqliteValue::Integer(*number),
        Value::Boolean(truth) => SqliteValue::Integer(i64::from(*truth)),
        Value::Decimal(number) => match number.to_i64() {
            Some(whole) if number.is_integer() => SqliteValue::Integer(whole),
            _ => SqliteValue::Real(number.to_f64().unwrap_or(f64::NAN)),
        },
        text => SqliteValue::Text(text.to_string()),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match sqlite_value(value) {
        SqliteValue::Integer(number) => number.into(),
        SqliteValue::Real(number) => number.into(),
        SqliteValue::Text(text) => text.into(),
        SqliteValue::Null | SqliteValue::Blob(_) => serde_json::Value::Null,
    }
}
