//! Shell completions and man pages, generated from the command definitions.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::errors::{ErrorLines, error_line};

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManArgs {
    /// The directory for the pages, such as /usr/local/share/man/man1
    dir: PathBuf,
}

/// Prints the completion script.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), ErrorLines> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rowlink", &mut script);
    io::stdout().write_all(&script).map_err(error_line)
}

/// Writes one man page for `rowlink` and one per command.
pub(super) fn man(args: &ManArgs) -> Result<(), ErrorLines> {
    let command = Cli::command().disable_help_subcommand(true);
    let written = clap_mangen::generate_to(command, &args.dir);
    written.map_err(|error| error_line(format!("{}: {error}", args.dir.display())))
}
