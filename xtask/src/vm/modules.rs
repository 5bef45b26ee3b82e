//! Modules that scenarios need: distributions have them apart from the kernel's image.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::output;

/// File systems, the device that some are mounted from, what checks btrfs' sums, which it asks for
/// by the name of an algorithm, and a network interface.
const WANTED: [&str; 8] = [
    "fuse",
    "overlay",
    "loop",
    "crc32c_generic",
    "crc32c-intel",
    "crc32c-cryptoapi",
    "btrfs",
    "veth",
];

/// The names of the modules, in the order in which they can be loaded.
pub const ORDER: &str = "order";

/// What was wanted when they were taken.
const STAMP: &str = "wanted";

/// Whether all that is wanted has been taken.
pub fn are_in(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join(STAMP)).is_ok_and(|wanted| wanted == WANTED.join(" "))
}

/// Whether there was none to be taken.
pub fn are_none(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join(ORDER)).is_ok_and(|order| order.trim().is_empty())
}

/// Copies from an unpacked package what is wanted and what that needs. What the package does not
/// have is part of the kernel.
///
/// # Errors
/// If one cannot be read.
pub fn take(unpacked: &Path, into: &Path) -> Result<()> {
    let mut all = HashMap::new();
    list(unpacked, &mut all)?;
    let part = into.with_extension("part");
    let _ = std::fs::remove_dir_all(&part);
    std::fs::create_dir_all(&part)?;
    let mut order = Vec::new();
    for name in WANTED {
        one(&plain(name), &all, &part, &mut order)?;
    }
    std::fs::write(part.join(ORDER), order.join("\n") + "\n")?;
    std::fs::write(part.join(STAMP), WANTED.join(" "))?;
    let _ = std::fs::remove_dir_all(into);
    Ok(std::fs::rename(part, into)?)
}

/// One module, after those that it needs.
fn one(
    name: &str,
    all: &HashMap<String, PathBuf>,
    into: &Path,
    order: &mut Vec<String>,
) -> Result<()> {
    let Some(path) = all.get(name) else {
        return Ok(());
    };
    if order.iter().any(|there| there == name) {
        return Ok(());
    }
    let content = read(path).with_context(|| format!("read `{}`", path.display()))?;
    for needed in needed(&content) {
        one(&needed, all, into, order)?;
    }
    std::fs::write(into.join(name), content)?;
    order.push(name.to_owned());
    Ok(())
}

/// What a module says that it depends on (`depends=` in .modinfo; scripts/mod/modpost.c).
fn needed(module: &[u8]) -> Vec<String> {
    let text = module
        .split(|byte| *byte == 0)
        .find_map(|word| word.strip_prefix(b"depends="));
    String::from_utf8_lossy(text.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(plain)
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(OsStr::to_str) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return Ok(std::fs::read(path)?),
    };
    let unpacked = Command::new(program).arg("-dc").arg(path).output();
    let unpacked =
        unpacked.with_context(|| format!("run {program}, of the package of that name"))?;
    anyhow::ensure!(unpacked.status.success(), "{program}: {}", unpacked.status);
    Ok(unpacked.stdout)
}

/// Every module below a directory, by its name.
fn list(dir: &Path, all: &mut HashMap<String, PathBuf>) -> Result<()> {
    let found = output(
        Command::new("find")
            .arg(dir)
            .args(["-name", "*.ko", "-o", "-name", "*.ko.xz"])
            .args(["-o", "-name", "*.ko.zst"]),
    )?;
    for path in found.lines().map(PathBuf::from) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let name = file.split_once('.').map_or(&*file, |(name, _)| name);
        all.insert(plain(name), path.clone());
    }
    Ok(())
}

/// Files have either of the two characters, the kernel only one.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::needed;

    #[test]
    fn what_a_module_depends_on_is_read() {
        let module = b"\x7fELF\0license=GPL\0depends=raid6_pq,zstd-compress\0name=btrfs\0";
        assert_eq!(needed(module), ["raid6_pq", "zstd_compress"]);
        assert!(needed(b"\x7fELF\0depends=\0name=fuse\0").is_empty());
        assert!(needed(b"").is_empty());
    }
}
