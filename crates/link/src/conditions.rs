//! Conditions of a link beyond its lifetime, as one table.
//!
//! Each row of [`CONDITIONS`] is one condition: its name, its type, where its value is kept, and the
//! step that checks it. The link grammar, the request parser and both inspectors go through this table.

use super::error::{LinkError, Step};
use super::network::{ClientAddr, Network};
use super::text::parse_hash;

/// The conditions under which a link works. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The first second in which the link is valid, in Unix seconds.
    pub not_before: Option<u64>,
    /// The network from which it works.
    pub network: Option<Network>,
    /// The largest number of rows of its file. A larger file is refused, or its download aborts.
    pub rows_max: Option<u64>,
    /// The largest size of its file in bytes, before content coding.
    pub bytes_max: Option<u64>,
    /// For how many seconds after its expiry a download that has begun may be continued.
    pub resume_seconds: Option<u64>,
    /// Whether it works only once.
    pub single_use: bool,
    /// Whether a person must confirm the download on a page first.
    pub confirm: bool,
    /// The SHA-256 hash of the cookie of the only browser in which it works.
    pub bind: Option<[u8; 32]>,
    /// Why its user wants the file, for the log: 1 to 200 characters without control characters.
    pub reason: Option<String>,
}

/// The value of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionValue {
    /// A point in time in Unix seconds.
    Instant(u64),
    /// An address or a network.
    Network(Network),
    /// A number of at least 1.
    Count(u64),
    /// A condition that is set. One that is not has no value.
    Flag,
    /// A SHA-256 hash.
    Hash([u8; 32]),
    /// A text for people.
    Text(String),
}

/// The type of a condition's value, which decides how a link and a request spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// Unix seconds in a link, RFC 3339 in a request.
    Instant,
    /// An address or a network in CIDR notation.
    Network,
    /// A whole number of at least 1.
    Count,
    /// `true`, or absent.
    Flag,
    /// 64 lower-case hex digits.
    Hash,
    /// 1 to 200 characters without control characters.
    Text,
}

/// One row of the table.
pub struct Condition {
    /// The field of a request: `not_before`.
    pub name: &'static str,
    /// The parameter of a link: `rl_not_before`.
    pub parameter: &'static str,
    /// The label for people.
    pub label: &'static str,
    /// The type of its value.
    pub value_type: ConditionType,
    /// Reads the value.
    pub get: fn(&Conditions) -> Option<ConditionValue>,
    /// Stores a value. A value of another type is ignored.
    pub set: fn(&mut Conditions, ConditionValue),
    /// The step that checks it and the check; `None` if the server enforces it at the download, or the verifier with the
    /// lifetime.
    check: Option<(Step, Check)>,
}

type Check = fn(&Conditions, &Visit) -> Result<(), LinkError>;

/// The circumstances in which a link is followed.
pub(crate) struct Visit {
    /// In Unix seconds.
    pub(crate) now: u64,
    pub(crate) client: ClientAddr,
}

/// All conditions, in the order in which they are shown.
pub const CONDITIONS: [Condition; 9] = [
    Condition {
        name: "not_before",
        parameter: "rl_not_before",
        label: "not before",
        value_type: ConditionType::Instant,
        get: |conditions| conditions.not_before.map(ConditionValue::Instant),
        set: |conditions, value| {
            if let ConditionValue::Instant(seconds) = value {
                conditions.not_before = Some(seconds);
            }
        },
        check: Some((Step::Times, |conditions, visit| {
            let seconds = conditions.not_before.unwrap_or(0).saturating_sub(visit.now);
            match seconds {
                0 => Ok(()),
                seconds => Err(LinkError::NotYetValid { seconds }),
            }
        })),
    },
    Condition {
        name: "ip",
        parameter: "rl_ip",
        label: "works from",
        value_type: ConditionType::Network,
        get: |conditions| conditions.network.map(ConditionValue::Network),
        set: |conditions, value| {
            if let ConditionValue::Network(network) = value {
                conditions.network = Some(network);
            }
        },
        check: Some((Step::Address, |conditions, visit| {
            let network = conditions.network.as_ref();
            match network.is_none_or(|network| visit.client.is_in(network)) {
                true => Ok(()),
                false => Err(LinkError::WrongAddress),
            }
        })),
    },
    Condition {
        name: "max_rows",
        parameter: "rl_max_rows",
        label: "max rows",
        value_type: ConditionType::Count,
        get: |conditions| conditions.rows_max.map(ConditionValue::Count),
        set: |conditions, value| {
            if let ConditionValue::Count(count) = value {
                conditions.rows_max = Some(count);
            }
        },
        check: None,
    },
    Condition {
        name: "max_bytes",
        parameter: "rl_max_bytes",
        label: "max bytes",
        value_type: ConditionType::Count,
        get: |conditions| conditions.bytes_max.map(ConditionValue::Count),
        set: |conditions, value| {
            if let ConditionValue::Count(count) = value {
                conditions.bytes_max = Some(count);
            }
        },
        check: None,
    },
    Condition {
        name: "resume_seconds",
        parameter: "rl_resume",
        label: "resume",
        value_type: ConditionType::Count,
        get: |conditions| conditions.resume_seconds.map(ConditionValue::Count),
        set: |conditions, value| {
            if let ConditionValue::Count(count) = value {
                conditions.resume_seconds = Some(count);
            }
        },
        // It extends the lifetime, which the verifier checks.
        check: None,
    },
    Condition {
        name: "single_use",
        parameter: "rl_single_use",
        label: "single use",
        value_type: ConditionType::Flag,
        get: |conditions| conditions.single_use.then_some(ConditionValue::Flag),
        set: |conditions, value| conditions.single_use = value == ConditionValue::Flag,
        check: None,
    },
    Condition {
        name: "confirm",
        parameter: "rl_confirm",
        label: "confirm",
        value_type: ConditionType::Flag,
        get: |conditions| conditions.confirm.then_some(ConditionValue::Flag),
        set: |conditions, value| conditions.confirm = value == ConditionValue::Flag,
        check: None,
    },
    Condition {
        name: "bind",
        parameter: "rl_bind",
        label: "bound to cookie",
        value_type: ConditionType::Hash,
        get: |conditions| conditions.bind.map(ConditionValue::Hash),
        set: |conditions, value| {
            if let ConditionValue::Hash(hash) = value {
                conditions.bind = Some(hash);
            }
        },
        check: None,
    },
    Condition {
        name: "reason",
        parameter: "rl_reason",
        label: "reason",
        value_type: ConditionType::Text,
        get: |conditions| conditions.reason.clone().map(ConditionValue::Text),
        set: |conditions, value| {
            if let ConditionValue::Text(text) = value {
                conditions.reason = Some(text);
            }
        },
        // Exports decide whether a link needs one.
        check: None,
    },
];

impl Conditions {
    /// Tells whether a client may be sent to a URL that anyone may use for a while: no condition restricts who may
    /// download, or how often.
    #[must_use]
    pub fn may_redirect(&self) -> bool {
        self.network.is_none() && !self.single_use && self.bind.is_none()
    }

    /// Checks the conditions that belong to a step of verification.
    pub(crate) fn check(&self, step: Step, visit: &Visit) -> Result<(), LinkError> {
        for condition in &CONDITIONS {
            if let Some((at, check)) = condition.check
                && at == step
            {
                check(self, visit)?;
            }
        }
        Ok(())
    }
}

impl ConditionType {
    /// Parses the text that a link carries.
    ///
    /// # Errors
    /// Returns what was expected.
    pub fn parse(self, text: &str) -> Result<ConditionValue, &'static str> {
        match self {
            ConditionType::Instant => parse_seconds(text).map(ConditionValue::Instant),
            ConditionType::Network => Network::parse(text).map(ConditionValue::Network),
            ConditionType::Count => parse_count(text).map(ConditionValue::Count),
            ConditionType::Flag if text == "true" => Ok(ConditionValue::Flag),
            ConditionType::Flag => Err("expected true, or no parameter"),
            ConditionType::Hash => parse_hash(text).map(ConditionValue::Hash),
            ConditionType::Text => parse_text(text).map(ConditionValue::Text),
        }
    }
}

impl ConditionValue {
    /// Returns the text that a link carries.
    #[must_use]
    pub fn to_parameter(&self) -> String {
        match self {
            ConditionValue::Instant(number) | ConditionValue::Count(number) => number.to_string(),
            ConditionValue::Network(network) => network.to_string(),
            ConditionValue::Flag => "true".to_owned(),
            ConditionValue::Hash(hash) => hex::encode(hash),
            ConditionValue::Text(text) => text.clone(),
        }
    }
}

/// Links carry at most ten digits of Unix seconds.
pub(crate) const SECONDS_MAX: u64 = 9_999_999_999;

/// Parses Unix seconds: canonical decimal, at most 10 digits.
pub(crate) fn parse_seconds(text: &str) -> Result<u64, &'static str> {
    decimal(text, 10).ok_or("expected Unix seconds in canonical decimal")
}

/// Parses a count: canonical decimal of at least 1, at most 15 digits.
fn parse_count(text: &str) -> Result<u64, &'static str> {
    let count = decimal(text, 15).filter(|count| *count > 0);
    count.ok_or("expected a number of at least 1 in canonical decimal")
}

/// The largest number of characters of a text for people.
const TEXT_CHARS_MAX: usize = 200;

/// Parses a text for people: 1 to 200 characters without control characters.
fn parse_text(text: &str) -> Result<String, &'static str> {
    let fits = (1..=TEXT_CHARS_MAX).contains(&text.chars().count());
    match fits && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 200 characters without control characters"),
    }
}

/// Parses a number without a sign or leading zeros, so that it has one spelling.
fn decimal(text: &str, digits_max: usize) -> Option<u64> {
    let canonical = (1..=digits_max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_keeps_its_value_apart_from_the_others() {
        for condition in &CONDITIONS {
            assert!(condition.parameter.starts_with("rl_"));
            let text = match condition.value_type {
                ConditionType::Instant => "1769853600",
                ConditionType::Network => "192.0.2.0/24",
                ConditionType::Count => "7",
                ConditionType::Flag => "true",
                ConditionType::Hash => {
                    "2c93539c95bcf1209ca02a30ca5cbc4013e85cf247e3958d8a9d1e3ef0bde7f2"
                }
                ConditionType::Text => "ticket 4711: Größe & Maß",
            };
            let value = condition.value_type.parse(text).expect("a value");
            assert_eq!(value.to_parameter(), text);
            let mut conditions = Conditions::default();
            (condition.set)(&mut conditions, value.clone());
            for other in &CONDITIONS {
                let expected = (other.name == condition.name).then(|| value.clone());
                assert_eq!((other.get)(&conditions), expected, "{}", other.name);
            }
        }
    }

    #[test]
    fn a_reason_has_1_to_200_characters_and_no_control_characters() {
        let parse = |text: &str| ConditionType::Text.parse(text);
        for text in [
            "x",
            " ",
            "Ticket 4711",
            "&=%+#\"'",
            &"a".repeat(200),
            &"🎁".repeat(200),
        ] {
            assert_eq!(parse(text), Ok(ConditionValue::Text(text.to_owned())));
        }
        for text in [
            "",
            "a\nb",
            "\t",
            "\u{7f}",
            "\u{85}",
            &"a".repeat(201),
            &"ä".repeat(201),
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
