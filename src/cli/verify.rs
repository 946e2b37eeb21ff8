//! `rowlink verify`: why a link is good or bad, step by step.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::{ErrorLines, error_line, error_lines, moment, system_clock};
use crate::config::KeysConfig;
use crate::unix_time::rfc3339;
use rowlink_link::{ClientAddr, Inspection, Link, LinkError, Verifier, split_url};

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The link, or its path and query; `-` reads it from the standard input, where no list of processes shows it
    url: String,
    /// When it is followed: 2026-01-31T10:00:00Z, or Unix seconds; now without
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    at: Option<u64>,
    /// Where it is followed from; not checked without
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
}

/// What is checked, in this order.
const STEPS: [&str; 7] = [
    "syntax",
    "signature",
    "contents",
    "scope",
    "times",
    "address",
    "revocation",
];

/// Prints what the link says and what each step finds; fails if the link is refused.
pub(super) fn verify(args: VerifyArgs) -> Result<ExitCode, ErrorLines> {
    let config = KeysConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let url = match args.url.as_str() {
        "-" => io::read_to_string(io::stdin()).map_err(error_line)?,
        url => url.to_owned(),
    };
    let now = args.at.unwrap_or_else(|| system_clock()());
    let at = |address| ClientAddr::At(Some(address));
    let client = args.from.map_or(ClientAddr::Unchecked, at);
    let verifier = Verifier {
        keyring: &config.keyring,
        revocations: &config.revocations,
        ttl_seconds_max: config.policy.ttl_seconds_max,
    };
    let found = split_url(url.trim()).and_then(|(export, format, query)| {
        let inspection = verifier.inspect(export, format, query)?;
        let verified = verifier.verify(export, format, query, now, client);
        Ok((inspection, verified.err()))
    });
    let mut report = Report::default();
    let refusal = match found {
        Ok((inspection, refusal)) => {
            report.describe(&inspection, &config, now);
            report.steps(refusal.as_ref(), args.from.is_some());
            refusal
        }
        Err(malformed) => {
            let refusal = LinkError::from(malformed);
            report.refuse("syntax", &refusal);
            Some(refusal)
        }
    };
    io::stdout()
        .write_all(report.0.as_bytes())
        .map_err(error_line)?;
    Ok(match refusal {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// Where a link that follows the grammar is refused.
fn step_of(refusal: &LinkError) -> &'static str {
    match refusal {
        // What can be read follows the grammar, so it is what was sealed.
        LinkError::Malformed(_) => "contents",
        LinkError::BadSignature => "signature",
        LinkError::OutsideScope(_) => "scope",
        LinkError::LivesTooLong { .. }
        | LinkError::NotYetValid { .. }
        | LinkError::Expired { .. } => "times",
        LinkError::WrongAddress => "address",
        LinkError::Revoked => "revocation",
    }
}

/// What is printed in the end. Whoever made the link may have put anything into it, and a terminal shall show that
/// and not obey it.
#[derive(Default)]
struct Report(String);

impl Report {
    fn say(&mut self, what: &str, value: impl Display) {
        let value = value.to_string();
        self.0 += &format!("{what:14}{}\n", value.escape_debug());
    }

    fn refuse(&mut self, step: &str, refusal: &LinkError) {
        let code = refusal.code();
        self.0 += &format!("{step:14}refused: {code}: {refusal}\n");
    }

    /// A line for each step up to the one that refuses it.
    fn steps(&mut self, refusal: Option<&LinkError>, is_address_known: bool) {
        for step in STEPS {
            match refusal {
                Some(refusal) if step_of(refusal) == step => return self.refuse(step, refusal),
                _ if step == "address" && !is_address_known => {
                    self.say(step, "not checked: no --from");
                }
                _ => self.say(step, "ok"),
            }
        }
        self.0 += "valid\n";
    }

    /// The parts of a link, and what its signature must be of.
    fn describe(&mut self, inspection: &Inspection, config: &KeysConfig, now: u64) {
        let is_ours = config.keyring.key_ids().any(|id| id == inspection.key_id);
        let known = if is_ours {
            ""
        } else {
            ", which is not among ours"
        };
        self.say("link id", inspection.id);
        self.say("key", format!("{}{known}", inspection.key_id));
        if let Some(scope) = &inspection.scope {
            self.say("its scope", scope);
        }
        let left = i128::from(inspection.expires) - i128::from(now);
        self.say("issued", time(inspection.issued));
        self.say(
            "expires",
            format!("{}, {left} s left", time(inspection.expires)),
        );
        match &inspection.link {
            Some(link) => self.describe_contents(link),
            None => self.say("contents", "sealed"),
        }
        self.0 += "string to sign:\n";
        for line in inspection.string_to_sign.lines() {
            self.0 += &format!("  {line}\n");
        }
        self.0 += "\n";
    }

    fn describe_contents(&mut self, link: &Link) {
        let conditions = &link.conditions;
        self.say("user", &link.user);
        let optional = [
            ("not before", conditions.not_before.map(time)),
            ("works from", conditions.network.map(|it| it.to_string())),
            ("rows at most", conditions.rows_max.map(|it| it.to_string())),
            (
                "bytes at most",
                conditions.bytes_max.map(|it| it.to_string()),
            ),
            (
                "file name",
                link.filename.as_ref().map(|it| it.as_str().to_owned()),
            ),
        ];
        for (what, value) in optional {
            if let Some(value) = value {
                self.say(what, value);
            }
        }
        for (name, value) in &link.claims {
            self.say("claim", format!("{name}={value}"));
        }
        for (name, value) in &link.options {
            self.say("option", format!("{name}={value}"));
        }
        for (name, value) in &link.filters {
            self.say("filter", format!("{name}={value}"));
        }
    }
}

fn time(seconds: u64) -> String {
    rfc3339(seconds).unwrap_or_else(|| seconds.to_string())
}
