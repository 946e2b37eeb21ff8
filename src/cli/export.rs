//! `rowlink export`: the same file without HTTP, straight from the database into a file.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::load::{read_export, sources};
use super::request::RequestArgs;
use super::sign::{faults_of, lines_of};
use super::signals::Signals;
use super::{ErrorLines, error_line, error_lines, system_clock};
use crate::auth::Caller;
use crate::config::RowsConfig;
use crate::format::Format;
use crate::service::{Download, ExportService, IssuedLink};
use crate::source::{causes, dialects};
use rowlink_link::{self, ClientAddr, Keyring};

#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    wanted: RequestArgs,
    /// Where to write; it appears there once it is whole. The standard output without
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the file.
pub(super) async fn export(args: ExportArgs) -> Result<(), ErrorLines> {
    let to_terminal = args.output.is_none() && io::stdout().is_terminal();
    let (mut request, claims) = args.wanted.request();
    let format: Option<Format> = request.format.parse().ok();
    if to_terminal && format.is_some_and(|format| !format.is_text()) {
        return Err(error_line(
            "this format is not for a terminal; give it a file by --output",
        ));
    }
    request.ttl_seconds = Some(1);
    let config = RowsConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let sources = sources(config.databases, &config.policy)?;
    let catalog = read_export(&config.exports_dir, &request.export, &dialects(&sources))?;
    for export in catalog.iter() {
        export.check_claims(&claims).map_err(lines_of)?;
    }
    let scopes = catalog.iter().filter_map(|export| export.scope.clone());
    // Whoever has the database's password may have every row of it.
    let caller = Caller {
        credential: "rowlink export".to_owned(),
        user: None,
        claims,
        scopes: scopes.collect(),
        exports: None,
        acts_for_others: true,
    };
    let keyring = one_time_keyring()?;
    let service = ExportService::start(catalog, sources, keyring, config.policy).await;
    let service = service.map_err(error_lines)?;
    let now = system_clock()();
    let issued = service.issue(&caller, request, now, Uuid::now_v7());
    let issued = issued.map_err(|error| faults_of(&error))?;
    // Before there is a file that a signal would leave behind.
    let signals = Signals::install().map_err(error_line)?;
    let to = Destination::of(args.output)?;
    let written = tokio::select! {
        written = write(&service, &issued, to, to_terminal) => written,
        name = stopped(signals) => Err(error_line(format!("stopped by {name}: the file is not whole"))),
    };
    service.close().await;
    written
}

/// Comes with the name of the signal that asks us to end.
async fn stopped(mut signals: Signals) -> &'static str {
    tokio::select! {
        _ = signals.interrupt.recv() => "SIGINT",
        _ = signals.terminate.recv() => "SIGTERM",
        _ = signals.hangup.recv() => "SIGHUP",
    }
}

/// The way to the rows leads over a verified link, here too. Nobody ever sees this one.
fn one_time_keyring() -> Result<Keyring, ErrorLines> {
    let key = link::generate("export").map_err(error_line)?;
    Keyring::parse(&key).map_err(error_lines)
}

async fn write(
    service: &ExportService,
    issued: &IssuedLink,
    to: Destination,
    to_terminal: bool,
) -> Result<(), ErrorLines> {
    let link = &issued.link;
    let query = issued.url.split_once('?').map_or("", |(_, query)| query);
    let prepared = service.prepare(
        &link.export,
        link.format,
        query,
        link.issued,
        ClientAddr::Unchecked,
    );
    let download = match prepared {
        Ok(prepared) => service.open(prepared).await,
        Err(error) => Err(error),
    };
    let download = download.map_err(|error| error_line(causes(&error)))?;
    let progress = if to_terminal {
        Progress::hidden()
    } else {
        Progress::shown()
    };
    match to {
        Destination::Stream(stream) => copy(download, stream, &progress).await.map(drop),
        Destination::File { path, part } => {
            let part = copy(download, part, &progress).await?;
            let named = |error: io::Error| error_line(format!("{}: {error}", path.display()));
            // On the disk before it has its name, or a power cut leaves a short file under it.
            part.as_file().sync_all().map_err(named)?;
            part.persist(&path).map_err(|error| named(error.error))?;
            progress.say_whole(&path);
            Ok(())
        }
    }
}

/// Where the bytes go.
enum Destination {
    /// To whoever reads: a pipe, a terminal, a device.
    Stream(File),
    /// Into a file that is renamed to `path` once it is whole, and removed if it never is.
    File { path: PathBuf, part: NamedTempFile },
}

impl Destination {
    fn of(output: Option<PathBuf>) -> Result<Destination, ErrorLines> {
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

    fn at(path: &Path) -> io::Result<Destination> {
        // As any new file, from which the umask takes; or as the file that is there.
        let mut permissions = Permissions::from_mode(0o666);
        let mut path = path.to_owned();
        match fs::metadata(&path) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            // To rename over a device would be the end of it.
            Ok(there) if !there.is_file() => {
                let device = File::options().write(true).open(&path)?;
                return Ok(Destination::Stream(device));
            }
            Ok(there) => {
                permissions = there.permissions();
                path = path.canonicalize()?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .permissions(permissions)
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        // The path of the temporary file says nothing to anybody.
        let part = part.map_err(|error| io::Error::from(error.kind()))?;
        Ok(Destination::File { path, part })
    }
}

/// Writes the whole file; gives back where to.
async fn copy<W: Write + Send + 'static>(
    mut download: Download,
    mut out: W,
    progress: &Progress,
) -> Result<W, ErrorLines> {
    loop {
        let next = download.next_chunk().await;
        let Some(chunk) = next.map_err(|error| error_line(causes(&error)))? else {
            return Ok(out);
        };
        // Apart: whoever reads the pipe may take his time, and signals must be heard meanwhile.
        let written = spawn_blocking(move || out.write_all(&chunk).map(|()| out));
        out = written.await.map_err(error_line)?.map_err(error_line)?;
        progress.update(&download);
    }
}

/// What somebody who watches sees: nothing where the standard error is no terminal.
struct Progress(ProgressBar);

impl Progress {
    fn shown() -> Progress {
        let style = ProgressStyle::with_template("{spinner} {msg} rows, {bytes}, {bytes_per_sec}");
        let bar = ProgressBar::no_length().with_style(style.expect("a template of known keys"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    fn hidden() -> Progress {
        Progress(ProgressBar::hidden())
    }

    fn update(&self, download: &Download) {
        self.0
            .set_message(HumanCount(download.rows_written()).to_string());
        self.0.set_position(download.bytes_written());
    }

    fn say_whole(&self, path: &Path) {
        let bytes = HumanBytes(self.0.position());
        let seconds = self.0.elapsed().as_secs_f64();
        let line = format!(
            "{}: {} rows, {bytes}, {seconds:.1} s",
            path.display(),
            self.0.message(),
        );
        self.0.finish_and_clear();
        if io::stderr().is_terminal() {
            eprintln!("{line}");
        }
    }
}
