//! `leaktrace explain RULE`.

use clap::Args;

use super::{Ending, Failure, Outcome};
use crate::audit;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Id or name, as in LT103 or sysv-shm-left; without one, all rules in a list.
    #[arg(value_name = "RULE")]
    #[arg(conflicts_with = "all")]
    rule: Option<String>,
    /// The text of every rule.
    #[arg(long)]
    all: bool,
    /// As Markdown: the page of rules in the documentation.
    #[arg(long, requires = "all")]
    markdown: bool,
}

pub(super) fn run(args: &ExplainArgs) -> Outcome {
    let text = match &args.rule {
        None if args.markdown => audit::page(),
        None if args.all => audit::explain_all(),
        None => audit::list(),
        Some(rule) => audit::explain(rule).ok_or_else(|| {
            let rule = crate::sink::escape_str(rule);
            Failure::usage(format!(
                "`{rule}` is not a rule; `leaktrace explain` lists them"
            ))
        })?,
    };
    super::say(&text)?;
    Ok(Ending::Code(0))
}
