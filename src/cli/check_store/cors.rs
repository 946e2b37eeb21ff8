//! What a store allows to scripts of a page that fetch a file (the Fetch standard, "CORS protocol").

use ureq::http::HeaderName;
use ureq::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};

use super::client::Answer;
use super::report::{Problem, StepResult};

/// The headers of a script that continues a download, as browsers list them.
const REQUESTED: [&str; 2] = ["if-range", "range"];
/// The headers that a script needs to read to show progress, to name the file and to continue it.
pub(super) const EXPOSED: [&str; 5] = [
    "Content-Length",
    "Content-Range",
    "Content-Disposition",
    "ETag",
    "Accept-Ranges",
];

/// Returns the headers of a preflight request.
pub(super) fn preflight_headers(origin: &str) -> [(HeaderName, &str); 3] {
    [
        (ORIGIN, origin),
        (ACCESS_CONTROL_REQUEST_METHOD, "GET"),
        (ACCESS_CONTROL_REQUEST_HEADERS, "if-range,range"),
    ]
}

/// Judges the responses to a preflight request and to a GET of this origin.
pub(super) fn check(origin: &str, preflight: &Answer, get: &Answer) -> StepResult {
    let mut problems = Vec::new();
    if !preflight.status.is_success() {
        problems.push(format!("the preflight request is answered {preflight}"));
    } else if !allows(preflight, origin) {
        problems.push("the preflight request does not allow it".to_owned());
    } else {
        let missing = missing(preflight, &ACCESS_CONTROL_ALLOW_HEADERS, &REQUESTED);
        if !missing.is_empty() {
            problems.push(format!("it may not send {missing}"));
        }
    }
    if allows(get, origin) {
        let missing = missing(get, &ACCESS_CONTROL_EXPOSE_HEADERS, &EXPOSED);
        if !missing.is_empty() {
            problems.push(format!("it may not read {missing}"));
        }
    } else {
        problems.push("it may not read the response to a GET".to_owned());
    }
    if problems.is_empty() {
        return Ok("its scripts can fetch and continue files".to_owned());
    }
    let problems = problems.join(", ");
    Err(Problem::Warning(format!(
        "{problems}; for scripts that fetch stored files, set the CORS rule below"
    )))
}

fn allows(answer: &Answer, origin: &str) -> bool {
    let allowed = answer.text(&ACCESS_CONTROL_ALLOW_ORIGIN);
    allowed == Some(origin) || allowed == Some("*")
}

/// Returns which of these a list lacks, separated by commas.
fn missing(answer: &Answer, list: &HeaderName, names: &[&str]) -> String {
    let is_missing = |name: &&str| !answer.lists(list, name) && !answer.lists(list, "*");
    let missing: Vec<&str> = names.iter().copied().filter(is_missing).collect();
    missing.join(", ")
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderValue, StatusCode};

    use super::*;

    const ALL: &str = "ETag, content-length, Content-Range, Content-Disposition, Accept-Ranges";

    fn answer(status: u16, headers: &[(HeaderName, &'static str)]) -> Answer {
        let headers = headers.iter().cloned();
        let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers.collect(),
            body: Vec::new(),
            sent: 0,
            received: 0,
        }
    }

    fn preflight(origin: &'static str, headers: &'static str) -> Answer {
        let allowed = (ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer(204, &[allowed, (ACCESS_CONTROL_ALLOW_HEADERS, headers)])
    }

    fn get(origin: &'static str, exposed: &'static str) -> Answer {
        let allowed = (ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer(200, &[allowed, (ACCESS_CONTROL_EXPOSE_HEADERS, exposed)])
    }

    #[test]
    fn a_store_that_allows_all_that_scripts_need_is_ok() {
        for (preflight, get) in [
            (preflight("null", "If-Range, Range"), get("null", ALL)),
            (preflight("*", "*"), get("*", "*")),
        ] {
            assert!(check("null", &preflight, &get).is_ok());
        }
        let lines = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "null"),
            (ACCESS_CONTROL_EXPOSE_HEADERS, "ETag, Content-Length"),
            (
                ACCESS_CONTROL_EXPOSE_HEADERS,
                "Content-Range,Content-Disposition,Accept-Ranges",
            ),
        ];
        let (preflight, get) = (preflight("null", "range,if-range"), answer(200, &lines));
        assert!(check("null", &preflight, &get).is_ok(), "several lines");
    }

    #[test]
    fn what_a_store_does_not_allow_is_named() {
        let whole = || preflight("null", "if-range, range");
        for (preflight, get, expected) in [
            (answer(403, &[]), get("null", ALL), "answered 403"),
            (
                preflight("https://a.example", "*"),
                get("null", ALL),
                "does not allow it",
            ),
            (
                preflight("null", "Range"),
                get("null", ALL),
                "may not send if-range;",
            ),
            (whole(), answer(200, &[]), "may not read the response"),
            (
                whole(),
                get("https://a.example", ALL),
                "may not read the response",
            ),
            (
                whole(),
                get("null", "ETag, Content-Length, Content-Disposition"),
                "may not read Content-Range, Accept-Ranges;",
            ),
        ] {
            let Err(Problem::Warning(text)) = check("null", &preflight, &get) else {
                panic!("{expected}");
            };
            assert!(text.contains(expected), "{text}");
        }
    }
}
