//! What is written beside the committed kernel object: which sources and tools it is of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::install::bpf_linker_version;
use crate::run::{output, root};

/// Directories whose files go into the kernel object.
const SOURCES: [&str; 2] = ["leaktrace-common", "leaktrace-ebpf"];

/// The committed object's description, `leaktrace.bpf.toml`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// `rustc --version`.
    pub rustc: String,
    /// Version of bpf-linker.
    pub bpf_linker: String,
    /// Hash over names and contents of everything the object is built from.
    pub sources_sha256: String,
    /// Hash of the object.
    pub object_sha256: String,
    /// Its size.
    pub object_bytes: usize,
}

impl Record {
    /// The record of `object`, built here and now.
    ///
    /// # Errors
    /// If the sources cannot be read or rustc cannot be asked.
    pub fn of(object: &[u8]) -> Result<Self> {
        Ok(Self {
            rustc: output(std::process::Command::new("rustc").arg("--version"))?,
            bpf_linker: bpf_linker_version().context("find bpf-linker")?,
            sources_sha256: sources()?,
            object_sha256: hex(Sha256::digest(object).as_slice()),
            object_bytes: object.len(),
        })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If the file cannot be read or is not one.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        toml::from_str(&text).with_context(|| format!("parse `{}`", path.display()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = format!(
            "# Written by `cargo xtask ebpf`; `cargo xtask ebpf --check` compares.\n{}",
            toml::to_string(self)?
        );
        std::fs::write(path, text).with_context(|| format!("write `{}`", path.display()))
    }
}

/// Hash of all source files' names and contents, in the order of their names.
fn sources() -> Result<String> {
    let root = root();
    let mut files = Vec::new();
    for dir in SOURCES {
        collect(&root.join(dir), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        let content = std::fs::read(&file).with_context(|| format!("read `{name}`"))?;
        // Lengths first, so that no two different trees give the same stream of bytes.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
    }
    Ok(hex(hash.finalize().as_slice()))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("read `{}`", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let source = path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "toml");
        if path.is_dir() {
            collect(&path, files)?;
        } else if source {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
