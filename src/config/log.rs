//! What to log, and how.

use tracing_subscriber::EnvFilter;

use super::Variables;
use super::errors::ConfigErrors;
use super::http_config::web_url;

/// What to log, and how.
pub struct Log {
    /// Which lines.
    pub filter: EnvFilter,
    /// JSON objects, a line each, instead of text for people.
    pub json: bool,
    /// Where traces go, if anywhere: the base URL of an OTLP collector.
    pub otlp_endpoint: Option<String>,
}

impl Log {
    /// What `rowlink demo` logs: text for people.
    pub fn for_people() -> Log {
        Log {
            filter: EnvFilter::new(DEFAULT),
            json: false,
            otlp_endpoint: None,
        }
    }
}

/// The framework's own line for a broken body repeats ours without saying which download. The
/// driver repeats every notice that the database gives.
const DEFAULT: &str = "info,actix_server=warn,actix_http=off,tokio_postgres=warn";

pub(super) fn log(variables: &mut Variables, errors: &mut ConfigErrors) -> Option<Log> {
    let filter = errors.check("LOG", filter(variables.log.as_deref().unwrap_or(DEFAULT)));
    let json = match variables.log_format.as_deref() {
        None | Some("text") => Ok(false),
        Some("json") => Ok(true),
        Some(_) => Err("expected text or json"),
    };
    let json = errors.check("LOG_FORMAT", json);
    let endpoint = variables.otlp_endpoint.take().map(|text| web_url(&text));
    Some(Log {
        filter: filter?,
        json: json?,
        otlp_endpoint: errors.check("OTLP_ENDPOINT", endpoint.transpose())?,
    })
}

fn filter(text: &str) -> Result<EnvFilter, &'static str> {
    // The filter's own parser panics on some text that is not ASCII.
    Some(text)
        .filter(|text| text.is_ascii())
        .and_then(|text| EnvFilter::try_new(text).ok())
        .ok_or("expected error, warn, info, debug, trace, or a filter like rowlink=debug")
}
