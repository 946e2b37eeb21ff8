//! `rowlink verify`: explains step by step why a link is valid or refused.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use rowlink_link::{
    CONDITIONS, ClientAddr, ConditionValue, Inspection, Link, LinkError, Malformed, SplitUrl, Step,
    VerifiedLink, Verifier,
};

use super::errors::{ErrorLines, error_line, error_lines};
use super::load::valid_catalog;
use super::sign::field_error_lines;
use super::{parse_time, system_clock};
use crate::catalog::Catalog;
use crate::config::KeysConfig;
use crate::format::{self, Format};
use crate::service::{OpenError, check_link, longest_ttl_seconds};
use crate::unix_time::rfc3339;

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The link, or its path and query; `-` reads it from standard input, so that no process list shows it
    url: String,
    /// Time at which the link is followed: 2026-01-31T10:00:00Z, or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<u64>,
    /// Client address to check; without it the address is not checked
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Folder of exports to check filters, claims and options against; without it they are not checked.
    /// ROWLINK_DATABASE_URL names the SQL dialect; the database is not contacted
    #[arg(long, value_name = "DIR")]
    exports: Option<PathBuf>,
}

/// Prints what the link says and the result of each step. The exit code is 1 if the link is refused.
pub(super) fn verify(args: VerifyArgs) -> Result<ExitCode, ErrorLines> {
    let config = KeysConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let catalog = args.exports.as_deref().map(valid_catalog).transpose()?;
    let url = match args.url.as_str() {
        "-" => io::read_to_string(io::stdin()).map_err(error_line)?,
        url => url.to_owned(),
    };
    let now = args.at.unwrap_or_else(|| system_clock()());
    let at = |address| ClientAddr::At(Some(address));
    let client = args.from.map_or(ClientAddr::Unchecked, at);
    let mut report = Report::default();
    let is_valid = match verify_url(url.trim(), &config, catalog.as_ref(), now, client) {
        Ok((inspection, verified)) => {
            report.describe(&inspection, &config, now);
            report.steps(verified.as_ref().err(), args.from.is_some())
                && report.names(&inspection)
                && report.export(verified.ok().as_ref(), catalog.as_ref(), &config)
        }
        Err(malformed) => report.refuse_at(Step::Syntax, &malformed.into()),
    };
    if is_valid {
        report.0 += "valid\n";
    }
    io::stdout()
        .write_all(report.0.as_bytes())
        .map_err(error_line)?;
    Ok(match is_valid {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn verify_url(
    url: &str,
    config: &KeysConfig,
    catalog: Option<&Catalog>,
    now: u64,
    client: ClientAddr,
) -> Result<(Inspection, Result<VerifiedLink, LinkError>), Malformed> {
    let split = SplitUrl::parse(url)?;
    split.check_length()?;
    let export = catalog.and_then(|catalog| catalog.get(split.path.export()));
    let deployment_max = config.policy.ttl_seconds_max;
    let longest = export.map(|export| longest_ttl_seconds(export, deployment_max));
    let verifier = Verifier {
        keyring: &config.keyring,
        revocations: &config.revocations,
        ttl_seconds_max: longest.unwrap_or(deployment_max),
    };
    let inspection = verifier.inspect(split.path, split.query)?;
    let verified = verifier.verify(split.path, split.query, now, client);
    Ok((inspection, verified))
}

/// The printed report. A link may hold any character, so control characters are escaped for terminals.
#[derive(Default)]
struct Report(String);

impl Report {
    fn line(&mut self, label: &str, value: impl Display) {
        let value = value.to_string();
        self.0 += &format!("{label:14}{}\n", value.escape_debug());
    }

    /// Adds a refusal, whose `reason` has no control characters; returns false.
    fn refuse(&mut self, step: &str, code: &str, reason: impl Display) -> bool {
        self.0 += &format!("{step:14}refused: {code}: {reason}\n");
        false
    }

    fn refuse_at(&mut self, step: Step, refusal: &LinkError) -> bool {
        self.refuse(step.name(), refusal.code(), refusal)
    }

    /// Adds a line per step, up to the one that refuses the link; returns whether none does.
    fn steps(&mut self, refusal: Option<&LinkError>, is_address_known: bool) -> bool {
        for step in Step::ALL {
            match refusal {
                Some(refusal) if refusing_step(refusal) == step => {
                    return self.refuse_at(step, refusal);
                }
                _ if step == Step::Address && !is_address_known => {
                    self.line(step.name(), "not checked: no --from");
                }
                _ => self.line(step.name(), "ok"),
            }
        }
        true
    }

    /// Refuses a genuine link that names a format or an option that no replica has; returns whether all
    /// its names are known. What its export accepts, only the catalog knows.
    fn names(&mut self, inspection: &Inspection) -> bool {
        let Some(link) = &inspection.link else {
            return true;
        };
        let format = link.format.as_deref().map(str::parse::<Format>);
        if let Some(Err(error)) = format {
            return self.refuse("format", "unknown-format", error);
        }
        let mut options = link.options.keys();
        match options.find(|name| !format::is_option(name)) {
            Some(name) => self.refuse(
                "options",
                "invalid-values",
                format!("{}: unknown option", name.escape_debug()),
            ),
            None => true,
        }
    }

    /// Refuses a link that its export would refuse; returns whether it fits, as far as it is checked.
    fn export(
        &mut self,
        verified: Option<&VerifiedLink>,
        catalog: Option<&Catalog>,
        config: &KeysConfig,
    ) -> bool {
        let (Some(verified), Some(catalog)) = (verified, catalog) else {
            self.line("export", "filters and options not checked: no --exports");
            return true;
        };
        let (code, reason) = match check_link(catalog, verified, config.policy.ttl_seconds_max) {
            Ok(()) => {
                self.line("export", "ok");
                return true;
            }
            Err(OpenError::UnknownExport(name)) => ("unknown-export", name),
            Err(OpenError::Invalid(errors)) => {
                ("invalid-values", field_error_lines(errors).join("; "))
            }
            Err(OpenError::Link(error)) => (error.code(), error.to_string()),
            Err(error) => ("unknown-format", error.to_string()),
        };
        self.refuse("export", code, reason.escape_debug())
    }

    /// Adds the parts of a link, and the string that its signature must cover.
    fn describe(&mut self, inspection: &Inspection, config: &KeysConfig, now: u64) {
        let is_known = config.keyring.key_ids().any(|id| id == inspection.key_id);
        let unknown = if is_known { "" } else { ", unknown here" };
        self.line("link id", inspection.id);
        self.line("key", format!("{}{unknown}", inspection.key_id));
        if let Some(scope) = &inspection.scope {
            self.line("scope of key", scope);
        }
        let left = i128::from(inspection.expires) - i128::from(now);
        self.line("issued", time(inspection.issued));
        self.line(
            "expires",
            format!("{}, {left} s left", time(inspection.expires)),
        );
        match &inspection.link {
            Some(link) => self.describe_contents(link),
            None => self.line("contents", "sealed"),
        }
        self.0 += "string to sign:\n";
        for line in inspection.string_to_sign.lines() {
            self.0 += &format!("  {line}\n");
        }
        self.0 += "\n";
    }

    fn describe_contents(&mut self, link: &Link) {
        self.line("user", &link.user);
        for condition in &CONDITIONS {
            match (condition.get)(&link.conditions) {
                None => {}
                Some(ConditionValue::Instant(seconds)) => {
                    self.line(condition.label, time(seconds));
                }
                Some(value) => self.line(condition.label, value.to_parameter()),
            }
        }
        if let Some(filename) = &link.filename {
            self.line("file name", filename);
        }
        for (name, value) in &link.claims {
            self.line("claim", format!("{name}={value}"));
        }
        for name in &link.reveal {
            self.line("reveal", name);
        }
        for (name, value) in &link.options {
            self.line("option", format!("{name}={value}"));
        }
        for (name, value) in &link.filters {
            self.line("filter", format!("{name}={value}"));
        }
    }
}

/// Returns the step that refuses a link whose readable part follows the grammar.
fn refusing_step(refusal: &LinkError) -> Step {
    match refusal.step() {
        // The readable part was inspected before, so that the sealed contents are malformed.
        Step::Syntax => Step::Contents,
        step => step,
    }
}

fn time(seconds: u64) -> String {
    rfc3339(seconds).unwrap_or_else(|| seconds.to_string())
}
