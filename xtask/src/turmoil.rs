//! `cargo xtask turmoil`: eight processes do random things for a while, the same for the same seed,
//! and our tables are compared with /proc whenever all of them stand still. Once as it is, and once
//! with records dropped behind the counters' backs, which the same comparison must notice.

use std::io::Write as _;

use anyhow::{Result, bail};

use crate::install::as_root;
use crate::parity::{answer, fixture, fixtures};
use crate::test::{Profile, binary};

/// What drops one record in so many without counting it.
const DROP: &str = "LEAKTRACE_TEST_LOSS";
/// Of a run of a minute.
const STOPS: u64 = 200;
const THINGS: u64 = 100;

/// How much.
pub struct Options {
    /// With which build.
    pub profile: Profile,
    /// Runs of each kind.
    pub runs: u64,
    /// Seconds each.
    pub seconds: u64,
    /// One record in so many is dropped in the second kind.
    pub drop: u64,
    /// The first seed; each run has the next one.
    pub seed: u64,
}

/// Prints a line for each run.
///
/// # Errors
/// If a table differs without a loss, or a loss goes unseen.
pub fn turmoil(options: &Options) -> Result<()> {
    let leaktrace = binary(options.profile)?;
    fixtures()?;
    println!(
        "{:<8} {:>5} {:>6} {:>6} {:>9} {:>6} {:>9} {:>6} {:>9} {:>6}",
        "", "seed", "stops", "least", "things", "differ", "at exit", "differ", "records", "lost"
    );
    let mut wrong = 0;
    for lossy in [false, true] {
        for seed in options.seed..options.seed + options.runs {
            let mut command = as_root(&leaktrace)?;
            if lossy {
                let word = format!("drop={},silent,seed={seed}", options.drop);
                command.env(DROP, word);
            }
            command.args(["doctor", "--parity", "--json", "--stops", "--"]);
            command.arg(fixture("turmoil"));
            command.args([seed.to_string(), (options.seconds * 1000).to_string()]);
            let said = answer(&mut command)?;
            let count = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
            let (stops, least) = (count(&said["stops"]), count(&said["least"]));
            let differed = count(&said["differed"]);
            let at_exit = |n: usize| count(&said["self_check"][n]) + count(&said["space_check"][n]);
            let ends = [at_exit(0), at_exit(1)];
            let lost = count(&said["events"]["lost"]);
            println!(
                "{:<8} {seed:>5} {stops:>6} {least:>6} {:>9} {differed:>6} {:>9} {:>6} {:>9} {lost:>6}",
                if lossy { "dropping" } else { "" },
                count(&said["compared"]),
                ends[0],
                ends[1],
                count(&said["events"]["received"]),
            );
            std::io::stdout().flush()?;
            let seen = differed > 0 || ends[1] > 0;
            let enough = stops * 60 >= STOPS * options.seconds && least >= THINGS;
            let right = match lossy {
                true => seen,
                false => !seen && enough && lost == 0,
            };
            if !right {
                wrong += 1;
                for line in said["differences"].as_array().into_iter().flatten().take(8) {
                    println!("    {line}");
                }
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} runs are not as they should be");
    }
    Ok(())
}
