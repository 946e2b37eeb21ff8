//! A link's parameters: what each is called and what it may be.
//!
//! The **envelope** is what a verifier needs before it trusts anything, and always readable. The **contents** are what
//! a sealed link hides.

use std::collections::BTreeMap;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::canonical::{Pair, parse_query};
use super::conditions::{Conditions, Network};
use super::keyring::{Key, is_key_id};
use super::scope::Scope;
use super::{FileName, Link, Malformed, RESERVED_PREFIX, UserId, check_text};
use crate::format::Format;

/// The envelope of a link that this key signs.
pub(super) fn envelope<'l>(link: &Link, key: &'l Key) -> Vec<Pair<'l>> {
    let mut pairs: Vec<Pair<'l>> = vec![
        ("rl_link".into(), link.id.to_string().into()),
        ("rl_issued".into(), link.issued.to_string().into()),
        ("rl_expires".into(), link.expires.to_string().into()),
        ("rl_key".into(), key.id.as_str().into()),
    ];
    if let Some(scope) = &key.scope {
        pairs.push(("rl_scope".into(), scope.as_str().into()));
    }
    pairs
}

/// The contents of a link.
pub(super) fn contents(link: &Link) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> = vec![("rl_user".into(), link.user.as_str().into())];
    let conditions = &link.conditions;
    let optional = [
        (
            "rl_not_before",
            conditions.not_before.map(|it| it.to_string()),
        ),
        ("rl_ip", conditions.network.map(|it| it.to_string())),
        ("rl_max_rows", conditions.rows_max.map(|it| it.to_string())),
        (
            "rl_max_bytes",
            conditions.bytes_max.map(|it| it.to_string()),
        ),
    ];
    for (name, value) in optional {
        pairs.extend(value.map(|value| (name.into(), value.into())));
    }
    if let Some(filename) = &link.filename {
        pairs.push(("rl_filename".into(), filename.as_str().into()));
    }
    for (name, value) in &link.claims {
        pairs.push((format!("rl_claim.{name}").into(), value.into()));
    }
    for (name, value) in &link.options {
        pairs.push((format!("rl_{name}").into(), value.into()));
    }
    for (name, value) in &link.filters {
        pairs.push((name.into(), value.into()));
    }
    pairs
}

/// The envelope of a link that follows the grammar. Nothing in it is trusted yet.
pub(super) struct Envelope<'q> {
    pub(super) id: Uuid,
    pub(super) issued: u64,
    pub(super) expires: u64,
    pub(super) key_id: &'q str,
    pub(super) scope: Option<Scope>,
    pub(super) signature: [u8; 32],
}

/// What stands beside the envelope.
pub(super) enum Body<'q> {
    /// The contents, for everybody to read.
    Open(Contents),
    /// The contents in their box.
    Sealed(&'q str),
}

/// The contents of a link that follow the grammar. Nothing in them is trusted by itself.
pub(super) struct Contents {
    user: UserId,
    conditions: Conditions,
    filename: Option<FileName>,
    claims: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    filters: Vec<(String, String)>,
}

impl<'q> Envelope<'q> {
    /// Takes a query's parameters apart.
    ///
    /// # Errors
    /// The first that does not follow the grammar.
    pub(super) fn parse(pairs: &'q [Pair<'_>]) -> Result<(Envelope<'q>, Body<'q>), Malformed> {
        let parameters = Parameters::sort(pairs)?;
        let envelope = parameters.envelope()?;
        let body = match parameters.sealed {
            None => Body::Open(parameters.contents()?),
            Some(_) if parameters.has_contents() => {
                let reason = "stands beside parameters that belong into it";
                return Err(Malformed::new("rl_sealed", reason));
            }
            Some(sealed) => Body::Sealed(sealed),
        };
        Ok((envelope, body))
    }

    /// The link that these contents make of it.
    pub(super) fn with(&self, contents: Contents, export: &str, format: Format) -> Link {
        Link {
            export: export.to_owned(),
            format,
            user: contents.user,
            id: self.id,
            issued: self.issued,
            expires: self.expires,
            conditions: contents.conditions,
            filename: contents.filename,
            claims: contents.claims,
            options: contents.options,
            filters: contents.filters,
        }
    }
}

impl Contents {
    /// Reads what was sealed.
    ///
    /// # Errors
    /// The first parameter that does not follow the grammar.
    pub(super) fn unsealed(text: &str) -> Result<Contents, Malformed> {
        let pairs = parse_query(text)?;
        let parameters = Parameters::sort(&pairs)?;
        if parameters.has_envelope() {
            let reason = "holds parameters that belong beside it";
            return Err(Malformed::new("rl_sealed", reason));
        }
        parameters.contents()
    }
}

/// The parameters of a link, each in its place and none twice.
#[derive(Default)]
struct Parameters<'q> {
    link: Option<&'q str>,
    issued: Option<&'q str>,
    expires: Option<&'q str>,
    key: Option<&'q str>,
    scope: Option<&'q str>,
    sealed: Option<&'q str>,
    signature: Option<&'q str>,

    user: Option<&'q str>,
    not_before: Option<&'q str>,
    ip: Option<&'q str>,
    max_rows: Option<&'q str>,
    max_bytes: Option<&'q str>,
    filename: Option<&'q str>,
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
            "link" => &mut self.link,
            "issued" => &mut self.issued,
            "expires" => &mut self.expires,
            "key" => &mut self.key,
            "scope" => &mut self.scope,
            "sealed" => &mut self.sealed,
            "signature" => &mut self.signature,
            "user" => &mut self.user,
            "not_before" => &mut self.not_before,
            "ip" => &mut self.ip,
            "max_rows" => &mut self.max_rows,
            "max_bytes" => &mut self.max_bytes,
            "filename" => &mut self.filename,
            option if is_option_name(option) => {
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

    fn envelope(&self) -> Result<Envelope<'q>, Malformed> {
        let signature = require("rl_signature", self.signature, parse_signature)?;
        let key_id = require("rl_key", self.key, |value| {
            is_key_id(value).then_some(value).ok_or("not a key id")
        })?;
        let issued = require("rl_issued", self.issued, parse_seconds)?;
        let expires = require("rl_expires", self.expires, parse_seconds)?;
        if expires <= issued {
            return Err(Malformed::new("rl_expires", "not after rl_issued"));
        }
        Ok(Envelope {
            id: require("rl_link", self.link, parse_link_id)?,
            issued,
            expires,
            key_id,
            scope: parse("rl_scope", self.scope, Scope::parse)?,
            signature,
        })
    }

    fn has_envelope(&self) -> bool {
        let times = [self.issued, self.expires];
        let others = [self.link, self.key, self.scope, self.sealed, self.signature];
        times.iter().chain(&others).any(Option::is_some)
    }

    fn contents(self) -> Result<Contents, Malformed> {
        Ok(Contents {
            user: require("rl_user", self.user, |value| {
                UserId::parse(value).map_err(|_| "not a user id")
            })?,
            conditions: Conditions {
                not_before: parse("rl_not_before", self.not_before, parse_seconds)?,
                network: parse("rl_ip", self.ip, Network::parse)?,
                rows_max: parse("rl_max_rows", self.max_rows, parse_count)?,
                bytes_max: parse("rl_max_bytes", self.max_bytes, parse_count)?,
            },
            filename: parse("rl_filename", self.filename, |value| {
                FileName::parse(value).map_err(|_| "not a plain file name")
            })?,
            claims: self.claims,
            options: self.options,
            filters: self.filters,
        })
    }

    fn has_contents(&self) -> bool {
        let conditions = [self.not_before, self.ip, self.max_rows, self.max_bytes];
        let texts = [self.user, self.filename];
        conditions.iter().chain(&texts).any(Option::is_some)
            || !(self.claims.is_empty() && self.options.is_empty() && self.filters.is_empty())
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

fn parse_seconds(text: &str) -> Result<u64, &'static str> {
    decimal(text, 10).ok_or("not Unix seconds in canonical decimal")
}

fn parse_count(text: &str) -> Result<u64, &'static str> {
    let count = decimal(text, 15).filter(|count| *count > 0);
    count.ok_or("not a number above 0 in canonical decimal")
}

/// Without a sign or leading zeros, so that a number has one spelling.
fn decimal(text: &str, digits_max: usize) -> Option<u64> {
    let canonical = (1..=digits_max).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

fn parse_link_id(text: &str) -> Result<Uuid, &'static str> {
    // Upper case, braces and missing hyphens parse too, but one id has one spelling.
    if text.len() != Hyphenated::LENGTH || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("not a canonical UUID");
    }
    Uuid::try_parse(text).map_err(|_| "not a UUID")
}

/// 64 lower-case hex digits, never truncated.
fn parse_signature(text: &str) -> Result<[u8; 32], &'static str> {
    let mut signature = [0; 32];
    match base16ct::lower::decode(text, &mut signature) {
        Ok(decoded) if decoded.len() == 32 => Ok(signature),
        _ => Err("not 64 lower-case hex digits"),
    }
}

/// Whether a reserved parameter, without its prefix, says how the file is written.
pub fn is_option_name(name: &str) -> bool {
    let format_options = ["csv.", "xlsx.", "ndjson."];
    ["columns", "timezone", "end_line", "length"].contains(&name)
        || format_options.iter().any(|it| name.starts_with(it))
}
