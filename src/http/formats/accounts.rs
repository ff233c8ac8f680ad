//! Formats of accounts that doors share: sign-in, tokens, the user.

use aggregates::values::{EmailAddress, Username};
use chrono::{DateTime, Utc};
use projections::users::query::UserRow;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::sign_in::SignedIn;
use crate::auth::passwords::{MAX_CHARS, MIN_CHARS};

/// A sign-in, as JSON or as a form.
#[derive(Deserialize, JsonSchema)]
#[schemars(transform = one_name)]
pub(in crate::http) struct LoginRequest {
    /// E-mail address or user name.
    #[serde(alias = "email")]
    #[schemars(length(min = Username::MIN_CHARS, max = EmailAddress::MAX_BYTES), extend("format" = "login-name"))]
    pub(in crate::http) username: String,
    /// Password.
    pub(in crate::http) password: String,
}

/// Tells that the name may be called `email` as well, and has to be there once.
fn one_name(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.ensure_object().get_mut("properties")
        && let Some(name) = properties.get("username").cloned()
    {
        properties.insert("email".to_owned(), name);
    }
    schema.insert("required".to_owned(), json!(["password"]));
    schema.insert("oneOf".to_owned(), json!([{"required": ["username"]}, {"required": ["email"]}]));
}

/// A new account.
#[derive(Deserialize, JsonSchema)]
pub(in crate::http) struct RegisterRequest {
    /// E-mail address.
    #[schemars(transform = email_address)]
    pub(in crate::http) email: String,
    /// User name: 3 to 32 letters and digits (of any script), dots, dashes, underscores.
    #[schemars(transform = user_name)]
    pub(in crate::http) username: Option<String>,
    /// Password: 8 to 128 characters, with a letter and a digit; not one of the most common ones, nor the address.
    #[schemars(transform = new_password)]
    pub(in crate::http) password: String,
}

/// The rule for addresses, as far as a schema can tell it.
pub(in crate::http) fn email_address(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("email"));
    schema.insert("maxLength".to_owned(), json!(EmailAddress::MAX_BYTES));
}

/// The rule for user names, as far as a schema can tell it.
pub(in crate::http) fn user_name(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("user-name"));
    schema.insert("minLength".to_owned(), json!(Username::MIN_CHARS));
    schema.insert("maxLength".to_owned(), json!(Username::MAX_CHARS));
}

/// The rule for new passwords, as far as a schema can tell it.
pub(in crate::http) fn new_password(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("password"));
    schema.insert("minLength".to_owned(), json!(MIN_CHARS));
    schema.insert("maxLength".to_owned(), json!(MAX_CHARS));
    schema.insert("pattern".to_owned(), json!("[A-Za-z][^\\u0000]*[0-9]|[0-9][^\\u0000]*[A-Za-z]"));
}

/// A user.
#[derive(Clone, Serialize, JsonSchema)]
pub(in crate::http) struct User {
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
pub(in crate::http) struct TokenAnswer {
    access_token: String,
    refresh_token: String,
    /// Always `bearer`.
    #[schemars(extend("const" = "bearer"))]
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
