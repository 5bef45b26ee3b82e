//! Captures: a run in a file.
