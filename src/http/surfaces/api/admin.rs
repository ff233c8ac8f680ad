//! `/api/admin/*` and `/api/audit/*`: for administrators and auditors.

use aggregates::ids::UserId;
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with, put_with};
use axum::Json;
use axum::extract::State;

use super::account_wire::{
    EventsPage, EventsQuery, RoleRequest, UserAnswer, UserItem, UsersPage, UsersQuery,
};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::{Administrator, Auditor};
use crate::http::extract::{Command, EmptyCommand, PathId, Query};
use crate::http::formats::answer::{Answer, Done};
use crate::http::openapi::failures::may_fail_with;

const TAG: &str = "administration";

/// Returns the routes of administration and audit.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/admin/users",
            get_with(users, |op| {
                op.id("admin_users").tag(TAG).summary("List users").response::<200, Json<UsersPage>>()
            }),
        )
        .api_route(
            "/api/admin/users/{id}",
            get_with(user, |op| {
                op.id("admin_user").tag(TAG).summary("Get a user").response::<200, Json<UserAnswer>>()
            }),
        )
        .api_route(
            "/api/admin/users/{id}/role",
            put_with(grant_role, |op| {
                op.id("grant_role")
                    .tag(TAG)
                    .summary("Change the role of a user")
                    .description("The last administrator cannot be demoted.")
                    .with(may_fail_with(&[409]))
                    .response::<200, Json<UserItem>>()
            }),
        )
        .api_route(
            "/api/admin/users/{id}/deactivate",
            post_with(deactivate, |op| {
                op.id("admin_deactivate")
                    .tag(TAG)
                    .summary("Close a user's account and end all logins")
                    .with(may_fail_with(&[409]))
            }),
        )
        .api_route(
            "/api/admin/users/{id}/logins/end",
            post_with(end_logins, |op| {
                op.id("admin_end_logins").tag(TAG).summary("End all logins of a user")
            }),
        )
        .api_route(
            "/api/audit/events",
            get_with(events, |op| {
                op.id("audit_events")
                    .tag(TAG)
                    .summary("Read the log in its public form")
                    .description(
                        "Ids, times and numbers, no text of users. Some events have no public form: a page can have fewer than `limit` \
                         items, even none, and `has_more`.",
                    )
                    .response::<200, Json<EventsPage>>()
            }),
        )
}

async fn users(
    State(state): State<ApiState>,
    _: Administrator,
    Query(query): Query<UsersQuery>,
) -> Result<Answer<UsersPage>, ApiError> {
    let (rows, has_more) =
        state.services.accounts.users_page(query.after.map(UserId::new), query.limit).await?;
    let after = rows.last().filter(|_| has_more).map(|row| row.user_id);
    let items = rows.into_iter().map(UserItem::from).collect();
    Ok(Answer::ok(UsersPage { items, has_more, after }))
}

async fn user(
    State(state): State<ApiState>,
    _: Administrator,
    PathId(id): PathId,
) -> Result<Answer<UserAnswer>, ApiError> {
    Ok(Answer::ok(state.services.accounts.managed_user(UserId::new(id)).await?.into()))
}

async fn grant_role(
    State(state): State<ApiState>,
    Administrator(actor): Administrator,
    PathId(id): PathId,
    command: Command<RoleRequest>,
) -> Result<Answer<UserItem>, ApiError> {
    let Command { context, body } = command;
    let (row, position) =
        state.services.accounts.grant_role(&context, actor, UserId::new(id), &body.role).await?;
    Ok(Answer::ok(row.into()).with_position(position))
}

async fn deactivate(
    State(state): State<ApiState>,
    Administrator(actor): Administrator,
    PathId(id): PathId,
    EmptyCommand { context }: EmptyCommand,
) -> Result<Done, ApiError> {
    let position = state.services.accounts.deactivate_user(&context, actor, UserId::new(id)).await?;
    Ok(Done { position })
}

async fn end_logins(
    State(state): State<ApiState>,
    Administrator(actor): Administrator,
    PathId(id): PathId,
) -> Result<Done, ApiError> {
    state.services.accounts.end_logins_of(actor, UserId::new(id)).await?;
    Ok(Done { position: None })
}

async fn events(
    State(state): State<ApiState>,
    Auditor(actor): Auditor,
    Query(query): Query<EventsQuery>,
) -> Result<Answer<EventsPage>, ApiError> {
    Ok(Answer::ok(state.services.audit.audit_events(actor, query.after, query.limit).await?.into()))
}
