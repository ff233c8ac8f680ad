//! NATS: the connection, and the names of what is kept there.
//!
//! NATS makes things fast and reaches other processes; it is never the truth. Whatever is lost there is made again from
//! the log: see [`crate::relay`].

pub mod connection;
pub mod names;
pub mod stream;

pub use connection::Nats;
pub use names::Names;
