//! A picture as metrics: OpenMetrics 1.0, and the text format of Prometheus that came before.
//!
//! Pure: in goes a picture, out comes text. There are no labels whose number a watched program
//! can choose: names of programs are those of the few that hold most, everything else is summed
//! up, and what a name has in it is data.

use std::collections::BTreeMap;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};

use crate::{
    hist::buckets::BOUNDS_NS,
    model::snapshot::{LiveRow, Snapshot},
    report::{CoverageStatus, Level, Tool},
    sink::escape_str,
};

/// Programs, and cgroups, that have a series of their own.
const SERIES: usize = 20;
/// What all others hold together.
const OTHERS: &str = "(others)";
/// Of a cgroup that has no directory here.
const UNKNOWN: &str = "(unknown)";
/// An fd table fuller than this is near its limit.
const NEAR: f64 = 0.8;

/// What leaktrace itself takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Lines of findings that could not be written.
    pub unwritten: u64,
}

/// A picture to be told as metrics.
#[derive(Debug)]
struct Telling {
    picture: Snapshot,
    cgroups: BTreeMap<u64, String>,
    tool: Tool,
    own: Own,
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
    /// `text/plain; version=0.0.4`
    Classic,
}

impl Form {
    /// What a request that accepts these types is answered in.
    pub fn accepted(accept: &str) -> Form {
        match accept.contains("application/openmetrics-text") {
            true => Form::OpenMetrics,
            false => Form::Classic,
        }
    }

    /// The type to say.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes a picture. `cgroups` has the paths of cgroups by their ids.
///
/// # Errors
/// None that a String can have.
pub fn render(
    picture: Snapshot,
    cgroups: BTreeMap<u64, String>,
    tool: Tool,
    own: Own,
    form: Form,
) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Telling {
        picture,
        cgroups,
        tool,
        own,
    }));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(match form {
        Form::OpenMetrics => out,
        Form::Classic => classic(&out),
    })
}

/// Before OpenMetrics a counter was described by the name that its samples have, and there were
/// neither units nor an end.
fn classic(text: &str) -> String {
    let mut counters = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ")
            && let Some(name) = rest.strip_suffix(" counter")
        {
            counters.push(name);
        }
    }
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|word| {
            let rest = line.strip_prefix(word)?;
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(&name).then_some((word, name, rest))
        });
        match described {
            Some((word, name, rest)) => out.push_str(&format!("{word}{name}_total {rest}")),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

type Labels = Vec<(&'static str, String)>;

/// Writes one family of metrics after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) -> std::fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        family.encode_gauge(&(value as f64))
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) -> std::fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let none: Option<&Exemplar<Labels, f64>> = None;
            family
                .encode_family(&labels)?
                .encode_counter(&value, none)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> std::fmt::Result {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        let none: Option<&Exemplar<Labels, f64>> = None;
        family.encode_counter(&value, none)
    }
}

impl Collector for Telling {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut out = Families(encoder);
        self.about(&mut out)?;
        self.live(&mut out)?;
        self.ended(&mut out)?;
        self.durations(&mut out)?;
        self.evidence(&mut out)
    }
}

fn label(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name, value.into())]
}

impl Telling {
    fn about(&self, out: &mut Families<'_>) -> std::fmt::Result {
        let build = vec![
            ("version", self.tool.version.clone()),
            ("kernel", escape_str(&self.tool.kernel)),
        ];
        out.gauges(
            "leaktrace_build_info",
            "What leaktrace this is, and on which kernel.",
            [(build, 1.0)],
        )?;
        out.gauge(
            "leaktrace_resident_memory_bytes",
            "Memory of leaktrace itself.",
            self.own.resident_bytes,
        )?;
        out.counter(
            "leaktrace_findings_unwritten",
            "Findings whose line could not be written.",
            self.own.unwritten,
        )
    }

    fn live(&self, out: &mut Families<'_>) -> std::fmt::Result {
        let live = &self.picture.live;
        let sum = |of: fn(&LiveRow) -> u64| live.iter().map(of).sum::<u64>() as f64;
        let classes = [
            ("fd", sum(|row| row.fds)),
            ("socket", sum(|row| row.sockets)),
            ("mapping", sum(|row| row.mappings)),
            ("ring", sum(|row| row.rings)),
            ("task", sum(|row| row.tasks)),
            ("ipc", sum(|row| row.ipc)),
        ];
        out.gauges(
            "leaktrace_live_resources",
            "What living processes hold, by class.",
            classes.map(|(class, value)| (label("class", class), value)),
        )?;
        out.gauge(
            "leaktrace_live_processes",
            "Living processes.",
            live.len() as u64,
        )?;
        let growing = live.iter().filter(|row| row.full_in_s.is_some()).count();
        out.gauge(
            "leaktrace_growing_processes",
            "Living processes whose open fds rise steadily.",
            growing as u64,
        )?;
        let near = |row: &&LiveRow| row.limit > 0 && row.open as f64 >= row.limit as f64 * NEAR;
        out.gauge(
            "leaktrace_near_limit_processes",
            "Living processes with 80 % of RLIMIT_NOFILE or more in use.",
            live.iter().filter(near).count() as u64,
        )?;
        out.gauges(
            "leaktrace_program_open_fds",
            "Open fds of the programs that hold most, by name, and of all others together.",
            most(live.iter().map(|row| {
                let comm = escape_str(&String::from_utf8_lossy(&row.comm));
                (comm, Held::of(row))
            }))
            .into_iter()
            .map(|(comm, held)| (label("comm", comm), held.open as f64)),
        )?;
        let cgroups = most(live.iter().map(|row| {
            let path = self.cgroups.get(&row.cgroup).map(String::as_str);
            (escape_str(path.unwrap_or(UNKNOWN)), Held::of(row))
        }));
        out.gauges(
            "leaktrace_cgroup_open_fds",
            "Open fds of the v2 cgroups that hold most, and of all others together.",
            cgroups
                .iter()
                .map(|(path, held)| (label("cgroup", path), held.open as f64)),
        )?;
        out.gauges(
            "leaktrace_cgroup_processes",
            "Living processes of the same cgroups, and of all others together.",
            cgroups
                .iter()
                .map(|(path, held)| (label("cgroup", path), held.processes as f64)),
        )
    }

    fn ended(&self, out: &mut Families<'_>) -> std::fmt::Result {
        let (all, ..) = self.picture.ended;
        out.counter("leaktrace_exits", "Processes that have ended.", all)?;
        out.counter(
            "leaktrace_exits_unjudged",
            "Those of them that were forgotten before they could be judged.",
            self.picture.unjudged,
        )?;
        let found = self.picture.found.iter();
        out.counters(
            "leaktrace_findings",
            "Findings that no suppression covers, by rule and level.",
            found.map(|((rule, level), count)| {
                let level = match level {
                    Level::Error => "error",
                    Level::Note => "note",
                    Level::Off => "off",
                };
                (
                    vec![("rule", rule.clone()), ("level", level.to_owned())],
                    *count,
                )
            }),
        )?;
        let mut residue: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &self.picture.residue {
            *residue.entry(row.resource.kind.name()).or_default() += 1;
        }
        out.gauges(
            "leaktrace_left_things",
            "Named things that ended processes have left, by kind; the last 500 are known.",
            residue
                .into_iter()
                .map(|(kind, count)| (label("kind", kind), count as f64)),
        )
    }

    fn durations(&self, out: &mut Families<'_>) -> std::fmt::Result {
        let mut family = out.0.encode_descriptor(
            "leaktrace_cleanup",
            "How long giving back takes: release is one call, hold from acquisition to release, \
             teardown, kernel, reap and the parts of exit are once for each process.",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for row in &self.picture.timing {
            let bounds = BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9);
            let bounds = bounds.chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(row.buckets.counts).collect();
            let labels = vec![
                ("sample", row.sample.to_owned()),
                ("class", row.class.to_owned()),
            ];
            family.encode_family(&labels)?.encode_histogram::<Labels>(
                row.buckets.sum_ns as f64 / 1e9,
                row.buckets.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn evidence(&self, out: &mut Families<'_>) -> std::fmt::Result {
        let picture = &self.picture;
        out.counter(
            "leaktrace_events_received",
            "Records read.",
            picture.received,
        )?;
        out.counter(
            "leaktrace_events_lost",
            "Records for which there was no room.",
            picture.lost,
        )?;
        if let Some(not_run) = picture.not_run {
            out.counter(
                "leaktrace_handlers_not_run",
                "Times that the kernel skipped a handler.",
                not_run,
            )?;
        }
        let (compared, differed) = picture.self_check;
        out.counter(
            "leaktrace_self_check_compared",
            "fd tables compared with the kernel's at exit.",
            compared,
        )?;
        out.counter(
            "leaktrace_self_check_differed",
            "Those that differed.",
            differed,
        )?;
        let status = |status: CoverageStatus| match status {
            CoverageStatus::Full => 1.0,
            CoverageStatus::Partial => 0.5,
            CoverageStatus::None => 0.0,
        };
        let coverage = picture.coverage.iter();
        out.gauges(
            "leaktrace_coverage_ratio",
            "What this kernel shows of a family: 1 all, 0.5 a part, 0 nothing.",
            coverage.map(|it| (label("family", it.family.clone()), status(it.status))),
        )
    }
}

/// What the processes of one name hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    open: u64,
    processes: u64,
}

impl Held {
    fn of(row: &LiveRow) -> Held {
        Held {
            open: row.open,
            processes: 1,
        }
    }

    fn add(&mut self, other: Held) {
        self.open += other.open;
        self.processes += other.processes;
    }
}

/// What those hold that hold most, and all others together. Any may have the name of the others
/// too.
fn most(rows: impl Iterator<Item = (String, Held)>) -> BTreeMap<String, Held> {
    let mut all: BTreeMap<String, Held> = BTreeMap::new();
    for (name, held) in rows {
        all.entry(name).or_default().add(held);
    }
    let mut sorted: Vec<(String, Held)> = all.into_iter().collect();
    sorted.sort_by(|a, b| b.1.open.cmp(&a.1.open).then_with(|| a.0.cmp(&b.0)));
    let mut told: BTreeMap<String, Held> = BTreeMap::new();
    for (place, (name, held)) in sorted.into_iter().enumerate() {
        let name = if place < SERIES {
            name
        } else {
            OTHERS.to_owned()
        };
        told.entry(name).or_default().add(held);
    }
    told
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn row(comm: Vec<u8>, open: u64) -> LiveRow {
        LiveRow {
            comm: Bytes::from(comm),
            open,
            fds: open,
            ..LiveRow::default()
        }
    }

    fn text(live: Vec<LiveRow>, form: Form) -> String {
        let picture = Snapshot {
            live,
            ..crate::tui::fixture::picture()
        };
        let cgroups = BTreeMap::from([(7, "/a.slice/\"x\"\n".to_owned())]);
        render(picture, cgroups, Tool::default(), Own::default(), form).unwrap()
    }

    #[test]
    fn a_counter_has_one_name_in_each_form() {
        let open = text(Vec::new(), Form::OpenMetrics);
        assert!(open.contains("# TYPE leaktrace_exits counter\n"), "{open}");
        assert!(open.contains("\nleaktrace_exits_total 1902\n"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
        let classic = text(Vec::new(), Form::Classic);
        assert!(
            classic.contains("# TYPE leaktrace_exits_total counter\n"),
            "{classic}"
        );
        assert!(
            classic.contains("\nleaktrace_exits_total 1902\n"),
            "{classic}"
        );
        assert!(
            !classic.contains("# EOF") && !classic.contains("# UNIT"),
            "{classic}"
        );
    }

    #[test]
    fn there_are_no_more_series_than_of_those_that_hold_most() {
        let rows = (0..500u64).map(|n| {
            let row = row(Vec::new(), n);
            (format!("p{n}"), Held::of(&row))
        });
        let told = most(rows);
        assert_eq!(told.len(), SERIES + 1);
        assert_eq!(told[OTHERS].open, (0..480).sum::<u64>());
        assert_eq!((told[OTHERS].processes, told["p499"].open), (480, 499));
    }

    #[test]
    fn what_a_cgroup_holds_is_told_by_its_path() {
        let of = |cgroup, open| LiveRow {
            cgroup,
            ..row(b"p".to_vec(), open)
        };
        let told = text(vec![of(7, 3), of(7, 4), of(8, 1)], Form::Classic);
        let has = |line: &str| assert!(told.lines().any(|it| it == line), "{told}");
        has(r#"leaktrace_cgroup_open_fds{cgroup="/a.slice/\"x\"\\n"} 7.0"#);
        has(r#"leaktrace_cgroup_processes{cgroup="/a.slice/\"x\"\\n"} 2.0"#);
        has(r#"leaktrace_cgroup_open_fds{cgroup="(unknown)"} 1.0"#);
    }

    proptest! {
        /// Every line is a comment or a sample, whatever programs are called.
        #[test]
        fn names_stay_data(comm in proptest::collection::vec(any::<u8>(), 0..16)) {
            let text = text(vec![row(comm, 3)], Form::Classic);
            for line in text.lines() {
                let sample = line.starts_with("leaktrace_")
                    && line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
                prop_assert!(line.starts_with("# ") || sample, "{line}");
            }
        }
    }
}
