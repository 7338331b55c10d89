//! `roadstead completions` and `roadstead man`: what a shell and `man` want to know of the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::commands::print;
use crate::{Failure, failed};

#[derive(Args, Debug)]
#[command(after_long_help = COMPLETIONS)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Args, Debug)]
#[command(after_long_help = MAN)]
pub(crate) struct ManArgs {
    /// A command, as in serve; without it, roadstead itself
    #[arg(value_name = "COMMAND")]
    of: Option<String>,
}

const COMPLETIONS: &str = "\
Examples:
  roadstead completions bash > /etc/bash_completion.d/roadstead
  roadstead completions zsh > ~/.zfunc/_roadstead
  roadstead completions fish > ~/.config/fish/completions/roadstead.fish";

const MAN: &str = "\
Examples:
  roadstead man > /usr/local/share/man/man1/roadstead.1
  roadstead man serve | man -l -";

pub(crate) fn completions(args: &Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "roadstead", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut whole = Cli::command();
    // What is inherited from the whole, the version among it, is then there in each part.
    whole.build();
    let page = match &args.of {
        None => whole,
        Some(of) => {
            let part = whole.find_subcommand(of).ok_or_else(|| {
                Failure::Misconfigured(format!(
                    "roadstead: there is no command {of}; roadstead --help lists them"
                ))
            })?;
            let name: &'static str = format!("roadstead-{}", part.get_name()).leak();
            part.clone().name(name)
        }
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text).map_err(failed)?;
    print(&String::from_utf8_lossy(&text))
}
