//! An orchestrator: it starts workers, each of which registers one manager for each class of
//! resource, and has each clean up in the reverse order of registration.
//!
//! `orchestrator VARIANT ORDER`: ORDER (`fds-first`, `mappings-first`) is the order of release
//! that the registration leads to. Each worker prints a line of JSON: what it gave back, by class.

mod manager;
mod managers;
mod worker;

use anyhow::{Result, bail, ensure};

use manager::Class;

/// The mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Everything is given back.
    Correct,
    /// Nothing is registered: what the runtime does by itself.
    Nothing,
    /// The manager of rings acquires, and nobody knows it.
    NeverRegistered,
    /// Managers clean up in the order of their registration.
    OrderReversed,
    /// The manager of sockets is run twice.
    CleanedTwice,
    /// The first release of a mapping is refused.
    ReleaseFails,
    /// The children are not the managers' concern.
    ChildrenLeft,
}

fn variant(name: &str) -> Result<Variant> {
    Ok(match name {
        "correct" => Variant::Correct,
        "nothing" => Variant::Nothing,
        "never-registered" => Variant::NeverRegistered,
        "order-reversed" => Variant::OrderReversed,
        "cleaned-twice" => Variant::CleanedTwice,
        "release-fails" => Variant::ReleaseFails,
        "children-left" => Variant::ChildrenLeft,
        other => bail!("no variant `{other}`"),
    })
}

/// Classes in the order in which they are to be released.
fn releases(order: &str) -> Result<[Class; 8]> {
    use Class::{Fd, Ipc, Mapping, Memory, Ring, Signal, Socket, Task};
    Ok(match order {
        "fds-first" => [Fd, Socket, Signal, Ring, Task, Ipc, Mapping, Memory],
        "mappings-first" => [Mapping, Memory, Task, Ring, Signal, Ipc, Socket, Fd],
        other => bail!("no order `{other}`"),
    })
}

/// Two workers, one after the other, so that their lines do not mix.
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ensure!(arguments.len() == 2, "usage: orchestrator VARIANT ORDER");
    let variant = variant(&arguments[0])?;
    let releases = releases(&arguments[1])?;
    for number in 0..2 {
        worker::run(number, variant, &releases)?;
    }
    Ok(())
}
