//! Faults between the program and what it needs: networks that stand still, break off or lose one answer, databases and
//! NATS servers that go away, clients that hang up, and everything at once from everywhere.
//!
//! * [`proxy`] makes the faults of networks, [`proxy_works`] shows that it does, [`proxied`] puts one before a database;
//! * [`database`]: it stands still, goes away, comes back; [`answers`]: a commit whose answer is lost;
//! * [`refusals`]: what it refuses, and what becomes of that; [`versions`]: events of a newer version in it;
//! * [`streams`]: those who follow are not cut for it;
//! * [`lag`] and [`nodes`]: others' transactions, and processes that stand still, hold nobody up;
//! * [`messages`]: JetStream's come twice or never, and operators change consumers;
//! * [`races`] and [`hang_ups`]: many clients at once, and clients that do not wait.
//!
//! Kills of whole processes are in `kill`; two nodes at once are killed there, too.

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
mod streams;
mod versions;
