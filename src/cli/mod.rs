//! The commands.

mod export;
mod load;
mod manual;
mod ready;
mod request;
mod serve;
mod sign;
mod signals;
mod telemetry;
mod verify;

use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};
use zeroize::Zeroizing;

use crate::auth::NewApiKey;
use crate::config::{Config, KeysConfig, Log, Reload, cors_origin};
use crate::demo::{self, Demo};
use crate::http::{Clock, Drain, Tls};
use crate::integrity_line;
use crate::unix_time;
use rowlink_link::{self, Scope, is_bare_name, is_key_id};

use export::{ExportArgs, export};
use load::{Loaded, load};
use manual::{CompletionsArgs, ManArgs, completions, man};
use request::claim;
use serve::Sockets;
use sign::{SignArgs, sign};
use verify::{VerifyArgs, verify};

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
    /// Write a file straight from the database, without a server
    Export(ExportArgs),
    /// Check by its end line that a downloaded file is whole
    CheckFile(CheckFileArgs),
    /// Make a link with a signing key alone, without a server
    Sign(SignArgs),
    /// Say step by step why a link is good or bad
    Verify(VerifyArgs),
    /// Print a fresh signing key, a child of one, or a fresh API key
    Keygen(KeygenArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Write the pages of the manual
    Man(ManArgs),
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
    /// The key's id: up to 16 of A-Z a-z 0-9 _ -; of a child key, that of its parent [default: k1, or the first]
    #[arg(long, value_parser = key_id)]
    id: Option<String>,
    /// Make an API key of this name instead: the token for its holder, and what the file stores
    #[arg(long, value_name = "NAME", conflicts_with = "id", value_parser = api_key_name)]
    api_key: Option<String>,
    /// Derive a key from one in ROWLINK_SIGNING_KEYS that signs links inside a scope alone
    #[arg(long, conflicts_with = "api_key")]
    child: bool,
    /// Links to this export. Can be given several times
    #[arg(long = "export", value_name = "NAME", requires = "child")]
    exports: Vec<String>,
    /// Links of users whose ids start so
    #[arg(long, value_name = "TEXT", requires = "child")]
    user_prefix: Option<String>,
    /// Links with this claim, and with no other
    #[arg(long = "claim", value_name = "NAME=VALUE", requires = "child", value_parser = claim)]
    claims: Vec<(String, String)>,
}

impl Cli {
    /// Runs the command; returns what the process exits with.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve => serve().await,
            Command::Demo(args) => demo(args).await,
            Command::Check => check().await,
            Command::Ready => read_config().and_then(|config| ready::check(&config)),
            Command::Export(args) => export(args).await,
            Command::CheckFile(args) => check_file(&args.file),
            Command::Sign(args) => sign(args),
            Command::Verify(args) => match verify(args) {
                Ok(verdict) => return verdict,
                Err(errors) => Err(errors),
            },
            Command::Keygen(args) => keygen(args),
            Command::Completions(args) => completions(&args),
            Command::Man(args) => man(&args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(errors) => {
                errors
                    .iter()
                    .for_each(|error| eprintln!("rowlink: {error}"));
                ExitCode::from(EXIT_MISCONFIGURED)
            }
        }
    }
}

/// What stops a command, a line each.
type ErrorLines = Vec<String>;

async fn serve() -> Result<(), ErrorLines> {
    let config = read_config()?;
    let _telemetry = telemetry::start(&config.log)?;
    for name in &config.unknown {
        tracing::warn!(name, "unknown variable");
    }
    if config.http_config.jwt_query_param.is_some() {
        tracing::warn!("tokens may come in the query, where proxies and histories keep them");
    }
    let bind = config.bind;
    let metrics_bind = config.metrics_bind;
    let drain = config.drain;
    let tls = config.tls.as_ref().map_or(Tls::Elsewhere, |_| Tls::Here);
    let Loaded { state, reload } = load(config).await?;
    for issuer in state.authenticator.warm_up().await {
        tracing::warn!(issuer, "no keys yet: its tokens are answered with 503");
    }
    let sockets = Sockets {
        public: listen(bind)?,
        metrics: metrics_bind.map(listen).transpose()?,
        tls,
    };
    serve::run(sockets, state, reload, drain).await
}

async fn check() -> Result<(), ErrorLines> {
    let state = load(read_config()?).await?.state;
    let silent = state.authenticator.warm_up().await;
    if !silent.is_empty() {
        let error = |issuer| format!("the issuer {issuer} does not publish its keys now");
        return Err(silent.into_iter().map(error).collect());
    }
    let exports = state.service.count();
    println!("configuration, {exports} exports and their databases are in order");
    Ok(())
}

async fn demo(args: DemoArgs) -> Result<(), ErrorLines> {
    let _telemetry = telemetry::start(&Log::for_people())?;
    let public = listen(args.bind)?;
    let address = public.local_addr().map_err(error_line)?;
    eprintln!("rowlink: making {} sample orders …", demo::ORDERS);
    let Demo {
        state,
        welcome,
        folder,
    } = Demo::build(address, args.origins, system_clock()).await?;
    println!("{welcome}");
    let sockets = Sockets {
        public,
        metrics: None,
        tls: Tls::Elsewhere,
    };
    serve::run(sockets, state, Reload::default(), Drain::default()).await?;
    folder.close().map_err(error_line)
}

fn listen(bind: SocketAddr) -> Result<TcpListener, ErrorLines> {
    TcpListener::bind(bind).map_err(|error| vec![format!("cannot listen on {bind}: {error}")])
}

fn read_config() -> Result<Config, ErrorLines> {
    Config::from_env(std::env::vars_os()).map_err(error_lines)
}

fn check_file(path: &Path) -> Result<(), ErrorLines> {
    let named = |error: &dyn Display| error_line(format!("{}: {error}", path.display()));
    let file = fs::File::open(path).map_err(|error| named(&error))?;
    let rows = integrity_line::check(file).map_err(|error| named(&error))?;
    println!("{}: whole, {rows} rows", path.display());
    Ok(())
}

fn keygen(args: KeygenArgs) -> Result<(), ErrorLines> {
    let mut out = io::stdout().lock();
    if args.child {
        return writeln!(out, "{}", child_key(&args)?.as_str()).map_err(error_line);
    }
    match args.api_key {
        None => {
            let id = args.id.as_deref().unwrap_or("k1");
            let key = link::generate(id).map_err(error_line)?;
            writeln!(out, "{}", key.as_str()).map_err(error_line)
        }
        Some(name) => {
            let key = NewApiKey::generate().map_err(error_line)?;
            let entry = format!(
                "[keys.{name}]\nsha256 = \"{}\"\nuser = \"{name}\"",
                key.sha256
            );
            // Apart, so that a redirect puts the hash into the file and not the token.
            eprintln!(
                "The token for its holder, shown once: {}",
                key.token.as_str()
            );
            writeln!(out, "{entry}").map_err(error_line)
        }
    }
}

fn child_key(args: &KeygenArgs) -> Result<Zeroizing<String>, ErrorLines> {
    if args.exports.is_empty() && args.user_prefix.is_none() && args.claims.is_empty() {
        let error = "--child needs a scope: --export, --user-prefix or --claim";
        return Err(error_line(error));
    }
    let keyring = KeysConfig::from_env(std::env::vars_os());
    let keyring = keyring.map_err(error_lines)?.keyring;
    let scope = Scope::new(&args.exports, args.user_prefix.as_deref(), &args.claims);
    let scope = scope.map_err(error_line)?;
    let first = keyring.key_ids().next().unwrap_or_default();
    link::generate_child(&keyring, args.id.as_deref().unwrap_or(first), &scope).map_err(error_line)
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

/// A moment in Unix seconds, as an argument says it.
fn moment(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().or_else(|| unix_time::parse(text));
    seconds.ok_or("expected 2026-01-31T10:00:00Z, or Unix seconds")
}

fn system_clock() -> Clock {
    Arc::new(|| {
        // A clock before 1970 makes every link a link of the future, which is refused.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.map_or(0, |elapsed| elapsed.as_secs())
    })
}

fn error_line(error: impl Display) -> ErrorLines {
    vec![error.to_string()]
}

fn error_lines<T: Display>(errors: Vec<T>) -> ErrorLines {
    errors.iter().map(ToString::to_string).collect()
}
