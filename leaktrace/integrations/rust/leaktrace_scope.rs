//! Makes a test a scope of leaktrace, which names the test that leaks.
//!
//! One file without dependencies: put it beside the root of the crate, write
//! `#[cfg(test)] #[macro_use] mod leaktrace_scope;` before the other modules, and begin a test
//! with `leaktrace_scope!();`.
//!
//!     #[test]
//!     fn stores() {
//!         leaktrace_scope!();
//!         …
//!     }
//!
//!     sudo leaktrace check -f junit:leaks.xml -- cargo test
//!
//! A scope is marked by failing to open a file below /.leaktrace, which leaktrace sees. Without
//! leaktrace a mark is one failing system call and does nothing else. What outlives the scope
//! and is still there when the test program ends is its leak. Tests run side by side, each in a
//! thread of its own, and are told apart by it; what a test's own threads acquire meanwhile is
//! of no scope, unless there is one test at a time (`--test-threads=1`, cargo nextest).

/// A scope, until it is dropped.
#[must_use = "the scope ends when it is dropped"]
pub struct Scope {
    name: String,
}

impl Scope {
    /// Begins one.
    pub fn begin(name: impl Into<String>) -> Scope {
        // leaktrace reads 512 bytes, the verb and its slash included.
        let mut name = name.into().replace('\0', "\\0");
        while name.len() > 480 {
            name.pop();
        }
        mark("begin", &name);
        Scope { name }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        mark("end", &self.name);
    }
}

fn mark(verb: &str, name: &str) {
    drop(std::fs::File::open(format!("/.leaktrace/{verb}/{name}")));
}

/// Makes the rest of the block a scope, named after the file and the function around it.
macro_rules! leaktrace_scope {
    () => {
        let _leaktrace_scope = {
            fn here() {}
            let path = ::std::any::type_name_of_val(&here);
            let path = path.strip_suffix("::here").unwrap_or(path);
            let name = path.split_once("::").map_or(path, |(_, name)| name);
            $crate::leaktrace_scope::Scope::begin(format!("{}::{name}", file!()))
        };
    };
}
