//! Classification of the driver's and the server's errors.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::types::Type;

use crate::catalog::Variable;
use crate::row::Column;
use crate::source::errors::{SourceError, causes};

/// Classifies an error of preparing a statement. The statement has no values yet, so the full server message is kept.
/// `sql` is the statement sent, for the error's offset.
pub(super) fn prepare_error(error: &Error, sql: &str) -> SourceError {
    let Some(db_error) = error.as_db_error() else {
        return SourceError::Unavailable(causes(error).into());
    };
    let mut message = format!("{} ({})", db_error.message(), db_error.code().code());
    for more in [db_error.detail(), db_error.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(more);
    }
    classify_db_error(db_error, message, sql)
}

/// Codes whose messages name objects of the database and no values: undefined tables, columns, functions and other
/// objects, a mismatch of types, no privilege, no such database or schema, failed authentication. Others of class 42 may
/// quote values: `to_tsquery` raises 42601.
const WITHOUT_VALUES: [&str; 9] = [
    "42P01", "42703", "42883", "42704", "42804", "42501", "3D000", "3F000", "28",
];

/// Classifies an error of a running query. The server message may quote a value of the link or of a row. Then only the
/// code and the name of the server function that raised the error are logged.
pub(super) fn execute_error(error: &Error) -> SourceError {
    let Some(db_error) = error.as_db_error() else {
        return SourceError::Unavailable(causes(error).into());
    };
    let code = db_error.code().code();
    if WITHOUT_VALUES.iter().any(|start| code.starts_with(start)) {
        let message = format!("{} ({code})", db_error.message());
        return classify_db_error(db_error, message, "");
    }
    let routine = db_error.routine().unwrap_or("the server");
    let message = format!("SQLSTATE {code}, raised by {routine}");
    classify_db_error(db_error, message, "")
}

/// Classifies an error of binding a query's parameters. Before the first row, a data exception (class 22 of the SQL
/// standard) means that a text is not valid for the type of its parameter.
///
/// Without a filter it is an error of the statement itself, such as a division by zero, unless the server names the
/// parameter.
pub(super) fn bind_error(
    error: &Error,
    parameters: &[(Type, usize)],
    variables: &[Variable],
) -> SourceError {
    let data_exception = error
        .as_db_error()
        .filter(|db_error| db_error.code().code().starts_with("22"));
    let Some(db_error) = data_exception else {
        return execute_error(error);
    };
    let parameter = db_error.where_().and_then(parameter_index);
    let parameter = parameter.and_then(|index| parameters.get(index));
    let is_filter = |variable: &Variable| matches!(variable, Variable::Filter(_));
    if parameter.is_none() && !variables.iter().any(is_filter) {
        return execute_error(error);
    }
    SourceError::BadValue {
        variable: parameter.map(|(_, variable)| variables[*variable].clone()),
        cause: execute_error(error).into(),
    }
}

/// Classifies an error of the settings. They hold the user id and the claims, which another encoding than UTF-8 may lack.
pub(super) fn settings_error(error: &Error, variables: &[Variable]) -> SourceError {
    if error.code() != Some(&SqlState::UNTRANSLATABLE_CHARACTER) {
        return execute_error(error);
    }
    SourceError::BadValue {
        variable: variables
            .contains(&Variable::User)
            .then_some(Variable::User),
        cause: execute_error(error).into(),
    }
}

/// Returns the error for a value that is not in the format of its column's type.
pub(super) fn decode_error(row: u64, column: &Column) -> SourceError {
    SourceError::InvalidValue {
        row,
        column: column.name.clone(),
    }
}

/// Parses the index of the parameter in a server message such as `… parameter $2`, in any language.
pub(super) fn parameter_index(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once('$')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let number: usize = rest[..end].parse().ok()?;
    number.checked_sub(1)
}

fn classify_db_error(db_error: &DbError, message: String, sql: &str) -> SourceError {
    let code = db_error.code();
    if *code == SqlState::QUERY_CANCELED {
        return SourceError::TooSlow;
    }
    // Connection exceptions, insufficient resources, shutdown, failed authentication, unknown database.
    let unavailable = ["08", "53", "57P", "28", "3D"];
    if unavailable
        .iter()
        .any(|class| code.code().starts_with(class))
    {
        return SourceError::Unavailable(message.into());
    }
    let offset = match db_error.position() {
        // The server counts characters, from 1.
        Some(ErrorPosition::Original(position)) => {
            let before = sql.chars().take((*position as usize).saturating_sub(1));
            Some(before.map(char::len_utf8).sum())
        }
        _ => None,
    };
    SourceError::Query {
        offset,
        cause: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::parameter_index;

    #[test]
    fn the_parameter_in_a_server_message_is_found() {
        assert_eq!(
            parameter_index("could not determine data type of parameter $12"),
            Some(11)
        );
        assert_eq!(
            parameter_index("unnamed portal parameter $1 = 'x$3'"),
            Some(0)
        );
        assert_eq!(parameter_index("no parameter"), None);
        assert_eq!(parameter_index("$0"), None);
    }
}
