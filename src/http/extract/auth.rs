//! Authentication: the bearer token of a request, and extractors for roles.

use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};

use crate::app::accounts::administration::Role;
use crate::app::sign_in::Authenticated;
use crate::app::{Actor, AppError};
use crate::auth::device;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::openapi::failures::add_failures;

/// Name of the bearer scheme in the API description.
pub const SCHEME: &str = "bearer";
/// Name of the query parameter that carries an access token, for WebSockets only.
pub const QUERY_TOKEN: &str = "token";
/// Name of the query parameter that carries a ticket, for WebSockets only.
pub const QUERY_TICKET: &str = "ticket";

/// A signed-in user. Every route that takes this requires a valid token.
#[derive(Debug, Clone, Copy)]
pub struct SignedIn(pub Actor);

impl FromRequestParts<ApiState> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or_else(AppError::invalid_token)?;
        let actor = state.services.sign_in.authenticate(token).await?.actor;
        if parts.method.is_safe() {
            state.services.rate_limits.count_read(actor)?;
        } else {
            state.services.rate_limits.count_command(actor)?;
        }
        Ok(Self(actor))
    }
}

/// Returns the token of the only `Authorization: Bearer …` header. A second header or another scheme yields no token.
pub(in crate::http) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ')).then_some(token)
}

/// A signed-in user and the expiry of the token. Unlike [`SignedIn`], this does not count against the rate limits:
/// WebSocket frames count one by one, and `/chatkit` reads the kind of request from the body.
#[derive(Debug, Clone, Copy)]
pub struct BearerToken(pub Authenticated);

impl FromRequestParts<ApiState> for BearerToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or_else(AppError::invalid_token)?;
        Ok(Self(state.services.sign_in.authenticate(token).await?))
    }
}

/// A signed-in administrator. Other users get 403.
#[derive(Debug, Clone, Copy)]
pub struct Administrator(pub Actor);

impl FromRequestParts<ApiState> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let SignedIn(actor) = SignedIn::from_request_parts(parts, state).await?;
        state.services.accounts.require(actor, Role::Admin).await?;
        Ok(Self(actor))
    }
}

impl OperationInput for Administrator {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        SignedIn::operation_input(ctx, operation);
        add_failures(operation, &[403]);
    }
}

/// A signed-in auditor or administrator. Other users get 403.
#[derive(Debug, Clone, Copy)]
pub struct Auditor(pub Actor);

impl FromRequestParts<ApiState> for Auditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let SignedIn(actor) = SignedIn::from_request_parts(parts, state).await?;
        state.services.accounts.require(actor, Role::Auditor).await?;
        Ok(Self(actor))
    }
}

impl OperationInput for Auditor {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        SignedIn::operation_input(ctx, operation);
        add_failures(operation, &[403]);
    }
}

/// Kind of client program, if known; see [`device`].
#[derive(Debug, Clone)]
pub struct Device(pub Option<String>);

impl FromRequestParts<ApiState> for Device {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(user_agent.and_then(device::named)))
    }
}

impl OperationInput for Device {}

impl OperationInput for BearerToken {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        SignedIn::operation_input(ctx, operation);
    }
}

impl OperationInput for SignedIn {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        add_failures(operation, &[401]);
        operation.security.push([(SCHEME.to_owned(), Vec::new())].into_iter().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn exactly_one_bearer_token_is_accepted() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Some("abc"));
        for refused in
            [&["Basic abc"][..], &["Bearer"], &["Bearer "], &["Bearer a b"], &["Bearer a", "Bearer a"], &[]]
        {
            assert_eq!(bearer(&headers(refused)), None, "{refused:?}");
        }
    }
}
