//! Faults between the program and what it needs: networks that stand still, break off or lose one answer, databases and
//! NATS servers that go away, clients that hang up, and everything at once from everywhere.
//!
//! [`proxy`] makes the faults of networks, and [`proxy_works`] shows that it does.

mod answers;
mod database;
mod hang_ups;
mod lag;
mod messages;
mod nodes;
mod proxied;
mod proxy;
mod proxy_works;
mod races;
mod refusals;
mod versions;
