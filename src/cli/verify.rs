//! `rowlink verify`: why a link is good or bad, step by step.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::{Faults, lines, moment, one, system_clock};
use crate::config::KeysConfig;
use crate::moment::rfc3339;

use crate::link::{Client, Conditions, Inspection, Link, LinkError, Verifier, split_url};

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

/// What is checked, in this order, and what a link says at each.
const STEPS: [&str; 6] = [
    "syntax",
    "signature",
    "scope",
    "times",
    "address",
    "revocation",
];

/// Prints what the link says and what each step finds; fails if the link is refused.
pub(super) fn verify(args: VerifyArgs) -> Result<ExitCode, Faults> {
    let config = KeysConfig::from_env(std::env::vars_os()).map_err(lines)?;
    let url = match args.url.as_str() {
        "-" => io::read_to_string(io::stdin()).map_err(one)?,
        url => url.to_owned(),
    };
    let now = args.at.unwrap_or_else(|| system_clock()());
    let client = args
        .from
        .map_or(Client::None, |address| Client::At(Some(address)));
    let verifier = Verifier {
        keyring: &config.keyring,
        revocations: &config.revocations,
        ttl_seconds_max: config.policy.ttl_seconds_max,
    };
    let verdict = split_url(url.trim()).and_then(|(export, format, query)| {
        let inspected = verifier.inspect(export, format, query)?;
        let verified = verifier.verify(export, format, query, now, client);
        Ok((inspected, verified))
    });
    let (inspection, verdict) = match verdict {
        Ok((inspection, verified)) => (Some(inspection), verified.err()),
        Err(malformed) => (None, Some(LinkError::from(malformed))),
    };
    if let Some(inspection) = &inspection {
        describe(inspection, &config, now);
    }
    report(verdict.as_ref(), args.from.is_some());
    Ok(match verdict {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// The parts of a link, and what its signature must be of.
fn describe(inspection: &Inspection, config: &KeysConfig, now: u64) {
    let known = config.keyring.key_ids().any(|id| id == inspection.key_id);
    let known = if known {
        ""
    } else {
        ", which is not among ours"
    };
    say("link id", inspection.id);
    say("key", format_args!("{}{known}", inspection.key_id));
    if let Some(scope) = &inspection.scope {
        say("its scope", scope);
    }
    say("issued", time(inspection.issued));
    let left = i128::from(inspection.expires) - i128::from(now);
    say(
        "expires",
        format_args!("{}, {left} s left", time(inspection.expires)),
    );
    match &inspection.link {
        Some(link) => describe_contents(link),
        None => say("contents", "sealed"),
    }
    println!("string to sign:");
    for line in inspection.string_to_sign.lines() {
        println!("  {line}");
    }
    println!();
}

fn describe_contents(link: &Link) {
    let Conditions {
        not_before,
        network,
        rows_max,
        bytes_max,
    } = &link.conditions;
    say("user", &link.user);
    let optional = [
        ("not before", not_before.map(time)),
        ("address", network.map(|network| network.to_string())),
        ("rows at most", rows_max.map(|count| count.to_string())),
        ("bytes at most", bytes_max.map(|count| count.to_string())),
        (
            "file name",
            link.filename.as_ref().map(|it| it.as_str().to_owned()),
        ),
    ];
    for (what, value) in optional {
        if let Some(value) = value {
            say(what, value);
        }
    }
    let named = |name: &str, value: &str| format!("{name}={}", value.escape_debug());
    let lists: [(&str, Vec<String>); 3] = [
        (
            "claims",
            link.claims
                .iter()
                .map(|(name, value)| named(name, value))
                .collect(),
        ),
        (
            "options",
            link.options
                .iter()
                .map(|(name, value)| named(name, value))
                .collect(),
        ),
        (
            "filters",
            link.filters
                .iter()
                .map(|(name, value)| named(name, value))
                .collect(),
        ),
    ];
    for (what, pairs) in lists {
        if !pairs.is_empty() {
            say(what, pairs.join("  "));
        }
    }
}

/// A line for each step up to the one that refuses it.
fn report(refusal: Option<&LinkError>, is_address_known: bool) {
    let refused_at = refusal.map(|error| match error {
        LinkError::Malformed(_) => "syntax",
        LinkError::BadSignature => "signature",
        LinkError::OutsideScope(_) => "scope",
        LinkError::LivesTooLong { .. }
        | LinkError::NotYetValid { .. }
        | LinkError::Expired { .. } => "times",
        LinkError::WrongAddress => "address",
        LinkError::Revoked => "revocation",
    });
    let passed = STEPS.into_iter();
    for step in passed.take_while(|step| Some(*step) != refused_at) {
        let is_checked = step != "address" || is_address_known;
        say(
            step,
            if is_checked {
                "ok"
            } else {
                "not checked: no --from"
            },
        );
    }
    match (refused_at, refusal) {
        (Some(step), Some(error)) => say(step, format_args!("refused: {}: {error}", error.code())),
        _ => println!("valid"),
    }
}

fn time(seconds: u64) -> String {
    rfc3339(seconds).unwrap_or_else(|| seconds.to_string())
}

fn say(what: &str, value: impl Display) {
    println!("{what:14}{value}");
}
