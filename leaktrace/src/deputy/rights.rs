//! Becoming the user, with three rights or four.

use std::{
    fs, io,
    mem::size_of_val,
    os::{fd::AsRawFd, unix::net::UnixStream},
};

use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities,
        set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::Grant;
use crate::bpf::{self, events};

/// Capability numbers that there may be (a kernel has 41 as of 6.18).
const CAPABILITIES: u32 = 64;
/// NGROUPS_MAX (include/uapi/linux/limits.h).
const GROUPS: usize = 65_536;

/// Whoever is on the other side of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    groups: Vec<u32>,
}

/// What a deputy needs, with names for people, and whether nothing goes without it.
const NEEDED: [(CapabilitySet, &str, bool); 4] = [
    (CapabilitySet::BPF, "CAP_BPF", true),
    (CapabilitySet::PERFMON, "CAP_PERFMON", true),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", false),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", false),
];

fn needed(grant: Grant) -> impl Iterator<Item = (CapabilitySet, &'static str, bool)> {
    NEEDED.into_iter().filter(move |(one, ..)| {
        // Others' directories are looked into only where what others do is shown.
        grant == Grant::All || *one != CapabilitySet::DAC_READ_SEARCH
    })
}

impl User {
    /// Who made the socket's other end, as the kernel noted then (SO_PEERCRED, SO_PEERGROUPS;
    /// unix(7)).
    ///
    /// # Errors
    /// It is no unix socket, or its maker is in another pid namespace.
    pub(super) fn of(socket: &UnixStream) -> io::Result<User> {
        let [pid, uid, gid] = peer(socket)?;
        if pid == 0 {
            return Err(io::Error::other("its maker is in another pid namespace"));
        }
        Ok(User {
            pid,
            uid,
            gid,
            groups: option(socket, libc::SO_PEERGROUPS, GROUPS)?,
        })
    }
}

/// The uid of who made the socket's other end, or listens at it.
///
/// # Errors
/// It is no unix socket.
pub(super) fn maker(socket: &UnixStream) -> io::Result<u32> {
    peer(socket).map(|[_, uid, _]| uid)
}

/// `struct ucred`: pid, uid, gid, 32 bits each.
fn peer(socket: &UnixStream) -> io::Result<[u32; 3]> {
    option(socket, libc::SO_PEERCRED, 3)?
        .try_into()
        .map_err(|_| io::Error::other("its maker is not known"))
}

/// An option of a socket that is up to `room` numbers.
fn option(socket: &UnixStream, option: libc::c_int, room: usize) -> io::Result<Vec<u32>> {
    let mut numbers = vec![0_u32; room];
    let mut bytes = size_of_val(&numbers[..]) as libc::socklen_t;
    // SAFETY: `bytes` is the room that there is, and then how much was filled.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            numbers.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    numbers.truncate(bytes as usize / size_of::<u32>());
    Ok(numbers)
}

/// What only loading takes, and only here: see [`events`].
fn for_loading() -> CapabilitySet {
    match events::kept_to_the_administrator() {
        Some(_) if bpf::may_need_functions() => CapabilitySet::SYS_ADMIN,
        Some(_) | None => CapabilitySet::empty(),
    }
}

fn lasting(grant: Grant) -> CapabilitySet {
    needed(grant).fold(CapabilitySet::empty(), |all, (one, ..)| all | one)
}

/// Becomes the user, and gives up for good every right that the grant does not need, but for what
/// loading takes: [`loaded`] gives that up. What remains is set aside until it is used, as file
/// capabilities are. To be called before there is a second thread: all of this is a thread's own.
///
/// # Errors
/// A clause: what is missing, or what the kernel refuses.
pub(super) fn become_user(user: &User, grant: Grant) -> Result<(), String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    let had = capabilities(None).map_err(failed("cannot read its own capabilities"))?;
    let lasting = lasting(grant);
    let missing: Vec<&str> = needed(grant)
        .filter(|(one, _, required)| *required && !had.permitted.contains(*one))
        .map(|(_, name, _)| name)
        .collect();
    if !missing.is_empty() {
        return Err(format!("it has no {}", missing.join(" and no ")));
    }
    let keep = had.permitted & (lasting | for_loading());
    if had.permitted.contains(CapabilitySet::SETPCAP) {
        for number in 0..CAPABILITIES {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if !lasting.contains(one) || !keep.contains(one) {
                // Beyond the last one that the kernel has.
                let _ = remove_capability_from_bounding_set(one);
            }
        }
    }
    set_keep_capabilities(true).map_err(failed("cannot keep its capabilities"))?;
    if had
        .permitted
        .contains(CapabilitySet::SETUID | CapabilitySet::SETGID)
    {
        let (uid, gid) = (
            rustix::process::Uid::from_raw(user.uid),
            rustix::process::Gid::from_raw(user.gid),
        );
        let groups = user
            .groups
            .iter()
            .copied()
            .map(rustix::process::Gid::from_raw);
        let groups: Vec<_> = groups.collect();
        set_thread_groups(&groups).map_err(failed("cannot take the user's groups"))?;
        set_thread_res_gid(gid, gid, gid).map_err(failed("cannot take the user's group"))?;
        set_thread_res_uid(uid, uid, uid).map_err(failed("cannot become the user"))?;
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: keep,
            inheritable: CapabilitySet::empty(),
        },
    )
    .map_err(failed("cannot give up its capabilities"))?;
    let _ = clear_ambient_capability_set();
    set_keep_capabilities(false).map_err(failed("cannot let go of its capabilities"))?;
    set_no_new_privs(true).map_err(failed("cannot refuse new privileges"))?;
    // Neither a debugger of the user's nor a core file gets to see it.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("cannot hide itself"))?;
    is_given_up(keep)
}

/// Gives up what was for loading.
///
/// # Errors
/// A clause: what the kernel refuses.
pub(super) fn loaded(grant: Grant) -> Result<(), String> {
    let had = capabilities(None).map_err(|error| error.to_string())?;
    let keep = had.permitted & lasting(grant);
    let sets = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: keep,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
        .map_err(|error| format!("cannot give up its capabilities: {error}"))?;
    is_given_up(keep)
}

/// Looks whether that is so, rather than to believe it.
fn is_given_up(keep: CapabilitySet) -> Result<(), String> {
    let has = capabilities(None).map_err(|error| error.to_string())?;
    let none = CapabilitySet::empty();
    match (
        has.permitted == keep,
        has.inheritable == none,
        has.effective == none,
    ) {
        (true, true, true) => Ok(()),
        _ => Err("it still has rights that it gave up".to_owned()),
    }
}

/// What this process may take up, by bits.
pub(super) fn permitted() -> u64 {
    capabilities(None).map_or(0, |sets| sets.permitted.bits())
}

/// Real, effective and saved uid and gid of a process, if all are the same.
pub(super) fn owner(pid: u32) -> Option<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let one = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let mut ids = line.split_ascii_whitespace().take(3).map(str::parse::<u32>);
        let first = ids.next()?.ok()?;
        ids.all(|id| id == Ok(first)).then_some(first)
    };
    Some((one("Uid:")?, one("Gid:")?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_other_side_is_who_the_kernel_says() {
        let (one, _other) = UnixStream::pair().unwrap();
        let user = User::of(&one).unwrap();
        assert_eq!(user.pid, std::process::id());
        assert_eq!(Some((user.uid, user.gid)), owner(user.pid));
    }

    #[test]
    fn only_who_looks_at_everything_may_look_into_closed_directories() {
        let names = |grant| needed(grant).map(|(_, name, _)| name).collect::<Vec<_>>();
        assert_eq!(
            names(Grant::Own),
            ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]
        );
        assert_eq!(names(Grant::All).len(), 4);
    }
}
