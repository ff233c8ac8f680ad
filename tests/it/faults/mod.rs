//! Fault injection around the program: networks that freeze, reset or lose one response, databases and NATS servers that
//! are down, clients that hang up, and many concurrent requests at two nodes.
//!
//! * [`proxy`] injects network faults, [`proxy_tests`] tests it, [`proxied`] puts one in front of the database;
//! * [`database`]: the database freezes, goes down, comes back; [`lost_commits`]: the response to a commit is lost;
//! * [`database_errors`]: how errors of the database are handled; [`versions`]: the log has events of a newer version;
//! * [`streams`]: failing queries do not disconnect followers;
//! * [`lag`] and [`nodes`]: open transactions and frozen processes delay no other process;
//! * [`messages`]: JetStream messages are duplicated or lost, and operators change consumers;
//! * [`races`] and [`hang_ups`]: concurrent clients, and clients that hang up.
//!
//! `kill` kills whole processes, including two nodes at once.

mod database;
mod database_errors;
mod hang_ups;
mod lag;
mod lost_commits;
mod messages;
mod nodes;
mod proxied;
mod proxy;
mod proxy_tests;
mod races;
mod streams;
mod versions;
