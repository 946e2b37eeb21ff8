//! The `rowlink` command.

use std::process::ExitCode;

use clap::Parser as _;
use rowlink::cli::Cli;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let runtime = Runtime::new().expect("the system provides threads");
    let exit_code = runtime.block_on(Cli::parse().run());
    // Does not wait for a blocked write into a pipe without a reader.
    runtime.shutdown_background();
    exit_code
}
