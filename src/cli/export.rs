//! `rowlink export`: writes the same file without HTTP, straight from the database.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::errors::{ErrorLines, Failure, error_line, error_lines};
use super::export_files::ExportFiles;
use super::load::sources;
use super::output::{Destination, persist, stopped};
use super::request::RequestArgs;
use super::sign::{field_error_lines, issue_error_lines, open_error_lines};
use super::signals::{Stops, hangup};
use super::system_clock;
use crate::auth::Caller;
use crate::config::RowsConfig;
use crate::format::Format;
use crate::service::{Download, ExportService, PreparedDownload};
use crate::source::{causes, dialects};
use rowlink_link::Keyring;

#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    file: RequestArgs,
    /// Output file, renamed into place when complete [default: standard output]. The exit code is 3 if an export that
    /// had begun is incomplete
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the file.
///
/// # Errors
/// Returns a [`Failure`] that tells whether the export had begun.
pub(super) async fn export(args: ExportArgs) -> Result<(), Failure> {
    let to_terminal = args.output.is_none() && io::stdout().is_terminal();
    let (mut request, claims) = args.file.into_request();
    let format: Option<Format> = request.format.parse().ok();
    if to_terminal && format.is_some_and(|format| !format.is_text()) {
        return Err(Failure::from(error_line(
            "--output: is required for this format on a terminal",
        )));
    }
    request.ttl_seconds = Some(1);
    let config = RowsConfig::from_env(std::env::vars_os()).map_err(error_lines)?;
    let sources = sources(config.databases)?;
    let files = ExportFiles::read_one(&config.exports_dir, &request.export);
    let catalog = files.map_err(error_line)?.parse(&dialects(&sources));
    for export in catalog.iter() {
        export.check_claims(&claims).map_err(field_error_lines)?;
    }
    let scopes = catalog.iter().flat_map(|export| {
        let of_columns = export.restricted().map(|(_, column)| &column.scope);
        export.scope.iter().chain(of_columns).cloned()
    });
    // The holder of the database's password may read every row.
    let caller = Caller {
        credential: "rowlink export".to_owned(),
        user: None,
        claims,
        scopes: scopes.collect(),
        exports: None,
        acts_for_others: true,
        settable_claims: BTreeSet::new(),
    };
    let keyring = one_time_keyring()?;
    let service = ExportService::new(sources, keyring, config.policy);
    let service = service.start(&catalog).await;
    let service = service.map_err(error_lines)?;
    let now = system_clock()();
    let verified = service.authorize(&caller, request, now, Uuid::now_v7());
    let verified = verified.map_err(|error| issue_error_lines(&error))?;
    let prepared = service.prepare_verified(verified, now);
    let prepared = prepared.map_err(open_error_lines)?;
    // Installed before a signal could leave a temporary file behind.
    let stops = Stops::install().map_err(error_line)?;
    let hangup = hangup().map_err(error_line)?;
    let write = async {
        // On a blocking thread: a pipe opens only when it has a reader, and signals must be handled meanwhile.
        let to = spawn_blocking(|| Destination::of(args.output)).await;
        let to = to.map_err(error_line)??;
        let written = write(&service, prepared, to, to_terminal).await;
        written.map_err(Failure::incomplete)
    };
    let written = tokio::select! {
        written = write => written,
        name = stopped(stops, hangup) => {
            let error = format!("stopped by {name}: the file is incomplete");
            Err(Failure::incomplete(error_line(error)))
        }
    };
    service.close().await;
    written
}

/// Generates a key for the link of this export. Only a verified link can be bound to a query, and this
/// one never leaves the process.
pub(super) fn one_time_keyring() -> Result<Keyring, ErrorLines> {
    let key = rowlink_link::generate("export").map_err(error_line)?;
    Keyring::parse(&key).map_err(error_lines)
}

async fn write(
    service: &ExportService,
    prepared: PreparedDownload,
    to: Destination,
    to_terminal: bool,
) -> Result<(), ErrorLines> {
    let deadlines = service.deadlines(&prepared);
    let opened = service.open(prepared, deadlines.query).await;
    let opened = opened.map_err(open_error_lines)?;
    let download = opened.encode(None);
    let download = download.map_err(|error| open_error_lines(error.into()))?;
    let progress = if to_terminal {
        Progress::hidden()
    } else {
        Progress::shown()
    };
    match to {
        Destination::Stream(stream) => copy(download, stream, &progress).await.map(drop),
        Destination::File { path, part } => {
            let part = copy(download, part, &progress).await?;
            persist(part, &path)?;
            progress.finish(&path);
            Ok(())
        }
    }
}

/// Writes the file; returns the writer.
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
        // On a blocking thread: a pipe may be full for long, and signals must be handled meanwhile.
        let written = spawn_blocking(move || out.write_all(&chunk).map(|()| out));
        out = written.await.map_err(error_line)?.map_err(error_line)?;
        progress.update(&download);
    }
}

/// The progress bar. It is hidden unless standard error is a terminal.
struct Progress(ProgressBar);

impl Progress {
    fn shown() -> Progress {
        let style = ProgressStyle::with_template("{spinner} {msg} rows, {bytes}, {bytes_per_sec}");
        let bar =
            ProgressBar::no_length().with_style(style.expect("the template has only known keys"));
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

    fn finish(&self, path: &Path) {
        let bytes = HumanBytes(self.0.position());
        let seconds = self.0.elapsed().as_secs_f64();
        let line = format!(
            "{}: {} rows, {bytes}, {seconds:.1} s",
            path.display(),
            self.0.message(),
        );
        self.0.finish_and_clear();
        eprintln!("{line}");
    }
}
