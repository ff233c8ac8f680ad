//! Opening of WebSockets: authentication, limits, the upgrade.
//!
//! Limits, each with its close code: frames and messages of 64 KiB (1009), text only (1003), UTF-8 (1007), 100 frames a
//! second (1008), a client that leaves its send buffer full (1008). A client that answers no ping is disconnected. A
//! shutdown closes with 1001, an expired token or ended login with 4401; clients reconnect with the last `position` and
//! ids they have.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::Instrument as _;

use super::session::Session;
use crate::app::connection_limits::ConnectionKind;
use crate::app::sign_in::Authenticated;
use crate::app::{AppError, Kind};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::Query;
use crate::http::extract::auth::{self, bearer};
use crate::http::openapi::failures::add_failures;
use crate::http::transport::middleware::CorsRule;
use crate::http::transport::serve::IngressLimiter;

/// Maximum size of a frame and of a message of several frames, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// Size at which the library stops reading. Twice [`MAX_FRAME`], so that a frame that is slightly too large still gets
/// a proper close frame.
const MAX_READ_BYTES: usize = 2 * MAX_FRAME;
/// Read buffer of each open socket.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Maximum size of a frame to send: a reply of control characters, six bytes each in JSON, with all its attempts. Not
/// allocated up front.
const MAX_WRITE_BUFFER_BYTES: usize = 1024 * 1024;
/// Maximum bytes that a client may send per second, including fragments that never become a message.
const MAX_BYTES_PER_SECOND: u64 = 256 * 1024;

/// Query parameters of the upgrade request.
#[derive(Debug, Default, Deserialize)]
struct UpgradeQuery {
    /// Access token, for clients that cannot set a header and have no ticket.
    token: Option<String>,
    /// Single-use ticket.
    ticket: Option<String>,
    /// Position of the last received item; later ones are sent first.
    after: Option<i64>,
}

/// Schema of the parameters that are not credentials. Those are described as security schemes.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct PositionQuery {
    /// Position of the last received item; later ones are sent first.
    #[schemars(range(min = 0))]
    after: Option<i64>,
}

/// An authenticated request to open a WebSocket.
#[derive(Debug)]
pub struct UpgradeRequest {
    authenticated: Authenticated,
    after: Option<i64>,
    upgrade: WebSocketUpgrade,
    ingress: Option<IngressLimiter>,
}

impl FromRequestParts<ApiState> for UpgradeRequest {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        check_origin(&parts.headers, &state.settings.cors)?;
        let Query(query) = Query::<UpgradeQuery>::from_request_parts(parts, state).await?;
        let authenticated = if parts.headers.contains_key(header::AUTHORIZATION) {
            state
                .services
                .sign_in
                .authenticate(bearer(&parts.headers).ok_or_else(AppError::invalid_token)?)
                .await?
        } else if let Some(ticket) = &query.ticket {
            state.services.sign_in.authenticate_by_ticket(ticket).await?
        } else {
            state
                .services
                .sign_in
                .authenticate(query.token.as_deref().ok_or_else(AppError::invalid_token)?)
                .await?
        };
        if state.services.stopping.is_cancelled() {
            return Err(AppError::shutting_down().into());
        }
        // Opening a connection counts like a command.
        state.services.rate_limits.count_command(authenticated.actor)?;
        let after = match query.after {
            Some(after) => Some(state.services.connections.known_position(after).await?),
            None => None,
        };
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await.map_err(|_| {
            ApiError::http(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_required",
                "This is a WebSocket: the request must ask for an upgrade (RFC 6455).",
            )
        })?;
        let ingress = parts.extensions.get::<IngressLimiter>().cloned();
        Ok(Self { authenticated, after, upgrade, ingress })
    }
}

impl OperationInput for UpgradeRequest {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Query::<PositionQuery>::operation_input(ctx, operation);
        add_failures(operation, &[400, 403, 426, 429]);
        auth::SignedIn::operation_input(ctx, operation);
        for scheme in [auth::QUERY_TOKEN, auth::QUERY_TICKET] {
            operation.security.push([(scheme.to_owned(), Vec::new())].into_iter().collect());
        }
    }
}

impl UpgradeRequest {
    /// Upgrades the connection and starts the session.
    ///
    /// # Errors
    /// 429 if the user has too many sockets open. The extractor has already enforced the rate limit.
    pub fn open(self, state: &ApiState, surface: &'static str) -> Result<Response, ApiError> {
        let Self { authenticated, after, upgrade, ingress } = self;
        let connection = state.services.connections.open(authenticated.actor, ConnectionKind::Socket)?;
        let session = Session::new(
            state.services.clone(),
            state.settings.sockets.clone(),
            surface,
            authenticated,
            connection,
            after,
        );
        if let Some(ingress) = ingress {
            ingress.limit(MAX_BYTES_PER_SECOND);
        }
        // The library spawns the session's task; the token makes shutdown wait for it.
        let tracked = state.services.tasks.token();
        let span = tracing::info_span!("socket", socket.id = %session.id());
        Ok(upgrade
            .max_message_size(MAX_READ_BYTES)
            .max_frame_size(MAX_READ_BYTES)
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
            .on_failed_upgrade(|error| tracing::debug!(%error, "WebSocket upgrade failed"))
            .on_upgrade(move |socket| {
                async move {
                    session.run(socket).await;
                    drop(tracked);
                }
                .instrument(span)
            }))
    }
}

/// Rejects pages of foreign origins: browsers send the origin but do not enforce CORS for WebSockets. A request without
/// an origin comes from no browser.
fn check_origin(headers: &HeaderMap, rule: &CorsRule) -> Result<(), ApiError> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let listed = match rule {
        CorsRule::Any => true,
        CorsRule::Listed(origins) => origins.contains(origin),
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = authority.is_some() && authority == host;
    if origins.next().is_none() && (listed || own) {
        return Ok(());
    }
    Err(AppError::new(
        Kind::Forbidden,
        "origin_not_allowed",
        "Pages of this origin may not open a WebSocket.",
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn foreign_origins_cannot_open_a_socket() {
        let rule = CorsRule::Listed(vec![HeaderValue::from_static("https://chat.example")]);
        let allowed = |origins: &[&'static str], rule: &CorsRule| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("api.example:8000"));
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            }
            check_origin(&headers, rule).is_ok()
        };
        assert!(allowed(&[], &rule), "no browser");
        assert!(allowed(&["https://chat.example"], &rule));
        assert!(allowed(&["http://api.example:8000"], &rule), "our own page");
        for refused in [
            "null",
            "",
            "x://api.example:8000",
            "https://chat.example.evil",
            "http://chat.example",
            "https://api.example",
            "https://evil",
        ] {
            assert!(!allowed(&[refused], &rule), "{refused}");
        }
        assert!(!allowed(&["https://chat.example", "https://chat.example"], &rule));
        assert!(allowed(&["https://anywhere"], &CorsRule::Any));
    }
}
