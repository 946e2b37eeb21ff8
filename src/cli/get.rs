//! `rowlink get`: downloads a file, and continues where a connection broke.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use tempfile::NamedTempFile;
use tokio::sync::oneshot;

use super::errors::{ErrorLines, Failure, error_line};
use super::fetch::{Complete, Fetch, FetchError};
use super::output::{Destination, persist, stopped};
use super::prepare_file::prepare_file;
use super::signals::{Stops, hangup};
use crate::config::web_url;
use crate::format;

#[derive(Args)]
pub(super) struct GetArgs {
    /// Signed link; `-` reads it from standard input, so that no other user of this machine sees it
    url: String,
    /// File, renamed into place when complete [default: the name that the server suggests, in this folder]. The exit
    /// code is 3 if a download that had begun is incomplete
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Let the server prepare the file in its object storage first, and wait until it is there. Needs an export with
    /// `[store]`
    #[arg(long)]
    prepare: bool,
    /// How often to try again without getting any further
    #[arg(long, default_value_t = 5)]
    retries: u32,
}

/// Downloads the file.
///
/// # Errors
/// Returns a [`Failure`] that tells whether the download had begun.
pub(super) async fn get(args: GetArgs) -> Result<(), Failure> {
    let url = match args.url.as_str() {
        "-" => from_standard_input().map_err(error_line)?,
        url => url.to_owned(),
    };
    // The error does not quote the URL, which holds a signature.
    let url = web_url(&url).map_err(error_line)?;
    // Installed before a signal could leave a temporary file behind.
    let stops = Stops::install().map_err(error_line)?;
    let hangup = hangup().map_err(error_line)?;
    tokio::select! {
        done = download(url, args) => done,
        name = stopped(stops, hangup) => {
            let error = format!("stopped by {name}: the file is incomplete");
            Err(Failure::incomplete(error_line(error)))
        }
    }
}

/// Downloads the file. Its requests run on threads of their own, so that the process can end while they wait.
async fn download(url: String, args: GetArgs) -> Result<(), Failure> {
    let GetArgs {
        output,
        prepare,
        retries,
        ..
    } = args;
    if prepare {
        let link = url.clone();
        let prepared = on_thread(move || prepare_file(&link));
        prepared.await?.map_err(error_line)?;
    }
    let begun = on_thread(move || Fetch::begin(url, retries));
    let fetch = begun.await?.map_err(error_line)?;
    let path = match output {
        Some(path) => path,
        None => new_path(fetch.suggested_name())?,
    };
    let named = |error: io::Error| error_line(format!("{}: {error}", path.display()));
    let destination = Destination::at(&path).map_err(named)?;
    let Destination::File { path, part } = destination else {
        let message = format!("{}: expected a file, not a device", path.display());
        return Err(error_line(message).into());
    };
    let file = part.as_file().try_clone().map_err(named)?;
    let is_shown = io::stderr().is_terminal();
    let finished = on_thread(move || fetch.finish(file, is_shown)).await?;
    let incomplete = |error: FetchError| Failure::incomplete(error_line(error));
    let complete = finished.map_err(incomplete)?;
    check(&part, &complete).map_err(Failure::incomplete)?;
    persist(part, &path)?;
    eprintln!("{}: {complete}", path.display());
    Ok(())
}

fn from_standard_input() -> io::Result<String> {
    let mut line = String::new();
    // Longer than any link.
    io::stdin().take(1 << 16).read_to_string(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Runs a function on a thread that does not keep the process alive.
async fn on_thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ErrorLines> {
    let (done, result) = oneshot::channel();
    let thread = thread::Builder::new().spawn(move || drop(done.send(run())));
    thread.map_err(error_line)?;
    result.await.map_err(error_line)
}

/// Returns the path of a file that does not exist yet.
fn new_path(suggested: Option<String>) -> Result<PathBuf, ErrorLines> {
    // Only the name: a server must not choose the folder.
    let name = suggested
        .as_deref()
        .map(Path::new)
        .and_then(Path::file_name);
    let is_plain = |name: &OsStr| {
        let name = name.to_string_lossy();
        !name.starts_with('.') && !name.contains(char::is_control)
    };
    // No hidden file, and no control characters for the terminal.
    let name = name.filter(|name| is_plain(name)).map(PathBuf::from);
    let Some(path) = name else {
        return Err(error_line(
            "--output: is required: the server suggests no usable file name",
        ));
    };
    match path.exists() {
        true => Err(error_line(format!(
            "{}: exists; choose another name with --output",
            path.display()
        ))),
        false => Ok(path),
    }
}

/// Checks a file by its integrity line, if the server sent no hash and the file has such a line.
fn check(part: &NamedTempFile, complete: &Complete) -> Result<(), ErrorLines> {
    if complete.is_checked {
        return Ok(());
    }
    let file = File::open(part.path()).map_err(error_line)?;
    match format::check(file) {
        Ok(_) | Err(format::IntegrityError::NoEndLine) => Ok(()),
        Err(error) => Err(error_line(error)),
    }
}
