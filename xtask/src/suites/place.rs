//! Where a suite is kept between runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::run;

/// The variable that says where suites are kept instead of in ~/.cache.
const WHERE: &str = "LEAKTRACE_SUITES";

/// The directory of one suite.
pub struct Place(PathBuf);

impl Place {
    /// Makes it where it is not there yet.
    ///
    /// # Errors
    /// If it cannot be made, or there is no home.
    pub fn new(name: &str) -> Result<Self> {
        let own = std::env::var_os(WHERE).map(PathBuf::from);
        let home =
            || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/leaktrace-suites"));
        let root = own.or_else(home).context("find a home")?;
        let dir = root.join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(Self(dir))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Runs a shell script in it, once: as long as the same script was not run to its end there.
    ///
    /// # Errors
    /// If it fails.
    pub fn once(&self, step: &str, script: &str) -> Result<()> {
        let mark = self.path(&format!(".{step}"));
        if std::fs::read_to_string(&mark).is_ok_and(|done| done == script) {
            return Ok(());
        }
        run(Command::new("sh")
            .args(["-euc", script])
            .current_dir(&self.0))?;
        std::fs::write(&mark, script).context("note what was done")
    }

    /// Writes a file in it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, text: &str) -> Result<()> {
        let path = self.0.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            // Its time stays: what was built from it is not built again.
            return Ok(());
        }
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}
