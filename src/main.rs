//! The `rowlink` command.

use std::process::ExitCode;

use clap::Parser as _;
use rowlink::cli::Cli;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("the system has threads to give");
    let exit_code = runtime.block_on(Cli::parse().run());
    // Not to wait for a write into a pipe that nobody reads.
    runtime.shutdown_background();
    exit_code
}
