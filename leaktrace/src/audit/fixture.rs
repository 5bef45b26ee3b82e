//! Built facts for tests.
