//! Guards whose cleanup is work of its own: `Drop` hands it to a registry that does it in the
//! background, the most important first.
//!
//! `guards VARIANT`: `correct` waits for the registry at the end; each other variant makes one
//! mistake that people make with cleanup in `Drop`.

mod guard;
mod registry;

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::runtime::{Builder, Runtime};

use guard::Guard;
use registry::{Priority, Registry, Take};

/// Acquired in this order, which is not the one in which they must go.
const WANTED: [Priority; 4] = [
    Priority::Normal,
    Priority::Critical,
    Priority::Low,
    Priority::High,
];

fn acquire(registry: &Registry) -> Result<Vec<Guard>> {
    WANTED
        .iter()
        .map(|priority| Guard::new(registry, *priority))
        .collect()
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// All guards go, and the registry has done everything before the runtime ends.
fn wait_for_it(take: Take) -> Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let registry = Registry::start(take);
        drop(acquire(&registry)?);
        registry.finish().await
    })
}

/// The runtime ends with the cleanup still in the queue.
fn drop_the_runtime() -> Result<()> {
    let runtime = runtime()?;
    let guards = runtime.block_on(async { acquire(&Registry::start(Take::MostImportant)) })?;
    // Queued here, where nothing runs tasks any more.
    drop(guards);
    runtime.shutdown_background();
    Ok(())
}

/// A thread cleans up while the process ends.
fn race_the_end() -> Result<()> {
    let (started, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<()> {
        let runtime = runtime()?;
        runtime.block_on(async {
            let registry = Registry::start(Take::MostImportant);
            let mut guards = acquire(&registry)?;
            // Critical and High are cleaned up at once; the others when it is too late.
            let later = [guards.remove(2), guards.remove(0)];
            drop(guards);
            registry.idle().await;
            started.send(())?;
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(later);
            registry.finish().await
        })
    });
    wait.recv()?;
    // SAFETY: ends the process as a return from main does, but without destructors of statics.
    unsafe { libc::_exit(0) }
}

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("correct") => wait_for_it(Take::MostImportant),
        Some("priorities-inverted") => wait_for_it(Take::LeastImportant),
        Some("runtime-dropped") => drop_the_runtime(),
        Some("racing-shutdown") => race_the_end(),
        other => bail!("no variant {other:?}"),
    }
}
