//! Usage errors in one sentence, help and version on stdout.

use std::io::Write;

use clap::error::ErrorKind;

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
        _ => Err(Failure::usage(sentence(&error.render().to_string()))),
    }
}

/// The first paragraph of clap's message, and its tip if it has one, in one line.
fn sentence(rendered: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = rendered.split("\n\n").map(words);
    let what = paragraphs.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
    let tip = paragraphs.find_map(|text| text.strip_prefix("tip: ").map(str::to_owned));
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
                        exists: '--comm'\n\nUsage: leaktrace check\n\nFor more information, try\n";
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
