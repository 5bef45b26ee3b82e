//! Identities. A number without its type is how pids, tids and fds get mixed up.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A process id: what the kernel calls tgid, in the initial pid namespace unless said.
    Pid(u32)
}
number! {
    /// A thread id: what the kernel calls pid, in the initial pid namespace.
    Tid(u32)
}
number! {
    /// A file descriptor number.
    Fd(i32)
}
number! {
    /// A moment, ns of CLOCK_BOOTTIME.
    KtimeNs(u64)
}
number! {
    /// Number of an fd table; never used again within a run.
    TableId(u32)
}

impl KtimeNs {
    /// `self - earlier` in ns, or `None` if that is not in order.
    pub fn since(self, earlier: KtimeNs) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

/// A process for good: its pid and when its leader started. Written `pid:start_ns`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct ProcessKey {
    /// The pid.
    pub pid: Pid,
    /// Start of the thread group leader.
    pub start: KtimeNs,
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pid, self.start)
    }
}

impl Serialize for ProcessKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProcessKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.split_once(':')
            .and_then(|(pid, start)| {
                Some(ProcessKey {
                    pid: Pid(pid.parse().ok()?),
                    start: KtimeNs(start.parse().ok()?),
                })
            })
            .ok_or_else(|| serde::de::Error::custom("expected pid:start_ns"))
    }
}

impl JsonSchema for ProcessKey {
    fn schema_name() -> Cow<'static, str> {
        "ProcessKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A process for good: `pid:start_ns`.",
            "type": "string",
            "pattern": "^[0-9]+:[0-9]+$",
        })
    }
}

/// Which file, as the kernel tells it: `s_dev`, `i_ino`, `i_generation`; never stat's numbers.
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize,
)]
pub struct FileId {
    /// `super_block.s_dev`, kernel encoding (major << 20 | minor).
    pub dev: u32,
    /// `inode.i_ino`.
    pub ino: u64,
    /// `inode.i_generation`.
    pub generation: u32,
}
