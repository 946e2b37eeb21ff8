//! Links that live long, for programs that fetch on a schedule: an export's table `[feed]`.

use rowlink_link::{Conditions, Seal};
use serde::Deserialize;

/// The long lifetime of an export's links, and what such a link must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "FeedTable")]
pub struct FeedSettings {
    /// The longest lifetime of a link that has all conditions, in seconds.
    pub max_ttl_seconds: u64,
    /// The conditions.
    pub requires: Vec<FeedCondition>,
}

/// A condition that a link with a long lifetime must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedCondition {
    /// Its contents are encrypted.
    Sealed,
    /// It is bound to an address, or to a network that restricts it.
    Ip,
    /// Its file has a largest number of rows.
    MaxRows,
    /// Its file has a largest size.
    MaxBytes,
}

/// Why a link may not live long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedError {
    /// The field of a request.
    pub field: &'static str,
    /// What was expected in that field.
    pub expected: &'static str,
    /// What kind of link it is: ``without `ip` ``.
    pub kind: &'static str,
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedTable {
    max_ttl: String,
    requires: Vec<FeedCondition>,
}

/// The longest lifetime of a feed in days. Keys should be rotated at least as often.
pub const FEED_DAYS_MAX: u64 = 366;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl TryFrom<FeedTable> for FeedSettings {
    type Error = String;

    fn try_from(table: FeedTable) -> Result<FeedSettings, String> {
        if table.requires.is_empty() {
            return Err("`requires`: expected at least one condition".to_owned());
        }
        let seconds = parse_duration(&table.max_ttl);
        let max_ttl_seconds = seconds.ok_or_else(|| {
            format!(
                "`max_ttl`: expected hours or days, such as 12h or 90d, of at most {FEED_DAYS_MAX}d"
            )
        })?;
        Ok(FeedSettings {
            max_ttl_seconds,
            requires: table.requires,
        })
    }
}

impl FeedSettings {
    /// Returns why a link may not live long: a condition that it lacks, or a use that is recorded for a shorter time.
    #[must_use]
    pub fn errors(&self, conditions: &Conditions, seal: Seal) -> Vec<FeedError> {
        let lacking = self.requires.iter();
        let lacking = lacking.filter(|condition| !condition.is_met(conditions, seal));
        let mut errors: Vec<FeedError> = lacking.map(|condition| condition.error()).collect();
        // The store forgets a use when the normal maximum has passed, and the link would work again.
        if conditions.single_use {
            errors.push(FeedError {
                field: "single_use",
                expected: "expected false",
                kind: "with `single_use`",
            });
        }
        errors
    }
}

impl FeedCondition {
    fn is_met(self, conditions: &Conditions, seal: Seal) -> bool {
        match self {
            FeedCondition::Sealed => seal == Seal::Sealed,
            FeedCondition::Ip => {
                let network = conditions.network.as_ref();
                network.is_some_and(|network| !network.is_everything())
            }
            FeedCondition::MaxRows => conditions.rows_max.is_some(),
            FeedCondition::MaxBytes => conditions.bytes_max.is_some(),
        }
    }

    fn error(self) -> FeedError {
        let (field, expected, kind) = match self {
            FeedCondition::Sealed => ("seal", "expected true", "that is not sealed"),
            FeedCondition::Ip => (
                "ip",
                "expected an address, or a network that is not all addresses",
                "without `ip`",
            ),
            FeedCondition::MaxRows => (
                "max_rows",
                "expected a number of rows",
                "without `max_rows`",
            ),
            FeedCondition::MaxBytes => (
                "max_bytes",
                "expected a number of bytes",
                "without `max_bytes`",
            ),
        };
        FeedError {
            field,
            expected,
            kind,
        }
    }
}

/// Parses `12h` or `90d`; returns seconds. `None` for anything else, for zero, and for more than [`FEED_DAYS_MAX`].
fn parse_duration(text: &str) -> Option<u64> {
    let (number, unit) = match (text.strip_suffix('h'), text.strip_suffix('d')) {
        (Some(number), _) => (number, HOUR),
        (_, Some(number)) => (number, DAY),
        (None, None) => return None,
    };
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_plain)?;
    let seconds = number.checked_mul(unit)?;
    (1..=FEED_DAYS_MAX * DAY)
        .contains(&seconds)
        .then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowlink_link::Network;

    #[test]
    fn a_duration_is_hours_or_days_up_to_a_year() {
        for (text, seconds) in [
            ("1h", Some(3600)),
            ("12h", Some(43_200)),
            ("90d", Some(7_776_000)),
            ("366d", Some(31_622_400)),
            ("367d", None),
            ("8785h", None),
            ("0d", None),
            ("", None),
            ("d", None),
            ("+1d", None),
            ("-1d", None),
            ("1.5d", None),
            ("90", None),
            ("90 d", None),
            ("3w", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(parse_duration(text), seconds, "{text}");
        }
    }

    #[test]
    fn each_condition_that_a_link_lacks_is_named() {
        let feed = FeedSettings {
            max_ttl_seconds: DAY,
            requires: vec![
                FeedCondition::Sealed,
                FeedCondition::Ip,
                FeedCondition::MaxRows,
                FeedCondition::MaxBytes,
            ],
        };
        let fields = |conditions: &Conditions, seal| -> Vec<&str> {
            let errors = feed.errors(conditions, seal);
            errors.iter().map(|error| error.field).collect()
        };
        let network = |text| Network::parse(text).ok();
        let all = Conditions {
            network: network("192.0.2.0/24"),
            rows_max: Some(1),
            bytes_max: Some(1),
            ..Conditions::default()
        };
        assert!(fields(&all, Seal::Sealed).is_empty());
        assert_eq!(fields(&all, Seal::Open), ["seal"]);
        let none = Conditions::default();
        let lacking = ["ip", "max_rows", "max_bytes"];
        assert_eq!(fields(&none, Seal::Sealed), lacking);
        for everything in ["0.0.0.0/0", "::/0"] {
            let anywhere = Conditions {
                network: network(everything),
                ..all.clone()
            };
            assert_eq!(fields(&anywhere, Seal::Sealed), ["ip"], "{everything}");
        }
        let once = Conditions {
            single_use: true,
            ..all
        };
        assert_eq!(fields(&once, Seal::Sealed), ["single_use"]);
    }
}
