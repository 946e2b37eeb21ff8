//! A link's parameters: their names and their values.
//!
//! The **envelope** is what a verifier needs before it trusts anything, and always readable. The
//! **contents** are what a sealed link hides.

use std::collections::BTreeMap;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::conditions::{CONDITIONS, Condition, Conditions, SECONDS_MAX, parse_seconds};
use super::error::Malformed;
use super::file_name::FileName;
use super::keyring::{Key, is_key_id};
use super::path::DownloadPath;
use super::query::{Pair, parse_query};
use super::scope::Scope;
use super::text::{UserId, check_text, is_claim_name, is_option_name, parse_hash, parse_reveal};
use super::{Link, RESERVED_PREFIX};

/// Returns the envelope of a link signed with this key.
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

/// Returns the contents of a link.
pub(super) fn contents(link: &Link) -> Vec<Pair<'_>> {
    let mut pairs: Vec<Pair<'_>> = vec![("rl_user".into(), link.user.as_str().into())];
    for condition in &CONDITIONS {
        let value = (condition.get)(&link.conditions);
        let pair = value.map(|value| (condition.parameter.into(), value.to_parameter().into()));
        pairs.extend(pair);
    }
    if let Some(filename) = &link.filename {
        pairs.push(("rl_filename".into(), filename.as_str().into()));
    }
    for (name, value) in &link.claims {
        pairs.push((format!("rl_claim.{name}").into(), value.into()));
    }
    if !link.reveal.is_empty() {
        pairs.push(("rl_reveal".into(), link.reveal.join(",").into()));
    }
    for (name, value) in &link.options {
        pairs.push((format!("rl_{name}").into(), value.into()));
    }
    for (name, value) in &link.filters {
        pairs.push((name.into(), value.into()));
    }
    pairs
}

/// The envelope of a link that follows the grammar. Its signature is not verified yet.
pub(super) struct Envelope<'q> {
    pub(super) id: Uuid,
    pub(super) issued: u64,
    pub(super) expires: u64,
    pub(super) key_id: &'q str,
    pub(super) scope: Option<Scope>,
    pub(super) signature: [u8; 32],
}

/// What accompanies the envelope.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once, and boxed contents would allocate for each link"
)]
pub(super) enum Body<'q> {
    /// Readable contents.
    Open(Contents),
    /// Encrypted contents.
    Sealed(&'q str),
}

/// The contents of a link that follow the grammar. Their signature is not verified yet.
pub(super) struct Contents {
    user: UserId,
    conditions: Conditions,
    filename: Option<FileName>,
    claims: BTreeMap<String, String>,
    reveal: Vec<String>,
    options: BTreeMap<String, String>,
    filters: Vec<(String, String)>,
}

impl<'q> Envelope<'q> {
    /// Parses the parameters of a query.
    ///
    /// # Errors
    /// Returns the first parameter that breaks the grammar.
    pub(super) fn parse(pairs: &'q [Pair<'_>]) -> Result<(Envelope<'q>, Body<'q>), Malformed> {
        let parameters = Parameters::collect(pairs)?;
        let envelope = parameters.envelope()?;
        let body = match parameters.sealed {
            None => Body::Open(parameters.contents()?),
            Some(_) if parameters.has_contents() => {
                let reason = "duplicate contents: a sealed link has none outside";
                return Err(Malformed::new("rl_sealed", reason));
            }
            Some(sealed) => Body::Sealed(sealed),
        };
        Ok((envelope, body))
    }

    /// Returns the link of this envelope and these contents.
    pub(super) fn with(&self, contents: Contents, path: DownloadPath<'_>) -> Link {
        Link {
            export: path.export().to_owned(),
            format: path.format().map(str::to_owned),
            user: contents.user,
            id: self.id,
            issued: self.issued,
            expires: self.expires,
            conditions: contents.conditions,
            filename: contents.filename,
            claims: contents.claims,
            reveal: contents.reveal,
            options: contents.options,
            filters: contents.filters,
        }
    }
}

impl Contents {
    /// Parses decrypted contents.
    ///
    /// # Errors
    /// Returns the first parameter that breaks the grammar.
    pub(super) fn parse(text: &str) -> Result<Contents, Malformed> {
        let pairs = parse_query(text)?;
        let parameters = Parameters::collect(&pairs)?;
        if parameters.has_envelope() {
            let reason = "unexpected envelope inside the sealed contents";
            return Err(Malformed::new("rl_sealed", reason));
        }
        parameters.contents()
    }
}

/// The parameters of a link by name, none of them twice.
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
    conditions: [Option<&'q str>; CONDITIONS.len()],
    filename: Option<&'q str>,
    reveal: Option<&'q str>,
    claims: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    filters: Vec<(String, String)>,
}

impl<'q> Parameters<'q> {
    fn collect(pairs: &'q [Pair<'_>]) -> Result<Parameters<'q>, Malformed> {
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
                return Err(Malformed::new(name, "duplicate parameter"));
            }
        }
        Ok(parameters)
    }

    /// Stores a reserved parameter; returns whether it is the first of its name.
    fn put(&mut self, reserved: &str, value: &'q str) -> Result<bool, &'static str> {
        let field = match reserved {
            "link" => &mut self.link,
            "issued" => &mut self.issued,
            "expires" => &mut self.expires,
            "key" => &mut self.key,
            "scope" => &mut self.scope,
            "sealed" => &mut self.sealed,
            "signature" => &mut self.signature,
            "user" => &mut self.user,
            "filename" => &mut self.filename,
            "reveal" => &mut self.reveal,
            other => return self.put_named(other, value),
        };
        Ok(field.replace(value).is_none())
    }

    /// Stores a condition, an output option or a claim.
    fn put_named(&mut self, reserved: &str, value: &'q str) -> Result<bool, &'static str> {
        let is_named =
            |it: &Condition| it.parameter.strip_prefix(RESERVED_PREFIX) == Some(reserved);
        if let Some(index) = CONDITIONS.iter().position(is_named) {
            return Ok(self.conditions[index].replace(value).is_none());
        }
        if let Some(claim) = reserved.strip_prefix("claim.") {
            if !is_claim_name(claim) || check_text(value).is_err() {
                return Err("expected a claim");
            }
            let before = self.claims.insert(claim.to_owned(), value.to_owned());
            return Ok(before.is_none());
        }
        if is_option_name(reserved) {
            let before = self.options.insert(reserved.to_owned(), value.to_owned());
            return Ok(before.is_none());
        }
        // An unknown condition must not be ignored: it may narrow the link.
        Err("unknown reserved parameter")
    }

    fn envelope(&self) -> Result<Envelope<'q>, Malformed> {
        let signature = require("rl_signature", self.signature, parse_hash)?;
        let key_id = require("rl_key", self.key, |value| {
            is_key_id(value).then_some(value).ok_or("expected a key id")
        })?;
        let issued = require("rl_issued", self.issued, parse_seconds)?;
        let expires = require("rl_expires", self.expires, parse_seconds)?;
        if expires <= issued {
            return Err(Malformed::new(
                "rl_expires",
                "expected a time after rl_issued",
            ));
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
        let user = require("rl_user", self.user, |value| {
            UserId::parse(value).map_err(|_| "expected a user id")
        })?;
        let mut conditions = Conditions::default();
        for (condition, text) in CONDITIONS.iter().zip(self.conditions) {
            let parse_value = |text| condition.value_type.parse(text);
            if let Some(value) = parse(condition.parameter, text, parse_value)? {
                (condition.set)(&mut conditions, value);
            }
        }
        Ok(Contents {
            user,
            conditions,
            filename: parse("rl_filename", self.filename, |value| {
                FileName::parse(value).map_err(|_| "expected a plain file name")
            })?,
            claims: self.claims,
            reveal: parse("rl_reveal", self.reveal, parse_reveal)?.unwrap_or_default(),
            options: self.options,
            filters: self.filters,
        })
    }

    fn has_contents(&self) -> bool {
        let texts = [self.user, self.filename, self.reveal];
        self.conditions.iter().chain(&texts).any(Option::is_some)
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

fn parse_link_id(text: &str) -> Result<Uuid, &'static str> {
    // Upper case, braces and missing hyphens parse too, but an id has one spelling.
    if text.len() != Hyphenated::LENGTH || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("expected a canonical UUID");
    }
    Uuid::try_parse(text).map_err(|_| "expected a UUID")
}

/// Checks a link against the grammar that a verifier applies, before it is signed.
///
/// # Errors
/// Returns the first name or value that no link may carry.
pub(super) fn check(link: &Link) -> Result<(), Malformed> {
    if DownloadPath::of(link).is_none() {
        return Err(Malformed::new(
            "",
            "expected the names of an export and a format",
        ));
    }
    let reason = match link.expires {
        seconds if seconds <= link.issued => Some("expected a time after rl_issued"),
        seconds if seconds > SECONDS_MAX => Some("expected at most 10 digits of Unix seconds"),
        _ => None,
    };
    if let Some(reason) = reason {
        return Err(Malformed::new("rl_expires", reason));
    }
    for condition in &CONDITIONS {
        if let Some(value) = (condition.get)(&link.conditions) {
            let parsed = condition.value_type.parse(&value.to_parameter());
            parsed.map_err(|reason| Malformed::new(condition.parameter, reason))?;
        }
    }
    for (name, value) in &link.claims {
        if !is_claim_name(name) || check_text(value).is_err() {
            return Err(Malformed::new(
                &format!("rl_claim.{name}"),
                "expected a claim",
            ));
        }
    }
    if !link.reveal.is_empty() {
        let parsed = parse_reveal(&link.reveal.join(","));
        if parsed != Ok(link.reveal.clone()) {
            let reason = "expected names of columns, each once, without commas";
            return Err(Malformed::new("rl_reveal", reason));
        }
    }
    if let Some(name) = link.options.keys().find(|name| !is_option_name(name)) {
        return Err(Malformed::new(
            &format!("rl_{name}"),
            "unknown output option",
        ));
    }
    let filters = link.filters.iter().map(|(name, value)| (name, value));
    for (name, value) in link.options.iter().chain(filters) {
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err(Malformed::new(
                name,
                "expected a name, and no NUL character",
            ));
        }
    }
    let mut names = link.filters.iter().map(|(name, _)| name);
    match names.find(|name| name.starts_with(RESERVED_PREFIX)) {
        Some(name) => Err(Malformed::new(
            name,
            "expected a name that does not start with rl_",
        )),
        None => Ok(()),
    }
}
