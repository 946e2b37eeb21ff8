//! `rowlink export`: the same file without HTTP, straight from the database into a file.

use std::fs::Permissions;
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;
use tokio::signal::ctrl_c;
use uuid::Uuid;

use super::load::{read_export, sources};
use super::request::Wanted;
use super::sign::faults_of;
use super::{Faults, lines, one, system_clock};
use crate::auth::Caller;
use crate::config::RowsConfig;
use crate::export::{Download, Exporter, IssuedLink};
use crate::format::Format;
use crate::link::{self, Client, Keyring};
use crate::source::{causes, dialects};

#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Where to write; it appears there once it is whole. The standard output without
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the file.
pub(super) async fn export(args: ExportArgs) -> Result<(), Faults> {
    let to_terminal = args.output.is_none() && io::stdout().is_terminal();
    let (mut request, claims) = args.wanted.request();
    if to_terminal && request.format != Format::Csv.extension() {
        return Err(one(
            "a workbook is not for a terminal; give it a file by --output",
        ));
    }
    request.ttl_seconds = Some(1);
    let config = RowsConfig::from_env(std::env::vars_os()).map_err(lines)?;
    let sources = sources(
        config.databases,
        config.database_connections,
        &config.policy,
    )?;
    let catalog = read_export(&config.exports_dir, &request.export, &dialects(&sources))?;
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
    let exporter = Exporter::start(catalog, sources, keyring, config.policy).await;
    let exporter = exporter.map_err(lines)?;
    let now = system_clock()();
    let issued = exporter.issue(&caller, request, now, Uuid::now_v7());
    let issued = issued.map_err(|error| faults_of(&error))?;
    let written = tokio::select! {
        written = write(&exporter, &issued, args.output.as_deref(), to_terminal) => written,
        _ = ctrl_c() => Err(one("interrupted: nothing is left of the file")),
    };
    exporter.close().await;
    written
}

/// The way to the rows leads over a verified link, here too. Nobody ever sees this one.
fn one_time_keyring() -> Result<Keyring, Faults> {
    let key = link::generate("export").map_err(one)?;
    Keyring::parse(&key).map_err(lines)
}

async fn write(
    exporter: &Exporter,
    issued: &IssuedLink,
    output: Option<&Path>,
    to_terminal: bool,
) -> Result<(), Faults> {
    let link = &issued.link;
    let query = issued.url.split_once('?').map_or("", |(_, query)| query);
    let accepted = exporter.accept(&link.export, link.format, query, link.issued, Client::None);
    let download = match accepted {
        Ok(accepted) => exporter.open(accepted).await,
        Err(error) => Err(error),
    };
    let download = download.map_err(|error| one(causes(&error)))?;
    let progress = if to_terminal {
        Progress::hidden()
    } else {
        Progress::shown()
    };
    match output {
        None => copy(download, &mut io::stdout().lock(), &progress).await,
        Some(path) => {
            let named = |fault: &dyn std::fmt::Display| one(format!("{}: {fault}", path.display()));
            let mut file = beside(path).map_err(one)?;
            copy(download, file.as_file_mut(), &progress).await?;
            file.persist(path).map_err(|error| named(&error.error))?;
            progress.say_whole(path);
            Ok(())
        }
    }
}

/// A file that is renamed to `path` once it is whole, and removed if it never is.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().unwrap_or_default();
    tempfile::Builder::new()
        .prefix(&format!(".{}.", name.to_string_lossy()))
        .suffix(".part")
        // As any new file: the umask takes from it.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
}

async fn copy(
    mut download: Download,
    out: &mut impl Write,
    progress: &Progress,
) -> Result<(), Faults> {
    loop {
        let next = download.next_chunk().await;
        let Some(chunk) = next.map_err(|error| one(causes(&error)))? else {
            break;
        };
        out.write_all(&chunk).map_err(one)?;
        progress.update(&download);
    }
    out.flush().map_err(one)
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
