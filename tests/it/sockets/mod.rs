//! WebSockets, over real ones: who is let in, what is said and told, what is refused, and how they end.

mod bounds;
mod branches;
pub(crate) mod client;
mod cut;
mod doors;
mod edges;
mod going_down;
mod nodes;
mod resume;
mod rewound;
mod talk;
