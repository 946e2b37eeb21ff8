//! `rowlink sign`: a link from a key alone, without a service.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::load::{read_catalog, sources};
use super::request::{RequestArgs, file_name};
use super::{ErrorLines, error_line, error_lines, moment, system_clock};
use crate::catalog::{Catalog, FieldError};
use crate::config::{KeysConfig, RowsConfig};
use crate::service::{IssueError, mint};
use crate::source::dialects;
use rowlink_link::{Conditions, FileName, Network};

#[derive(Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    wanted: RequestArgs,
    /// How many seconds the link lives; ROWLINK_DEFAULT_TTL_SECONDS without
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// What the browser shall call the file
    #[arg(long, value_parser = file_name)]
    filename: Option<FileName>,
    /// When it begins to be valid: 2026-01-31T10:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    not_before: Option<u64>,
    /// The address or network it works from
    #[arg(long, value_parser = Network::parse)]
    ip: Option<Network>,
    /// The most rows that the file may have
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000_000))]
    max_rows: Option<u64>,
    /// The most bytes that the file may have
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..1_000_000_000_000_000))]
    max_bytes: Option<u64>,
    /// Hide what the link says
    #[arg(long)]
    seal: bool,
    /// A folder of exports, to refuse what they would refuse. ROWLINK_DATABASE_URL says which SQL they are in; it is
    /// not connected to
    #[arg(long, value_name = "DIR")]
    exports: Option<PathBuf>,
}

/// Prints the URL.
pub(super) fn sign(args: SignArgs) -> Result<(), ErrorLines> {
    let config = KeysConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    if config.policy.public_url.is_empty() {
        return Err(error_line("ROWLINK_PUBLIC_URL: is required"));
    }
    let catalog = args.exports.map(catalog).transpose()?;
    let (mut request, claims) = args.wanted.request();
    request.ttl_seconds = args.expires_in;
    request.filename = args.filename;
    request.seal = args.seal;
    request.conditions = Conditions {
        not_before: args.not_before,
        network: args.ip,
        rows_max: args.max_rows,
        bytes_max: args.max_bytes,
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
    let url = url.map_err(|error| faults_of(&error))?;
    writeln!(io::stdout(), "{url}").map_err(error_line)
}

fn catalog(folder: PathBuf) -> Result<Catalog, ErrorLines> {
    let config = RowsConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let sources = sources(config.databases, &config.policy)?;
    let catalog = read_catalog(&folder, &dialects(&sources))?;
    match catalog.errors() {
        [] => Ok(catalog),
        errors => Err(error_lines(errors.to_vec())),
    }
}

/// A line for each field that does not fit.
pub(super) fn faults_of(error: &IssueError) -> ErrorLines {
    match error {
        IssueError::Invalid(errors) => lines_of(errors.clone()),
        other => error_line(other),
    }
}

pub(super) fn lines_of(errors: Vec<FieldError>) -> ErrorLines {
    let line = |error: &FieldError| format!("{}: {}", error.field, error.message);
    errors.iter().map(line).collect()
}
