//! Rejections of a claim's commands.

use thiserror::Error;

/// A rejected command. It writes no events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Another user holds the value.
    #[error("the value is taken")]
    Taken,
}
