//! `jobcast completions`.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::people::{Exit, Failure, NoSettings};

const EXAMPLES: &str = "\
Examples:
  source <(jobcast completions bash)                            for this session
  jobcast completions bash > /etc/bash_completion.d/jobcast     for everybody
  jobcast completions zsh > ~/.zfunc/_jobcast
  jobcast completions fish > ~/.config/fish/completions/jobcast.fish";

/// Which shell's.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
    #[command(flatten)]
    settings: NoSettings,
}

impl Completions {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        self.settings.check()?;
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::args::Args::command(), "jobcast", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Exit::Done)
    }
}
