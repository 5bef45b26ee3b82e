//! A run from a capture: the same pipeline, without a kernel.

use std::path::Path;

use anyhow::Context;

use super::{Pipeline, Purpose};
use crate::policy::Policy;
use crate::source::capture::{CaptureReader, Extent};

/// Feeds a whole capture. Needs no privileges. The extent tells whether the run that wrote it
/// got to its end.
///
/// # Errors
/// It cannot be read, is no capture, or is damaged.
pub fn replay(
    path: &Path,
    purpose: Purpose,
    policy: &Policy,
) -> anyhow::Result<(Pipeline, Extent)> {
    let context = || {
        format!(
            "capture {}",
            crate::sink::escape_str(&path.to_string_lossy())
        )
    };
    let mut reader = CaptureReader::open(path).with_context(context)?;
    let mut pipeline = Pipeline::new(purpose);
    pipeline.set_budgets(policy);
    while let Some(item) = reader.next().with_context(context)? {
        pipeline.feed(item);
    }
    Ok((pipeline, reader.extent()))
}
