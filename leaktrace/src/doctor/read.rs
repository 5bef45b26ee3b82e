//! Reads the facts. Nothing is mounted, changed or left behind.

use std::{fs, io};

use leaktrace_common::abi::Offsets;

use super::{Attempt, BtfFacts, DeputyFacts, Facts};
use crate::{
    bpf::btf::{Btf, ELSEWHERE},
    census::host,
};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Gathers everything; `attempt` is what came of attaching the programs, here or by a deputy.
pub fn read((attempt, deputy): (Attempt, Option<DeputyFacts>)) -> Facts {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = rustix::process::geteuid().as_raw();
    Facts {
        tool: host::tool(),
        uid,
        btf: btf(fs::read(VMLINUX)),
        capabilities: capabilities(&status).unwrap_or(0),
        lockdown: fs::read_to_string("/sys/kernel/security/lockdown")
            .ok()
            .and_then(|text| lockdown(&text)),
        tracefs: mounted(&mounts, "tracefs"),
        bpffs: mounted(&mounts, "bpf"),
        initial_pid_ns: host::in_initial_pid_namespace(),
        deputy,
        attempt,
    }
}

fn btf(file: io::Result<Vec<u8>>) -> BtfFacts {
    let here = || {
        let elsewhere = |path: &&&str| !ELSEWHERE.contains(*path);
        Offsets::PATHS.iter().filter(elsewhere)
    };
    let wanted = here().count() as u64;
    let failed = |error: String| BtfFacts {
        error: Some(error),
        wanted,
        ..BtfFacts::default()
    };
    let bytes = match file {
        Ok(bytes) => bytes,
        Err(error) => return failed(error.to_string().to_lowercase()),
    };
    match Btf::parse(&bytes) {
        Err(error) => failed(error.to_string()),
        Ok(btf) => {
            let missing = here().filter(|path| btf.offset(path).is_none());
            BtfFacts {
                bytes: bytes.len() as u64,
                error: None,
                missing: missing.map(|path| (*path).to_owned()).collect(),
                wanted,
            }
        }
    }
}

/// CapPrm of /proc/PID/status, hexadecimal: what can be taken up, and of root all that there is.
fn capabilities(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The word in brackets: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<String> {
    let word = text.split_once('[')?.1.split_once(']')?.0;
    Some(word.to_owned())
}

/// Where a file system of that type is mounted first (fstab(5)'s fields).
fn mounted(mounts: &str, kind: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, at, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found == kind).then(|| at.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_by_their_fields() {
        let status = "Name:\tx\nCapInh:\t0000000000000001\nCapPrm:\t000001fffeffffff\nCapEff:\t0\n";
        assert_eq!(capabilities(status), Some(0x1ff_feff_ffff));
        assert_eq!(capabilities("CapPrm:\tzz\n"), None);
        assert_eq!(capabilities(""), None);
        assert_eq!(
            lockdown("none [integrity] confidentiality\n").as_deref(),
            Some("integrity")
        );
        assert_eq!(lockdown("none"), None);
        let mounts = "proc /proc proc rw 0 0\nnone /sys/fs/bpf bpf rw 0 0\nshort\n";
        assert_eq!(mounted(mounts, "bpf").as_deref(), Some("/sys/fs/bpf"));
        assert_eq!(mounted(mounts, "tracefs"), None);
    }

    #[test]
    fn type_information_that_is_missing_or_damaged_is_told() {
        let missing = btf(Err(io::Error::from_raw_os_error(libc::ENOENT)));
        assert!(
            missing
                .error
                .is_some_and(|error| error.contains("no such file"))
        );
        let damaged = btf(Ok(vec![0; 64]));
        assert_eq!(
            damaged.error.as_deref(),
            Some("not btf of this machine's byte order")
        );
    }

    #[test]
    fn facts_of_this_machine_are_there() {
        let facts = read((Attempt::default(), None));
        assert!(!facts.tool.kernel.is_empty());
        let elsewhere = ELSEWHERE.len() as u64;
        assert_eq!(facts.btf.wanted + elsewhere, Offsets::PATHS.len() as u64);
        for path in ELSEWHERE {
            assert!(!facts.btf.missing.iter().any(|one| one == path), "{path}");
        }
    }
}
