//! text (below)
