//! The door of the ChatKit protocol.
//!
//! [`files`] takes and gives files; [`attachment`] is how this protocol shows one.

pub mod attachment;
mod body;
pub mod files;

use aide::axum::ApiRouter;
use axum::Extension;

use super::Doors;
use super::extract::Surface;

/// Every route of this door.
pub fn routes() -> ApiRouter<Doors> {
    ApiRouter::new().merge(files::routes()).layer(Extension(Surface("chatkit")))
}
