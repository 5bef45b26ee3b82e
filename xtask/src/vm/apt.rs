//! A private apt: lists, cache and sources of its own, for any architecture and suite. Nothing
//! that it fetches is installed on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{on_path, output, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Ubuntu's keys are looked for here in the directory of an apt that has suites of Ubuntu's.
pub const UBUNTU_KEYS: &str = "ubuntu-archive-keyring.gpg";
/// x86-64; other machines' packages are elsewhere.
const UBUNTU: &str = "http://archive.ubuntu.com/ubuntu";

/// Where packages come from.
pub struct Apt {
    dir: PathBuf,
    arch: String,
    /// `/dev/null` for an empty machine.
    status: PathBuf,
}

/// A suite, and of which archive.
#[derive(Clone, Copy)]
pub enum Suite {
    /// In Debian's main archive.
    Main(&'static str),
    /// In Debian's security archive.
    Security(&'static str),
    /// In Ubuntu's, for [`UBUNTU_KEYS`].
    Ubuntu(&'static str),
}

impl Apt {
    /// Makes its directory and reads the suites' lists, at most once a day.
    ///
    /// # Errors
    /// If this machine has no apt, or the archive cannot be read.
    pub fn new(dir: &Path, arch: &str, suites: &[Suite], status: &Path) -> Result<Self> {
        if !on_path("apt-get") || !Path::new(KEYRING).exists() {
            bail!("kernels come from Debian's archive: apt-get and `{KEYRING}` are needed");
        }
        for part in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(dir.join(part))?;
        }
        let apt = Self {
            dir: dir.to_path_buf(),
            arch: arch.to_owned(),
            status: status.to_path_buf(),
        };
        let sources: String = suites.iter().map(|suite| line(dir, *suite)).collect();
        let file = dir.join("sources.list");
        let stamp = dir.join("updated");
        let fresh = std::fs::read_to_string(&file).is_ok_and(|old| old == sources)
            && std::fs::metadata(&stamp)
                .and_then(|stamp| stamp.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() < 24 * 3600));
        if !fresh {
            std::fs::write(&file, &sources)?;
            run(apt.command("apt-get").args(["-qq", "update"]))?;
            std::fs::write(&stamp, "")?;
        }
        Ok(apt)
    }

    /// An apt program that sees nothing but this.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = |name: &str| self.dir.join(name).display().to_string();
        for option in [
            format!("APT::Architecture={}", self.arch),
            format!("APT::Architectures={}", self.arch),
            format!("Dir::State::status={}", self.status.display()),
            format!("Dir::State::Lists={}", path("lists")),
            format!("Dir::Etc::SourceList={}", path("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::Cache={}", path("")),
            format!("Dir::Cache::archives={}", path("archives")),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Names of packages that begin so.
    ///
    /// # Errors
    /// If apt-cache fails.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = output(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Unpacks one package into `into`.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let dir = self.dir.join("one");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        run(self
            .command("apt-get")
            .args(["-qq", "download", package])
            .current_dir(&dir))?;
        extract(&dir, into)?;
        Ok(std::fs::remove_dir_all(&dir)?)
    }

    /// Unpacks packages and all that they depend on into `into`.
    ///
    /// # Errors
    /// If they cannot be had.
    pub fn unpack_all(&self, packages: &[&str], into: &Path) -> Result<()> {
        let archives = self.dir.join("archives");
        let mut install = self.command("apt-get");
        install.args(["-qq", "-y", "--no-install-recommends", "--download-only"]);
        run(install.arg("install").args(packages))?;
        extract(&archives, into)
    }
}

fn extract(packages: &Path, into: &Path) -> Result<()> {
    for entry in std::fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(into))?;
        }
    }
    Ok(())
}

fn line(dir: &Path, suite: Suite) -> String {
    let own = dir.join(UBUNTU_KEYS);
    let debian = Path::new(KEYRING);
    let (keys, mirror, name) = match suite {
        Suite::Main(name) => (debian, mirror("debian"), name),
        Suite::Security(name) => (debian, mirror("debian-security"), name),
        Suite::Ubuntu(name) => (&*own, UBUNTU.to_owned(), name),
    };
    format!("deb [signed-by={}] {mirror} {name} main\n", keys.display())
}

/// The mirror that this machine uses, else Debian's own.
fn mirror(archive: &str) -> String {
    let own = [
        "/etc/apt/sources.list.d/debian.sources",
        "/etc/apt/sources.list",
    ]
    .iter()
    .filter_map(|path| std::fs::read_to_string(path).ok())
    .find_map(|text| {
        text.split_whitespace()
            .find(|word| {
                word.starts_with("http")
                    && word.trim_end_matches('/').ends_with(&format!("/{archive}"))
            })
            .map(str::to_owned)
    });
    own.unwrap_or_else(|| format!("http://deb.debian.org/{archive}"))
}

/// This machine's Debian release, such as `bookworm`.
///
/// # Errors
/// If it is not Debian.
pub fn codename() -> Result<&'static str> {
    let text = std::fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("find the release in /etc/os-release")?;
    ["bullseye", "bookworm", "trixie", "forky", "sid"]
        .into_iter()
        .find(|known| *known == name)
        .with_context(|| format!("`{name}` is no release of Debian"))
}
