//! What does not fit in memory: a file under $TMPDIR that goes when its owner does.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;

/// The file, its name, and what is not written yet.
#[derive(Debug)]
pub struct Spool {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
}

impl Spool {
    /// Makes one.
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("stream-{}.spool", std::process::id()));
        Ok(Self {
            file: File::create_new(&path)?,
            path,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Adds to it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Whoever removed it before us has done our work.
        let _ = std::fs::remove_file(&self.path);
    }
}
