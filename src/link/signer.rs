//! Signing a link and verifying one.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::canonical::{Pair, canonical_query, parse_query, signed_path};
use super::keyring::is_key_id;
use super::{
    CLOCK_SKEW_SECONDS_MAX, FileName, Keyring, Link, LinkError, Malformed, RESERVED_PREFIX,
    Revocations, UserId, check_text,
};
use crate::format::Format;

/// The first line of the string to sign: version and algorithm, so that no other protocol's
/// string can ever equal one of ours.
const LABEL: &str = "ROWLINK1-HMAC-SHA256\n";

/// Signs a link with the first key.
///
/// Returns its path and query in canonical order, ready to follow the public origin.
pub fn sign(link: &Link, keyring: &Keyring) -> String {
    let path = signed_path(&link.export, link.format);
    let parameters = parameters(link, keyring.signing_key_id());
    let query = canonical_query(&parameters, |_| true);
    let signature = keyring.sign(&string_to_sign(&path, &query));
    let path = path.concat();
    format!("{path}?{query}&rl_signature={signature}")
}

fn string_to_sign<'a>(path: &[&'a str; 4], canonical_query: &'a str) -> [&'a str; 7] {
    let [prefix, export, dot, format] = *path;
    [LABEL, prefix, export, dot, format, "\n", canonical_query]
}

fn parameters<'l>(link: &'l Link, key_id: &'l str) -> Vec<Pair<'l>> {
    let mut parameters: Vec<Pair<'l>> = vec![
        ("rl_user".into(), link.user.as_str().into()),
        ("rl_link".into(), link.id.to_string().into()),
        ("rl_issued".into(), link.issued.to_string().into()),
        ("rl_expires".into(), link.expires.to_string().into()),
        ("rl_key".into(), key_id.into()),
    ];
    if let Some(second) = link.not_before {
        parameters.push(("rl_not_before".into(), second.to_string().into()));
    }
    if let Some(filename) = &link.filename {
        parameters.push(("rl_filename".into(), filename.as_str().into()));
    }
    for (name, value) in &link.claims {
        parameters.push((format!("rl_claim.{name}").into(), value.into()));
    }
    for (name, value) in &link.options {
        parameters.push((format!("rl_{name}").into(), value.into()));
    }
    for (name, value) in &link.filters {
        parameters.push((name.into(), value.into()));
    }
    parameters
}

/// A link whose signature and times were verified. Only a [`Verifier`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLink(Link);

impl VerifiedLink {
    /// What the link says.
    pub fn link(&self) -> &Link {
        &self.0
    }
}

/// What links are verified by.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    /// The keys that may have made them.
    pub keyring: &'a Keyring,
    /// Which of them are refused though they are genuine.
    pub revocations: &'a Revocations,
    /// How long a link may live. Checked again here, so that a link minted elsewhere cannot outlive
    /// this deployment's policy.
    pub ttl_seconds_max: u64,
}

impl Verifier<'_> {
    /// Verifies a link at `now`, in Unix seconds, in the order syntax, key id, MAC, times,
    /// revocation, so that whoever holds no key learns nothing but that the signature is bad.
    ///
    /// # Errors
    /// Why the link was refused.
    pub fn verify(
        &self,
        export: &str,
        format: Format,
        raw_query: &str,
        now: u64,
    ) -> Result<VerifiedLink, LinkError> {
        let pairs = parse_query(raw_query)?;
        let signed = SignedLink::parse(export, format, &pairs)?;
        let (path, query) = canonical_request(export, format, &pairs);
        let text = string_to_sign(&path, &query);
        if !self.keyring.verify(signed.key_id, &text, &signed.signature) {
            return Err(LinkError::BadSignature);
        }

        let link = signed.link;
        check_times(&link, self.ttl_seconds_max, now)?;
        if self
            .revocations
            .cover(link.user.as_str(), signed.key_id, link.issued)
        {
            return Err(LinkError::Revoked);
        }
        Ok(VerifiedLink(link))
    }

    /// What a link says, genuine or not, and what its signature must be of.
    ///
    /// # Errors
    /// It does not follow the grammar.
    pub fn inspect(export: &str, format: Format, raw_query: &str) -> Result<Inspection, Malformed> {
        let pairs = parse_query(raw_query)?;
        let signed = SignedLink::parse(export, format, &pairs)?;
        let (path, query) = canonical_request(export, format, &pairs);
        Ok(Inspection {
            link: signed.link,
            key_id: signed.key_id.to_owned(),
            string_to_sign: string_to_sign(&path, &query).concat(),
        })
    }
}

/// A link taken apart. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the link says.
    pub link: Link,
    /// The key that it says it was made with.
    pub key_id: String,
    /// What its signature must be of.
    pub string_to_sign: String,
}

/// The path and the query that a signature covers.
fn canonical_request<'e>(
    export: &'e str,
    format: Format,
    pairs: &[Pair<'_>],
) -> ([&'e str; 4], String) {
    let query = canonical_query(pairs, |name| name != "rl_signature");
    (signed_path(export, format), query)
}

fn check_times(link: &Link, seconds_max: u64, now: u64) -> Result<(), LinkError> {
    let seconds = link.expires - link.issued;
    if seconds > seconds_max {
        return Err(LinkError::LivesTooLong {
            seconds,
            seconds_max,
        });
    }
    let from_issue = link.issued.saturating_sub(CLOCK_SKEW_SECONDS_MAX);
    let valid_from = from_issue.max(link.not_before.unwrap_or(0));
    if now < valid_from {
        let seconds = valid_from - now;
        return Err(LinkError::NotYetValid { seconds });
    }
    if now >= link.expires {
        let seconds = now - link.expires;
        return Err(LinkError::Expired { seconds });
    }
    Ok(())
}

/// A link that follows the grammar. Nothing in it is trusted yet.
struct SignedLink<'q> {
    link: Link,
    key_id: &'q str,
    signature: [u8; 32],
}

impl<'q> SignedLink<'q> {
    fn parse(
        export: &str,
        format: Format,
        pairs: &'q [Pair<'_>],
    ) -> Result<SignedLink<'q>, Malformed> {
        let parameters = Parameters::sort(pairs)?;
        let signature = require("rl_signature", parameters.signature, parse_signature)?;
        let key_id = require("rl_key", parameters.key, |value| {
            is_key_id(value).then_some(value).ok_or("not a key id")
        })?;
        let issued = require("rl_issued", parameters.issued, parse_seconds)?;
        let expires = require("rl_expires", parameters.expires, parse_seconds)?;
        if expires <= issued {
            return Err(Malformed::new("rl_expires", "not after rl_issued"));
        }
        let link = Link {
            export: export.to_owned(),
            format,
            user: require("rl_user", parameters.user, |value| {
                UserId::parse(value).map_err(|_| "not a user id")
            })?,
            id: require("rl_link", parameters.link, parse_link_id)?,
            issued,
            expires,
            not_before: parse("rl_not_before", parameters.not_before, parse_seconds)?,
            filename: parse("rl_filename", parameters.filename, |value| {
                FileName::parse(value).map_err(|_| "not a plain file name")
            })?,
            claims: parameters.claims,
            options: parameters.options,
            filters: parameters.filters,
        };
        Ok(SignedLink {
            link,
            key_id,
            signature,
        })
    }
}

/// The parameters of a link, each in its place and none twice.
#[derive(Default)]
struct Parameters<'q> {
    user: Option<&'q str>,
    link: Option<&'q str>,
    issued: Option<&'q str>,
    expires: Option<&'q str>,
    not_before: Option<&'q str>,
    filename: Option<&'q str>,
    key: Option<&'q str>,
    signature: Option<&'q str>,
    claims: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    filters: Vec<(String, String)>,
}

impl<'q> Parameters<'q> {
    fn sort(pairs: &'q [Pair<'_>]) -> Result<Parameters<'q>, Malformed> {
        let mut parameters = Parameters::default();
        for (name, value) in pairs {
            let Some(reserved) = name.strip_prefix(RESERVED_PREFIX) else {
                let filter = (name.to_string(), value.to_string());
                parameters.filters.push(filter);
                continue;
            };
            let is_first = parameters.put(reserved, value);
            let is_first = is_first.map_err(|reason| Malformed::new(name, reason))?;
            if !is_first {
                return Err(Malformed::new(name, "stands twice"));
            }
        }
        Ok(parameters)
    }

    /// Puts a reserved parameter into its place; says whether that was empty.
    fn put(&mut self, reserved: &str, value: &'q str) -> Result<bool, &'static str> {
        let place = match reserved {
            "user" => &mut self.user,
            "link" => &mut self.link,
            "issued" => &mut self.issued,
            "expires" => &mut self.expires,
            "not_before" => &mut self.not_before,
            "filename" => &mut self.filename,
            "key" => &mut self.key,
            "signature" => &mut self.signature,
            option if is_option(option) => {
                let before = self.options.insert(option.to_owned(), value.to_owned());
                return Ok(before.is_none());
            }
            // A condition this version does not know must not be ignored: it may narrow the link.
            other => {
                let claim = other.strip_prefix("claim.");
                let claim = claim.ok_or("unknown reserved parameter")?;
                if !is_claim_name(claim) || check_text(value).is_err() {
                    return Err("not a claim");
                }
                let before = self.claims.insert(claim.to_owned(), value.to_owned());
                return Ok(before.is_none());
            }
        };
        Ok(place.replace(value).is_none())
    }
}

fn parse<'q, T>(
    name: &str,
    value: Option<&'q str>,
    parse: impl FnOnce(&'q str) -> Result<T, &'static str>,
) -> Result<Option<T>, Malformed> {
    let parsed = value.map(parse).transpose();
    parsed.map_err(|reason| Malformed::new(name, reason))
}

fn require<'q, T>(
    name: &str,
    value: Option<&'q str>,
    parse_value: impl FnOnce(&'q str) -> Result<T, &'static str>,
) -> Result<T, Malformed> {
    let parsed = parse(name, value, parse_value)?;
    parsed.ok_or_else(|| Malformed::new(name, "is missing"))
}

/// Whether a link can carry a claim of that name: `[A-Za-z0-9_]{1,64}`.
pub fn is_claim_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Canonical decimal of at most 10 digits.
fn parse_seconds(text: &str) -> Result<u64, &'static str> {
    let canonical = (1..=10).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    canonical
        .then(|| text.parse().ok())
        .flatten()
        .ok_or("not Unix seconds in canonical decimal")
}

fn parse_link_id(text: &str) -> Result<Uuid, &'static str> {
    let id = Uuid::try_parse(text).map_err(|_| "not a UUID")?;
    // Upper case, braces and missing hyphens parse too, but one id has one spelling.
    let canonical = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
    canonical.then_some(id).ok_or("not a canonical UUID")
}

/// 64 lower-case hex digits, never truncated.
fn parse_signature(text: &str) -> Result<[u8; 32], &'static str> {
    let mut signature = [0; 32];
    let lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut signature) {
        Ok(()) if lower_case => Ok(signature),
        _ => Err("not 64 lower-case hex digits"),
    }
}

/// Whether a reserved parameter, without its prefix, says how the file is written.
fn is_option(name: &str) -> bool {
    let format_options = ["csv.", "xlsx."];
    ["columns", "timezone", "end_line", "length"].contains(&name)
        || format_options.iter().any(|it| name.starts_with(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const NOW: u64 = 1_769_853_600;

    static NONE: LazyLock<Revocations> = LazyLock::new(Revocations::default);

    fn verifier(keyring: &Keyring) -> Verifier<'_> {
        Verifier {
            keyring,
            revocations: &NONE,
            ttl_seconds_max: 3600,
        }
    }

    prop_compose! {
        fn any_link()(
            user in "[^\\p{Cc}]{1,30}",
            id in any::<u128>(),
            ttl_seconds in 1..3600u64,
            not_before in option::of(0..NOW),
            filename in option::of("[a-zäöü][a-zäöü 1-9]{0,20}[a-zäöü]"),
            claims in btree_map("[A-Za-z0-9_]{1,9}", "[^\\p{Cc}]{1,9}", 0..3),
            options in btree_map("columns|csv\\.[a-z]{1,9}", "[^\0]{0,9}", 0..3),
            mut filters in vec(("[^\0r][^\0]{0,9}", "[^\0]{0,9}"), 0..5),
        ) -> Link {
            // The canonical query is sorted as it is encoded.
            filters.sort_by_key(|(name, value)| {
                let encode = super::super::percent_encode;
                (encode(name).into_owned(), encode(value).into_owned())
            });
            Link {
                export: "orders".into(),
                format: Format::Csv,
                user: UserId::parse(user).expect("a user id"),
                id: Uuid::from_u128(id),
                issued: NOW,
                expires: NOW + ttl_seconds,
                not_before,
                filename: filename.map(|name| FileName::parse(name).expect("a file name")),
                claims,
                options,
                filters,
            }
        }
    }

    #[test]
    fn a_refusal_says_how_many_seconds_are_missing_or_over() {
        let link = |issued, expires, not_before| Link {
            export: "orders".into(),
            format: Format::Csv,
            user: UserId::parse("alice").expect("a user id"),
            id: Uuid::nil(),
            issued,
            expires,
            not_before,
            filename: None,
            claims: BTreeMap::new(),
            options: BTreeMap::new(),
            filters: Vec::new(),
        };
        let plain = link(NOW, NOW + 60, None);
        let at = |now| check_times(&plain, 60, now);
        assert_eq!(at(NOW - 30), Ok(()));
        assert_eq!(at(NOW - 37), Err(LinkError::NotYetValid { seconds: 7 }));
        assert_eq!(at(NOW + 59), Ok(()));
        assert_eq!(at(NOW + 60), Err(LinkError::Expired { seconds: 0 }));
        assert_eq!(at(NOW + 72), Err(LinkError::Expired { seconds: 12 }));
        let later = link(NOW, NOW + 60, Some(NOW + 20));
        assert_eq!(
            check_times(&later, 60, NOW + 5),
            Err(LinkError::NotYetValid { seconds: 15 })
        );
        assert_eq!(
            check_times(&plain, 59, NOW),
            Err(LinkError::LivesTooLong {
                seconds: 60,
                seconds_max: 59
            })
        );
    }

    proptest! {
        #[test]
        fn any_link_comes_back_as_it_was_signed(link in any_link()) {
            let key = "k:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
            let keyring = Keyring::parse(key).expect("a key");
            let url = sign(&link, &keyring);
            let (_, query) = url.split_once('?').expect("a query");
            let verified = verifier(&keyring).verify("orders", Format::Csv, query, NOW);
            prop_assert_eq!(verified.map(|verified| verified.link().clone()), Ok(link));
        }

        #[test]
        fn no_query_makes_the_verifier_panic(query in "(rl_[a-z.]{0,9}=|[a-z&=%+0-9-]){0,20}[^a]{0,9}") {
            let key = "k:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
            let keyring = Keyring::parse(key).expect("a key");
            prop_assert!(verifier(&keyring).verify("orders", Format::Csv, &query, NOW).is_err());
        }
    }
}
