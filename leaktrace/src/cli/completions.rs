//! `leaktrace completions SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Ending, Outcome};

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell.
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "leaktrace", &mut script);
    super::say(&String::from_utf8_lossy(&script))?;
    Ok(Ending::Code(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_with_every_subcommand() {
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "leaktrace", &mut script);
            let script = String::from_utf8_lossy(&script).into_owned();
            for word in ["check", "policy", "write-baseline"] {
                assert!(script.contains(word), "{shell} {word}");
            }
        }
    }
}
