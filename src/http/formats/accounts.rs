//! Account formats that surfaces share: sign-in, tokens, user.

use aggregates::values::{EmailAddress, Username};
use chrono::{DateTime, Utc};
use projections::users::query::UserRow;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::sign_in::SignedIn;
use crate::auth::passwords;

/// A sign-in, as JSON or as a form.
#[derive(Deserialize, JsonSchema)]
#[schemars(transform = one_name)]
pub(in crate::http) struct LoginRequest {
    /// Email address or user name.
    #[serde(alias = "email")]
    #[schemars(length(min = Username::MIN_CHARS, max = EmailAddress::MAX_BYTES), extend("format" = "login-name"))]
    pub(in crate::http) username: String,
    /// Password.
    pub(in crate::http) password: String,
}

/// Allows the name under `email` as well, and requires exactly one of both.
fn one_name(schema: &mut Schema) {
    if let Some(Value::Object(properties)) = schema.ensure_object().get_mut("properties")
        && let Some(name) = properties.get("username").cloned()
    {
        properties.insert("email".to_owned(), name);
    }
    schema.insert("required".to_owned(), json!(["password"]));
    schema.insert("oneOf".to_owned(), json!([{"required": ["username"]}, {"required": ["email"]}]));
}

/// A registration.
#[derive(Deserialize, JsonSchema)]
pub(in crate::http) struct RegisterRequest {
    /// Email address.
    #[schemars(transform = email_address)]
    pub(in crate::http) email: String,
    /// User name: 3 to 32 letters and digits (of any script), dots, dashes, underscores.
    #[schemars(transform = user_name)]
    pub(in crate::http) username: Option<String>,
    /// Password: 8 to 128 characters with a letter and a digit; neither a very common password nor the email address.
    #[schemars(transform = new_password)]
    pub(in crate::http) password: String,
}

/// Adds the rule for email addresses, as far as a schema can express it.
pub(in crate::http) fn email_address(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("email"));
    schema.insert("maxLength".to_owned(), json!(EmailAddress::MAX_BYTES));
}

/// Adds the rule for user names, as far as a schema can express it.
pub(in crate::http) fn user_name(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("user-name"));
    schema.insert("minLength".to_owned(), json!(Username::MIN_CHARS));
    schema.insert("maxLength".to_owned(), json!(Username::MAX_CHARS));
}

/// Adds the rule for new passwords, as far as a schema can express it.
pub(in crate::http) fn new_password(schema: &mut Schema) {
    schema.insert("format".to_owned(), json!("password"));
    schema.insert("minLength".to_owned(), json!(passwords::MIN_CHARS));
    schema.insert("maxLength".to_owned(), json!(passwords::MAX_CHARS));
    schema.insert("pattern".to_owned(), json!(passwords::PATTERN));
    schema.insert("description".to_owned(), json!(format!("New password: {}.", passwords::rule())));
}

/// A user.
#[derive(Clone, Serialize, JsonSchema)]
pub(in crate::http) struct User {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    is_active: bool,
    created_at: DateTime<Utc>,
    /// Role of the user: `user`, `auditor` or `admin`.
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
    /// Seconds until the access token expires.
    expires_in: u64,
    /// The access token again, under the name that some clients read.
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
