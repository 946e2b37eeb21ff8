//! Completions for shells, and pages for `man`, from the commands themselves.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, ErrorLines, error_line};

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

#[derive(Args)]
pub(super) struct ManArgs {
    /// Where to write the pages, such as /usr/local/share/man/man1
    dir: PathBuf,
}

/// Prints the completions.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), ErrorLines> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rowlink", &mut script);
    io::stdout().write_all(&script).map_err(error_line)
}

/// Writes a page for `rowlink` and one for each command.
pub(super) fn man(args: &ManArgs) -> Result<(), ErrorLines> {
    let command = Cli::command().disable_help_subcommand(true);
    let written = clap_mangen::generate_to(command, &args.dir);
    written.map_err(|error| error_line(format!("{}: {error}", args.dir.display())))
}
