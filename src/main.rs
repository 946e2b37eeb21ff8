//! The `rowlink` command.

use std::process::ExitCode;

use clap::Parser as _;
use rowlink::cli::Cli;

#[actix_web::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
