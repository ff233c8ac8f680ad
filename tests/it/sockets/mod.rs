//! WebSockets, over real ones: who is let in, what is said and told, what is refused, and how they end.

mod bounds;
mod client;
mod doors;
mod going_down;
mod nodes;
mod resume;
mod talk;
