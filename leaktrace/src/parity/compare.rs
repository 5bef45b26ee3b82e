//! The comparison.

use super::{Backing, By, Difference, Holdings, Range, What};
use crate::id::ProcessKey;

/// Compares what we say with what the kernel said before and after. What changed between its two
/// answers is left out.
pub fn compare(
    process: ProcessKey,
    comm: &str,
    before: &Holdings,
    ours: &Holdings,
    after: &Holdings,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut tell = |what, ours, kernel| {
        found.push(Difference {
            process,
            comm: comm.to_owned(),
            what,
            ours,
            kernel,
        });
    };
    fds(before, ours, after, &mut tell);
    ranges(before, ours, after, &mut tell);
    if before.threads == after.threads && ours.threads != after.threads {
        let count = |threads: u32| Some(format!("{threads} threads"));
        tell(What::Threads, count(ours.threads), count(after.threads));
    }
    let told = || Some("a child".to_owned());
    for pid in before.children.intersection(&after.children) {
        if !ours.children.contains(pid) {
            tell(What::Child { pid: *pid }, None, told());
        }
    }
    for pid in &ours.children {
        if !before.children.contains(pid) && !after.children.contains(pid) {
            tell(What::Child { pid: *pid }, told(), None);
        }
    }
    found
}

type Tell<'a> = &'a mut dyn FnMut(What, Option<String>, Option<String>);

fn fds(before: &Holdings, ours: &Holdings, after: &Holdings, tell: Tell<'_>) {
    let numbers = before.fds.keys().chain(ours.fds.keys());
    let numbers: std::collections::BTreeSet<u32> = numbers.copied().collect();
    for fd in numbers {
        let (kernel, later) = (before.fds.get(&fd), after.fds.get(&fd));
        if kernel.map(|held| held.ino) != later.map(|held| held.ino) {
            continue;
        }
        let ours = ours.fds.get(&fd);
        if ours.map(|held| held.ino) != kernel.map(|held| held.ino) {
            let text = |held: &super::HeldFd| format!("{} (inode {})", held.what, held.ino);
            tell(What::Fd { fd }, ours.map(text), kernel.map(text));
        }
    }
}

/// Goes over the addresses in pieces on which none of the three sides changes.
fn ranges(before: &Holdings, ours: &Holdings, after: &Holdings, tell: Tell<'_>) {
    let sides = [&before.ranges, &ours.ranges, &after.ranges];
    let edges = sides.iter().flat_map(|side| side.iter());
    let mut edges: Vec<u64> = edges.flat_map(|range| [range.start, range.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut places = [0; 3];
    let mut open: Option<(u64, u64, Option<String>, Option<String>)> = None;
    for piece in edges.windows(2) {
        let (start, end) = (piece[0], piece[1]);
        let mut at = |side: usize| {
            let ranges = sides[side];
            while ranges.get(places[side]).is_some_and(|it| it.end <= start) {
                places[side] += 1;
            }
            ranges.get(places[side]).filter(|it| it.start <= start)
        };
        let (kernel, mine, later) = (at(0), at(1), at(2));
        let same = kernel.map(|it| &it.backing) == later.map(|it| &it.backing);
        if !same || agree(mine, kernel) {
            continue;
        }
        let texts = (mine.map(told), kernel.map(told));
        match &mut open {
            Some((_, last, ours, theirs))
                if *last == start && (&*ours, &*theirs) == (&texts.0, &texts.1) =>
            {
                *last = end;
            }
            _ => {
                flush(open.take(), tell);
                open = Some((start, end, texts.0, texts.1));
            }
        }
    }
    flush(open, tell);
}

fn flush(open: Option<(u64, u64, Option<String>, Option<String>)>, tell: Tell<'_>) {
    if let Some((start, end, ours, kernel)) = open {
        tell(What::Mapping { start, end }, ours, kernel);
    }
}

fn agree(ours: Option<&Range>, kernel: Option<&Range>) -> bool {
    match (ours, kernel) {
        (None, None) => true,
        // What the kernel maps by itself is not followed.
        (None, Some(kernel)) => kernel.by == By::Kernel,
        (Some(_), None) => false,
        (Some(ours), Some(kernel)) => fits(&ours.backing, &kernel.backing),
    }
}

/// A shared mapping without a file, or of /dev/zero, gets a file of the kernel's own making
/// (shmem_zero_setup in mm/shmem.c), which no system call names; huge pages alike.
fn fits(ours: &Backing, kernel: &Backing) -> bool {
    ours == kernel
        || match (ours, kernel) {
            (Backing::Shared | Backing::File { .. }, Backing::Shared) => true,
            (
                Backing::Anonymous | Backing::Shared | Backing::File { .. } | Backing::Sysv(_),
                Backing::Anonymous | Backing::Shared | Backing::File { .. } | Backing::Sysv(_),
            ) => false,
        }
}

fn told(range: &Range) -> String {
    match &range.backing {
        Backing::Anonymous => "anonymous memory".to_owned(),
        Backing::Shared => "shared memory".to_owned(),
        Backing::File { dev, ino } => {
            format!("file {}:{} inode {ino}", dev >> 20, dev & 0xf_ffff)
        }
        Backing::Sysv(id) => format!("SysV segment {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::HeldFd, *};

    fn holdings(fds: &[(u32, u64)], ranges: &[(u64, u64, By)]) -> Holdings {
        let fd = |(fd, ino): &(u32, u64)| {
            let what = "file".to_owned();
            (*fd, HeldFd { ino: *ino, what })
        };
        let range = |(start, end, by): &(u64, u64, By)| Range {
            start: *start,
            end: *end,
            backing: Backing::Anonymous,
            by: *by,
        };
        Holdings {
            fds: fds.iter().map(fd).collect(),
            ranges: ranges.iter().map(range).collect(),
            threads: 1,
            ..Holdings::default()
        }
    }

    fn differences(before: &Holdings, ours: &Holdings, after: &Holdings) -> Vec<What> {
        let all = compare(ProcessKey::default(), "x", before, ours, after);
        all.into_iter().map(|difference| difference.what).collect()
    }

    #[test]
    fn what_differs_is_told_and_what_changes_is_left_out() {
        let kernel = holdings(&[(3, 30), (4, 40)], &[]);
        let ours = holdings(&[(3, 31), (5, 50)], &[]);
        let expected: Vec<What> = [3, 4, 5].map(|fd| What::Fd { fd }).to_vec();
        assert_eq!(differences(&kernel, &ours, &kernel), expected);
        let later = holdings(&[(3, 99)], &[]);
        let expected = vec![What::Fd { fd: 5 }];
        assert_eq!(differences(&kernel, &ours, &later), expected);
    }

    #[test]
    fn ranges_are_compared_address_by_address() {
        let kernel = holdings(&[], &[(10, 30, By::Call), (30, 40, By::Kernel)]);
        let cut = holdings(&[], &[(10, 15, By::Call), (15, 30, By::Call)]);
        assert_eq!(differences(&kernel, &cut, &kernel), []);
        let short = holdings(&[], &[(10, 20, By::Call)]);
        let expected = vec![What::Mapping { start: 20, end: 30 }];
        assert_eq!(differences(&kernel, &short, &kernel), expected);
        let long = holdings(&[], &[(10, 30, By::Call), (50, 60, By::Call)]);
        let expected = vec![What::Mapping { start: 50, end: 60 }];
        assert_eq!(differences(&kernel, &long, &kernel), expected);
    }
}
