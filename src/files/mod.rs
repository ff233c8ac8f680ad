//! Files that people bring: which are taken, where their bytes lie, and how they go.
//!
//! [`kind`] and [`picture`] look at a file before it is taken · [`incoming`] gathers it · [`store`] keeps its bytes ·
//! [`mod@contents`] gives them to a prompt · [`sweep`] removes what no file has.
//!
//! Bytes first, then the event: a file that the log knows is there. The use cases are in
//! [`crate::app::files`].

pub mod contents;
pub mod incoming;
pub mod kind;
pub mod picture;
pub mod store;
pub mod sweep;

pub use contents::{Budget, Content, ContentsError, FileContent, bytes, contents};
pub use incoming::{Arrived, Incoming, IncomingError};
pub use kind::{FileKind, KindError};
pub use store::{FileStore, Key, StoreError};
pub use sweep::FileSweep;
