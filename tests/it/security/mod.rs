//! Attacks, each with what has to come of it. What one part alone defends is tested beside that part; docs/security.md says
//! where each is.

mod browser;
mod injection;
mod matrix;
mod references;
pub(crate) mod smuggling;
