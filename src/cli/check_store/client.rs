//! Requests without credentials, as browsers send them.

use std::fmt;
use std::io::{self, Read as _};
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use ureq::{Agent, Body};

use super::report::Problem;
use crate::cli::system_clock;
use crate::http::Clock;
use crate::http_client::build_agent;
use crate::store::error_code;

/// The longest time of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of a response, in bytes. The probe is smaller, and so are errors.
const BODY_MAX: u64 = 64 * 1024;

/// Sends requests.
pub(super) struct Client {
    agent: Agent,
    clock: Clock,
}

/// A response.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// When its request was sent, in Unix seconds.
    pub(super) sent: u64,
    /// When it had arrived, in Unix seconds.
    pub(super) received: u64,
}

impl Client {
    pub(super) fn new() -> Client {
        Client {
            agent: build_agent(TIMEOUT),
            clock: system_clock(),
        }
    }

    /// Sends a request. Blocks until its response is complete.
    ///
    /// # Errors
    /// Returns a [`Problem`] without the URL, which holds a signature.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, &str)],
    ) -> Result<Answer, Problem> {
        let request = Request::builder().method(method).uri(url);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(name, *value)
        });
        let sent = (self.clock)();
        let request = request.body(()).map_err(ureq::Error::from);
        let response = request.and_then(|request| self.agent.run(request));
        let (head, body) = response.map_err(|error| no_answer(&error))?.into_parts();
        let body = read(body).map_err(|error| no_answer(&error.into()))?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            sent,
            received: (self.clock)(),
        })
    }
}

impl Answer {
    /// Returns the text of a header.
    pub(super) fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Tells whether a header that is a list has this entry. Case does not count.
    pub(super) fn lists(&self, name: &HeaderName, entry: &str) -> bool {
        let lines = self.headers.get_all(name).into_iter();
        let texts = lines.filter_map(|line| line.to_str().ok());
        let mut entries = texts.flat_map(|text| text.split(',').map(str::trim));
        entries.any(|listed| listed.eq_ignore_ascii_case(entry))
    }
}

/// Writes the status, and the code of a store's error.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        let body = str::from_utf8(&self.body).ok();
        match body.and_then(error_code) {
            Some(code) => write!(f, " {code}"),
            None => Ok(()),
        }
    }
}

fn read(body: Body) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    body.into_reader()
        .take(BODY_MAX)
        .read_to_end(&mut content)
        .map(|_| content)
}

fn no_answer(error: &ureq::Error) -> Problem {
    Problem::Failed(match error {
        // Their text may quote the URL.
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "the URL is invalid".to_owned(),
        error => format!("the store does not answer: {error}"),
    })
}
