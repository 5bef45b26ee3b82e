//! cgroups and containers, by their directories and by what the engines write down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

/// The list of a cgroup's processes.
const PROCS: &str = "cgroup.procs";
/// Directories of a hierarchy that are looked at.
const DIRECTORIES: usize = 100_000;
/// The least that is taken for the beginning of a container's id: what docker shows.
const SHORT_ID: usize = 12;

/// A cgroup, by its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The directory.
    pub directory: PathBuf,
    /// In the v2 hierarchy, seen from its root: kernfs id and depth.
    pub unified: Option<(u64, u32)>,
}

/// Where a hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    unified: bool,
    /// Whether the mount shows the hierarchy from its root.
    whole: bool,
}

impl Cgroup {
    /// The cgroup of a directory, or of a path below the root of a mounted hierarchy, as
    /// /proc/PID/cgroup has it. The v2 hierarchy comes first.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn find(path: &Path) -> io::Result<Cgroup> {
        let mounts = mounts()?;
        let below = path.strip_prefix("/").unwrap_or(path);
        let places = mounts.iter().map(|mount| mount.point.join(below));
        let mut places = std::iter::once(path.to_path_buf()).chain(places);
        let directory = places
            .find(|place| place.is_absolute() && place.join(PROCS).exists())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such cgroup"))?;
        Cgroup::at(directory, &mounts)
    }

    fn at(directory: PathBuf, mounts: &[Mount]) -> io::Result<Cgroup> {
        let directory = fs::canonicalize(directory)?;
        // A threaded cgroup (v2) does not list its processes; the domain above it does.
        if let Err(error) = fs::read(directory.join(PROCS)) {
            let what = format!("its list of processes cannot be read ({error})");
            return Err(io::Error::new(error.kind(), what));
        }
        let mount = mounts
            .iter()
            .filter(|mount| directory.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.as_os_str().len());
        let unified = match mount.filter(|mount| mount.unified && mount.whole) {
            None => None,
            Some(mount) => {
                let below = directory.strip_prefix(&mount.point).unwrap_or(&directory);
                // Since Linux 5.5 the inode number is the id, on 64-bit machines.
                let id = fs::metadata(&directory)?.ino();
                Some((id, below.components().count() as u32))
            }
        };
        Ok(Cgroup { directory, unified })
    }

    /// The cgroup of a process: in the v2 hierarchy, if it is not in the root of that, else in
    /// the first other one in which it is in a cgroup of its own.
    fn of_process(pid: u32, mounts: &[Mount]) -> io::Result<Cgroup> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_by_key(|line| !line.starts_with("0::"));
        for line in lines {
            let Some(path) = line.splitn(3, ':').nth(2).filter(|path| *path != "/") else {
                continue;
            };
            let unified = line.starts_with("0::");
            let below = path.trim_start_matches('/');
            let places = mounts
                .iter()
                .filter(|mount| mount.unified == unified)
                .map(|mount| mount.point.join(below));
            for place in places {
                if lists(&place, pid) {
                    return Cgroup::at(place, mounts);
                }
            }
        }
        let what = "its process is in no cgroup of its own";
        Err(io::Error::new(io::ErrorKind::NotFound, what))
    }

    /// The processes in it and in the cgroups below, as leaktrace's pid namespace numbers them.
    /// None if it is gone.
    pub fn members(&self) -> BTreeSet<u32> {
        let mut members = BTreeSet::new();
        for directory in directories(&self.directory) {
            members.extend(procs(&directory));
        }
        members
    }

    /// The kernfs ids of it and of the cgroups below.
    pub fn ids(&self) -> BTreeSet<u64> {
        let metadata = |path: &PathBuf| fs::metadata(path).ok();
        let found = directories(&self.directory);
        found
            .iter()
            .filter_map(metadata)
            .map(|it| it.ino())
            .collect()
    }
}

/// How often directories are looked through again for the sake of a cgroup that is not known.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Paths of v2 cgroups by their kernfs ids, as far as their directories are there.
#[derive(Debug, Default)]
pub struct Paths {
    known: BTreeMap<u64, String>,
    looked: Option<Instant>,
}

impl Paths {
    /// The paths of these; what has no directory here has none.
    pub fn of(&mut self, ids: &BTreeSet<u64>) -> BTreeMap<u64, String> {
        let all_known = ids.iter().all(|id| *id == 0 || self.known.contains_key(id));
        let is_due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        if !all_known && is_due {
            self.looked = Some(Instant::now());
            self.known = paths().unwrap_or_default();
        }
        let known = ids.iter().filter_map(|id| self.known.get_key_value(id));
        known.map(|(id, path)| (*id, path.clone())).collect()
    }
}

fn paths() -> io::Result<BTreeMap<u64, String>> {
    let mounts = mounts()?;
    let mount = mounts.iter().find(|mount| mount.unified && mount.whole);
    let Some(mount) = mount else {
        return Ok(BTreeMap::new());
    };
    let mut paths = BTreeMap::new();
    for directory in directories(&mount.point) {
        let below = directory.strip_prefix(&mount.point).unwrap_or(&directory);
        if let Ok(metadata) = fs::metadata(&directory) {
            let path = String::from_utf8_lossy(below.as_os_str().as_bytes());
            paths.insert(metadata.ino(), format!("/{path}"));
        }
    }
    Ok(paths)
}

/// The cgroup of a container: by name or id as docker and podman have written them down, else by
/// a directory that is named after it (containerd, CRI-O, LXC, systemd-nspawn: by id or name).
///
/// # Errors
/// There is none of that name.
pub fn container(name: &str) -> io::Result<Cgroup> {
    let mounts = mounts()?;
    if let Some(pid) = docker(Path::new("/var/lib/docker/containers"), name) {
        return Cgroup::of_process(pid, &mounts);
    }
    let id = podman(Path::new("/var/lib/containers/storage"), name);
    let id = id.as_deref().unwrap_or(name);
    for mount in &mounts {
        let found = directories(&mount.point)
            .into_iter()
            .find(|directory| is_container(directory, id) && !procs_below(directory).is_empty());
        if let Some(found) = found {
            return Cgroup::at(found, &mounts);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "neither docker's nor podman's files nor a cgroup directory name a running container so",
    ))
}

fn procs_below(directory: &Path) -> Vec<u32> {
    directories(directory)
        .iter()
        .flat_map(|directory| procs(directory))
        .collect()
}

/// The first process of a running container by docker's own files.
fn docker(root: &Path, name: &str) -> Option<u32> {
    let entries = fs::read_dir(root).ok()?.flatten();
    let mut configurations = entries.filter_map(|entry| json(&entry.path().join("config.v2.json")));
    let found = configurations.find(|value| {
        let named = value["Name"]
            .as_str()
            .map(|own| own.trim_start_matches('/'));
        named == Some(name) || value["ID"].as_str().is_some_and(|id| is_id(id, name))
    })?;
    let pid = found["State"]["Pid"].as_u64()?;
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

/// The id of a container by podman's own files.
fn podman(root: &Path, name: &str) -> Option<String> {
    let all = json(&root.join("overlay-containers/containers.json"))?;
    let found = all.as_array()?.iter().find(|value| {
        let names = value["names"].as_array().into_iter().flatten();
        names.into_iter().any(|own| own == name)
            || value["id"].as_str().is_some_and(|id| is_id(id, name))
    })?;
    found["id"].as_str().map(str::to_owned)
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn is_id(id: &str, given: &str) -> bool {
    given.len() >= SHORT_ID && id.starts_with(given)
}

/// Whether a directory is what engines call the cgroup of a container: `docker-ID.scope`,
/// `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, `docker/ID`, `machine-NAME.scope`,
/// `lxc.payload.NAME`, `lxc/NAME`.
fn is_container(directory: &Path, name: &str) -> bool {
    let Some(own) = directory.file_name().and_then(|own| own.to_str()) else {
        return false;
    };
    let own = own.strip_suffix(".scope").unwrap_or(own);
    let own = own
        .strip_prefix("lxc.payload.")
        .or_else(|| own.strip_prefix("machine-"))
        .unwrap_or(own);
    // Of what is left only ids have dashes before them.
    let id = own.rsplit_once('-').map_or(own, |(_, id)| id);
    let hexadecimal = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    own == name || hexadecimal && is_id(id, name)
}

fn lists(directory: &Path, pid: u32) -> bool {
    procs(directory).any(|member| member == pid)
}

/// None if the cgroup has been removed. Of a process outside the reader's pid namespace the number
/// is 0.
fn procs(directory: &Path) -> impl Iterator<Item = u32> {
    let text = fs::read_to_string(directory.join(PROCS)).unwrap_or_default();
    let numbers: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    numbers.into_iter().filter(|pid| *pid != 0)
}

/// A directory and those below it.
fn directories(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = all.get(next) {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let below: Vec<_> = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        all.extend(below);
        next += 1;
        if all.len() > DIRECTORIES {
            break;
        }
    }
    all
}

/// The mounted hierarchies, v2 first.
fn mounts() -> io::Result<Vec<Mount>> {
    let mut mounts = parse_mounts(&fs::read_to_string("/proc/self/mountinfo")?);
    mounts.sort_by_key(|mount| !mount.unified);
    Ok(mounts)
}

/// Of mountinfo (proc_pid_mountinfo(5)): root, mount point, type.
fn parse_mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let kind = back.split(' ').next()?;
        let fields: Vec<&str> = front.split(' ').collect();
        matches!(kind, "cgroup" | "cgroup2").then_some(())?;
        Some(Mount {
            point: PathBuf::from(fields.get(4)?.replace("\\040", " ")),
            unified: kind == "cgroup2",
            whole: *fields.get(3)? == "/",
        })
    };
    text.lines().filter_map(mount).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn directories_of_containers_are_known_by_id_and_name() {
        let is = |directory: &str, name: &str| is_container(Path::new(directory), name);
        for directory in [
            format!("/s/docker-{ID}.scope"),
            format!("/s/libpod-{ID}.scope"),
            format!("/k/cri-containerd-{ID}.scope"),
            format!("/docker/{ID}"),
        ] {
            assert!(is(&directory, ID), "{directory}");
            assert!(is(&directory, &ID[..12]), "{directory}");
            assert!(!is(&directory, &ID[..6]), "{directory}");
            assert!(!is(&directory, "web"), "{directory}");
        }
        assert!(is("/machine.slice/machine-web.scope", "web"));
        assert!(is("/lxc.payload.web", "web"));
        assert!(is("/lxc/web", "web"));
        assert!(!is("/system.slice/my-web", "web"));
    }

    #[test]
    fn the_engines_own_files_name_containers() {
        let root = std::env::temp_dir().join(format!("leaktrace-engines-{}", std::process::id()));
        let docker_root = root.join("docker");
        fs::create_dir_all(docker_root.join(ID)).unwrap();
        let config = format!(r#"{{"ID":"{ID}","Name":"/web","State":{{"Pid":41}}}}"#);
        fs::write(docker_root.join(ID).join("config.v2.json"), config).unwrap();
        assert_eq!(docker(&docker_root, "web"), Some(41));
        assert_eq!(docker(&docker_root, &ID[..12]), Some(41));
        assert_eq!(docker(&docker_root, "we"), None);
        let storage = root.join("storage/overlay-containers");
        fs::create_dir_all(&storage).unwrap();
        let all = format!(r#"[{{"id":"{ID}","names":["db"]}}]"#);
        fs::write(storage.join("containers.json"), all).unwrap();
        assert_eq!(podman(&root.join("storage"), "db").as_deref(), Some(ID));
        assert_eq!(podman(&root.join("storage"), "d"), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn hierarchies_are_found_with_what_they_show() {
        let text = "24 1 0:21 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    25 1 0:22 /sub /sys/fs/cgroup/pids rw,x shared:1 - cgroup cgroup rw,pids\n\
                    26 1 0:23 / /tmp rw - tmpfs tmpfs rw\n";
        let mounts = parse_mounts(text);
        assert_eq!(mounts.len(), 2);
        assert!(mounts[0].unified && mounts[0].whole);
        assert!(!mounts[1].unified && !mounts[1].whole);
    }
}
