//! WebSockets, for every door: who is let in ([`UpgradeRequest`]), and the conversation with a client (`session`).
//!
//! A door has a route that takes a [`UpgradeRequest`] and hands it to [`UpgradeRequest::open`]. The frames are those of [`super::frames`].
//!
//! Limits, each with its close code: frames and messages of 64 KiB (1009), text only (1003), UTF-8 (1007), 100 frames a
//! second (1008), a client that takes nothing of what is there for it (1008) or answers no ping. A process that goes down
//! closes with 1001, an ended token or login with 4401; a client comes back with the last `position` and the last ids it has.

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

/// The largest frame, and the largest message of several frames, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// What the library takes before it gives up reading: enough for the end of the conversation to be told in order when a
/// frame is a little too large.
const MAX_READ_BYTES: usize = 2 * MAX_FRAME;
/// Read at a time. Each open socket holds as much.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// The largest frame of ours: a reply of control characters, each of which takes six in JSON, with all its attempts. A bound,
/// not what is held.
const MAX_WRITE_BUFFER_BYTES: usize = 1024 * 1024;
/// What a client may send in a second, in bytes: fragments that never become a message count too.
const MAX_BYTES_PER_SECOND: u64 = 256 * 1024;

/// How a socket is opened.
#[derive(Debug, Default, Deserialize)]
struct UpgradeQuery {
    /// An access token, for clients that cannot set a header and have no ticket.
    token: Option<String>,
    /// A ticket.
    ticket: Option<String>,
    /// The position of the last item that has arrived: what came after it is sent first.
    after: Option<i64>,
}

/// What the API's description tells of [`UpgradeQuery`] as parameters; the rest it tells as ways to be let in.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct PositionQuery {
    /// The position of the last item that has arrived: what came after it is sent first.
    #[schemars(range(min = 0))]
    after: Option<i64>,
}

/// Somebody who may open a socket.
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
        // Whoever opens one after the other costs as much as with commands.
        state.services.rate_limits.count_command(authenticated.actor)?;
        let after = match query.after {
            Some(after) => Some(state.services.connections.known_position(after).await?),
            None => None,
        };
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await.map_err(|_| {
            ApiError::http(
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_required",
                "This is a WebSocket: the request has to ask for an upgrade, as RFC 6455 says.",
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
    /// Lets the client in.
    ///
    /// # Errors
    /// 429 when the person has too many sockets open; that they open them too often was said before.
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
        // Shutdown waits for sockets, although the library starts their tasks.
        let tracked = state.services.tasks.token();
        let span = tracing::info_span!("socket", socket.id = %session.id());
        Ok(upgrade
            .max_message_size(MAX_READ_BYTES)
            .max_frame_size(MAX_READ_BYTES)
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
            .on_failed_upgrade(|error| tracing::debug!(%error, "a socket was not opened in the end"))
            .on_upgrade(move |socket| {
                async move {
                    session.run(socket).await;
                    drop(tracked);
                }
                .instrument(span)
            }))
    }
}

/// Browsers tell which page opens a socket, and no rule of theirs keeps a foreign page from it. Without an origin it is
/// no browser, and the token alone counts.
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
    Err(AppError::new(Kind::Forbidden, "origin_not_allowed", "Pages of this origin may not open a socket.")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_listed_origins_and_our_own_may_open_a_socket() {
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
