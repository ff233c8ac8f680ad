//! Transport: the accept loop, the middleware around every route, and the streaming of replies.

pub mod client_address;
pub mod metrics;
pub mod middleware;
pub mod rate_limits;
pub mod request_id;
pub mod serve;
pub mod sse;
