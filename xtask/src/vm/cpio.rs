//! Initial root file systems: newc archives, which the kernel unpacks one behind the other
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::fs::Metadata;
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, Result};

/// Writes one archive.
pub struct Archive<W: Write> {
    out: W,
    written: usize,
    inode: u32,
}

/// S_IFREG, S_IFDIR, S_IFLNK.
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W) -> Self {
        Self {
            out,
            written: 0,
            inode: 1,
        }
    }

    /// A regular file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.entry(name, REGULAR | permissions, content)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, LINK | 0o777, target.as_bytes())
    }

    /// A directory and those above it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        let mut at = String::new();
        for part in name.split('/').filter(|part| !part.is_empty()) {
            if !at.is_empty() {
                at.push('/');
            }
            at.push_str(part);
            self.entry(&at, DIRECTORY | 0o755, &[])?;
        }
        Ok(())
    }

    /// Everything below `dir` that `wanted` takes, by its path there.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn tree(&mut self, dir: &Path, wanted: fn(&str) -> bool) -> Result<()> {
        self.below(dir, "", "", wanted)
    }

    /// Everything below `dir`, by its path there behind `place`, which is there already.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn tree_as(&mut self, dir: &Path, place: &str) -> Result<()> {
        self.below(dir, &format!("{place}/"), "", |_| true)
    }

    fn below(
        &mut self,
        root: &Path,
        place: &str,
        name: &str,
        wanted: fn(&str) -> bool,
    ) -> Result<()> {
        let mut entries = std::fs::read_dir(root.join(name))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        entries.sort();
        for entry in entries {
            let name = if name.is_empty() {
                entry
            } else {
                format!("{name}/{entry}")
            };
            if !wanted(&name) {
                continue;
            }
            let path = root.join(&name);
            let metadata = std::fs::symlink_metadata(&path)?;
            self.one(&path, &format!("{place}{name}"), &metadata)?;
            if metadata.is_dir() {
                self.below(root, place, &name, wanted)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, name: &str, metadata: &Metadata) -> Result<()> {
        let permissions = metadata.permissions().mode() & 0o7777;
        if metadata.is_symlink() {
            let target = std::fs::read_link(path)?;
            self.link(name, &target.to_string_lossy())
        } else if metadata.is_dir() {
            self.entry(name, DIRECTORY | permissions, &[])
        } else if metadata.is_file() {
            let content = std::fs::read(path).with_context(|| format!("read `{name}`"))?;
            debug_assert_eq!(content.len() as u64, metadata.size());
            self.file(name, permissions, &content)
        } else {
            Ok(())
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let len = u32::try_from(content.len()).context("a file of 4 GiB or more")?;
        let mut header = String::from("070701");
        // inode, mode, uid, gid, links, mtime, size, device and node (two numbers each), length
        // of the name with its NUL, checksum.
        let name_len = name.len() as u32 + 1;
        for field in [self.inode, mode, 0, 0, 1, 1, len, 0, 0, 0, 0, name_len, 0] {
            header.push_str(&format!("{field:08x}"));
        }
        self.put(header.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(content)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len();
        Ok(self.out.write_all(bytes)?)
    }

    fn pad(&mut self) -> Result<()> {
        let zeros = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..zeros])
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end(mut self) -> Result<()> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, &[])?;
        // Archives that follow begin at a word; 512 as cpio(1) does.
        let zeros = self.written.next_multiple_of(512) - self.written;
        self.put(&vec![0; zeros])?;
        Ok(self.out.flush()?)
    }
}
