//! The table of rules that the scenarios prove: every rule fired, and its twin was clean.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{output, root, target_dir};

/// The variable that tells the scenarios where to note what they have proved.
pub const RUNS: &str = "LEAKTRACE_RULE_RUNS";

const TABLE: &str = "leaktrace/docs/rule-table.md";
const PAGE: &str = "leaktrace/docs/rules.md";

const HEAD: &str = "# Rules and the scenarios that prove them

Written by `cargo xtask rules` from what the scenarios in `tests/scenario` have proved; `cargo xtask test` fails
when the tests prove something else. *Fired*: the scenario ran a program that breaks the rule, and the rule was
reported. *Twin clean*: it ran one that does the same and cleans up, with the rule switched on, and the run was clean.

| rule | name | level | fired | twin clean |
|---|---|---|---|---|
";

/// Where the scenarios note what they have proved.
pub fn runs_file() -> PathBuf {
    target_dir().join("rule-runs")
}

/// Compares the committed table with what was proved.
///
/// # Errors
/// If a rule is not proved, or the table is not that of these tests.
pub fn check(binary: &Path, runs: &Path) -> Result<()> {
    let (table, missing) = table(&rules(binary)?, &proofs(runs)?)?;
    proved(&missing)?;
    let path = root().join(TABLE);
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed != table {
        bail!("{TABLE} is not what the tests prove; write it anew: cargo xtask rules --last");
    }
    Ok(())
}

/// Fails if something is not proved.
fn proved(missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "the scenarios do not prove every rule: {}",
        missing.join(", ")
    )
}

/// Writes the table and the page of rules, with gaps where a rule is not proved.
///
/// # Errors
/// If a rule is not proved, or a file cannot be written.
pub fn write(binary: &Path, runs: &Path) -> Result<()> {
    let (table, missing) = table(&rules(binary)?, &proofs(runs)?)?;
    let mut page = output(Command::new(binary).args(["explain", "--all", "--markdown"]))?;
    page.push('\n');
    for (path, text) in [(TABLE, table), (PAGE, page)] {
        std::fs::write(root().join(path), text).with_context(|| format!("write {path}"))?;
    }
    proved(&missing)
}

/// A line of `leaktrace explain`.
struct Rule {
    id: String,
    name: String,
    level: String,
}

/// The rules that this leaktrace judges.
fn rules(binary: &Path) -> Result<Vec<Rule>> {
    let list = output(Command::new(binary).arg("explain"))?;
    let parsed: Option<Vec<Rule>> = list.lines().map(rule).collect();
    let rules = parsed.context("`leaktrace explain` lists rules as id, name, group, level")?;
    // "not judged yet"
    Ok(rules
        .into_iter()
        .filter(|rule| rule.level != "not")
        .collect())
}

fn rule(line: &str) -> Option<Rule> {
    let mut words = line.split_whitespace().map(str::to_owned);
    let (id, name) = (words.next()?, words.next()?);
    let level = words.nth(1)?;
    Some(Rule { id, name, level })
}

/// Scenarios by rule.
#[derive(Default)]
struct Proved {
    fired: BTreeSet<String>,
    twin: BTreeSet<String>,
    /// A twin that was run without asking for the rule.
    unasked: BTreeSet<String>,
}

fn proofs(runs: &Path) -> Result<BTreeMap<String, Proved>> {
    let lines = std::fs::read_to_string(runs)
        .with_context(|| format!("read what the scenarios noted in {}", runs.display()))?;
    let mut proofs: BTreeMap<String, Proved> = BTreeMap::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [rule, what, scenario, level] = fields[..] else {
            bail!("a scenario noted `{line}`");
        };
        let proved = proofs.entry(rule.to_owned()).or_default();
        let set = match (what, level) {
            ("fired", _) => &mut proved.fired,
            ("twin", "asked") => &mut proved.twin,
            ("twin", "default") => &mut proved.unasked,
            _ => bail!("a scenario noted `{line}`"),
        };
        set.insert(scenario.to_owned());
    }
    Ok(proofs)
}

/// The table, and what is missing in it.
fn table(rules: &[Rule], proofs: &BTreeMap<String, Proved>) -> Result<(String, Vec<String>)> {
    let mut table = HEAD.to_owned();
    let mut missing = Vec::new();
    let none = Proved::default();
    for Rule { id, name, level } in rules {
        let proved = proofs.get(id).unwrap_or(&none);
        // Off by default: a twin is clean whatever it does, unless the rule was asked for.
        let twin = match level.as_str() {
            "off" => proved.twin.clone(),
            _ => &proved.twin | &proved.unasked,
        };
        if proved.fired.is_empty() {
            missing.push(format!("{id} never fired"));
        }
        if twin.is_empty() {
            missing.push(format!("{id} has no clean twin"));
        }
        let (fired, twin) = (names(&proved.fired), names(&twin));
        writeln!(table, "| {id} | {name} | {level} | {fired} | {twin} |")?;
    }
    if let Some(unknown) = proofs
        .keys()
        .find(|id| rules.iter().all(|rule| rule.id != **id))
    {
        missing.push(format!("{unknown} is no rule that is judged"));
    }
    Ok((table, missing))
}

fn names(scenarios: &BTreeSet<String>) -> String {
    scenarios.iter().cloned().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(level: &str) -> Vec<Rule> {
        rule(&format!("LT201  fd   held   {level}"))
            .into_iter()
            .collect()
    }

    fn proofs_of(lines: &[&str]) -> BTreeMap<String, Proved> {
        let file = target_dir().join(format!("rule-runs-{}-{}", std::process::id(), lines.len()));
        std::fs::write(&file, lines.join("\n")).expect("write the notes");
        let proofs = proofs(&file).expect("read the notes");
        std::fs::remove_file(&file).expect("remove the notes");
        proofs
    }

    #[test]
    fn a_rule_needs_both_proofs_and_the_table_names_them() {
        let proved = proofs_of(&["LT201\tfired\theld\tasked", "LT201\ttwin\tother\tasked"]);
        let (table, missing) = table(&judged("off"), &proved).expect("a table");
        assert!(
            table.ends_with("| LT201 | fd | off | held | other |\n"),
            "{table}"
        );
        assert!(missing.is_empty());
    }

    #[test]
    fn a_rule_without_a_twin_or_without_a_shot_is_an_error() {
        let missing = |proofs| table(&judged("error"), &proofs).expect("a table").1;
        let fired = missing(proofs_of(&["LT201\tfired\theld\tasked"]));
        assert_eq!(fired, ["LT201 has no clean twin"]);
        assert!(super::proved(&fired).is_err());
        let nothing = missing(BTreeMap::new());
        assert_eq!(nothing, ["LT201 never fired", "LT201 has no clean twin"]);
    }

    #[test]
    fn a_twin_of_a_rule_that_is_off_proves_nothing_unless_it_was_asked_for() {
        let lines = [
            "LT201\tfired\theld\tasked",
            "LT201\ttwin\theld\tdefault",
            "",
        ];
        let proved = proofs_of(&lines[..2]);
        let missing = |level| table(&judged(level), &proved).expect("a table").1;
        assert_eq!(missing("off").len(), 1);
        assert!(missing("note").is_empty());
    }
}
