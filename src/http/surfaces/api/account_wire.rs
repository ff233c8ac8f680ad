//! The formats of accounts in depth: logins, changes, resets, administration, the audit of the log.

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

/// What people may do besides their own things.
const ROLES: [&str; 3] = [Role::User.as_str(), Role::Auditor.as_str(), Role::Admin.as_str()];

/// Whose password was forgotten.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ForgotRequest {
    /// The account's e-mail address.
    #[schemars(transform = email_address)]
    pub(super) email: String,
}

/// The answer to everybody.
#[derive(Serialize, JsonSchema)]
pub(super) struct ForgotAnswer {
    /// One sentence for people.
    detail: &'static str,
}

impl Default for ForgotAnswer {
    fn default() -> Self {
        Self { detail: "If there is an account with this address, a mail is on its way to it." }
    }
}

/// A token and what it is exchanged for.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ResetRequest {
    /// The token, as it stood in the mail.
    pub(super) token: String,
    /// The new password: the rule is that of registration.
    #[schemars(transform = new_password)]
    pub(super) password: String,
}

/// Another address.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EmailRequest {
    /// The address from now on.
    #[schemars(transform = email_address)]
    pub(super) email: String,
    /// The present password.
    pub(super) password: String,
}

/// Another user name.
#[derive(Deserialize, JsonSchema)]
pub(super) struct UsernameRequest {
    /// The name from now on: 3 to 32 letters and digits (of any script), dots, dashes, underscores.
    #[schemars(transform = user_name)]
    pub(super) username: String,
}

/// Where somebody is signed in, the newest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct LoginsAnswer {
    pub(super) items: Vec<LoginItem>,
}

/// A live login.
#[derive(Serialize, JsonSchema)]
pub(super) struct LoginItem {
    id: Uuid,
    /// When somebody signed in.
    created_at: DateTime<Utc>,
    /// The last sign-in or refresh.
    last_used_at: DateTime<Utc>,
    /// When it runs out if it is not used again.
    runs_out_at: DateTime<Utc>,
    /// Whether it is the one that asks.
    current: bool,
    /// The kind of program that signed in, such as `Firefox on Linux`; null when it is not known.
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

/// Which users.
#[derive(Deserialize, JsonSchema)]
pub(super) struct UsersQuery {
    /// Those behind the user with this id; the first ones when none is given.
    pub(super) after: Option<Uuid>,
    /// 1 to 100.
    #[serde(default = "default_users")]
    #[schemars(range(min = 1, max = 100))]
    pub(super) limit: i64,
}

fn default_users() -> i64 {
    50
}

/// A page of users, in the order of their ids.
#[derive(Serialize, JsonSchema)]
pub(super) struct UsersPage {
    pub(super) items: Vec<UserItem>,
    pub(super) has_more: bool,
    /// Cursor of the next page.
    pub(super) after: Option<Uuid>,
}

/// A user, as administrators see one.
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

/// A user, as administrators see one when they look closer.
#[derive(Serialize, JsonSchema)]
pub(super) struct UserAnswer {
    #[serde(flatten)]
    user: UserItem,
    /// How many logins are live.
    live_logins: usize,
}

impl From<ManagedUser> for UserAnswer {
    fn from(managed: ManagedUser) -> Self {
        Self { user: managed.row.into(), live_logins: managed.live_logins }
    }
}

/// Another role.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleRequest {
    /// `user`, `auditor` or `admin`.
    #[schemars(extend("enum" = ROLES))]
    pub(super) role: String,
}

/// Which events.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EventsQuery {
    /// Those behind this position.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub(super) after: i64,
    /// How many of the log are looked at: 1 to 500.
    #[serde(default = "default_events")]
    #[schemars(range(min = 1, max = 500))]
    pub(super) limit: i64,
}

fn default_events() -> i64 {
    100
}

/// A part of the log, in its order.
#[derive(Serialize, JsonSchema)]
pub(super) struct EventsPage {
    items: Vec<EventItem>,
    has_more: bool,
    /// Position behind which the next part begins.
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

/// An event in its public form, and who caused it.
#[derive(Serialize, JsonSchema)]
struct EventItem {
    #[serde(flatten)]
    event: PublicEvent,
    /// The user who asked for it; null: the system acted on its own, or nobody was signed in.
    actor: Option<Uuid>,
    /// The door it came through, or the part of the system that acted on its own.
    surface: String,
}

impl From<AuditedEvent> for EventItem {
    fn from(audited: AuditedEvent) -> Self {
        Self { event: audited.event, actor: audited.actor, surface: audited.surface }
    }
}
