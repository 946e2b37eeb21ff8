//! What anyone with a presigned URL can do, and nothing else.

use ureq::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, ORIGIN, RANGE,
};
use ureq::http::{HeaderName, Method, StatusCode};

use super::client::{Answer, Client};
use super::report::{Problem, Report, StepResult};
use super::{clock, cors};
use crate::store::{CACHE_OVERRIDE, MediaHeaders};

/// The parameters of a URL that hold its signature: of S3, of Google and of Azure.
const SIGNATURES: [&str; 3] = ["X-Amz-Signature=", "X-Goog-Signature=", "sig="];
/// What browsers send as their origin after a redirect from another origin.
const OPAQUE_ORIGIN: &str = "null";

/// A presigned URL of the probe, and what it must lead to.
pub(super) struct Presigned<'p> {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) content: &'p [u8],
    pub(super) headers: MediaHeaders,
    /// Whether the URL decides `Cache-Control` too.
    pub(super) has_cache_override: bool,
}

impl Presigned<'_> {
    /// Runs the steps. Blocks until they are done.
    pub(super) fn check(&self, page_origins: &[String], report: &mut Report) {
        let answer = self.get(&[]);
        let is_readable = answer.as_ref().is_ok_and(|answer| self.is_whole(answer));
        let clock = answer.as_ref().ok().map(clock::check);
        report.add("presigned URL", answer.and_then(|it| self.judge(&it)));
        if is_readable {
            report.add("changed signature", self.changed_signature());
            report.add("public access", self.public_access());
            report.add("range", self.range());
            report.add("range of another file", self.range_of_another_file());
            let page_origins = page_origins.iter().map(String::as_str);
            for origin in [OPAQUE_ORIGIN].into_iter().chain(page_origins) {
                report.add(format!("CORS for {origin}"), self.cors(origin));
            }
        } else {
            let steps = "signature, public access, ranges, CORS";
            report.add(steps, skipped("they need a presigned URL that works"));
        }
        let no_answer = || skipped("it needs an answer of the store");
        report.add("clock", clock.unwrap_or_else(no_answer));
    }

    fn get(&self, headers: &[(HeaderName, &str)]) -> Result<Answer, Problem> {
        self.client.send(Method::GET, &self.url, headers)
    }

    fn is_whole(&self, answer: &Answer) -> bool {
        answer.status == StatusCode::OK && answer.body == self.content
    }

    fn judge(&self, answer: &Answer) -> StepResult {
        if answer.status != StatusCode::OK {
            return failed(format!(
                "a GET is answered {answer}; check the permission to read objects, the region, the key and the clock"
            ));
        }
        if answer.body != self.content {
            return failed("the content is another one; check what is between here and the store");
        }
        for (name, expected) in [
            (CONTENT_TYPE, self.headers.content_type.as_str()),
            (CONTENT_DISPOSITION, &self.headers.content_disposition),
        ] {
            let value = answer.text(&name).unwrap_or_default();
            if value != expected {
                return failed(format!(
                    "`{name}` is `{value}`, not `{expected}`; set `redirect = false` in the exports, because this store \
                     ignores what the URL says"
                ));
            }
        }
        let cache = answer.text(&CACHE_CONTROL).unwrap_or_default();
        if self.has_cache_override && cache != CACHE_OVERRIDE {
            return Err(Problem::Warning(format!(
                "`{CACHE_CONTROL}` is `{cache}`, not `{CACHE_OVERRIDE}`; switch off caches before this store"
            )));
        }
        Ok("it leads to the object, with its type and its file name".to_owned())
    }

    fn changed_signature(&self) -> StepResult {
        let Some(url) = with_other_signature(&self.url) else {
            return skipped("the URL has no signature that is known here");
        };
        let answer = self.client.send(Method::GET, &url, &[])?;
        if answer.status.is_success() {
            return failed(format!(
                "a URL with another signature is answered {answer}; make the store check signatures"
            ));
        }
        Ok(format!(
            "a URL with another signature is refused ({answer})"
        ))
    }

    fn public_access(&self) -> StepResult {
        let url = self.url.split('?').next().unwrap_or_default();
        let answer = self.client.send(Method::GET, url, &[])?;
        if answer.status.is_success() {
            return failed(format!(
                "the bucket is public: a URL without a signature is answered {answer}; make it private, because such a \
                 URL outlives its link"
            ));
        }
        Ok(format!("a URL without a signature is refused ({answer})"))
    }

    fn range(&self) -> StepResult {
        let answer = self.get(&[(RANGE, "bytes=2-5")])?;
        let expected = format!("bytes 2-5/{}", self.content.len());
        let range = answer.text(&CONTENT_RANGE).unwrap_or_default();
        let is_right = range == expected && answer.body == self.content[2..=5];
        if answer.status != StatusCode::PARTIAL_CONTENT || !is_right {
            return failed(format!(
                "bytes 2 to 5 are answered {answer} with the range `{range}`; set `redirect = false` in the exports, or \
                 broken downloads start again"
            ));
        }
        Ok("broken downloads continue at the store".to_owned())
    }

    /// A browser that has begun another file sends its `If-Range`. Rowlink never redirects such a request.
    fn range_of_another_file(&self) -> StepResult {
        let answer = self.get(&[(RANGE, "bytes=2-5"), (IF_RANGE, "\"another\"")])?;
        if answer.status == StatusCode::PARTIAL_CONTENT {
            let text =
                "`If-Range` is ignored, which does no harm: Rowlink never replaces an object";
            return Ok(text.to_owned());
        }
        if !self.is_whole(&answer) {
            return Err(Problem::Warning(format!(
                "an `If-Range` that does not hold is answered {answer}; clients that continue may have to start again"
            )));
        }
        Ok("an `If-Range` that does not hold is answered with the whole file".to_owned())
    }

    /// Only scripts need it, so that it never fails.
    fn cors(&self, origin: &str) -> StepResult {
        let headers = cors::preflight_headers(origin);
        let preflight = self.client.send(Method::OPTIONS, &self.url, &headers);
        let preflight = preflight.map_err(Problem::into_warning)?;
        let get = self.get(&[(ORIGIN, origin)]);
        cors::check(origin, &preflight, &get.map_err(Problem::into_warning)?)
    }
}

/// Returns a URL with a signature that differs in its first character.
fn with_other_signature(url: &str) -> Option<String> {
    let starts = |name: &&str| {
        url.find(&format!("?{name}"))
            .or_else(|| url.find(&format!("&{name}")))
    };
    let (start, name) = SIGNATURES
        .iter()
        .find_map(|name| Some((starts(name)?, name)))?;
    let (before, signature) = url.split_at(start + 1 + name.len());
    let other = if signature.starts_with('0') { '1' } else { '0' };
    let rest = signature.get(1..)?;
    Some(format!("{before}{other}{rest}"))
}

fn failed(text: impl Into<String>) -> StepResult {
    Err(Problem::Failed(text.into()))
}

fn skipped(text: &str) -> StepResult {
    Err(Problem::Skipped(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_url_differs_only_in_its_signature() {
        for (url, expected) in [
            (
                "https://s3.example/b/k?X-Amz-Expires=300&X-Amz-Signature=0af",
                Some("https://s3.example/b/k?X-Amz-Expires=300&X-Amz-Signature=1af"),
            ),
            (
                "https://gcs.example/b/k?X-Goog-Signature=af0&response-content-type=a",
                Some("https://gcs.example/b/k?X-Goog-Signature=0f0&response-content-type=a"),
            ),
            (
                "https://az.example/c/k?sig=Zm9v%3D&sv=2020",
                Some("https://az.example/c/k?sig=0m9v%3D&sv=2020"),
            ),
            ("https://az.example/sig=a?sv=2020", None),
            ("https://az.example/c/k?sig=", None),
        ] {
            assert_eq!(with_other_signature(url).as_deref(), expected, "{url}");
        }
    }
}
