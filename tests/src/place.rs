//! A directory of a run's own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory under /tmp with `cwd/` and `tmp/` in it, removed with all its content at the end.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// Makes one.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leaktrace-scenario-{}-{number}", std::process::id());
        let root = Path::new("/tmp").join(name);
        for dir in ["cwd", "tmp"] {
            std::fs::create_dir_all(root.join(dir)).expect("make a scratch directory");
        }
        Self { root }
    }

    /// For what the harness itself writes.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The working directory of runs here: an output root.
    #[must_use]
    pub fn cwd(&self) -> PathBuf {
        self.root.join("cwd")
    }

    /// $TMPDIR of runs here: a temp root.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Lets everybody write here, and gives a copy of the binary that everybody can run.
    ///
    /// # Panics
    /// If that cannot be done.
    #[must_use]
    pub fn open_to_all(&self) -> PathBuf {
        let copy = self.root.join("leaktrace");
        copy_program(crate::leaktrace(), &copy);
        for path in [&self.root, &self.cwd(), &self.tmp(), &copy] {
            let mode = Permissions::from_mode(0o777);
            std::fs::set_permissions(path, mode).expect("set permissions");
        }
        copy
    }

    /// A path in `tmp()`, as text for a step or a shell.
    #[must_use]
    pub fn temp(&self, name: &str) -> String {
        self.tmp().join(name).display().to_string()
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A scenario may have removed it; what cannot be removed is found by the next reader of
        // /tmp, and failing here would hide why a scenario failed.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Copies a program that is to be run. By cp: a file that this process has open for writing may be
/// open in a child that another scenario is about to start, and is not executed then (ETXTBSY in
/// execve(2)).
///
/// # Panics
/// If it cannot be copied.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = std::process::Command::new("cp")
        .args([from.as_ref(), to.as_ref()])
        .status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {}",
        from.as_ref().display()
    );
}
