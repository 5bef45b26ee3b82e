//! JUnit XML, for what shows tests: one case for each scope, or for each program where there are
//! none. Of the dialects it keeps to what Jenkins' schema allows (junit-10.xsd of its xUnit
//! plugin), which every reader takes.
//!
//! A case fails by its errors; its notes are its output. At most `AT_MOST` bytes: readers of
//! CI systems cut or refuse what is longer.

mod cases;

use std::io::{self, Write};

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use self::cases::Case;
use crate::{report::Report, sink::text};

/// Bytes.
const AT_MOST: usize = 1 << 20;
/// Bytes of one case's text before it is cut.
const TEXT_AT_MOST: usize = 32 << 10;

/// The document.
pub fn render(report: &Report) -> String {
    let all = cases::of(report);
    let mut kept = all.len();
    loop {
        let text = document(report, &cases::cut(&all, kept));
        if text.len() <= AT_MOST || kept == 0 {
            return text;
        }
        // A case's share says how many are too many; half at most, so that this ends soon.
        kept = (kept * AT_MOST / text.len()).min(kept / 2);
    }
}

fn document(report: &Report, cases: &[Case]) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = write(report, cases, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(report: &Report, cases: &[Case], out: &mut Vec<u8>) -> io::Result<()> {
    let failures = cases
        .iter()
        .filter(|case| !case.failures.is_empty())
        .count();
    let errors = cases
        .iter()
        .filter(|case| case.inconclusive.is_some())
        .count();
    let counts = [
        ("name", "leaktrace".to_owned()),
        ("tests", cases.len().to_string()),
        ("failures", failures.to_string()),
        ("errors", errors.to_string()),
    ];
    let counts = || counts.iter().map(|(key, value)| (*key, value.as_str()));
    let mut writer = Writer::new_with_indent(out, b' ', 1);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("testsuites")
        .with_attributes(counts())
        .write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attributes(counts())
                .with_attribute(("skipped", "0"))
                .write_inner_content(|writer| {
                    for case in cases {
                        write_case(writer, case)?;
                    }
                    element(writer, "system-out", &[], &text::last_line(report))
                })?;
            Ok(())
        })?;
    writer.get_mut().write_all(b"\n")
}

fn write_case<W: Write>(writer: &mut Writer<W>, case: &Case) -> io::Result<()> {
    let mut attributes = vec![
        ("classname", case.class.to_owned()),
        ("name", case.name.clone()),
    ];
    if let Some(seconds) = case.seconds {
        attributes.push(("time", format!("{seconds:.3}")));
    }
    let attributes = attributes.iter().map(|(key, value)| (*key, value.as_str()));
    let element_writer = writer
        .create_element("testcase")
        .with_attributes(attributes);
    if case.failures.is_empty() && case.notes.is_empty() && case.inconclusive.is_none() {
        element_writer.write_empty()?;
        return Ok(());
    }
    element_writer.write_inner_content(|writer| {
        if let Some(why) = &case.inconclusive {
            let attributes = [("type", "inconclusive"), ("message", "inconclusive")];
            element(writer, "error", &attributes, why)?;
        }
        if !case.failures.is_empty() {
            let attributes = [
                ("type", case.rule.as_str()),
                ("message", case.message.as_str()),
            ];
            element(writer, "failure", &attributes, &case.failures)?;
        }
        if !case.notes.is_empty() {
            element(writer, "system-out", &[], &case.notes)?;
        }
        Ok(())
    })?;
    Ok(())
}

fn element<W: Write>(
    writer: &mut Writer<W>,
    name: &str,
    attributes: &[(&str, &str)],
    text: &str,
) -> io::Result<()> {
    writer
        .create_element(name)
        .with_attributes(attributes.iter().copied())
        .write_text_content(BytesText::new(text))?;
    Ok(())
}
