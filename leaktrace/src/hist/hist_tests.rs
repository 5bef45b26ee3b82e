#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use super::*;
use crate::{
    id::{KtimeNs, Pid},
    model::facts::EndFacts,
};

fn key(pid: u32) -> ProcessKey {
    ProcessKey {
        pid: Pid(pid),
        start: KtimeNs(u64::from(pid) * 10),
    }
}

fn process(pid: u32, comm: &'static str) -> (ProcessKey, ProcessFacts) {
    let facts = ProcessFacts {
        key: key(pid),
        comm: Bytes::from_static(comm.as_bytes()),
        exe: Some(Bytes::from(format!("/bin/{comm}"))),
        cgroup: 7,
        end: Some(EndFacts::default()),
        ..ProcessFacts::default()
    };
    (key(pid), facts)
}

fn sample(pid: u32, kind: SampleKind, class: Option<Class>, ns: u64) -> Sample {
    Sample {
        process: key(pid),
        kind,
        class,
        ns,
    }
}

/// sh (1) and 30 ls (2..=31), each with a release of a file, sh with one of a socket; one true
/// (40) without a sample.
fn measured() -> (Histograms, BTreeMap<ProcessKey, ProcessFacts>) {
    let mut histograms = Histograms::new();
    histograms.record(&sample(1, SampleKind::Release, Some(Class::Socket), 5_000));
    histograms.record(&sample(1, SampleKind::Release, Some(Class::Fd), 3));
    histograms.record(&sample(1, SampleKind::Teardown, None, 9_000_000));
    for pid in 2..=31 {
        histograms.record(&sample(
            pid,
            SampleKind::Release,
            Some(Class::Fd),
            u64::from(pid),
        ));
        histograms.record(&sample(pid, SampleKind::Teardown, None, 1000));
        histograms.record(&sample(pid, SampleKind::Teardown, None, 2000));
    }
    let ls = (2..=31).map(|pid| process(pid, "ls"));
    let processes = ls.chain([process(40, "true"), process(1, "sh")]).collect();
    (histograms, processes)
}

#[test]
fn by_pid_every_ended_process_is_a_group() {
    let (histograms, processes) = measured();
    let report = histograms.report(By::Pid, &processes);
    assert_eq!(report.groups.len(), 32);
    let sh = &report.groups[0];
    assert_eq!(
        (sh.key.as_str(), sh.pid, sh.comm.as_deref()),
        ("1:10", Some(1), Some("sh"))
    );
    let release = sh.samples["release"];
    assert_eq!(
        (release.n, release.min_ns, release.max_ns, release.p50_ns),
        (2, 3, 5_000, None)
    );
    assert_eq!(sh.by_class["socket"]["release"].max_ns, 5_000);
    assert_eq!(report.groups[31].pid, Some(40));
    assert!(report.groups[31].samples.is_empty());
}

#[test]
fn once_per_process_samples_count_processes() {
    let (histograms, processes) = measured();
    let report = histograms.report(By::Comm, &processes);
    let of = |comm: &str| {
        report
            .groups
            .iter()
            .find(|group| group.key == comm)
            .unwrap()
    };
    assert_eq!(of("sh").samples["teardown"].n, 1);
    let ls = of("ls");
    let teardown = ls.samples["teardown"];
    assert_eq!((ls.processes, teardown.n, teardown.min_ns), (30, 30, 2000));
    assert_eq!(ls.samples["release"].p50_ns, Some(16));
    assert_eq!(report.groups.len(), 3);
}

#[test]
fn other_groupings_name_their_groups() {
    let (histograms, processes) = measured();
    let keys = |by| -> Vec<String> {
        histograms
            .report(by, &processes)
            .groups
            .into_iter()
            .map(|group| group.key)
            .collect()
    };
    assert_eq!(keys(By::Exe), ["/bin/sh", "/bin/ls", "/bin/true"]);
    assert_eq!(keys(By::Cgroup), ["7"]);
    assert_eq!(keys(By::Class), ["fd", "socket", "process"]);
    let unknown = histograms.report(By::Comm, &BTreeMap::new());
    assert_eq!(unknown.groups[0].key, "?");
}

#[test]
fn the_contract_is_what_it_says() {
    let (histograms, processes) = measured();
    let json = serde_json::to_value(histograms.report(By::Class, &processes)).unwrap();
    assert_eq!(json["schema"], "leaktrace.hist/1");
    assert_eq!(json["by"], "class");
    assert_eq!(
        json["groups"][1],
        serde_json::json!({
            "key": "socket", "pid": null, "comm": null, "class": "socket", "processes": 1,
            "samples": {"release": {"n": 1, "min_ns": 5000, "max_ns": 5000,
                "p50_ns": null, "p90_ns": null, "p99_ns": null}},
        })
    );
    assert_eq!(json["groups"][2]["class"], serde_json::Value::Null);
}

#[test]
fn the_table_is_readable_and_safe() {
    let mut histograms = Histograms::new();
    histograms.record(&sample(1, SampleKind::Release, Some(Class::Fd), 1_500_000));
    histograms.record(&sample(1, SampleKind::Release, Some(Class::Socket), 40));
    histograms.record(&sample(1, SampleKind::Reap, None, 300_000_000));
    let report = histograms.report(By::Pid, &BTreeMap::from([process(1, "a\x1b[2J")]));
    assert_eq!(
        render(&report),
        "\
pid         SAMPLE                   N      MIN      P50      P90      P99      MAX
1 a\\x1b[2J  release                  2    40 ns        -        -        -   1.5 ms
              fd                     1   1.5 ms        -        -        -   1.5 ms
              socket                 1    40 ns        -        -        -    40 ns
            reap                     1   300 ms        -        -        -   300 ms
1 group, 1 process; percentiles from 20 samples on
"
    );
}

#[test]
fn groupings_have_words() {
    for by in By::ALL {
        assert_eq!(by.name().parse(), Ok(by));
    }
    assert!("pids".parse::<By>().is_err());
}
