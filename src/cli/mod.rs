//! The commands.

mod ready;
mod serve;
mod telemetry;

use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};

use crate::auth::NewApiKey;
use crate::catalog::{Catalog, Dialects, Fault};
use crate::config::{Config, Log, Reload, cors_origin};
use crate::demo::{self, Demo};
use crate::end_line;
use crate::export::Exporter;
use crate::http::{Clock, Drain, Service, Tls};
use crate::link::{self, is_bare_name, is_key_id};
use crate::source::{PostgresOptions, Sources, dialects};

use serve::Sockets;

/// A wrong configuration, catalog or database, as for every wrong use of a command.
const EXIT_MISCONFIGURED: u8 = 2;

/// Signed download links for database rows.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve links and downloads, as the ROWLINK_* variables say
    Serve,
    /// Serve half a million sample orders, with nothing to configure
    Demo(DemoArgs),
    /// Check configuration, catalog and database, and name every fault
    Check,
    /// Ask the server that runs with the same variables whether it is ready
    Ready,
    /// Check by its end line that a downloaded file is whole
    CheckFile(CheckFileArgs),
    /// Print a fresh signing key, or a fresh API key
    Keygen(KeygenArgs),
}

#[derive(Args)]
struct DemoArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// Let pages of this origin ask too, such as http://localhost:5173. Can be given several times
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = cors_origin)]
    origins: Vec<String>,
}

#[derive(Args)]
struct CheckFileArgs {
    /// A file that was exported with `"end_line": true`
    file: PathBuf,
}

#[derive(Args)]
struct KeygenArgs {
    /// The key's id: up to 16 of A-Z a-z 0-9 _ -
    #[arg(long, default_value = "k1", value_parser = key_id)]
    id: String,
    /// Make an API key of this name instead: the token for its holder, and what the file stores
    #[arg(long, value_name = "NAME", conflicts_with = "id", value_parser = api_key_name)]
    api_key: Option<String>,
}

impl Cli {
    /// Runs the command; returns what the process exits with.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve => serve().await,
            Command::Demo(args) => demo(args).await,
            Command::Check => check().await,
            Command::Ready => read_config().and_then(|config| ready::ask(&config)),
            Command::CheckFile(args) => check_file(&args.file),
            Command::Keygen(args) => keygen(args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(faults) => {
                faults
                    .iter()
                    .for_each(|fault| eprintln!("rowlink: {fault}"));
                ExitCode::from(EXIT_MISCONFIGURED)
            }
        }
    }
}

/// What stops a command, a line each.
type Faults = Vec<String>;

async fn serve() -> Result<(), Faults> {
    let config = read_config()?;
    let _telemetry = telemetry::start(&config.log)?;
    for name in &config.unknown {
        tracing::warn!(name, "unknown variable");
    }
    if config.edge.jwt_query_param.is_some() {
        tracing::warn!("tokens may come in the query, where proxies and histories keep them");
    }
    let bind = config.bind;
    let metrics_bind = config.metrics_bind;
    let drain = config.drain;
    let tls = config.tls.as_ref().map_or(Tls::Elsewhere, |_| Tls::Here);
    let Loaded { service, reload } = load(config).await?;
    for issuer in service.door.warm_up().await {
        tracing::warn!(issuer, "no keys yet: its tokens are answered with 503");
    }
    let sockets = Sockets {
        public: listen(bind)?,
        metrics: metrics_bind.map(listen).transpose()?,
        tls,
    };
    serve::run(sockets, service, reload, drain).await
}

async fn check() -> Result<(), Faults> {
    let service = load(read_config()?).await?.service;
    let silent = service.door.warm_up().await;
    if !silent.is_empty() {
        let fault = |issuer| format!("the issuer {issuer} does not publish its keys now");
        return Err(silent.into_iter().map(fault).collect());
    }
    let exports = service.exporter.count();
    println!("configuration, {exports} exports and their databases are in order");
    Ok(())
}

async fn demo(args: DemoArgs) -> Result<(), Faults> {
    let _telemetry = telemetry::start(&Log::for_people())?;
    let public = listen(args.bind)?;
    let address = public.local_addr().map_err(one)?;
    eprintln!("rowlink: making {} sample orders …", demo::ORDERS);
    let Demo {
        service,
        welcome,
        folder,
    } = Demo::build(address, args.origins, system_clock()).await?;
    println!("{welcome}");
    let sockets = Sockets {
        public,
        metrics: None,
        tls: Tls::Elsewhere,
    };
    serve::run(sockets, service, Reload::default(), Drain::default()).await?;
    folder.close().map_err(one)
}

fn listen(bind: SocketAddr) -> Result<TcpListener, Faults> {
    TcpListener::bind(bind).map_err(|error| vec![format!("cannot listen on {bind}: {error}")])
}

fn read_config() -> Result<Config, Faults> {
    Config::from_env(std::env::vars_os()).map_err(lines)
}

/// What serves, and what is read again meanwhile.
struct Loaded {
    service: Service,
    reload: Reload,
}

/// The catalog, then the databases that it is prepared against.
async fn load(config: Config) -> Result<Loaded, Faults> {
    let options = PostgresOptions {
        connections: config.database_connections,
        statement_timeout: config.policy.download_max,
    };
    let mut sources = Sources::new();
    for (name, url) in config.databases {
        let source = url.source(options);
        let source = source.map_err(|fault| one(format!("database `{name}`: {fault}")))?;
        sources.insert(name, source);
    }
    let catalog = read_catalog(&config.exports_dir, &dialects(&sources))?;
    let exporter = Exporter::start(catalog, sources, config.keyring, config.policy);
    let exporter = exporter.await.map_err(lines)?;
    exporter.set_revocations(config.revocations);
    let service = Service::new(exporter, config.door, system_clock(), config.edge);
    if let Some(pem) = config.tls {
        let set = service.set_certificate(&pem.certificate, &pem.key);
        set.map_err(|fault| one(format!("ROWLINK_TLS_CERT_FILE: {fault}")))?;
    }
    Ok(Loaded {
        service,
        reload: config.reload,
    })
}

fn read_catalog(folder: &Path, dialects: &Dialects) -> Result<Catalog, Faults> {
    let unreadable = |error: io::Error| vec![format!("cannot read {}: {error}", folder.display())];
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(vec![format!("no .sql file in {}", folder.display())]);
    }
    paths.sort();
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        match fs::read_to_string(&path) {
            Ok(text) => files.push((name, text)),
            Err(error) => unreadable.push((name, error)),
        }
    }
    let texts = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let mut catalog = Catalog::parse(texts, dialects);
    for (name, error) in unreadable {
        catalog.fail(&name, Fault::at(1, error.to_string()));
    }
    Ok(catalog)
}

fn check_file(path: &Path) -> Result<(), Faults> {
    let named = |fault: &dyn Display| one(format!("{}: {fault}", path.display()));
    let file = fs::File::open(path).map_err(|error| named(&error))?;
    let rows = end_line::check(file).map_err(|fault| named(&fault))?;
    println!("{}: whole, {rows} rows", path.display());
    Ok(())
}

fn keygen(args: KeygenArgs) -> Result<(), Faults> {
    let mut out = io::stdout().lock();
    match args.api_key {
        None => {
            let key = link::generate(&args.id).map_err(one)?;
            writeln!(out, "{}", key.as_str()).map_err(one)
        }
        Some(name) => {
            let key = NewApiKey::generate().map_err(one)?;
            let entry = format!(
                "[keys.{name}]\nsha256 = \"{}\"\nuser = \"{name}\"",
                key.sha256
            );
            // Apart, so that a redirect puts the hash into the file and not the token.
            eprintln!(
                "The token for its holder, shown once: {}",
                key.token.as_str()
            );
            writeln!(out, "{entry}").map_err(one)
        }
    }
}

fn key_id(text: &str) -> Result<String, &'static str> {
    is_key_id(text)
        .then(|| text.to_owned())
        .ok_or("expected 1 to 16 of A-Z a-z 0-9 _ -")
}

/// The names that TOML takes without quotes.
fn api_key_name(text: &str) -> Result<String, &'static str> {
    is_bare_name(text, 64)
        .then(|| text.to_owned())
        .ok_or("expected 1 to 64 of A-Z a-z 0-9 _ -")
}

fn system_clock() -> Clock {
    Arc::new(|| {
        // A clock before 1970 makes every link a link of the future, which is refused.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.map_or(0, |elapsed| elapsed.as_secs())
    })
}

fn one(fault: impl Display) -> Faults {
    vec![fault.to_string()]
}

fn lines<T: Display>(faults: Vec<T>) -> Faults {
    faults.iter().map(ToString::to_string).collect()
}
