//! Tests attacks on the whole service. Attacks that a single module defends against are tested beside that module;
//! docs/security.md lists all of them.

mod browser;
mod injection;
mod matrix;
mod references;
pub(crate) mod smuggling;
