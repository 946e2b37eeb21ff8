//! The commands.

mod audit;
mod audit_line;
mod check_file;
mod check_store;
mod database_args;
mod errors;
mod export;
mod export_files;
mod export_text;
mod fetch;
mod get;
mod init;
mod init_questions;
mod inode;
mod key_file;
mod keygen;
mod links;
mod load;
mod locked_file;
mod log_reader;
mod log_writer;
mod manual;
mod mcp;
mod new;
mod new_folder;
mod open_files;
mod output;
mod prepare_file;
mod ready;
mod receipt;
mod reload;
mod reload_exports;
mod replace;
mod request;
mod revoke;
mod serve;
mod sign;
mod signals;
mod tables;
mod telemetry;
mod text_table;
mod verify;
mod visible;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Log, cors_origin};
use crate::demo::{self, Demo};
use crate::http::{Clock, DrainTimes, Tls};
use crate::unix_time;

use audit::{AuditArgs, audit};
use check_file::{CheckFileArgs, check_file};
use check_store::check_store;
use errors::{ErrorLines, Failure, error_line, error_lines};
use export::{ExportArgs, export};
use get::{GetArgs, get};
use init::{InitArgs, init};
use keygen::{KeygenArgs, keygen};
use links::{LinksArgs, links};
use load::{Loaded, OnError, load};
use manual::{CompletionsArgs, ManArgs, completions, man};
use mcp::{McpArgs, mcp};
use new::{NewArgs, new};
use reload::Reloader;
use replace::{ReplaceArgs, replace};
use revoke::{RevokeArgs, revoke};
use serve::Sockets;
use sign::{SignArgs, sign};
use tables::{TablesArgs, tables};
use verify::{VerifyArgs, verify};

/// Signed download links for database rows.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve links and downloads, configured by ROWLINK_* variables
    Serve(ServeArgs),
    /// Serve half a million sample orders without configuration
    Demo(DemoArgs),
    /// Check configuration, catalog and databases, and report all errors
    Check(CheckArgs),
    /// Check the readiness of the server with the same variables
    Ready,
    /// Write a first configuration into a new folder: keys, variables and an export
    Init(InitArgs),
    /// List the tables and views of a database
    Tables(TablesArgs),
    /// Write the file of a new export of one table
    New(NewArgs),
    /// Write a file straight from the database, without a server
    Export(ExportArgs),
    /// Download a file with a signed link: continues a broken download, and checks that the file is complete
    Get(GetArgs),
    /// Check by its integrity line or its receipt that a downloaded file is complete
    CheckFile(CheckFileArgs),
    /// Sign a link with a signing key, without a server
    Sign(SignArgs),
    /// Explain step by step why a link is valid or refused
    Verify(VerifyArgs),
    /// Generate a signing key, a child key or an API key
    Keygen(KeygenArgs),
    /// Show the links and downloads in the audit log as a table
    Links(LinksArgs),
    /// Read the values of filters in audit lines
    Audit(AuditArgs),
    /// Replace a file of keys or revocations by standard input, after checking it
    Replace(ReplaceArgs),
    /// Revoke one link, or the links of a user or a key, in the file of revocations
    Revoke(RevokeArgs),
    /// Let agents list exports, look at a few rows and create links: a server of the Model Context Protocol (MCP)
    Mcp(McpArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Do not start unless every export can be served. Without it, an export that cannot be served is answered with 503,
    /// and tried again
    #[arg(long)]
    strict: bool,
    /// For authors: start whatever the exports are, read them five times a second, and print errors as FILE:LINE: MESSAGE.
    /// A file that an editor has written in place replaces its earlier version also if it restricts fewer rows
    #[arg(long, conflicts_with = "strict")]
    watch: bool,
}

#[derive(Args)]
struct CheckArgs {
    /// Check the object storage instead: write objects of a few MB to ROWLINK_STORE_URL, read them as Rowlink and as a
    /// browser does, and print the rules to set in the bucket. The exit code is 1 if a step has failed
    #[arg(long)]
    store: bool,
}

#[derive(Args)]
struct DemoArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// Allow cross-origin requests from this origin, such as http://localhost:5173; repeatable
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = cors_origin)]
    origins: Vec<String>,
}

impl Cli {
    /// Runs the command; returns the exit code of the process.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(args) => serve(&args).await,
            Command::Demo(args) => demo(args).await,
            Command::Check(CheckArgs { store: false }) => check().await,
            Command::Check(CheckArgs { store: true }) => match check_store().await {
                Ok(exit_code) => return exit_code,
                Err(errors) => Err(errors),
            },
            Command::Ready => read_config().and_then(|config| ready::check(&config)),
            Command::Init(args) => init(args).await,
            Command::Tables(args) => tables(&args).await,
            Command::New(args) => new(args).await,
            Command::Export(args) => match export(args).await {
                Ok(()) => Ok(()),
                Err(failure) => return failure.report(),
            },
            Command::Get(args) => match get(args).await {
                Ok(()) => Ok(()),
                Err(failure) => return failure.report(),
            },
            Command::CheckFile(args) => check_file(&args),
            Command::Sign(args) => sign(args),
            Command::Verify(args) => match verify(args) {
                Ok(verdict) => return verdict,
                Err(errors) => Err(errors),
            },
            Command::Keygen(args) => keygen(args),
            Command::Links(args) => links(&args).await,
            Command::Audit(args) => match audit(&args) {
                Ok(exit_code) => return exit_code,
                Err(errors) => Err(errors),
            },
            Command::Replace(args) => replace(&args),
            Command::Revoke(args) => revoke(args),
            Command::Mcp(args) => mcp(args).await,
            Command::Completions(args) => completions(&args),
            Command::Man(args) => man(&args),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(errors) => Failure::from(errors).report(),
        }
    }
}

async fn serve(args: &ServeArgs) -> Result<(), ErrorLines> {
    // Installed first: a reload that is requested while the server starts must not end it.
    let hangups = [serve::hangup(), serve::hangup()];
    let [for_files, for_exports] = hangups.map(|hangup| hangup.map_err(error_line));
    let (hangup, exports_hangup) = (for_files?, for_exports?);
    let config = read_config()?;
    let (_telemetry, lost_lines) = telemetry::start(&config.log)?;
    if config.http_config.jwt_query_param.is_some() {
        tracing::warn!("tokens are accepted in the query, which proxies and histories store");
    }
    open_files::raise_limit(
        config.http_config.connection_limits,
        &config.policy.limits,
        config.spool.as_ref(),
    );
    let bind = config.bind;
    let metrics_bind = config.metrics_bind;
    let drain = config.drain;
    let tls = config.tls.as_ref().map_or(Tls::Elsewhere, |_| Tls::Here);
    let on_error = match (args.strict, args.watch) {
        (true, _) => OnError::Stop,
        (false, true) => OnError::Ignore,
        (false, false) => OnError::Tolerate,
    };
    let Loaded {
        state,
        reloader,
        mut exports,
        update,
        warnings,
    } = load(config, on_error).await?;
    if args.watch {
        exports.watch();
    }
    exports.report(&update, &state);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for issuer in state.authenticator.warm_up().await {
        tracing::warn!(issuer, "no keys yet; its tokens get 503");
    }
    let sockets = Sockets {
        public: listen(bind)?,
        metrics: metrics_bind.map(listen).transpose()?,
        tls,
    };
    let state = Arc::new(state.with_lost_lines(lost_lines));
    let reloading = tokio::spawn(exports.run(state.clone(), exports_hangup));
    tokio::spawn(async move {
        // It ends only by a panic.
        if let Err(join_error) = reloading.await {
            tracing::error!(%join_error, "reloading exports has stopped; restart the server");
        }
    });
    serve::run(sockets, state, reloader, hangup, drain).await
}

async fn check() -> Result<(), ErrorLines> {
    let Loaded {
        state,
        update,
        warnings,
        ..
    } = load(read_config()?, OnError::Stop).await?;
    for warning in update.warnings.into_iter().chain(warnings) {
        eprintln!("rowlink: warning: {warning}");
    }
    let unavailable = state.authenticator.warm_up().await;
    if !unavailable.is_empty() {
        let error = |issuer| format!("issuer {issuer}: its keys are unavailable; try again later");
        return Err(unavailable.into_iter().map(error).collect());
    }
    let exports = state.service.count();
    println!("configuration, exports ({exports}) and databases are valid");
    Ok(())
}

async fn demo(args: DemoArgs) -> Result<(), ErrorLines> {
    let (_telemetry, _) = telemetry::start(&Log::for_people())?;
    let public = listen(args.bind)?;
    let address = public.local_addr().map_err(error_line)?;
    eprintln!("rowlink: creating {} sample orders …", demo::ORDERS);
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
    let hangup = serve::hangup().map_err(error_line)?;
    let (reloader, drain) = (Reloader::default(), DrainTimes::default());
    serve::run(sockets, Arc::new(state), reloader, hangup, drain).await?;
    folder.close().map_err(error_line)
}

fn listen(bind: SocketAddr) -> Result<TcpListener, ErrorLines> {
    TcpListener::bind(bind).map_err(|error| vec![format!("cannot listen on {bind}: {error}")])
}

fn read_config() -> Result<Config, ErrorLines> {
    Config::from_env(std::env::vars_os()).map_err(error_lines)
}

/// Parses a time argument; returns Unix seconds.
fn parse_time(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().or_else(|| unix_time::parse(text));
    seconds.ok_or("expected 2026-01-31T10:00:00Z, or Unix seconds")
}

fn system_clock() -> Clock {
    Arc::new(|| {
        // With a clock before 1970 every link is in the future, and refused.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        since_epoch.map_or(0, |elapsed| elapsed.as_secs())
    })
}
