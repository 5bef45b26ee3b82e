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

fn file(path: &str) -> Destination {
    Destination::File(path.into())
}

#[test]
fn the_routing_table_holds() {
    use Call::{Reads, RunsCommand};
    use Destination::{Stderr, Stdout};
    use Format::{Json, Text};
    use LastLine::Nowhere;
    let line = LastLine::Stderr;
    #[rustfmt::skip]
    let table: &[(&[&str], Call, &[(Format, Destination)], LastLine)] = &[
        // Without any option: text, away from CMD's stdout.
        (&[], RunsCommand, &[(Text, Stderr)], Nowhere),
        (&[], Reads, &[(Text, Stdout)], Nowhere),
        (&["-q"], RunsCommand, &[], Nowhere),
        (&["-q"], Reads, &[], Nowhere),
        // -o names the one report there is.
        (&["-o", "r"], RunsCommand, &[(Text, file("r"))], line),
        (&["-o", "-"], RunsCommand, &[(Text, Stdout)], line),
        (&["-q", "-o", "r"], RunsCommand, &[(Text, file("r"))], Nowhere),
        (&["-f", "json", "-o", "r"], RunsCommand, &[(Json, file("r"))], line),
        (&["-f", "json", "-f", "text:t", "-o", "r"], RunsCommand, &[(Json, file("r")), (Text, file("t"))], line),
        // With any -f, text only if named; the last line unless a report is on stderr.
        (&["-f", "json"], RunsCommand, &[(Json, Stderr)], Nowhere),
        (&["-f", "json"], Reads, &[(Json, Stdout)], line),
        (&["-f", "json:-"], RunsCommand, &[(Json, Stdout)], line),
        (&["-f", "json:r"], RunsCommand, &[(Json, file("r"))], line),
        (&["-q", "-f", "json:r"], RunsCommand, &[(Json, file("r"))], Nowhere),
        (&["-f", "text", "-f", "json:r"], RunsCommand, &[(Text, Stderr), (Json, file("r"))], Nowhere),
        (&["-f", "text:t", "-f", "json:-"], Reads, &[(Text, file("t")), (Json, Stdout)], line),
    ];
    for (words, call, reports, last_line) in table {
        let route = route(&args(words), *call).unwrap();
        assert_eq!(
            (route.reports.as_slice(), route.last_line),
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
        .write(|_| Ok::<_, String>("new".into()), "")
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
