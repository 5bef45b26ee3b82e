//! Debian's kernels, and Ubuntu's of the series that Debian does not have.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Suite, UBUNTU_KEYS};
use super::{Arch, modules};

/// Every suite of Debian's that has kernels, from the oldest on, and one with Ubuntu's keys.
const SUITES: [Suite; 7] = [
    Suite::Security("bullseye-security"),
    Suite::Security("bookworm-security"),
    Suite::Security("trixie-security"),
    Suite::Main("bookworm-backports"),
    Suite::Main("trixie-backports"),
    Suite::Main("sid"),
    Suite::Main("trixie"),
];
const UBUNTU_SUITES: [Suite; 4] = [
    Suite::Ubuntu("focal-updates"),
    Suite::Ubuntu("jammy"),
    Suite::Ubuntu("jammy-updates"),
    Suite::Ubuntu("noble-updates"),
];
/// Of Ubuntu's kernels, the one that is installed where nothing else is asked for.
const UBUNTU_FLAVOUR: &str = "-generic";

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `6.1`.
    pub series: String,
    /// `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// Its image.
    pub image: PathBuf,
    /// The modules that scenarios need, with the order in which they are loaded.
    pub modules: PathBuf,
}

/// Fetches the newest kernel of each series, or the one that is named in full, unless it is there.
///
/// # Errors
/// If one cannot be had.
pub fn fetch(cache: &Path, arch: Arch, wanted: &[String]) -> Result<Vec<Kernel>> {
    let dir = cache.join(format!("kernel-{}", arch.debian()));
    let apt = Apt::new(
        &dir.join("apt"),
        arch.debian(),
        &SUITES,
        Path::new("/dev/null"),
    )?;
    let debian = Archive::new(apt, arch.flavour())?;
    // Its lists are long, and read only where they are wanted.
    let mut ubuntu = None;
    let mut kernels = Vec::new();
    for wanted in wanted {
        let (archive, release) = match debian.find(wanted) {
            Some(release) => (&debian, release),
            None if arch == Arch::X86 => {
                let ubuntu = match &mut ubuntu {
                    Some(ubuntu) => &*ubuntu,
                    none => none.insert(of_ubuntu(&dir, &debian.apt, arch)?),
                };
                let release = ubuntu.find(wanted);
                let none = || format!("neither Debian nor Ubuntu has a kernel {wanted}");
                (ubuntu, release.with_context(none)?)
            }
            None => bail!("Debian has no kernel {wanted} for {}", arch.debian()),
        };
        kernels.push(one(archive, &dir, release)?);
    }
    Ok(kernels)
}

/// Where kernels of one distribution are, and what it calls those that are wanted.
struct Archive {
    apt: Apt,
    flavour: &'static str,
    /// Of packages.
    names: Vec<String>,
}

impl Archive {
    fn new(apt: Apt, flavour: &'static str) -> Result<Archive> {
        let mut names = apt.names("linux-image-")?;
        names.extend(apt.names("linux-binary-")?);
        names.extend(apt.names("linux-modules-")?);
        Ok(Archive {
            apt,
            flavour,
            names,
        })
    }

    /// A release: the one of that name, or the newest of a series.
    fn find(&self, wanted: &str) -> Option<String> {
        let named = self.names.iter().any(|name| {
            PREFIXES
                .iter()
                .any(|prefix| name.strip_prefix(prefix) == Some(wanted))
        });
        match named {
            true => Some(wanted.to_owned()),
            false => newest(wanted, self.flavour, &self.names),
        }
    }
}

/// Ubuntu's, whose keys Debian has in a package.
fn of_ubuntu(dir: &Path, debian: &Apt, arch: Arch) -> Result<Archive> {
    let place = dir.join("apt-ubuntu");
    std::fs::create_dir_all(&place)?;
    let keys = place.join(UBUNTU_KEYS);
    if !keys.exists() {
        let unpacked = dir.join("keys");
        debian.unpack("ubuntu-keyring", &unpacked)?;
        let found = unpacked.join("usr/share/keyrings").join(UBUNTU_KEYS);
        std::fs::copy(found, &keys).context("take Ubuntu's keys")?;
        std::fs::remove_dir_all(&unpacked)?;
    }
    let apt = Apt::new(
        &place,
        arch.debian(),
        &UBUNTU_SUITES,
        Path::new("/dev/null"),
    )?;
    Archive::new(apt, UBUNTU_FLAVOUR)
}

fn one(archive: &Archive, dir: &Path, release: String) -> Result<Kernel> {
    let Archive { apt, names, .. } = archive;
    let place = dir.join(&release);
    let image = place.join("vmlinuz");
    let modules = place.join("modules");
    if !image.exists() || !modules::are_in(&modules) {
        std::fs::create_dir_all(&place)?;
        let unpacked = place.join("unpacked");
        let package = PREFIXES
            .iter()
            .map(|prefix| format!("{prefix}{release}"))
            .find(|package| names.contains(package))
            .with_context(|| format!("find the package of {release}"))?;
        apt.unpack(&package, &unpacked)?;
        // Debian's have a package of their own from 6.19 on, Ubuntu's always. Of series that are over
        // Debian keeps the image and not the modules.
        let apart = format!("linux-modules-{release}");
        if names.contains(&apart) {
            apt.unpack(&apart, &unpacked)?;
        }
        modules::take(&unpacked, &modules)?;
        let found = find(&unpacked)?.with_context(|| format!("`{package}` has no vmlinuz"))?;
        std::fs::copy(found, place.join("vmlinuz.part"))?;
        std::fs::rename(place.join("vmlinuz.part"), &image)?;
        std::fs::remove_dir_all(&unpacked)?;
    }
    Ok(Kernel {
        series: series_of(&release)?,
        release,
        image,
        modules,
    })
}

/// What packages with a kernel's image are called. From 6.19 on Debian's linux-image-* is empty and
/// the image is in linux-binary-*; what is too new to have been signed has it in
/// linux-binary-unsigned-*. Some of Ubuntu's there are in linux-image-unsigned-* only.
const PREFIXES: [&str; 4] = [
    "linux-binary-",
    "linux-binary-unsigned-",
    "linux-image-",
    "linux-image-unsigned-",
];

/// The newest release of a series: `6.1` is 6.1.anything, of this flavour and no other.
fn newest(series: &str, flavour: &str, names: &[String]) -> Option<String> {
    names
        .iter()
        .filter_map(|name| {
            let release = name
                .strip_prefix("linux-image-")
                .or_else(|| name.strip_prefix("linux-binary-unsigned-"))
                .or_else(|| name.strip_prefix("linux-binary-"))?;
            let version = release.strip_suffix(flavour)?;
            let minor = version.strip_prefix(series)?.strip_prefix('.')?;
            // Backports of a newer kernel to an older release, real-time and debug kernels.
            let odd = ["deb11", "rt", "dbg"]
                .iter()
                .any(|word| version.contains(word));
            (!odd && minor.starts_with(|c: char| c.is_ascii_digit()))
                .then(|| (numbers(version), release.to_owned()))
        })
        .max()
        .map(|(_, release)| release)
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

fn find(dir: &Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let kind = std::fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            if let Some(found) = find(&path)? {
                return Ok(Some(found));
            }
        } else if kind.is_file()
            && path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// `6.1` from `6.1`, `6.1.0` or a release.
///
/// # Errors
/// If it is no version.
pub fn series_of(version: &str) -> Result<String> {
    match numbers(version).as_slice() {
        [major, minor, ..] => Ok(format!("{major}.{minor}")),
        _ => bail!("`{version}` is no version of Linux"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_taken() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-amd64",
            "linux-image-6.1.0-0.deb11.60-cloud-amd64",
            "linux-image-6.1.0-58-cloud-amd64-dbg",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-binary-unsigned-7.3.2+deb14-cloud-amd64",
            "linux-image-5.15.0-99-generic",
            "linux-image-5.15.0-139-generic",
            "linux-image-5.15.0-1140-azure",
            "linux-image-5.15.0-140-generic-64k",
            "linux-image-unsigned-5.15.0-141-generic",
        ]
        .map(str::to_owned);
        let ubuntus = newest("5.15", "-generic", &names);
        assert_eq!(ubuntus.as_deref(), Some("5.15.0-139-generic"));
        let newest = |series| newest(series, "-cloud-amd64", &names);
        assert_eq!(newest("6.1").as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(newest("7.3").as_deref(), Some("7.3.2+deb14-cloud-amd64"));
        assert_eq!(newest("5.15"), None);
    }
}
