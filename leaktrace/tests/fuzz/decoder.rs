//! What is fed: from bytes to values, and on to all that works with the values.

use bytes::Bytes;
use leaktrace::{
    audit::Scope,
    decode,
    deputy::wire,
    id::KtimeNs,
    policy::{
        OrderMode, Policy, allow::Allow, baseline::Baseline, duration, fail_on, file,
        pattern::Pattern,
    },
    report::{self, Report},
    session::{Gallery, Pipeline, Purpose},
    sink::{self, text::Detail},
    source::{
        Item,
        capture::{CaptureReader, CaptureWriter},
    },
};

/// Gives a word for the kind of result, or the error.
pub type Decoder = fn(&[u8]) -> Result<String, String>;

const EVERY_GROUP: &str = "residue,held,order,misuse,time,hazard";

fn strict() -> Policy {
    let mut policy = Policy::default();
    policy.add_fail_on(EVERY_GROUP).unwrap();
    policy
}

/// As `check --from FILE` with everything judged and every report written.
pub fn capture(bytes: &[u8]) -> Result<String, String> {
    let mut reader = CaptureReader::new(bytes).map_err(|error| error.to_string())?;
    let policy = strict();
    let mut pipeline = Pipeline::new(Purpose::Verdict);
    pipeline.set_budgets(&policy);
    let mut items = 0;
    while let Some(item) = reader.next().map_err(|error| error.to_string())? {
        pipeline.feed(item);
        items += 1;
    }
    let questions = pipeline.questions(&policy, Scope::Everything).len();
    let _ = pipeline.holder_questions(&policy, Scope::Judged);
    let _ = pipeline.sources(&policy, Scope::Judged);
    let _ = pipeline.settle(KtimeNs(0), KtimeNs(u64::MAX));
    let report = pipeline.judge(&policy);
    written(&report)?;
    Ok(format!(
        "{:?} {items} items, {questions} questions, {} findings",
        reader.extent(),
        report.findings.len()
    ))
}

/// As the ring's records come: to be decoded, for the verdict, and for the live screen.
pub fn records(bytes: &[u8]) -> Result<String, String> {
    let records = Bytes::copy_from_slice(bytes);
    let mut walk = decode::records(&records);
    let (mut good, mut bad) = (0, 0);
    for record in walk.by_ref() {
        match record {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    let unknown = walk.unknown();
    let mut pipeline = Pipeline::new(Purpose::Durations);
    let mut gallery = Gallery::new();
    for item in [
        Item::Start(Box::default()),
        Item::Records(records),
        Item::Tick(u64::MAX),
    ] {
        pipeline.feed(item.clone());
        gallery.feed(item);
    }
    let report = pipeline.judge(&strict());
    let _ = gallery.questions(KtimeNs(u64::MAX));
    gallery.judge_all();
    let picture = gallery.picture(gallery.living().first().copied());
    let shown = format!("{picture:?}").len().ilog2();
    Ok(format!(
        "{good} good, {bad} bad, {unknown} unknown, {} findings, {shown}",
        report.findings.len()
    ))
}

/// As `--policy FILE`, and a run judged by it.
pub fn policy(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let policy = file::parse("leaktrace.toml", &text).map_err(|error| error.to_string())?;
    let report = recorded(&policy);
    written(&report)?;
    let (levels, programs) = (report.findings.len(), policy.programs.len());
    Ok(format!("{levels} findings, {programs} programs"))
}

/// As `--suppressions FILE`, and a run judged by it.
pub fn suppressions(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let allow = file::parse_suppressions("file", &text).map_err(|error| error.to_string())?;
    let number = allow.len();
    for one in &allow {
        // What is written in one form is read in it.
        let _ = Allow::parse(&one.form());
    }
    let report = recorded(&Policy { allow, ..strict() });
    written(&report)?;
    Ok(format!("{number}"))
}

/// As `--baseline FILE`, and a run judged by it.
pub fn baseline(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let baseline = Baseline::parse("file", &text).map_err(|error| error.to_string())?;
    let again = Baseline::parse("file", &baseline.write()).unwrap();
    assert_eq!(again.known, baseline.known, "what is written is read");
    let number = baseline.known.len();
    let report = recorded(&Policy {
        baseline: Some(baseline),
        ..strict()
    });
    written(&report)?;
    Ok(format!("{number}"))
}

/// As `merge FILE FILE`.
pub fn report(bytes: &[u8]) -> Result<String, String> {
    let merged =
        report::merge(vec![report::read(bytes)?, report::read(bytes)?]).ok_or("no report")?;
    written(&merged)?;
    Ok(format!("{:?} {}", merged.verdict, merged.findings.len()))
}

/// As the deputy reads what it is asked.
pub fn deputy(bytes: &[u8]) -> Result<String, String> {
    let requests = wire::requests(bytes).map_err(|error| error.to_string())?;
    let mut kinds = String::new();
    for request in requests {
        let text = serde_json::to_vec(&request).unwrap();
        assert_eq!(
            wire::request(&text).as_ref(),
            Ok(&request),
            "what is written is read"
        );
        kinds.extend(format!("{request:?}").chars().take(4));
    }
    Ok(kinds.chars().take(60).collect())
}

/// As options of the command line, a word a line.
pub fn words(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut kinds = String::new();
    // No command line has longer ones (MAX_ARG_STRLEN), and some of each kind are enough.
    let words = text.lines().filter(|word| word.len() < 128 << 10);
    for word in words.take(40) {
        kinds.push(match Allow::parse(word) {
            Ok(allow) => {
                Allow::parse(&allow.form()).unwrap();
                'a'
            }
            Err(_) => '-',
        });
        let errors = [
            fail_on::parse(word).err().map(|error| error.to_string()),
            fail_on::parse_families(word)
                .err()
                .map(|error| error.to_string()),
            duration::parse(word).err(),
            OrderMode::parse(word).err(),
        ];
        kinds.extend(errors.iter().map(|error| match error {
            None => '+',
            Some(_) => '-',
        }));
        if let Ok(pattern) = Pattern::new(word) {
            pattern.matches(word.as_bytes());
        }
    }
    Ok(kinds)
}

/// Every report can be made of it.
fn written(report: &Report) -> Result<(), String> {
    for detail in [Detail::Errors, Detail::All] {
        let _ = sink::text::render(report, detail);
    }
    let _ = sink::text::last_line(report);
    let _ = sink::junit::render(report);
    let _ = sink::github::render(report);
    let _ = sink::markdown::render(report);
    let written = [
        sink::json::render(report),
        sink::jsonl::render(report),
        sink::sarif::render(report),
        sink::gitlab::render(report),
    ];
    for text in written {
        drop(text.map_err(|error| error.to_string())?);
    }
    Ok(())
}

/// A capture as if this version had made it: one of another version would be refused, and nothing
/// behind its header tried.
pub fn current(mut bytes: Vec<u8>) -> Vec<u8> {
    let header = CaptureWriter::new(Vec::new()).unwrap().finish().unwrap();
    if let Some(place) = bytes.get_mut(..header.len()) {
        place.copy_from_slice(&header);
    }
    bytes
}

/// A run with findings of several rules, from the corpus.
fn recorded(policy: &Policy) -> Report {
    let bytes = current(include_bytes!("../../../tests/fuzz/capture/leaks.ltr").to_vec());
    let mut pipeline = Pipeline::new(Purpose::Verdict);
    pipeline.set_budgets(policy);
    let mut reader = CaptureReader::new(&bytes[..]).unwrap();
    while let Some(item) = reader.next().unwrap() {
        pipeline.feed(item);
    }
    pipeline.judge(policy)
}
