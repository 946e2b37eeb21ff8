//! `rowlink check-file`: checks that a downloaded file is complete.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;

use super::errors::{ErrorLines, error_line};
use super::receipt::{Receipt, parse_sha256};
use crate::format;

#[derive(Args)]
pub(super) struct CheckFileArgs {
    /// File that was exported with `"end_line": true`, or whose receipt is given
    file: PathBuf,
    /// Check the file by its receipt: the headers that `curl --header 'TE: trailers' --dump-header HEADERS` has written
    #[arg(long, value_name = "HEADERS", conflicts_with = "sha256")]
    receipt: Option<PathBuf>,
    /// Check that the file has this SHA-256 hash
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    sha256: Option<[u8; 32]>,
    /// Number of rows that the receipt names. It is printed, not counted: the hash decides
    #[arg(long, value_name = "N", requires = "sha256")]
    rows: Option<u64>,
}

/// Checks a file by its receipt, or without one by its integrity line.
pub(super) fn check_file(args: &CheckFileArgs) -> Result<(), ErrorLines> {
    let path = &args.file;
    let rows = match receipt(args)? {
        Some(receipt) => {
            check_hash(path, receipt.sha256)?;
            receipt.rows
        }
        None => {
            let file = File::open(path).map_err(|error| named(path, error))?;
            Some(format::check(file).map_err(|error| named(path, error))?)
        }
    };
    let rows = rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
    println!("{}: complete{rows}", path.display());
    Ok(())
}

/// Returns the receipt that the arguments name, if they do.
fn receipt(args: &CheckFileArgs) -> Result<Option<Receipt>, ErrorLines> {
    let Some(path) = &args.receipt else {
        let rows = args.rows;
        return Ok(args.sha256.map(|sha256| Receipt { rows, sha256 }));
    };
    let headers = fs::read(path).map_err(|error| named(path, error))?;
    let receipt = Receipt::find(&String::from_utf8_lossy(&headers));
    let missing = "no `rowlink-sha256`: the download is truncated, a proxy removed the field, or it was not requested; \
                   send `TE: trailers`";
    receipt.map(Some).ok_or_else(|| named(path, missing))
}

/// Checks that all bytes of a file have this hash.
fn check_hash(path: &Path, expected: [u8; 32]) -> Result<(), ErrorLines> {
    let hash = File::open(path).and_then(|file| format::sha256(file, u64::MAX));
    match hash.map_err(|error| named(path, error))? == expected {
        true => Ok(()),
        false => {
            let error =
                "the content does not match the receipt: the file is truncated, or was changed";
            Err(named(path, error))
        }
    }
}

fn named(path: &Path, error: impl Display) -> ErrorLines {
    error_line(format!("{}: {error}", path.display()))
}
