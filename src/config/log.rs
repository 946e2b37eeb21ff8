//! Log settings.

use tracing_subscriber::EnvFilter;

use super::Variables;
use super::errors::ConfigErrors;
use super::http_config::web_url;

/// Log settings.
pub struct Log {
    /// The filter of lines.
    pub filter: EnvFilter,
    /// Whether lines are JSON objects instead of text.
    pub json: bool,
    /// Whether a full log stops the server until it is read, so that no audit line is lost.
    pub audit_waits: bool,
    /// The base URL of an OTLP collector for traces.
    pub otlp_endpoint: Option<String>,
}

impl Log {
    /// Returns the settings of `rowlink demo`: text.
    pub fn for_people() -> Log {
        Log {
            filter: EnvFilter::new(DEFAULT),
            json: false,
            audit_waits: false,
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
    let endpoint = variables.otlp_endpoint.take().map(|text| web_url(&text));
    Some(Log {
        filter: filter?,
        json: json?,
        audit_waits: audit_waits?,
        otlp_endpoint: errors.check("OTLP_ENDPOINT", endpoint.transpose())?,
    })
}

fn filter(text: &str) -> Result<EnvFilter, &'static str> {
    // The filter's parser panics on some non-ASCII text.
    Some(text)
        .filter(|text| text.is_ascii())
        .and_then(|text| EnvFilter::try_new(text).ok())
        .ok_or("expected error, warn, info, debug, trace, or a filter like rowlink=debug")
}
