//! Log settings.

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::Variables;
use super::errors::ConfigErrors;
use super::http_config::web_url;
use crate::audit_values::AuditRecipient;
use crate::http::AUDIT_TARGET;

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditLog {
    /// To standard error, with the other lines.
    WithOthers,
    /// To standard output.
    StandardOutput,
    /// To the end of a file, which is created if it is missing.
    File(PathBuf),
}

/// Log settings.
pub struct Log {
    /// The filter of lines.
    pub filter: EnvFilter,
    /// Whether lines are JSON objects instead of text.
    pub json: bool,
    /// Where audit lines go.
    pub audit_log: AuditLog,
    /// Whether a full log stops the server until it is read, so that no audit line is lost.
    pub audit_waits: bool,
    /// The public key that audit lines encrypt the values of filters to; without it they have no values.
    pub audit_recipient: Option<AuditRecipient>,
    /// The base URL of an OTLP collector for traces.
    pub otlp_endpoint: Option<String>,
}

impl Log {
    /// Returns the settings of `rowlink demo`: text.
    pub fn for_people() -> Log {
        Log {
            filter: EnvFilter::new(DEFAULT),
            json: false,
            audit_log: AuditLog::WithOthers,
            audit_waits: false,
            audit_recipient: None,
            otlp_endpoint: None,
        }
    }
}

/// The framework's line for an aborted body repeats Rowlink's without naming the download. The driver
/// logs every notice of the database.
const DEFAULT: &str = "info,actix_server=warn,actix_http=off,tokio_postgres=warn";

pub(super) fn log(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Log> {
    let filter = errors.check("LOG", filter(variables.log.as_deref().unwrap_or(DEFAULT)));
    let json = match variables.log_format.as_deref() {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err("expected text or json"),
    };
    let json = errors.check("LOG_FORMAT", json);
    let audit_waits = match variables.log_full.as_deref() {
        None | Some("lose") => Ok(false),
        Some("wait") => Ok(true),
        Some(_) => Err("expected lose or wait"),
    };
    let audit_waits = errors.check("LOG_FULL", audit_waits);
    let audit_log = errors.check("AUDIT_LOG", audit_log(variables.audit_log.as_deref()));
    let recipient = variables.audit_recipient.as_deref();
    let recipient = recipient.map(AuditRecipient::parse).transpose();
    let audit_recipient = errors.check("AUDIT_RECIPIENT", recipient);
    let endpoint = variables.otlp_endpoint.take().map(|text| web_url(&text));
    Some(Log {
        filter: filter?,
        json: json?,
        audit_log: audit_log?,
        audit_waits: audit_waits?,
        audit_recipient: audit_recipient?,
        otlp_endpoint: errors.check("OTLP_ENDPOINT", endpoint.transpose())?,
    })
}

/// Parses a filter. Audit lines stay unless it names them.
fn filter(text: &str) -> Result<EnvFilter, &'static str> {
    // A word alone would be a target, at which nothing logs.
    let is_level = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    let all = match text.contains(AUDIT_TARGET) {
        true => text.to_owned(),
        false => format!("{text},{AUDIT_TARGET}=info"),
    };
    // The filter's parser panics on some non-ASCII text.
    Some(all)
        .filter(|_| text.is_ascii() && text.split(',').all(is_level))
        .and_then(|all| EnvFilter::try_new(all).ok())
        .ok_or(
            "expected error, warn, info, debug, trace, off, or a filter such as warn,rowlink=debug",
        )
}

/// Parses where audit lines go.
fn audit_log(text: Option<&str>) -> Result<AuditLog, &'static str> {
    match text {
        None => Ok(AuditLog::WithOthers),
        Some("stdout") => Ok(AuditLog::StandardOutput),
        Some(path) if path.starts_with('/') => Ok(AuditLog::File(path.into())),
        Some(_) => Err("expected stdout, or the absolute path of a file"),
    }
}
