//! What a file can be asked to do.

/// A wish concerning one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileCommand {}
