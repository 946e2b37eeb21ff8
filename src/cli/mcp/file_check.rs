//! `check_file`: whether a downloaded file is complete.

use std::fs;
use std::path::{Path, PathBuf};

use rmcp::model::CallToolResult;
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::errors::ToolError;
use super::untrusted::result;
use crate::cli::check_file::{FileError, check};
use crate::cli::receipt::{Receipt, parse_sha256};
use crate::format::IntegrityError;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckFile {
    /// Path of the file. No other file is read
    path: PathBuf,
    /// SHA-256 hash of a receipt, in hexadecimal digits; without it the integrity line is checked
    #[schemars(regex(pattern = "^[0-9A-Fa-f]{64}$"))]
    sha256: Option<String>,
}

/// Whether a file is complete.
#[derive(Serialize, JsonSchema)]
pub(super) struct CheckedFile {
    complete: bool,
    /// The number of rows that the integrity line states
    rows: Option<u64>,
    /// Why the file is not known to be complete
    reason: Option<String>,
}

/// Checks a file.
///
/// # Errors
/// Returns a [`ToolError`] if it cannot be read.
pub(super) fn run(arguments: &CheckFile) -> Result<CallToolResult, ToolError> {
    let sha256 = arguments.sha256.as_deref().map(parse_sha256).transpose();
    let sha256 = sha256.map_err(|error| ToolError::Other(format!("sha256: {error}")))?;
    let receipt = sha256.map(|sha256| Receipt { rows: None, sha256 });
    require_file(&arguments.path)?;
    let checked = match check(&arguments.path, receipt) {
        Ok(rows) => CheckedFile {
            complete: true,
            rows,
            reason: None,
        },
        Err(FileError::Integrity(IntegrityError::Unreadable(error))) => {
            return Err(ToolError::Other(format!("path: cannot be read: {error}")));
        }
        Err(error) => CheckedFile {
            complete: false,
            rows: None,
            reason: Some(error.to_string()),
        },
    };
    Ok(result(&checked))
}

/// Refuses devices and pipes, which may have no end.
fn require_file(path: &Path) -> Result<(), ToolError> {
    let metadata = fs::metadata(path);
    let metadata =
        metadata.map_err(|error| ToolError::Other(format!("path: cannot be read: {error}")))?;
    match metadata.is_file() {
        true => Ok(()),
        false => Err(ToolError::Other("path: expected a regular file".to_owned())),
    }
}
