//! Verbatim: a chat backend that keeps every word as an event.
//!
//! The data's way, one direction: [`http`] (doors) → [`app`] (use cases) → `aggregates` (pure decisions)
//! → [`event_store`] (the append) → events in Postgres → `projections` (read models) and [`live`] (streams);
//! [`replies`] takes what is owed to an AI provider ([`ai`]) and records the answer through [`event_store`] again; [`relay`]
//! carries what may be public of the log to other systems over [`nats`].
//! [`widgets`] is the language of what doors show besides text. [`bootstrap`] puts the parts together; [`config`], [`embedded`], [`telemetry`] and [`lifecycle`] carry them.
//! [`mail`] sends what has to reach people by mail; [`audit_log`] is what those who watch for attacks are told.
//! carries what may be public of the log to other systems over [`nats`]; [`files`] keeps the bytes that people bring.
//! [`bootstrap`] puts the parts together; [`config`], [`embedded`], [`telemetry`] and [`lifecycle`] carry them.

pub mod ai;
pub mod app;
pub mod audit_log;
pub mod auth;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod config;
pub mod embedded;
pub mod fault_injection;
pub mod files;
pub mod http;
pub mod lifecycle;
pub mod live;
pub mod mail;
pub mod nats;
pub mod quotas;
pub mod relay;
pub mod replies;
pub mod schema;
pub mod telemetry;
pub mod tools;
pub mod widgets;

/// Version of this program, as it stands in metadata and in `/`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
