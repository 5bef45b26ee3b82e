//! An async stream: pending operations that can be cancelled, a spool, a background monitor, a
//! cleanup with a time limit, and a forced cleanup for whoever does not come back in time.
//!
//! `stream VARIANT`: `correct` gives everything back; each other variant makes one mistake that
//! people make.

mod monitor;
mod operation;
mod spool;
mod stream;

use std::time::Duration;

use anyhow::{Result, bail};

use stream::{Limits, Stream};

/// The mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Everything is given back.
    Correct,
    /// A reader that ignores being cancelled is aborted when the time is up.
    Forced,
    /// The stream ends without telling its readers, and the runtime is leaked with them.
    PendingNotCancelled,
    /// The cleanup waits for a reader that does not come back, longer than it may.
    TimeoutExceeded,
    /// The stream is forgotten: neither its cleanup nor its `Drop` runs.
    DroppedWithoutCleanup,
    /// The monitor is detached, with its timer and the event that would end it.
    MonitorLeft,
    /// More operations at once than the limit allows.
    LimitPassed,
}

fn variant(name: &str) -> Result<Variant> {
    Ok(match name {
        "correct" => Variant::Correct,
        "forced" => Variant::Forced,
        "pending-not-cancelled" => Variant::PendingNotCancelled,
        "timeout-exceeded" => Variant::TimeoutExceeded,
        "dropped-without-cleanup" => Variant::DroppedWithoutCleanup,
        "monitor-left" => Variant::MonitorLeft,
        "limit-passed" => Variant::LimitPassed,
        other => bail!("no variant `{other}`"),
    })
}

const LIMITS: Limits = Limits {
    pending: 4,
    cleanup: Duration::from_millis(200),
};

async fn serve(variant: Variant) -> Result<()> {
    let mut stream = Stream::open(LIMITS)?;
    let wanted = if variant == Variant::LimitPassed {
        12
    } else {
        4
    };
    for number in 0..wanted {
        let stubborn = number == 0 && matches!(variant, Variant::Forced | Variant::TimeoutExceeded);
        if variant == Variant::LimitPassed {
            stream.begin_unchecked(stubborn).await?;
        } else {
            stream.begin(stubborn).await?;
        }
    }
    stream.feed(b"hello").await?;
    asked_to_end().await?;
    match variant {
        Variant::Correct | Variant::Forced | Variant::LimitPassed => stream.cleanup().await,
        Variant::TimeoutExceeded => stream.cleanup_without_limit().await,
        Variant::PendingNotCancelled => stream.end_without_cancelling().await,
        Variant::DroppedWithoutCleanup => {
            std::mem::forget(stream);
            Ok(())
        }
        Variant::MonitorLeft => stream.cleanup_but_the_monitor().await,
    }
}

/// Waits for the SIGTERM by which services are stopped, and sends it.
async fn asked_to_end() -> Result<()> {
    let mut asked = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // SAFETY: no memory is passed.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    asked.recv().await;
    Ok(())
}

fn main() -> Result<()> {
    let variant = variant(&std::env::args().nth(1).unwrap_or_default())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(variant))?;
    if matches!(variant, Variant::PendingNotCancelled | Variant::MonitorLeft) {
        // What a `static` runtime does: its tasks are never dropped.
        std::mem::forget(runtime);
    }
    Ok(())
}
