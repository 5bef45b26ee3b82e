#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::cli::value;

fn args(words: &[&str]) -> OutputArgs {
    let mut args = OutputArgs::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-q" => args.quiet = 1,
            "-f" => args
                .format
                .push(value::format(words.next().unwrap()).unwrap()),
            "-o" => args.output = Some(words.next().unwrap().into()),
            other => panic!("{other}"),
        }
    }
    args
}

/// Options, the call, and where its reports and its last line go.
type Row = (
    &'static [&'static str],
    Call,
    &'static [(Format, &'static str)],
    LastLine,
);

#[test]
fn the_routing_table_holds() {
    use Call::{Reads, RunsCommand};
    use Format::{Json, Text};
    use LastLine::Nowhere;
    #[rustfmt::skip]
    let table: &[Row] = &[
        // Without any option: text, away from CMD's stdout.
        (&[], RunsCommand, &[(Text, "stderr")], Nowhere),
        (&[], Reads, &[(Text, "stdout")], Nowhere),
        (&["-q"], RunsCommand, &[], Nowhere),
        (&["-q"], Reads, &[], Nowhere),
        // -o names the one report there is.
        (&["-o", "r"], RunsCommand, &[(Text, "r")], LastLine::Stderr),
        (&["-o", "-"], RunsCommand, &[(Text, "stdout")], LastLine::Stderr),
        (&["-q", "-o", "r"], RunsCommand, &[(Text, "r")], Nowhere),
        (&["-f", "json", "-o", "r"], RunsCommand, &[(Json, "r")], LastLine::Stderr),
        (&["-f", "json", "-f", "text:t", "-o", "r"], RunsCommand, &[(Json, "r"), (Text, "t")], LastLine::Stderr),
        // With any -f, text only if named; the last line unless a report is on stderr.
        (&["-f", "json"], RunsCommand, &[(Json, "stderr")], Nowhere),
        (&["-f", "json"], Reads, &[(Json, "stdout")], LastLine::Stderr),
        (&["-f", "json:-"], RunsCommand, &[(Json, "stdout")], LastLine::Stderr),
        (&["-f", "json:r"], RunsCommand, &[(Json, "r")], LastLine::Stderr),
        (&["-q", "-f", "json:r"], RunsCommand, &[(Json, "r")], Nowhere),
        (&["-f", "text", "-f", "json:r"], RunsCommand, &[(Text, "stderr"), (Json, "r")], Nowhere),
        (&["-f", "text:t", "-f", "json:-"], Reads, &[(Text, "t"), (Json, "stdout")], LastLine::Stderr),
    ];
    for (words, call, reports, last_line) in table {
        let route = route(&args(words), *call).unwrap();
        let places: Vec<(Format, String)> = route
            .reports
            .iter()
            .map(|(format, place)| (*format, place.to_string()))
            .collect();
        let places: Vec<(Format, &str)> = places.iter().map(|(f, p)| (*f, p.as_str())).collect();
        assert_eq!(
            (places.as_slice(), route.last_line),
            (*reports, *last_line),
            "{words:?}"
        );
    }
}

#[test]
fn contradictions_are_refused() {
    let error = |words: &[&str]| route(&args(words), Call::RunsCommand).unwrap_err();
    assert!(error(&["-f", "json", "-f", "text"]).contains("two -f have no path"));
    assert!(error(&["-f", "json:a", "-o", "b"]).contains("drop -o"));
    assert!(error(&["-f", "json:a", "-f", "text:a"]).contains("same place"));
    assert!(error(&["-f", "json:-", "-f", "text", "-o", "-"]).contains("same place"));
}

#[test]
fn a_file_keeps_its_content_until_the_report_is_written() {
    let path = std::env::temp_dir().join(format!("leaktrace-output-{}", std::process::id()));
    std::fs::write(&path, "what was there before, and longer").unwrap();
    let spec = format!("json:{}", path.display());
    let route = route(&args(&["-f", &spec]), Call::RunsCommand).unwrap();
    let outputs = Outputs::open(route).unwrap();
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("what was")
    );
    outputs
        .write(|_, _| Ok::<_, String>("new".to_owned()), "")
        .unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written, "new");
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let route = route(&args(&["-f", "json:/no/such/dir/r"]), Call::RunsCommand).unwrap();
    let failure = Outputs::open(route).unwrap_err();
    assert_eq!(failure.code, 125);
    assert!(failure.text.contains("/no/such/dir/r"), "{}", failure.text);
}

#[test]
fn a_new_file_is_for_its_owner_alone_and_a_link_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = std::env::temp_dir().join(format!("leaktrace-private-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let (target, link, dangling) = (dir.join("target"), dir.join("link"), dir.join("dangling"));
    drop(open(&target, Content::Replaced).unwrap());
    let mode = std::fs::metadata(&target).unwrap().permissions().mode();
    symlink(&target, &link).unwrap();
    symlink(dir.join("nothing"), &dangling).unwrap();
    let refused: Vec<_> = [&link, &dangling]
        .into_iter()
        .map(|path| open(path, Content::Replaced).map(drop).unwrap_err().text)
        .collect();
    let followed = dir.join("nothing").exists();
    // A link to what this process has open already points where its starter wanted it.
    let own = open(std::path::Path::new("/dev/fd/2"), Content::Replaced).map(drop);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        refused.iter().all(|why| why.contains("symbolic link")),
        "{refused:?}"
    );
    assert!(!followed);
    own.unwrap();
}

#[test]
fn annotations_bring_the_job_summary_which_is_appended_to() {
    let path = std::env::temp_dir().join(format!("leaktrace-summary-{}", std::process::id()));
    std::fs::write(&path, "before\n").unwrap();
    let summary = || Some(path.clone());
    let route = |words: &[&str]| route(&args(words), Call::RunsCommand).unwrap();
    let outputs = Outputs::open(route(&["-f", "github:/dev/null"]).with_job_summary(summary));
    let render = |format: Format, _: &Destination| Ok::<_, String>(format!("{}\n", format.name()));
    outputs.unwrap().write(render, "").unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written, "before\nmarkdown\n");
    let without = route(&["-f", "json:/dev/null"]).with_job_summary(summary);
    assert_eq!(without.reports.len(), 1);
}

#[test]
fn without_a_report_a_new_file_goes_and_an_old_one_stays() {
    let dir = std::env::temp_dir().join(format!("leaktrace-unwritten-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let (new, old) = (dir.join("new"), dir.join("old"));
    std::fs::write(&old, "old").unwrap();
    let spec = |format: &str, path: &std::path::Path| format!("{format}:{}", path.display());
    let words = [spec("json", &new), spec("text", &old)];
    let words = ["-f", &words[0], "-f", &words[1]];
    let outputs = Outputs::open(route(&args(&words), Call::RunsCommand).unwrap()).unwrap();
    let was_there = new.exists();
    drop(outputs);
    let (is_there, kept) = (new.exists(), std::fs::read_to_string(&old));
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(was_there && !is_there);
    assert_eq!(kept.unwrap(), "old");
}
