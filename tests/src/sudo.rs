//! A plain user whom sudo asks for no password.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What sudoers(5) lets `nobody` start, until this is dropped. Of one binary only, so that
/// scenarios can run side by side.
#[derive(Debug)]
pub struct Sudoer(PathBuf);

impl Sudoer {
    /// Lets `nobody` run `binary` as root with these arguments, such as `deputy own`; with `*` for
    /// any. `defaults` is what sudo is to do then, such as `use_pty`.
    ///
    /// # Panics
    /// If that cannot be written.
    #[must_use]
    pub fn new(binary: &Path, arguments: &[&str], defaults: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leaktrace-scenario-{}-{number}", std::process::id());
        let directory = Path::new("/etc/sudoers.d");
        let mut rules = String::new();
        for one in defaults {
            rules += &format!("Defaults:nobody {one}\n");
        }
        for one in arguments {
            let binary = binary.display();
            rules += &format!("nobody ALL=(root) NOPASSWD: {binary} {one}\n");
        }
        // A name with a dot in it is not read, and half a file would be an error for everybody.
        let draft = directory.join(format!("{name}.draft"));
        std::fs::write(&draft, rules).expect("write to /etc/sudoers.d");
        std::fs::set_permissions(&draft, Permissions::from_mode(0o440)).expect("set permissions");
        let rules = directory.join(name);
        std::fs::rename(&draft, &rules).expect("name the rules");
        Self(rules)
    }
}

impl Drop for Sudoer {
    fn drop(&mut self) {
        // What cannot be removed is for a binary that is removed with its place.
        let _ = std::fs::remove_file(&self.0);
    }
}
