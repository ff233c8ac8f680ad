//! Formats of accounts that doors share: sign-in, tokens, the user.

use chrono::{DateTime, Utc};
use projections::users::query::UserRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::accounts::SignedIn;

/// A sign-in, as JSON or as a form.
#[derive(Deserialize, JsonSchema)]
pub(super) struct LoginRequest {
    /// E-mail address or user name.
    #[serde(alias = "email")]
    pub(super) username: String,
    /// Password.
    pub(super) password: String,
}

/// A new account.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RegisterRequest {
    /// E-mail address.
    pub(super) email: String,
    /// User name: 3 to 32 letters, digits, dots, dashes, underscores.
    pub(super) username: Option<String>,
    /// Password: 8 to 128 characters, with a letter and a digit.
    pub(super) password: String,
}

/// A user.
#[derive(Clone, Serialize, JsonSchema)]
pub(super) struct User {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    is_active: bool,
    created_at: DateTime<Utc>,
    /// What the user may do besides their own things: `user`, `auditor` or `admin`.
    role: String,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.user_id,
            username: row.username,
            email: row.email,
            is_active: row.is_active,
            created_at: row.created_at,
            role: row.role,
        }
    }
}

/// Tokens of a login.
#[derive(Serialize, JsonSchema)]
pub(super) struct TokenAnswer {
    access_token: String,
    refresh_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// Seconds until the access token ends.
    expires_in: u64,
    /// The access token once more, under the name that some clients read.
    token: String,
    user: User,
}

impl From<SignedIn> for TokenAnswer {
    fn from(signed_in: SignedIn) -> Self {
        Self {
            token: signed_in.tokens.access.clone(),
            access_token: signed_in.tokens.access,
            refresh_token: signed_in.tokens.refresh,
            token_type: "bearer",
            expires_in: signed_in.tokens.expires_in,
            user: signed_in.user.into(),
        }
    }
}
