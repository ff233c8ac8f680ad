//! Wire formats that several surfaces share.

pub mod accounts;
pub mod answer;
pub mod reply;
