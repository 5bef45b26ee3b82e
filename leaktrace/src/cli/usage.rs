//! Usage errors in one sentence, help and version on stdout.

use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Ending, Failure, Outcome};

/// Answers what clap calls an error: help and version are wishes granted.
pub fn answer(error: &clap::Error) -> Outcome {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away (`| head -1`) has what it wanted.
            drop(std::io::stdout().write_all(error.render().to_string().as_bytes()));
            Ok(Ending::Code(0))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::usage(
            "something is missing on the command line; try `leaktrace --help`",
        )),
        ErrorKind::UnknownArgument if !names_an_option(error) => Err(Failure::usage(format!(
            "{}; put `--` before the command to run",
            first_paragraph(&error.render().to_string())
        ))),
        _ => Err(Failure::usage(sentence(&error.render().to_string()))),
    }
}

fn names_an_option(error: &clap::Error) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.starts_with('-'),
        _ => true,
    }
}

/// What is wrong, in one line.
fn first_paragraph(rendered: &str) -> String {
    let paragraph = rendered.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ")
        .map(str::to_owned)
        .unwrap_or(line)
}

/// What is wrong and clap's first tip, if it has one.
fn sentence(rendered: &str) -> String {
    let what = first_paragraph(rendered);
    let tip = rendered
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    match tip {
        Some(tip) => format!("{what}: {tip}"),
        None => format!("{what}; try `leaktrace --help`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clap_error_becomes_one_sentence() {
        let rendered = "error: unexpected argument '--colour' found\n\n  tip: a similar argument \
                        exists: '--comm'\n  tip: to pass it on\n\nUsage: leaktrace check\n\nFor more information, try\n";
        assert_eq!(
            sentence(rendered),
            "unexpected argument '--colour' found: a similar argument exists: '--comm'"
        );
        assert_eq!(
            sentence("error: a value is required for '-o <PATH>'\n\nUsage: x"),
            "a value is required for '-o <PATH>'; try `leaktrace --help`"
        );
    }
}
