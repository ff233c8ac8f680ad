//! `/api/history`: conversations, messages, titles and flags.

use aggregates::ids::ConversationId;
use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;

use super::wire::{ChangeRequest, HistoryPage, HistoryQuery, MessagesPage, MessagesQuery, SessionItem};
use crate::app::conversations::Change;
use crate::app::{AppError, Kind};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::extract::{Command, EmptyCommand, PathId, Query};
use crate::http::formats::answer::{Answer, Done};
use crate::http::openapi::failures::may_fail_with;

const TAG: &str = "history";
/// Maximum page size.
pub(super) const MAX_PAGE: i64 = 100;
/// Maximum page number.
pub(super) const MAX_PAGE_NUMBER: i64 = 1_000_000;

/// Returns the routes of the history.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/history",
            get_with(list, |op| {
                op.id("history")
                    .tag(TAG)
                    .summary("List conversations, pinned ones first, then the most recent")
                    .response::<200, Json<HistoryPage>>()
            }),
        )
        .api_route(
            "/api/history/{id}",
            get_with(messages, |op| {
                op.id("messages")
                    .tag(TAG)
                    .summary("List the messages of a conversation, oldest first")
                    .description(
                        "Without `before`, the newest page; each page has the cursor of the previous one. Shows the path of the active \
                         branch, or of `branch`.",
                    )
                    .response::<200, Json<MessagesPage>>()
            })
            .patch_with(change, |op| {
                op.id("change_conversation")
                    .tag(TAG)
                    .summary("Rename, pin or archive a conversation")
                    .with(may_fail_with(&[409]))
                    .response::<200, Json<SessionItem>>()
            })
            .delete_with(delete, |op| {
                op.id("delete_conversation")
                    .tag(TAG)
                    .summary("Delete a conversation and cancel its pending replies")
            }),
        )
}

async fn list(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    Query(query): Query<HistoryQuery>,
) -> Result<Answer<HistoryPage>, ApiError> {
    between("page", query.page, MAX_PAGE_NUMBER)?;
    between("per_page", query.per_page, MAX_PAGE)?;
    let offset = (query.page - 1) * query.per_page;
    let (rows, total) =
        state.services.conversations.conversations(actor, query.archived, query.per_page, offset).await?;
    Ok(Answer::ok(HistoryPage {
        items: rows.into_iter().map(SessionItem::from).collect(),
        page: query.page,
        per_page: query.per_page,
        total,
    }))
}

async fn messages(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    Query(query): Query<MessagesQuery>,
) -> Result<Answer<MessagesPage>, ApiError> {
    between("limit", query.limit, MAX_PAGE)?;
    let limit = usize::try_from(query.limit).unwrap_or_default();
    let (services, conversation) = (&state.services, ConversationId::new(id));
    let mut rows = match query.branch {
        None => services.conversations.messages(actor, conversation, query.before, query.limit).await?,
        Some(branch) => {
            services
                .conversations
                .messages_of_branch(actor, conversation, branch, query.before, query.limit)
                .await?
        }
    };
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let before = rows.last().filter(|_| has_more).map(|row| row.position);
    Ok(Answer::ok(MessagesPage {
        session_id: id,
        items: rows.into_iter().rev().map(Into::into).collect(),
        has_more,
        before,
    }))
}

async fn change(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    command: Command<ChangeRequest>,
) -> Result<Answer<SessionItem>, ApiError> {
    let ChangeRequest { title, pinned, archived } = command.body;
    if title.is_none() && pinned.is_none() && archived.is_none() {
        return Err(AppError::new(Kind::Invalid, "nothing_to_change", "No fields to update.").into());
    }
    let change = Change { title, pinned, archived, ..Change::default() };
    let (row, position) = state
        .services
        .conversations
        .change_conversation(&command.context, actor, ConversationId::new(id), change)
        .await?;
    Ok(Answer::ok(row.into()).with_position(position))
}

async fn delete(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    command: EmptyCommand,
) -> Result<Done, ApiError> {
    let position = state
        .services
        .conversations
        .delete_conversation(&command.context, actor, ConversationId::new(id))
        .await?;
    Ok(Done { position })
}

pub(super) fn between(name: &str, value: i64, highest: i64) -> Result<(), AppError> {
    if (1..=highest).contains(&value) {
        return Ok(());
    }
    Err(AppError::new(Kind::Invalid, "out_of_range", format!("{name} must be between 1 and {highest}.")))
}
