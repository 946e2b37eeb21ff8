//! Files that commands write: renamed into place when complete.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tokio::signal::unix::Signal;

use super::errors::{ErrorLines, error_line};
use super::signals::Stops;

/// Resolves with the name of the signal that stops the command.
pub(super) async fn stopped(mut stops: Stops, mut hangup: Signal) -> &'static str {
    tokio::select! {
        _ = stops.interrupt.recv() => "SIGINT",
        _ = stops.terminate.recv() => "SIGTERM",
        _ = hangup.recv() => "SIGHUP",
    }
}

/// The destination of the bytes.
pub(super) enum Destination {
    /// A pipe, a terminal, a device.
    Stream(File),
    /// A temporary file, renamed to `path` when complete, and removed otherwise.
    File { path: PathBuf, part: NamedTempFile },
}

impl Destination {
    /// Returns the destination of the option, or standard output.
    ///
    /// # Errors
    /// Returns a line that names the path.
    pub(super) fn of(output: Option<PathBuf>) -> Result<Destination, ErrorLines> {
        match output {
            None => {
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                Ok(Destination::Stream(stdout.map_err(error_line)?.into()))
            }
            Some(path) => {
                let named = |error: io::Error| error_line(format!("{}: {error}", path.display()));
                Destination::at(&path).map_err(named)
            }
        }
    }

    /// Returns the destination of a path.
    ///
    /// # Errors
    /// Returns the error of a folder or device that cannot be used.
    pub(super) fn at(path: &Path) -> io::Result<Destination> {
        // A new file gets the default mode under the umask; an existing one keeps its mode.
        let mut permissions = Permissions::from_mode(0o666);
        let mut path = path.to_owned();
        match fs::metadata(&path) {
            Ok(existing) if existing.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            // A rename would replace the device.
            Ok(existing) if !existing.is_file() => {
                let device = File::options().write(true).open(&path)?;
                return Ok(Destination::Stream(device));
            }
            Ok(existing) => {
                permissions = existing.permissions();
                path = path.canonicalize()?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        // Its error tells more than that of the temporary file, which must not be named.
        fs::metadata(folder.unwrap_or(Path::new(".")))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .permissions(permissions)
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        let part = part.map_err(|error| io::Error::from(error.kind()))?;
        Ok(Destination::File { path, part })
    }
}

/// Gives a complete file its name.
///
/// # Errors
/// Returns a line that names the path.
pub(super) fn persist(part: NamedTempFile, path: &Path) -> Result<(), ErrorLines> {
    let named = |error: io::Error| error_line(format!("{}: {error}", path.display()));
    // Synced before the rename, so that a power failure leaves no truncated file under the name.
    part.as_file().sync_all().map_err(named)?;
    part.persist(path).map_err(|error| named(error.error))?;
    Ok(())
}
