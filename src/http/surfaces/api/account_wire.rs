//! Account formats: logins, changes, password resets, administration, audit.

use chrono::{DateTime, Utc};
use projections::users::query::UserRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::Actor;
use crate::app::accounts::administration::{ManagedUser, Role};
use crate::app::audit::{AuditPage, AuditedEvent, PublicEvent};
use crate::auth::logins::LoginRow;
use crate::http::formats::accounts::{email_address, new_password, user_name};

/// Roles of users.
const ROLES: [&str; 3] = [Role::User.as_str(), Role::Auditor.as_str(), Role::Admin.as_str()];

/// A request for a password reset.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ForgotRequest {
    /// Email address of the account.
    #[schemars(transform = email_address)]
    pub(super) email: String,
}

/// The response to every reset request, whether or not the account exists.
#[derive(Serialize, JsonSchema)]
pub(super) struct ForgotAnswer {
    /// One sentence for users.
    detail: &'static str,
}

impl Default for ForgotAnswer {
    fn default() -> Self {
        Self { detail: "If an account has this address, an email was sent to it." }
    }
}

/// A password reset.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ResetRequest {
    /// Token from the email.
    pub(super) token: String,
    /// New password; the same rule as for registration.
    #[schemars(transform = new_password)]
    pub(super) password: String,
}

/// A change of the email address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EmailRequest {
    /// New email address.
    #[schemars(transform = email_address)]
    pub(super) email: String,
    /// Current password.
    pub(super) password: String,
}

/// A change of the user name.
#[derive(Deserialize, JsonSchema)]
pub(super) struct UsernameRequest {
    /// New user name: 3 to 32 letters and digits (of any script), dots, dashes, underscores.
    #[schemars(transform = user_name)]
    pub(super) username: String,
}

/// Live logins of the user, newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct LoginsAnswer {
    pub(super) items: Vec<LoginItem>,
}

/// A live login.
#[derive(Serialize, JsonSchema)]
pub(super) struct LoginItem {
    id: Uuid,
    /// Time of the sign-in.
    created_at: DateTime<Utc>,
    /// Time of the last sign-in or refresh.
    last_used_at: DateTime<Utc>,
    /// Time at which the login expires if it is not used again.
    runs_out_at: DateTime<Utc>,
    /// Whether the request belongs to this login.
    current: bool,
    /// Kind of client program, such as `Firefox on Linux`; null if unknown.
    device: Option<String>,
}

impl LoginItem {
    pub(super) fn of(row: LoginRow, actor: Actor) -> Self {
        Self {
            id: row.login_id.uuid(),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            runs_out_at: row.runs_out_at,
            current: row.login_id == actor.login,
            device: row.device,
        }
    }
}

/// Cursor and size of a page of users.
#[derive(Deserialize, JsonSchema)]
pub(super) struct UsersQuery {
    /// Cursor: the id of the last user of the previous page.
    pub(super) after: Option<Uuid>,
    /// 1 to 100.
    #[serde(default = "default_users")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) limit: i64,
}

fn default_users() -> i64 {
    50
}

/// A page of users, ordered by id.
#[derive(Serialize, JsonSchema)]
pub(super) struct UsersPage {
    pub(super) items: Vec<UserItem>,
    pub(super) has_more: bool,
    /// Cursor of the next page.
    pub(super) after: Option<Uuid>,
}

/// A user, as administrators see it.
#[derive(Serialize, JsonSchema)]
pub(super) struct UserItem {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    /// `user`, `auditor` or `admin`.
    #[schemars(extend("enum" = ROLES))]
    role: String,
    is_active: bool,
    created_at: DateTime<Utc>,
    password_changed_at: Option<DateTime<Utc>>,
}

impl From<UserRow> for UserItem {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.user_id,
            username: row.username,
            email: row.email,
            role: row.role,
            is_active: row.is_active,
            created_at: row.created_at,
            password_changed_at: row.password_changed_at,
        }
    }
}

/// A user with its number of live logins.
#[derive(Serialize, JsonSchema)]
pub(super) struct UserAnswer {
    #[serde(flatten)]
    user: UserItem,
    /// Number of live logins.
    live_logins: usize,
}

impl From<ManagedUser> for UserAnswer {
    fn from(managed: ManagedUser) -> Self {
        Self { user: managed.row.into(), live_logins: managed.live_logins }
    }
}

/// A change of role.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleRequest {
    /// `user`, `auditor` or `admin`.
    #[schemars(extend("enum" = ROLES))]
    pub(super) role: String,
}

/// Cursor and size of a page of events.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EventsQuery {
    /// Cursor: the position of the last event read.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub(super) after: i64,
    /// Number of events to read, including those without a public form: 1 to 500.
    #[serde(default = "default_events")]
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: i64,
}

fn default_events() -> i64 {
    100
}

/// A page of the log, in order.
#[derive(Serialize, JsonSchema)]
pub(super) struct EventsPage {
    items: Vec<EventItem>,
    has_more: bool,
    /// Cursor of the next page.
    after: i64,
}

impl From<AuditPage> for EventsPage {
    fn from(page: AuditPage) -> Self {
        Self {
            items: page.events.into_iter().map(EventItem::from).collect(),
            has_more: page.has_more,
            after: page.after,
        }
    }
}

/// An event in its public form, and the user who caused it.
#[derive(Serialize, JsonSchema)]
struct EventItem {
    #[serde(flatten)]
    event: PublicEvent,
    /// User who caused the event; null for the system and for requests without a token.
    actor: Option<Uuid>,
    /// Surface that received the command, or the part of the system that acted on its own.
    surface: String,
}

impl From<AuditedEvent> for EventItem {
    fn from(audited: AuditedEvent) -> Self {
        Self { event: audited.event, actor: audited.actor, surface: audited.surface }
    }
}
