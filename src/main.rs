//! The `rowlink` command.

use std::process::ExitCode;

use clap::Parser as _;
use rowlink::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    Cli::parse().run().await
}
