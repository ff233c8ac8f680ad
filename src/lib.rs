//! Verbatim: an event-sourced chat backend.
//!
//! Data flows in one direction: [`http`] (API surfaces) → [`app`] (use cases) → `aggregates` (pure decisions) →
//! [`event_store`] (the append) → events in Postgres → `projections` (read models) and [`live`] (streams).
//! [`replies`] calls AI providers ([`ai`]) for pending replies, with [`tools`], and appends the answers through
//! [`event_store`]. [`relay`] publishes the public part of the log over [`nats`].
//!
//! [`widgets`] is the language of structured answers · [`files`] stores uploaded bytes · [`mail`] sends mail ·
//! [`quotas`] limits usage · [`auth`] signs users in · [`audit_log`] records security events. [`bootstrap`] assembles the
//! parts; [`config`], [`embedded`], [`telemetry`] and [`lifecycle`] support them.

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

/// Version of this program, shown in metadata and at `/`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
