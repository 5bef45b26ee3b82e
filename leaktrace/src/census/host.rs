//! What a run starts with: clocks, kernel, namespaces, temp roots.

use std::{
    ffi::CStr,
    fs, io, mem,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
    sync::OnceLock,
};

use super::namespace::Own;
use crate::report::{Clock, Tool};

/// CLOCK_BOOTTIME now, ns, as the kernel itself counts. The clock of every record.
pub fn boottime_ns() -> u64 {
    without_offset(clock_ns(libc::CLOCK_BOOTTIME), boottime_offset_ns())
}

/// What this process's time namespace adds to CLOCK_BOOTTIME, and to the times of that clock in
/// /proc (time_namespaces(7)), ns; 0 outside one.
pub fn boottime_offset_ns() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let namespace = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file tells of the namespace that children get.
        if namespace("time") != namespace("time_for_children") {
            return 0;
        }
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        boottime_of(&offsets).unwrap_or(0)
    })
}

/// `monotonic SECONDS NANOSECONDS` and `boottime SECONDS NANOSECONDS`, a line each.
fn boottime_of(offsets: &str) -> Option<i64> {
    let line = offsets
        .lines()
        .find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<i64>);
    let (seconds, ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(ns)
}

/// A time that was read here, as the kernel counts.
pub(super) fn without_offset(time: u64, offset: i64) -> u64 {
    time.saturating_add_signed(offset.saturating_neg())
}

/// CLOCK_REALTIME now, ns since the epoch. May be set at any time.
pub fn wall_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing. The clocks exist, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec as u64)
}

/// Has all threads use one heap, for who runs long. glibc gives each its own otherwise (M_ARENA_MAX in
/// mallopt(3)), with holes of its own: while 5,000 short processes a second came and went the live
/// screen took 3 MiB more within a minute, with one heap less than 1. To start takes some ms longer
/// with it. Before there is another thread.
pub fn use_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions (mallopt(3)).
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives the kernel back what has been freed. glibc keeps it otherwise but for what lies at the very
/// end of its heap; other C libraries do so by themselves.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Both clocks now, and which boot they belong to.
///
/// # Errors
/// When /proc does not tell the boot id.
pub fn clock() -> io::Result<Clock> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned();
    Ok(Clock {
        boot_id,
        boottime_ns: boottime_ns(),
        realtime_ns: wall_ns(),
    })
}

/// Name of this machine; empty where /proc does not tell.
pub fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Memory of this process that is in RAM, bytes; 0 if the kernel does not say.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * u64::from(page_bytes())
}

/// How long a page of memory is here.
pub fn page_bytes() -> u32 {
    // SAFETY: reads no memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(page).unwrap_or(4096)
}

/// leaktrace's version, the kernel's release and the machine.
pub fn tool() -> Tool {
    // SAFETY: utsname is arrays of characters.
    let mut name: libc::utsname = unsafe { mem::zeroed() };
    // SAFETY: `name` is valid for writing; that is all that can be wrong.
    unsafe { libc::uname(&raw mut name) };
    let text = |field: &[libc::c_char]| {
        // SAFETY: the kernel terminates each field (uname(2)), and zeroed memory is terminated.
        unsafe { CStr::from_ptr(field.as_ptr()) }
            .to_string_lossy()
            .into_owned()
    };
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: text(&name.release),
        arch: text(&name.machine),
    }
}

/// Inode numbers of leaktrace's own mount and ipc namespaces.
///
/// # Errors
/// When /proc does not tell them.
pub fn namespaces() -> io::Result<(u32, u32)> {
    let own = Own::read()?;
    Ok((own.mnt, own.ipc))
}

/// Whether pids in /proc are those of the records. False where that cannot be told.
pub fn in_initial_pid_namespace() -> bool {
    Own::read().is_ok_and(|own| own.initial_pid_ns)
}

/// The temp roots of a run as CMD's user: `tmpdir` is $TMPDIR of CMD (raw, relative to `cwd`
/// if it is relative). Symlinks are resolved where the root exists; none is listed twice.
pub fn temp_roots(tmpdir: Option<&[u8]>, cwd: &Path, uid: u32) -> Vec<Vec<u8>> {
    let user = format!("/run/user/{uid}");
    let fixed = ["/tmp", "/var/tmp", "/dev/shm", &user].map(|root| root.as_bytes().to_vec());
    let tmpdir = tmpdir.filter(|path| !path.is_empty()).map(|path| {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        cwd.join(path).into_os_string().into_vec()
    });
    let mut roots: Vec<Vec<u8>> = Vec::new();
    add_temp_roots(&mut roots, tmpdir.into_iter().chain(fixed));
    roots
}

/// Adds roots, symlinks resolved where they exist; none is listed twice.
pub fn add_temp_roots(roots: &mut Vec<Vec<u8>>, more: impl IntoIterator<Item = Vec<u8>>) {
    for root in more {
        let real = fs::canonicalize(Path::new(std::ffi::OsStr::from_bytes(&root)))
            .map_or(root, |real| real.into_os_string().into_vec());
        // A root of everything would make every file a temporary one.
        if real != b"/" && !roots.contains(&real) {
            roots.push(real);
        }
    }
}

/// The root of the repository that a directory is in: the nearest one above that git works in,
/// else the directory itself.
pub fn repository(directory: &Path) -> Vec<u8> {
    // A worktree's `.git` is a file.
    let root = directory
        .ancestors()
        .find(|above| fs::symlink_metadata(above.join(".git")).is_ok());
    root.unwrap_or(directory).as_os_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn clocks_run_forward_and_agree_with_the_standard_library() {
        let first = clock().unwrap();
        let second = boottime_ns();
        assert!(first.boottime_ns <= second && second < first.boottime_ns + 5_000_000_000);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        assert!((now.as_nanos() as u64).abs_diff(first.realtime_ns) < 5_000_000_000);
        assert_eq!(first.boot_id.len(), 36);
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_taken_out() {
        let offsets = "monotonic          5         0\nboottime         -3         7\n";
        assert_eq!(boottime_of(offsets), Some(-2_999_999_993));
        assert_eq!(boottime_of("monotonic 5 0\n"), None);
        assert_eq!(boottime_of("boottime x\n"), None);
        assert_eq!(without_offset(10, 4), 6);
        assert_eq!(without_offset(10, -4), 14);
        assert_eq!(without_offset(3, 4), 0);
    }

    #[test]
    fn the_kernel_is_the_one_that_runs() {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!(tool().kernel, release.trim());
        assert_eq!(tool().arch, std::env::consts::ARCH);
    }

    #[test]
    fn temp_roots_are_absolute_real_and_listed_once() {
        let roots = temp_roots(Some(b"/dev/../tmp"), Path::new("/"), 0);
        assert_eq!(roots.iter().filter(|root| *root == b"/tmp").count(), 1);
        assert_eq!(
            roots[0],
            fs::canonicalize("/tmp").unwrap().as_os_str().as_bytes()
        );
        let relative = temp_roots(Some(b"nowhere-at-all"), Path::new("/work-x"), 7);
        assert_eq!(relative[0], b"/work-x/nowhere-at-all");
        assert!(relative.contains(&b"/run/user/7".to_vec()));
        assert!(!temp_roots(Some(b"/"), Path::new("/"), 0).contains(&b"/".to_vec()));
        assert_eq!(
            temp_roots(Some(b""), Path::new("/"), 0),
            temp_roots(None, Path::new("/"), 0)
        );
    }
}
