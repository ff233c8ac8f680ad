//! Uploaded files: allowed types, where bytes are stored, and how they are removed.
//!
//! [`kind`] and [`picture`] inspect a file · [`upload_buffer`] receives it · [`store`] stores its bytes ·
//! [`mod@contents`] loads them for a prompt · [`sweep`] removes orphaned bytes.
//!
//! Bytes are written before the event, so every file in the log has its bytes. The use cases are in
//! [`crate::app::files`].

pub mod contents;
pub mod kind;
pub mod picture;
pub mod store;
pub mod sweep;
pub mod upload_buffer;

pub use contents::{Budget, Content, ContentsError, FileContent, bytes, contents};
pub use kind::{FileKind, KindError};
pub use store::{FileStore, Key, StoreError};
pub use sweep::FileSweep;
pub use upload_buffer::{ReceivedBytes, UploadBuffer, UploadError};
