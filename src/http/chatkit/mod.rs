//! The ChatKit door: one endpoint for everything that its front end asks, and what stands around it.
//!
//! [`wire`] holds its formats; [`accounts`] signs people up and in.

pub mod accounts;
pub mod wire;

use aide::axum::ApiRouter;
use axum::Extension;

use super::Doors;
use super::extract::Surface;

/// Every route of this door.
pub fn routes() -> ApiRouter<Doors> {
    ApiRouter::new().merge(accounts::routes()).layer(Extension(Surface("chatkit")))
}
