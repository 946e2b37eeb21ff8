//! A request that continues a download: `Range` with `If-Range` or `If-Match` (RFC 9110, sections 13.1 and 14.2).

use std::ops::Range;

use actix_web::http::header::{self, HeaderMap, HeaderName};

/// A request for a part of the file that a client has begun, or for the file only if it is that one.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Continuation {
    /// Entity tags with quotes, separated by commas. The file is to have one of them.
    pub(in crate::http) entity_tags: String,
    /// The part; `None` if it is not one range of bytes. Then the answer is the whole file, as section 14.2 allows.
    pub(in crate::http) part: Option<Part>,
    /// What another file is answered with.
    pub(in crate::http) otherwise: Otherwise,
}

/// The answer if the file is not the one that the client has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Otherwise {
    /// The new file: `If-Range`.
    WholeFile,
    /// An error: `If-Match`, which Firefox sends.
    Error,
}

/// A range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Part {
    /// From an offset, to another one if it is given, inclusive.
    From(u64, Option<u64>),
    /// That many bytes at the end.
    Last(u64),
}

/// A range without a condition. After a 200 or a 416 some clients would splice two files, or keep half a file and report
/// success.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct UnconditionalRange;

impl Continuation {
    /// Returns what the headers ask for; `None` if that is the whole file.
    ///
    /// # Errors
    /// Returns [`UnconditionalRange`] for a range that starts after byte 0.
    pub(in crate::http) fn of(
        headers: &HeaderMap,
    ) -> Result<Option<Continuation>, UnconditionalRange> {
        let ranges = ranges(headers);
        let part = ranges.and_then(Part::parse);
        let if_match = text(headers, &header::IF_MATCH).filter(|it| *it != "*");
        let if_range = text(headers, &header::IF_RANGE);
        match (if_match, if_range, ranges) {
            (Some(tags), if_range, _) => Ok(Some(Continuation {
                entity_tags: tags.to_owned(),
                // Section 13.2.2: both conditions must hold.
                part: part.filter(|_| if_range.is_none_or(|tag| tags.contains(tag))),
                otherwise: Otherwise::Error,
            })),
            (None, Some(tag), Some(_)) => Ok(Some(Continuation {
                entity_tags: tag.to_owned(),
                part,
                otherwise: Otherwise::WholeFile,
            })),
            (None, None, Some(ranges)) if !starts_at_zero(ranges) => Err(UnconditionalRange),
            (None, ..) => Ok(None),
        }
    }
}

impl Part {
    fn parse(ranges: &str) -> Option<Part> {
        let (first, last) = ranges.trim().split_once('-')?;
        let number = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        match (first, last) {
            ("", last) => number(last).map(Part::Last),
            (first, "") => Some(Part::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Part::From(first, Some(last)))
            }
        }
    }

    /// Returns the bytes of a file of this length; `None` if it has none of them.
    pub(in crate::http) fn of(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Part::From(first, last) => {
                first..last.map_or(length, |last| length.min(last.saturating_add(1)))
            }
            Part::Last(count) => length.saturating_sub(count)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Returns the ranges of bytes that the headers ask for.
fn ranges(headers: &HeaderMap) -> Option<&str> {
    let (unit, ranges) = text(headers, &header::RANGE)?.split_once('=')?;
    // The unit's name is case-insensitive: section 14.1. Others are ignored.
    let is_bytes = unit.trim().eq_ignore_ascii_case("bytes");
    is_bytes.then_some(ranges)
}

fn starts_at_zero(ranges: &str) -> bool {
    let mut ranges = ranges.split(',');
    ranges.all(|range| range.trim().starts_with("0-"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    fn ranged(range: &'static str) -> Result<Option<Continuation>, UnconditionalRange> {
        Continuation::of(&headers(&[(header::RANGE, range)]))
    }

    fn continued(range: &'static str) -> Option<Part> {
        let pairs = [(header::RANGE, range), (header::IF_RANGE, "\"x\"")];
        let continuation = Continuation::of(&headers(&pairs)).expect("a condition");
        let continuation = continuation.expect("a range");
        assert_eq!(continuation.entity_tags, "\"x\"");
        assert_eq!(continuation.otherwise, Otherwise::WholeFile);
        continuation.part
    }

    #[test]
    fn a_range_without_a_condition_is_the_whole_file_only_from_its_start() {
        for whole in [
            "bytes=0-",
            "Bytes = 0-5",
            "bytes=0-1, 0-2",
            "rows=5-",
            "bytes",
        ] {
            assert_eq!(ranged(whole), Ok(None), "{whole}");
        }
        for late in ["bytes=5-", "bytes=-5", "bytes=0-1,5-", "bytes=x", "bytes="] {
            assert_eq!(ranged(late), Err(UnconditionalRange), "{late}");
        }
        assert_eq!(Continuation::of(&HeaderMap::new()), Ok(None));
        let any = [(header::RANGE, "bytes=5-"), (header::IF_MATCH, "*")];
        assert_eq!(Continuation::of(&headers(&any)), Err(UnconditionalRange));
    }

    #[test]
    fn a_continuation_asks_for_one_range_or_the_whole_file() {
        assert_eq!(continued("bytes=5-"), Some(Part::From(5, None)));
        assert_eq!(continued("BYTES=0-9"), Some(Part::From(0, Some(9))));
        assert_eq!(continued("bytes=-7"), Some(Part::Last(7)));
        for other in [
            "bytes=5-6,9-",
            "bytes=9-5",
            "bytes=+5-",
            "bytes=x-",
            "bytes=-",
        ] {
            assert_eq!(continued(other), None, "{other}");
        }
        let pairs = [
            (header::RANGE, "bytes=5-"),
            (header::IF_MATCH, "\"y\", \"z\""),
            (header::IF_RANGE, "\"z\""),
        ];
        let continuation = Continuation::of(&headers(&pairs)).expect("a condition");
        let continuation = continuation.expect("a range");
        assert_eq!(continuation.entity_tags, "\"y\", \"z\"");
        assert_eq!(continuation.otherwise, Otherwise::Error);
        assert_eq!(continuation.part, Some(Part::From(5, None)));
        let both = [&pairs[..2], &[(header::IF_RANGE, "\"x\"")]].concat();
        let continuation = Continuation::of(&headers(&both)).expect("a condition");
        assert_eq!(continuation.expect("a condition").part, None);
        let whole = Continuation::of(&headers(&pairs[1..2])).expect("a condition");
        assert_eq!(whole.expect("a condition").part, None);
    }

    #[test]
    fn a_part_is_within_its_file() {
        assert_eq!(Part::From(5, None).of(10), Some(5..10));
        assert_eq!(Part::From(5, Some(5)).of(10), Some(5..6));
        assert_eq!(Part::From(5, Some(u64::MAX)).of(10), Some(5..10));
        assert_eq!(Part::Last(3).of(10), Some(7..10));
        assert_eq!(Part::Last(30).of(10), Some(0..10));
        for none in [
            Part::From(10, None).of(10),
            Part::Last(0).of(10),
            Part::Last(5).of(0),
        ] {
            assert_eq!(none, None);
        }
    }
}
