//! Compares the local clock with that of the store.

use chrono::DateTime;
use ureq::http::header::DATE;

use super::client::Answer;
use super::report::{Problem, StepResult};

/// The largest difference in seconds that does no harm.
const OK_MAX: u64 = 5;
/// The largest difference in seconds with which files are served. S3 refuses requests from 15 minutes on, and a presigned
/// URL that was signed by a clock that is behind expires early.
const WARNING_MAX: u64 = 300;

/// Compares the time of a response with the local clock.
pub(super) fn check(answer: &Answer) -> StepResult {
    let date = answer.text(&DATE);
    let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let Some(date) = date.and_then(|date| u64::try_from(date.timestamp()).ok()) else {
        let text = "the response has no `Date`; check that this machine synchronises its clock";
        return Err(Problem::Skipped(text.to_owned()));
    };
    // All three are whole seconds.
    let ahead = answer.sent.saturating_sub(date);
    let behind = date.saturating_sub(answer.received);
    let (seconds, direction) = match ahead {
        0 => (behind, "behind"),
        _ => (ahead, "ahead of"),
    };
    let difference = format!("the clock here is {seconds} s {direction} that of the store");
    match seconds {
        0 => Ok("the clock here agrees with that of the store".to_owned()),
        1..=OK_MAX => Ok(difference),
        _ if seconds <= WARNING_MAX => Err(Problem::Warning(format!(
            "{difference}; synchronise it, or URLs expire too early or too late"
        ))),
        _ => Err(Problem::Failed(format!(
            "{difference}; presigned URLs and credentials will be refused; synchronise it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn answer(date: Option<&'static str>, sent: u64, received: u64) -> Answer {
        let date = date.map(|date| (DATE, HeaderValue::from_static(date)));
        Answer {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter(date),
            body: Vec::new(),
            sent,
            received,
        }
    }

    #[test]
    fn a_clock_is_compared_with_the_time_of_the_response() {
        // 600 s after the start.
        let date = Some("Sat, 31 Jan 2026 10:00:00 GMT");
        let start: u64 = 1_769_853_000;
        let at = |sent: u64, received: u64| check(&answer(date, start + sent, start + received));
        for (sent, received) in [(600, 600), (590, 610), (600, 700), (0, 600)] {
            assert!(at(sent, received).is_ok_and(|text| text.contains("agrees")));
        }
        assert!(at(605, 606).is_ok_and(|text| text.contains("5 s ahead of")));
        assert!(at(594, 595).is_ok_and(|text| text.contains("5 s behind")));
        for (sent, received, expected) in [(606, 607, "6 s ahead of"), (290, 300, "300 s behind")] {
            let Err(Problem::Warning(text)) = at(sent, received) else {
                panic!("{expected}");
            };
            assert!(text.contains(expected), "{text}");
        }
        for (sent, received, expected) in [(901, 902, "301 s ahead of"), (0, 299, "301 s behind")] {
            let Err(Problem::Failed(text)) = at(sent, received) else {
                panic!("{expected}");
            };
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_response_without_a_time_is_no_failure() {
        for date in [None, Some("yesterday")] {
            let checked = check(&answer(date, 0, 0));
            assert!(matches!(checked, Err(Problem::Skipped(_))));
        }
    }
}
