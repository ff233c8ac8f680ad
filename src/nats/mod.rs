//! NATS: the connection, and the names of streams and subjects.
//!
//! NATS reduces latency and reaches other processes; it is never the source of truth. Whatever is lost there is recreated
//! from the log: see [`crate::relay`].

pub mod connection;
pub mod names;
pub mod stream;

pub use connection::Nats;
pub use names::Names;
