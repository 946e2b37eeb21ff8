//! `rowlink revoke`: enters one link, or a user's or a key's links, into the file of revocations.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use rowlink_link::{Keyring, Revocations, SplitUrl, UserId, Verifier};
use uuid::Uuid;

use super::errors::{ErrorLines, error_line, error_lines};
use super::keygen::key_id;
use super::locked_file::lock;
use super::replace::write;
use super::request::user_id;
use super::{parse_time, system_clock};
use crate::catalog::FEED_DAYS_MAX;
use crate::config::revocations_edit::{EditError, RevocationsEdit};
use crate::config::{RevokeConfig, read};
use crate::unix_time::rfc3339;

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// Id of the link, or its URL; `-` reads ids and URLs from standard input, one per line. Give a URL by `-`: it is a secret
    /// while it works, and process lists show arguments. For a URL the signing keys must be configured
    #[arg(
        value_name = "ID|URL",
        required_unless_present_any = ["user", "key"],
        conflicts_with_all = ["user", "key"]
    )]
    link: Option<String>,
    /// Revoke all links of a user that were issued until now
    #[arg(long, conflicts_with = "key", value_parser = user_id)]
    user: Option<UserId>,
    /// Revoke all links under a key that were issued until now. Drop a key that leaked instead: its holder chooses the time
    #[arg(long, value_name = "KEY-ID", value_parser = key_id)]
    key: Option<String>,
    /// Expiry of a link whose id is given, from which its entry may be removed: 2026-01-31T10:00:00Z, or Unix seconds
    /// [default: in 374 days, when every link has expired]
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["user", "key"])]
    expires: Option<u64>,
    /// File of revocations [default: ROWLINK_REVOCATIONS_FILE]
    #[arg(long)]
    file: Option<PathBuf>,
}

/// What is revoked. Times are in Unix seconds.
enum Target {
    Link { id: Uuid, until: u64 },
    User { user: UserId, before: u64 },
    Key { key_id: String, before: u64 },
}

const DAY: u64 = 86_400;
/// From then on no link works that exists now: the longest lifetime of a feed, then the longest time to continue a download,
/// and a day for clocks that differ.
const EXPIRED_AFTER: u64 = (FEED_DAYS_MAX + 7 + 1) * DAY;
/// An entry stays for an hour after the expiry: the clock of a server may be late.
const SWEPT_AFTER: u64 = 3600;

/// Edits the file, and prints what was revoked and which entries were removed.
pub(super) fn revoke(args: RevokeArgs) -> Result<(), ErrorLines> {
    let config = RevokeConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let file = args.file.clone().or(config.revocations_file);
    let missing =
        "ROWLINK_REVOCATIONS_FILE: is required, or --file; servers read revocations from it";
    let file = file.ok_or_else(|| error_line(missing))?;
    let now = system_clock()();
    // Standard input is read before the lock is taken: no other command waits for a person who types.
    let targets = targets(args, config.keyring.as_ref(), now)?;
    let report = edit(&file, &targets, now)?;
    io::stdout()
        .write_all(report.as_bytes())
        .map_err(error_line)
}

/// Edits the file under a lock; returns what was done.
fn edit(file: &Path, targets: &[Target], now: u64) -> Result<String, ErrorLines> {
    let named = |error: &dyn Display| format!("{}: {error}", file.display());
    let _lock = lock(file).map_err(|error| error_line(named(&error)))?;
    let text = read(file).map_err(error_line)?;
    let all_named = |errors: Vec<_>| errors.iter().map(|error| named(error)).collect::<Vec<_>>();
    let mut edited = RevocationsEdit::new(&text).map_err(all_named)?;
    let mut report = String::new();
    for target in targets {
        let done = target.enter(&mut edited, now);
        report += &done.map_err(|error| error_line(named(&error)))?;
        report.push('\n');
    }
    for (id, until) in edited.sweep(now.saturating_sub(SWEPT_AFTER)) {
        report += &format!("link {id}: entry removed; it expired at {}\n", time(until));
    }
    // It was parsed as a server does.
    let next = edited.finish().map_err(all_named)?;
    write(file, &next).map_err(|error| error_line(named(&error)))?;
    report += &named(&"written; servers read it within a second");
    report.push('\n');
    Ok(report)
}

impl Target {
    /// Makes the entry; returns what was done.
    fn enter(&self, edited: &mut RevocationsEdit, now: u64) -> Result<String, EditError> {
        Ok(match self {
            Target::Link { id, until } if until.saturating_add(SWEPT_AFTER) < now => {
                format!(
                    "link {id}: has expired at {}; no entry needed",
                    time(*until)
                )
            }
            Target::Link { id, until } => {
                let until = edited.revoke_link(*id, *until)?;
                format!("link {id}: revoked; entry kept until {}", time(until))
            }
            Target::User { user, before } => {
                let before = edited.revoke_user(user.as_str(), *before)?;
                let user = user.as_str().escape_debug();
                format!("user {user}: links issued before {} revoked", time(before))
            }
            Target::Key { key_id, before } => {
                let before = edited.revoke_key(key_id, *before)?;
                format!("key {key_id}: links issued before {} revoked", time(before))
            }
        })
    }
}

/// Returns what the arguments name.
fn targets(
    args: RevokeArgs,
    keyring: Option<&Keyring>,
    now: u64,
) -> Result<Vec<Target>, ErrorLines> {
    // A link that was issued in this second is revoked too.
    let before = now.saturating_add(1);
    let of_user = args.user.map(|user| Target::User { user, before });
    let of_key = args.key.map(|key_id| Target::Key { key_id, before });
    if let Some(target) = of_user.or(of_key) {
        return Ok(vec![target]);
    }
    let link = args.link.unwrap_or_default();
    if link != "-" {
        let target = link_target(&link, keyring, args.expires, now);
        return target.map(|target| vec![target]).map_err(error_line);
    }
    let text = io::read_to_string(io::stdin()).map_err(error_line)?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let (mut targets, mut errors) = (Vec::new(), Vec::new());
    for (index, line) in lines {
        match link_target(line, keyring, args.expires, now) {
            Ok(target) => targets.push(target),
            Err(error) => errors.push(format!("standard input: line {}: {error}", index + 1)),
        }
    }
    match (targets.is_empty(), errors.is_empty()) {
        (_, false) => Err(errors),
        (true, true) => Err(error_line(
            "standard input: expected the id of a link, or its URL",
        )),
        (false, true) => Ok(targets),
    }
}

/// Parses the id of a link, or its URL. An error does not quote it: it may be a link that works.
fn link_target(
    text: &str,
    keyring: Option<&Keyring>,
    expires: Option<u64>,
    now: u64,
) -> Result<Target, String> {
    if let Ok(id) = Uuid::try_parse(text) {
        // A past time is a mistake, or the link needs no entry. Success would hide the former.
        if expires.is_some_and(|expires| expires <= now) {
            return Err("--expires: expected a time in the future".to_owned());
        }
        let until = expires.unwrap_or(now.saturating_add(EXPIRED_AFTER));
        return Ok(Target::Link { id, until });
    }
    if !text.contains('?') {
        return Err("expected the id of a link, or its URL".to_owned());
    }
    if expires.is_some() {
        return Err("--expires: unsupported for a URL, which has its own; remove it".to_owned());
    }
    let keyring = keyring.ok_or(
        "ROWLINK_SIGNING_KEYS: is required for a URL, to tell that it was not changed; or give the link's id",
    )?;
    let verifier = Verifier {
        keyring,
        revocations: &Revocations::default(),
        ttl_seconds_max: u64::MAX,
    };
    let malformed = |error: rowlink_link::Malformed| format!("the link is damaged: {error}");
    let split = SplitUrl::parse(text).map_err(malformed)?;
    let inspection = verifier.inspect(split.path, split.query);
    let inspection = inspection.map_err(malformed)?;
    // A changed URL may name another link, or an earlier expiry.
    if !inspection.signature_valid {
        return Err("the signature does not match the link, so that it does not work; give its id to revoke that".to_owned());
    }
    let link = inspection.link;
    let link = link.ok_or("the contents of the link are damaged, so that it does not work")?;
    let resume_seconds = link.conditions.resume_seconds.unwrap_or(0);
    Ok(Target::Link {
        id: link.id,
        until: link.expires.saturating_add(resume_seconds),
    })
}

fn time(seconds: u64) -> String {
    rfc3339(seconds).unwrap_or_else(|| seconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowlink_link::{Link, Seal, sign};

    const NOW: u64 = 1_769_853_600;

    fn keyring() -> Keyring {
        Keyring::parse("k:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").expect("a key")
    }

    fn link_entry(text: &str, expires: Option<u64>) -> Result<(Uuid, u64), String> {
        match link_target(text, Some(&keyring()), expires, NOW)? {
            Target::Link { id, until } => Ok((id, until)),
            Target::User { .. } | Target::Key { .. } => Err("no link".to_owned()),
        }
    }

    #[test]
    fn a_url_has_its_id_and_the_end_of_its_continued_downloads() {
        let user = UserId::parse("alice").expect("a user id");
        let mut link = Link::new("orders", "csv", user, NOW, 60);
        link.conditions.resume_seconds = Some(600);
        for seal in [Seal::Open, Seal::Sealed] {
            let signed = sign(link.clone(), &keyring(), seal).expect("signed");
            let url = signed.url("https://shop.example.com/data").expect("a URL");
            let expected = (link.id, NOW + 660);
            assert_eq!(link_entry(&url, None), Ok(expected));
            assert_eq!(link_entry(signed.path_and_query(), None), Ok(expected));
            let (expires, later) = (format!("{}", NOW + 60), format!("{}", NOW + 61));
            let changed = link_entry(&url.replace(&expires, &later), None);
            assert!(changed.is_err_and(|error| error.contains("the signature does not match")));
            let without_key = link_target(&url, None, None, NOW).map(drop);
            assert!(without_key.is_err_and(|error| error.contains("ROWLINK_SIGNING_KEYS")));
            let twice = link_entry(&url, Some(NOW));
            assert!(twice.is_err_and(|error| error.contains("--expires")));
        }
    }

    #[test]
    fn an_id_is_kept_until_the_longest_lifetime_has_passed() {
        let id = "0198c2f4-6f3a-7cc1-9b2e-0242ac120002";
        let expected: Uuid = id.parse().expect("an id");
        assert_eq!(link_entry(id, Some(NOW + 5)), Ok((expected, NOW + 5)));
        let until = NOW + 374 * 86_400;
        assert_eq!(link_entry(id, None), Ok((expected, until)));
        assert!(link_entry(id, Some(NOW)).is_err());
        for bad in ["", "42", "https://shop.example.com/", &id[1..]] {
            assert!(link_entry(bad, None).is_err(), "{bad}");
        }
    }
}
