//! Classification of the driver's and the server's errors.

use mysql_async::{DriverError, Error, IoError};

use crate::source::errors::{SourceError, query_error};

/// The driver's message for a packet that exceeds `max_allowed_packet`.
const PACKET_TOO_LARGE: &str = "Packet is larger than max_allowed_packet";

/// Classifies an error of preparing a statement. The statement has no values yet, so the full server message is kept.
/// `sql` is the statement sent, for the error's offset.
pub(super) fn prepare_error(error: &Error, sql: &str) -> SourceError {
    let Error::Server(server) = error else {
        return driver_error(error);
    };
    let message = format!("{} ({}, {})", server.message, server.code, server.state);
    classify_db_error(server.code, message, offset_of(&server.message, sql))
}

/// Codes whose messages name objects of the database and no values: no such table or column, a view that refers to
/// none, no privilege for a table, column, routine or database, no such routine or database, access denied.
const WITHOUT_VALUES: [u16; 10] = [1146, 1054, 1356, 1142, 1143, 1370, 1044, 1305, 1049, 1045];

/// Classifies an error of a running query. The server message may quote a value of the link or of a row. Then only the
/// codes are logged.
pub(super) fn execute_error(error: &Error) -> SourceError {
    let Error::Server(server) = error else {
        return driver_error(error);
    };
    if WITHOUT_VALUES.contains(&server.code) {
        return prepare_error(error, "");
    }
    let message = format!("error {} (SQLSTATE {})", server.code, server.state);
    classify_db_error(server.code, message, None)
}

/// Codes for a value with characters that the character set of a column lacks: illegal mix of collations for one, three
/// and more operands, and the same error of conversion in MariaDB and in MySQL.
const UNKNOWN_CHARACTERS: [u16; 5] = [1267, 1270, 1271, 1977, 3988];

/// Classifies an error of starting a query, which may be due to its values: the statement itself was prepared.
pub(super) fn bind_error(error: &Error) -> SourceError {
    match error {
        Error::Server(server) if UNKNOWN_CHARACTERS.contains(&server.code) => {
            SourceError::BadValue {
                variable: None,
                cause: execute_error(error).into(),
            }
        }
        error => execute_error(error),
    }
}

/// Returns whether the driver refused a packet that exceeds its limit. Its type is not exported.
pub(super) fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::Io(IoError::Io(cause)) if cause.to_string() == PACKET_TOO_LARGE)
}

/// Classifies an error that the driver raised itself: the connection failed, or the statement has unsupported syntax.
fn driver_error(error: &Error) -> SourceError {
    match error {
        Error::Driver(
            DriverError::MixedParams
            | DriverError::Params(_)
            | DriverError::StmtParamsMismatch { .. },
        ) => query_error(
            "unsupported parameter syntax: the driver reads a part of the statement as a parameter; \
             put a space between `'` and operators",
        ),
        error => SourceError::Unavailable(error.to_string().into()),
    }
}

/// Classifies an error code: MySQL's "Server Error Message Reference"; MariaDB's codes are 1900 to 1999.
fn classify_db_error(code: u16, message: String, offset: Option<usize>) -> SourceError {
    match code {
        // The statement's time limit, in MariaDB and in MySQL.
        1969 | 3024 => SourceError::TooSlow,
        // Too many connections or statements, access denied, unknown database, shutdown, not ready, killed, out of
        // memory, locked.
        1040 | 1203 | 1226 | 1044 | 1045 | 1698 | 1049 | 1053 | 1077 | 1317 | 1927 | 1037
        | 1038 | 1041 => SourceError::Unavailable(message.into()),
        _ => SourceError::Query {
            offset,
            cause: message.into(),
        },
    }
}

/// Returns the offset of an error from its line, `… near 'x' at line 2`, or from the name that it quotes,
/// `Table 'shop.orders' doesn't exist`.
fn offset_of(message: &str, sql: &str) -> Option<usize> {
    if let Some((_, line)) = message.rsplit_once(" at line ") {
        let line: usize = line.parse().ok()?;
        let starts = sql.match_indices('\n').map(|(offset, _)| offset + 1);
        return std::iter::once(0).chain(starts).nth(line.checked_sub(1)?);
    }
    let name = message.split('\'').nth(1)?;
    sql.find(name.rsplit('.').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::offset_of;

    #[test]
    fn an_error_is_located_by_its_line_or_its_name() {
        let sql = "select 1,\n  x frm t\nwhere";
        assert_eq!(offset_of("near 'frm' at line 2", sql), Some(10));
        assert_eq!(offset_of("near '' at line 1", sql), Some(0));
        assert_eq!(offset_of("near '' at line 9", sql), None);
        assert_eq!(offset_of("Unknown column 'x' in 'SELECT'", sql), Some(12));
        assert_eq!(offset_of("Table 'shop.t' doesn't exist", sql), Some(5));
        assert_eq!(offset_of("Unknown column 'y' in 'SELECT'", sql), None);
        assert_eq!(offset_of("No database selected", sql), None);
    }
}
