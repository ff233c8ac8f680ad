//! Actions on widgets. The browser controls the payload: it may name its target but is not trusted about its state.

use aggregates::ids::{ConversationId, QuizId};
use projections::messages::thread::{Entry, ThreadRow};
use serde_json::Value;

use super::endpoint::Caller;
use super::items::{Shown, item_id, text_of};
use super::wire::ThreadItem;
use super::wire::request::{Action, CustomAction};
use crate::app::AppError;
use crate::app::quizzes::QuizAction;
use crate::tools::quiz::quiz_card;
use crate::widgets::{WidgetUpdate, diff};

/// Maximum characters of an action that the model is shown.
const MAX_ACTION_CHARS: usize = 2_000;

/// Outcome of an action.
pub(super) enum Outcome {
    /// The widget changed.
    Changed {
        /// The item with the widget.
        item: Box<ThreadItem>,
        /// Updates for clients that show the old widget; the whole widget if they may show an older state.
        updates: Vec<WidgetUpdate>,
        /// Whether the action came from an outdated card; nothing was done then.
        stale: bool,
        /// Log position of the action.
        position: Option<i64>,
    },
    /// The action is unknown here, or had no effect.
    Nothing,
    /// The sending item is not a widget.
    NoWidget,
}

/// Carries out an action.
///
/// # Errors
/// `NotFound` for the thread or the item; `Invalid` for a question or a choice that the quiz does not have; those of
/// the log.
pub(super) async fn act(
    caller: &Caller,
    conversation: ConversationId,
    params: CustomAction,
) -> Result<Outcome, AppError> {
    let services = &caller.state.services;
    let Some(sender) = params.item_id.as_deref() else {
        // No item sent it: only check that the thread exists.
        services.conversations.conversation(caller.actor, conversation).await?;
        return Ok(Outcome::Nothing);
    };
    let sender = item_id(sender).ok_or_else(AppError::not_found)?;
    let row = services.conversations.item(caller.actor, conversation, sender).await?;
    match &row.entry {
        Entry::Quiz(_) => on_quiz(caller, &row, &params.action).await,
        Entry::Widget { .. } => {
            // The server does not know what the action means. Tell the model, which made the widget.
            let payload: String = params.action.payload.to_string().chars().take(MAX_ACTION_CHARS).collect();
            let note = format!("The user performed a widget action: {} {payload}", params.action.name);
            services.conversations.note(&caller.context, caller.actor, conversation, &note).await?;
            Ok(Outcome::Nothing)
        }
        _ => Ok(Outcome::NoWidget),
    }
}

async fn on_quiz(caller: &Caller, row: &ThreadRow, action: &Action) -> Result<Outcome, AppError> {
    let Some(action) = quiz_action(row, action) else { return Ok(Outcome::Nothing) };
    let services = &caller.state.services;
    let acted =
        services.quizzes.act_on_quiz(&caller.context, caller.actor, QuizId::new(row.id), action).await?;
    let now = ThreadRow { entry: Entry::Quiz(Some(Box::new(acted.view))), ..row.clone() };
    let (Entry::Quiz(Some(before)), Entry::Quiz(Some(after))) = (&row.entry, &now.entry) else {
        return Ok(Outcome::Nothing);
    };
    let (before, after) = (quiz_card(before), quiz_card(after));
    // If nothing changed, the client may still show an older card.
    let updates = if acted.changed { diff(&before, &after) } else { Vec::new() };
    let updates = if updates.is_empty() { vec![WidgetUpdate::Root(after)] } else { updates };
    let shown = Shown::of(&caller.state, &caller.base, caller.actor, &[]).await?;
    Ok(match shown.item(&now) {
        Some(item) => {
            Outcome::Changed { item: Box::new(item), updates, stale: acted.stale, position: acted.position }
        }
        None => Outcome::Nothing,
    })
}

/// Parses an action on a quiz; returns `None` for other actions and incomplete payloads.
fn quiz_action(row: &ThreadRow, action: &Action) -> Option<QuizAction> {
    let payload = &action.payload;
    let question_id = text_of(payload, "questionId")?.to_owned();
    if payload.get("answer").is_some_and(|answer| !answer.is_string() && !answer.is_null()) {
        return None;
    }
    let answer = text_of(payload, "answer").filter(|answer| !answer.is_empty()).map(str::to_owned);
    // After a reload, the card shows the selected choice while the form does not contain it.
    let marked = || match &row.entry {
        Entry::Quiz(Some(quiz)) if quiz.question.id == question_id => quiz.question.selected.clone(),
        _ => None,
    };
    Some(match action.name.as_str() {
        "mcq.select" => QuizAction::Select { choice: answer?, question_id },
        "mcq.submit" => {
            QuizAction::Submit { choice: answer.or_else(marked)?, attempt: attempt(payload), question_id }
        }
        "mcq.clear" => QuizAction::Clear { question_id },
        "mcq.next" => QuizAction::Next { question_id },
        "mcq.finish" => QuizAction::Finish { question_id },
        _ => return None,
    })
}

/// Parses the number of the try. An invalid number maps to one that never matches.
fn attempt(payload: &Value) -> Option<u32> {
    let attempt = payload.get("attempt").filter(|attempt| !attempt.is_null())?;
    Some(attempt.as_u64().and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(u32::MAX))
}
