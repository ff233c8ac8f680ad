//! The collection of requests in `docs/postman`.
