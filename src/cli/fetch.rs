//! A download over HTTP that is tried again, and continued if the server has an entity tag for its file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use ureq::http::header::{
    CONNECTION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION,
    RANGE, RETRY_AFTER, TE, TRAILER,
};
use ureq::http::{HeaderMap, HeaderName, Response, StatusCode};
use ureq::{Agent, Body};

use super::receipt::{Receipt, TrailerRecorder};
use crate::http_client::build_download_agent;

/// The longest time without a byte: the query of an exact length runs before the first one.
const IDLE_MAX: Duration = Duration::from_secs(1200);
/// The longest pause before another try.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// From a plain link to a signed one, and from there to the store.
const HOPS_MAX: u32 = 2;
/// The code with which the server refuses a link whose download a person confirms. A `POST` confirms it: the user of
/// this command wants the file.
const CONFIRMATION_REQUIRED: &str = "confirmation-required";
/// Asks for the receipt of the file: RFC 9110, section 10.1.4. `Connection` keeps a proxy from sending it on.
const TRAILERS: &str = "trailers";
/// Bytes per read.
const PIECE_BYTES: usize = 64 * 1024;
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// A download whose first response has begun.
pub(super) struct Fetch {
    tries: Tries,
    response: Response<Body>,
}

/// Sends requests, as often as is allowed.
struct Tries {
    agent: Agent,
    url: String,
    retries: u32,
    /// Tries since the last byte that brought the download further.
    failed: u32,
    trailers: TrailerRecorder,
    /// The receipt of a file to which the server has redirected.
    redirected: Option<Receipt>,
}

/// A file that is complete.
pub(super) struct Complete {
    bytes: u64,
    duration: Duration,
    continued: u32,
    /// From the receipt.
    rows: Option<u64>,
    /// Whether its hash is the one that the server sent.
    pub(super) is_checked: bool,
}

/// Why there is no complete file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The server refuses the request.
    #[error("{0}")]
    Refused(String),
    /// The last of several tries failed.
    #[error("{0}")]
    Broken(String),
    /// The content is not what the server announced.
    #[error(
        "the content does not match its length, `Repr-Digest` or receipt: it was changed in transit"
    )]
    Changed,
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// The part of the file that has arrived.
#[derive(Default)]
struct Arrived {
    bytes: u64,
    hash: Sha256,
    entity_tag: Option<String>,
    /// The length and the hash that the server sent.
    length: Option<u64>,
    sha256: Option<Vec<u8>>,
    receipt: Option<Receipt>,
}

impl Fetch {
    /// Requests the file. It may be tried again `retries` times without progress.
    ///
    /// # Errors
    /// Returns the [`FetchError`] of the last try.
    pub(super) fn begin(url: String, retries: u32) -> Result<Fetch, FetchError> {
        let trailers = TrailerRecorder::default();
        let mut tries = Tries {
            agent: build_download_agent(IDLE_MAX, trailers.clone()),
            url,
            retries,
            failed: 0,
            trailers,
            redirected: None,
        };
        let response = tries.request(&Arrived::default(), &ProgressBar::hidden())?;
        Ok(Fetch { tries, response })
    }

    /// Returns the file name that the server suggests, if any.
    pub(super) fn suggested_name(&self) -> Option<String> {
        file_name(text(self.response.headers(), &CONTENT_DISPOSITION)?)
    }

    /// Writes the file, with a progress bar on standard error if that is wanted.
    ///
    /// # Errors
    /// Returns the [`FetchError`] of the last try.
    pub(super) fn finish(self, mut file: File, is_shown: bool) -> Result<Complete, FetchError> {
        let Fetch {
            mut tries,
            mut response,
        } = self;
        let (begun, bar) = (Instant::now(), progress_bar(is_shown));
        let (mut arrived, mut furthest, mut continued) = (Arrived::default(), 0, 0);
        loop {
            let length = content_length(response.headers());
            if response.status() == StatusCode::PARTIAL_CONTENT {
                arrived.length = length.map(|rest| arrived.bytes + rest).or(arrived.length);
            } else {
                // The first response, or another file.
                arrived = Arrived::of(response.headers());
                arrived.receipt = arrived.receipt.or(tries.redirected);
                truncate(&mut file)?;
            }
            let has_trailers = response.headers().contains_key(TRAILER);
            bar.set_length(arrived.length.unwrap_or(0));
            let Err(error) = copy(response, &mut file, &mut arrived, &bar)? else {
                // A proxy may have removed them.
                if has_trailers && let Some(receipt) = tries.trailers.receipt() {
                    arrived.receipt = Some(receipt);
                }
                break;
            };
            if arrived.bytes > furthest {
                furthest = arrived.bytes;
                tries.failed = 0;
            }
            tries.wait_after(error, None, &bar)?;
            response = tries.request(&arrived, &bar)?;
            continued += u32::from(response.status() == StatusCode::PARTIAL_CONTENT);
        }
        bar.finish_and_clear();
        if arrived.length.is_some_and(|length| length != arrived.bytes) {
            return Err(FetchError::Changed);
        }
        let sha256 = arrived.hash.finalize();
        let is_checked = arrived.sha256.is_some() || arrived.receipt.is_some();
        let of_receipt = arrived.receipt.map(|receipt| receipt.sha256.to_vec());
        let mut sent = arrived.sha256.into_iter().chain(of_receipt);
        if sent.any(|sent| sent != sha256.as_slice()) {
            return Err(FetchError::Changed);
        }
        Ok(Complete {
            bytes: arrived.bytes,
            duration: begun.elapsed(),
            continued,
            rows: arrived.receipt.and_then(|receipt| receipt.rows),
            is_checked,
        })
    }
}

impl Tries {
    /// Requests the file, or the rest of it if the server can tell whether it is the same.
    fn request(
        &mut self,
        arrived: &Arrived,
        bar: &ProgressBar,
    ) -> Result<Response<Body>, FetchError> {
        let mut is_confirmed = false;
        loop {
            let mut response = match self.follow(arrived, is_confirmed) {
                Ok(response) => response,
                // Their text may quote the URL, which holds the signature.
                Err(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => {
                    return Err(FetchError::Refused("the URL is invalid".to_owned()));
                }
                Err(error) => {
                    let error = format!("the server does not answer: {error}");
                    self.wait_after(error, None, bar)?;
                    continue;
                }
            };
            let status = response.status();
            match status {
                StatusCode::OK => return Ok(response),
                StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), arrived.bytes) => {
                    return Ok(response);
                }
                StatusCode::PARTIAL_CONTENT => {
                    let error = "the server sent another part of the file than was asked for";
                    return Err(FetchError::Refused(error.to_owned()));
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let pause = retry_after(response.headers());
                    self.wait_after(problem(&mut response), pause, bar)?;
                }
                status if status.is_server_error() => {
                    self.wait_after(problem(&mut response), None, bar)?;
                }
                StatusCode::FORBIDDEN if !is_confirmed => {
                    let refusal = Refusal::read(&mut response);
                    if refusal.code != CONFIRMATION_REQUIRED {
                        return Err(FetchError::Refused(refusal.text));
                    }
                    is_confirmed = true;
                }
                _ => return Err(FetchError::Refused(problem(&mut response))),
            }
        }
    }

    /// Sends a request, which confirms the download if that is wanted, and follows the redirect to a stored file. It has no
    /// credentials that another server could get.
    fn follow(
        &mut self,
        arrived: &Arrived,
        is_confirmed: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        self.redirected = None;
        let mut url = self.url.clone();
        let mut hops = 0;
        loop {
            let response = match is_confirmed && hops == 0 {
                true => {
                    let request = self.agent.post(&url);
                    request
                        .header(TE, TRAILERS)
                        .header(CONNECTION, "TE")
                        .send_empty()?
                }
                false => {
                    let mut request = self.agent.get(&url);
                    request = request.header(TE, TRAILERS).header(CONNECTION, "TE");
                    let entity_tag = arrived.entity_tag.as_ref();
                    if let Some(entity_tag) = entity_tag.filter(|_| arrived.bytes > 0) {
                        request = request.header(IF_RANGE, entity_tag);
                        request = request.header(RANGE, format!("bytes={}-", arrived.bytes));
                    }
                    request.call()?
                }
            };
            let location = text(response.headers(), &LOCATION).map(str::to_owned);
            match location {
                Some(location) if response.status() == StatusCode::SEE_OTHER && hops < HOPS_MAX => {
                    self.redirected = Receipt::of(response.headers());
                    url = location;
                    hops += 1;
                }
                _ => return Ok(response),
            }
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// Returns [`FetchError::Broken`] if there were enough.
    fn wait_after(
        &mut self,
        error: String,
        pause: Option<Duration>,
        bar: &ProgressBar,
    ) -> Result<(), FetchError> {
        self.failed += 1;
        if self.failed > self.retries {
            return Err(FetchError::Broken(error));
        }
        let pause = pause.unwrap_or(Duration::from_secs(1 << (self.failed - 1).min(6)));
        let pause = pause.min(PAUSE_MAX);
        let (number, of, seconds) = (self.failed, self.retries, pause.as_secs());
        bar.suspend(|| eprintln!("rowlink: {error}; try {number} of {of} in {seconds} s"));
        sleep(pause);
        Ok(())
    }
}

impl Arrived {
    fn of(headers: &HeaderMap) -> Arrived {
        let digest = text(headers, &REPR_DIGEST).and_then(|it| it.strip_prefix("sha-256=:"));
        let digest = digest.and_then(|it| BASE64.decode(it.strip_suffix(':')?).ok());
        Arrived {
            entity_tag: text(headers, &ETAG).map(str::to_owned),
            length: content_length(headers),
            sha256: digest,
            receipt: Receipt::of(headers),
            ..Arrived::default()
        }
    }
}

/// Copies a response to its end; returns the reason if its connection broke before.
///
/// # Errors
/// Returns the error of the file.
fn copy(
    response: Response<Body>,
    file: &mut File,
    arrived: &mut Arrived,
    bar: &ProgressBar,
) -> io::Result<Result<(), String>> {
    let mut body = response.into_body().into_reader();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match body.read(&mut piece) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => count,
            Err(error) => return Ok(Err(format!("the connection broke: {error}"))),
        };
        file.write_all(&piece[..count])?;
        arrived.hash.update(&piece[..count]);
        arrived.bytes += count as u64;
        bar.set_position(arrived.bytes);
    }
}

fn truncate(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0)).map(drop)
}

fn progress_bar(is_shown: bool) -> ProgressBar {
    if !is_shown {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}");
    ProgressBar::new(0).with_style(style.expect("the template has only known keys"))
}

/// A problem document.
struct Refusal {
    /// Empty if the response is no problem document.
    code: String,
    /// What it says, or the status.
    text: String,
}

impl Refusal {
    fn read(response: &mut Response<Body>) -> Refusal {
        let status = response.status();
        let body = response.body_mut().read_to_vec().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = match (problem["title"].as_str(), problem["detail"].as_str()) {
            // Escaped: control characters could change the terminal.
            (Some(title), Some(detail)) => format!("{status}: {title}: {detail}")
                .escape_debug()
                .to_string(),
            _ => format!("the server answered {status}"),
        };
        let code = problem["code"].as_str().unwrap_or_default().to_owned();
        Refusal { code, text }
    }
}

/// Returns what a problem document says, or the status.
pub(super) fn problem(response: &mut Response<Body>) -> String {
    Refusal::read(response).text
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_LENGTH)?.parse().ok()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, &RETRY_AFTER)?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Tells whether a part begins at this byte: `bytes 5-9/10`.
fn starts_at(headers: &HeaderMap, first: u64) -> bool {
    let range = text(headers, &CONTENT_RANGE).and_then(|it| it.strip_prefix("bytes "));
    let start = range.and_then(|range| range.split_once('-'));
    start.is_some_and(|(start, _)| start.parse() == Ok(first))
}

/// Returns the name in `Content-Disposition` (RFC 6266): that of `filename*`, which Rowlink always sends.
fn file_name(disposition: &str) -> Option<String> {
    let (_, encoded) = disposition.split_once("filename*=UTF-8''")?;
    let encoded = encoded.split(';').next()?.trim();
    let name = percent_encoding::percent_decode_str(encoded).decode_utf8();
    name.ok().map(String::from)
}

impl fmt::Display for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, seconds) = (HumanBytes(self.bytes), self.duration.as_secs_f64());
        write!(f, "complete, ")?;
        if let Some(rows) = self.rows {
            write!(f, "{} rows, ", HumanCount(rows))?;
        }
        write!(f, "{bytes}, {seconds:.1} s")?;
        match self.continued {
            0 => Ok(()),
            times => write!(f, ", continued {times} times"),
        }
    }
}
