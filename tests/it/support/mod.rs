//! What several tests need.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod openai_server;
