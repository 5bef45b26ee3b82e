//! A guard: an open file with a name under $TMPDIR, both of which must go.

use std::fs::File;
use std::path::PathBuf;

use anyhow::Result;

use crate::registry::{Priority, Registry, Work};

/// Owns the file until it is dropped; then the registry does.
#[derive(Debug)]
pub struct Guard {
    owned: Option<(File, PathBuf)>,
    priority: Priority,
    registry: Registry,
}

impl Guard {
    /// Makes the file.
    pub fn new(registry: &Registry, priority: Priority) -> Result<Self> {
        let name = format!("guard-{}-{}", priority.name(), std::process::id());
        let path = std::env::temp_dir().join(name);
        Ok(Self {
            owned: Some((File::create_new(&path)?, path)),
            priority,
            registry: registry.clone(),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((file, path)) = self.owned.take() {
            self.registry.submit(Work {
                priority: self.priority,
                file,
                path,
            });
        }
    }
}
