//! Scenarios with real programs on the real kernel.
