//! `rowlink check-file`: checks that a downloaded file is complete.

use std::fmt::Display;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;

use super::errors::{ErrorLines, error_line};
use super::receipt::{Receipt, parse_sha256};
use crate::format::{self, IntegrityError};

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

/// Why a file is not known to be complete.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// By its integrity line, or because it cannot be read.
    #[error(transparent)]
    Integrity(#[from] IntegrityError),
    /// By its receipt.
    #[error("the content does not match the receipt: the file is truncated, or was changed")]
    OtherContent,
}

/// Checks a file and prints the result.
pub(super) fn check_file(args: &CheckFileArgs) -> Result<(), ErrorLines> {
    let path = &args.file;
    let rows = check(path, receipt(args)?).map_err(|error| named(path, error))?;
    let rows = rows.map_or_else(String::new, |rows| format!(", {rows} rows"));
    println!("{}: complete{rows}", path.display());
    Ok(())
}

/// Checks a file by its receipt, or without one by its integrity line; returns its number of rows, if it is known.
///
/// # Errors
/// Returns the [`FileError`] if the file is not known to be complete.
pub(super) fn check(path: &Path, receipt: Option<Receipt>) -> Result<Option<u64>, FileError> {
    let file = File::open(path).map_err(IntegrityError::from)?;
    let Some(receipt) = receipt else {
        return Ok(format::check(file).map(Some)?);
    };
    let sha256 = format::sha256(file, u64::MAX).map_err(IntegrityError::from)?;
    match sha256 == receipt.sha256 {
        true => Ok(receipt.rows),
        false => Err(FileError::OtherContent),
    }
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

fn named(path: &Path, error: impl Display) -> ErrorLines {
    error_line(format!("{}: {error}", path.display()))
}
