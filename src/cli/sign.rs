//! `rowlink sign`: signs a link with a key only, without a server.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::errors::{ErrorLines, error_line, error_lines};
use super::load::valid_catalog;
use super::request::{RequestArgs, file_name};
use super::{parse_time, system_clock};
use crate::catalog::FieldError;
use crate::config::KeysConfig;
use crate::service::{IssueError, OpenError, mint};
use crate::source::causes;
use rowlink_link::{Conditions, FileName, Network};

#[derive(Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    file: RequestArgs,
    /// Lifetime of the link in seconds [default: ROWLINK_DEFAULT_TTL_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Suggested file name
    #[arg(long, value_parser = file_name)]
    filename: Option<FileName>,
    /// Start of validity: 2026-01-31T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    not_before: Option<u64>,
    /// Client address or network to bind the link to
    #[arg(long, value_parser = Network::parse)]
    ip: Option<Network>,
    /// Largest number of rows of the file
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000_000))]
    max_rows: Option<u64>,
    /// Largest size of the file in bytes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000_000))]
    max_bytes: Option<u64>,
    /// Seconds after its expiry in which a download that has begun may be continued
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000_000))]
    resume: Option<u64>,
    /// Let the link work only once
    #[arg(long)]
    single_use: bool,
    /// Let a person confirm the download on a page first
    #[arg(long)]
    confirm: bool,
    /// Column with a scope that the link shows, or shows unmasked; repeatable. Without it the link shows none
    #[arg(long, value_name = "COLUMN")]
    reveal: Vec<String>,
    /// Encrypt the contents of the link
    #[arg(long)]
    seal: bool,
    /// Folder of exports to check the request against. ROWLINK_DATABASE_URL names the SQL dialect; the
    /// database is not contacted
    #[arg(long, value_name = "DIR")]
    exports: Option<PathBuf>,
}

/// Prints the URL.
pub(super) fn sign(args: SignArgs) -> Result<(), ErrorLines> {
    let config = KeysConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    if config.policy.public_url.is_empty() {
        return Err(error_line("ROWLINK_PUBLIC_URL: is required"));
    }
    let catalog = args.exports.as_deref().map(valid_catalog).transpose()?;
    let (mut request, claims) = args.file.into_request();
    request.ttl_seconds = args.expires_in;
    request.filename = args.filename;
    request.seal = args.seal;
    request.reveal = args.reveal;
    request.conditions = Conditions {
        not_before: args.not_before,
        network: args.ip,
        rows_max: args.max_rows,
        bytes_max: args.max_bytes,
        resume_seconds: args.resume,
        single_use: args.single_use,
        confirm: args.confirm,
        bind: None,
        reason: request.conditions.reason.take(),
    };
    let (keyring, now) = (&config.keyring, system_clock()());
    let url = mint(
        request,
        claims,
        catalog.as_ref(),
        keyring,
        &config.policy,
        now,
    );
    let url = url.map_err(|error| issue_error_lines(&error))?;
    writeln!(io::stdout(), "{url}").map_err(error_line)
}

/// Returns a line per invalid field.
pub(super) fn issue_error_lines(error: &IssueError) -> ErrorLines {
    match error {
        IssueError::Invalid(errors) => field_error_lines(errors.clone()),
        other => error_line(other),
    }
}

pub(super) fn open_error_lines(error: OpenError) -> ErrorLines {
    match error {
        OpenError::Invalid(errors) => field_error_lines(errors),
        other => error_line(causes(&other)),
    }
}

pub(super) fn field_error_lines(errors: Vec<FieldError>) -> ErrorLines {
    let line = |error: &FieldError| format!("{}: {}", error.field, error.message);
    errors.iter().map(line).collect()
}
