//! Items of a conversation, as this protocol shows them.

use std::collections::HashMap;

use aggregates::ids::{FileId, MessageId};
use projections::conversations::query::ConversationRow;
use projections::files::query::FileRow;
use projections::messages::thread::{Entry, ThreadRow};
use serde_json::Value;
use uuid::Uuid;

use super::attachment::{Base, attachment};
use super::wire::{
    AssistantContent, IdKind, InferenceOptions, InputAnswer, InputOption, ItemKind, StructuredInput,
    StructuredInputKind, StructuredStatus, Thread, ThreadItem, ToolCallStatus, ToolChoice, UserContent,
};
use crate::app::conversations::items::{Composed, InputForm, InputQuestion, Part};
use crate::app::{Actor, AppError};
use crate::http::ApiState;
use crate::widgets;

/// Shown instead of erased text.
const ERASED: &str = "[erased]";

/// Converts rows to items for one user.
pub(super) struct Shown<'a> {
    state: &'a ApiState,
    base: &'a Base,
    files: HashMap<Uuid, FileRow>,
}

impl<'a> Shown<'a> {
    /// Loads what the rows refer to.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn of(
        state: &'a ApiState,
        base: &'a Base,
        actor: Actor,
        rows: &[ThreadRow],
    ) -> Result<Self, AppError> {
        let has_title = rows.iter().flat_map(|row| match &row.entry {
            Entry::Message { files, .. } => files.as_slice(),
            _ => &[],
        });
        let ids: Vec<FileId> = has_title.copied().map(FileId::new).collect();
        let found = if ids.is_empty() { Vec::new() } else { state.services.files.files(actor, &ids).await? };
        Ok(Self { state, base, files: found.into_iter().map(|file| (file.file_id, file)).collect() })
    }

    /// Converts a row to an item; returns `None` for rows that this protocol does not show.
    pub(super) fn item(&self, row: &ThreadRow) -> Option<ThreadItem> {
        let mut id = IdKind::Message;
        let kind = match &row.entry {
            Entry::Message { text, composed, files, tool_choice, model } => ItemKind::UserMessage {
                content: content(text.as_deref(), composed.as_ref()),
                attachments: self.attachments(row.conversation_id, files),
                quoted_text: composed.as_ref().and_then(|composed| composed.quoted.clone()),
                inference_options: InferenceOptions {
                    tool_choice: tool_choice.clone().map(|id| ToolChoice { id }),
                    model: model.clone(),
                },
            },
            Entry::Answer { text, .. } => ItemKind::AssistantMessage {
                content: vec![AssistantContent::plain(text.as_deref().unwrap_or(ERASED))],
            },
            Entry::ClientToolCall { call_id, name, arguments, output } => {
                id = IdKind::ToolCall;
                ItemKind::ClientToolCall {
                    status: match output {
                        Some(_) => ToolCallStatus::Completed,
                        None => ToolCallStatus::Pending,
                    },
                    call_id: call_id.clone(),
                    name: name.clone(),
                    arguments: arguments.as_object().cloned().unwrap_or_default(),
                    output: output.clone().filter(|output| !output.is_null()),
                }
            }
            Entry::StructuredInput { status, questions, answers } => {
                let answer = |id: &str| {
                    let found = answers.iter().find(|answer| answer.id == id)?;
                    Some(InputAnswer { values: found.values.clone(), skipped: found.skipped })
                };
                ItemKind::StructuredInput {
                    status: match status.as_str() {
                        "pending" => StructuredStatus::Pending,
                        "skipped" => StructuredStatus::Skipped,
                        _ => StructuredStatus::Answered,
                    },
                    inputs: questions.iter().map(|question| input(question, answer(&question.id))).collect(),
                }
            }
            Entry::Widget { widget, copy_text } => ItemKind::Widget {
                // Hide a stored widget that the current widget language no longer allows.
                widget: widgets::validate(widget).ok()?,
                copy_text: copy_text.clone(),
            },
            Entry::Quiz(Some(quiz)) => ItemKind::Widget {
                widget: crate::tools::quiz::quiz_card(quiz),
                copy_text: Some(String::new()),
            },
            Entry::Quiz(None) | Entry::Note(_) => return None,
        };
        Some(ThreadItem {
            id: id.write(row.id),
            thread_id: IdKind::Thread.write(row.conversation_id),
            created_at: row.created_at.into(),
            kind,
        })
    }

    fn attachments(&self, conversation: Uuid, files: &[Uuid]) -> Vec<super::wire::Attachment> {
        let known = files.iter().filter_map(|id| self.files.get(id));
        // The read model of files may lag behind the one of messages.
        let sent = known.map(|file| FileRow { conversation_id: Some(conversation), ..file.clone() });
        sent.map(|file| attachment(self.state, self.base, &file)).collect()
    }
}

/// Converts a conversation to a thread without items.
pub(super) fn thread(row: &ConversationRow) -> Thread {
    let mut thread = Thread::new(IdKind::Thread.write(row.conversation_id), row.created_at.into());
    thread.title.clone_from(&row.title);
    thread
}

/// Parses an item id, in any of its forms.
pub(super) fn item_id(id: &str) -> Option<MessageId> {
    let kinds = [IdKind::Message, IdKind::ToolCall];
    kinds.into_iter().find_map(|kind| kind.read(id)).map(MessageId::new)
}

/// Returns the id of a row's item.
pub(super) fn id_of(row: &ThreadRow) -> String {
    match row.entry {
        Entry::ClientToolCall { .. } => IdKind::ToolCall.write(row.id),
        _ => IdKind::Message.write(row.id),
    }
}

fn content(text: Option<&str>, composed: Option<&Composed>) -> Vec<UserContent> {
    match (text, composed) {
        (None, _) => vec![UserContent::InputText { text: ERASED.to_owned() }],
        (Some(_), Some(composed)) => composed.parts.iter().map(part).collect(),
        (Some(""), None) => Vec::new(),
        (Some(text), None) => vec![UserContent::InputText { text: text.to_owned() }],
    }
}

fn part(part: &Part) -> UserContent {
    match part.clone() {
        Part::Text { text } => UserContent::InputText { text },
        Part::Mention { id, text, data, group, interactive } => {
            UserContent::InputTag { id, text, data, group, interactive }
        }
    }
}

fn input(question: &InputQuestion, answer: Option<InputAnswer>) -> StructuredInput {
    StructuredInput {
        id: question.id.clone(),
        question: question.question.clone(),
        answer,
        kind: match &question.form {
            InputForm::Choice { options, multiple } => StructuredInputKind::MultipleChoice {
                options: options.iter().map(|value| InputOption { value: value.clone() }).collect(),
                multiple: *multiple,
            },
            InputForm::Freeform { description } => {
                StructuredInputKind::Freeform { description: description.clone() }
            }
        },
    }
}

/// Converts composed content to its stored form: the plain text, and the composition unless it is a single text.
pub(super) fn composed(content: Vec<UserContent>, quoted: Option<String>) -> (String, Option<Composed>) {
    let quoted = quoted.filter(|quoted| !quoted.is_empty());
    let parts: Vec<Part> = content
        .into_iter()
        .map(|content| match content {
            UserContent::InputText { text } => Part::Text { text },
            UserContent::InputTag { id, text, data, group, interactive } => {
                Part::Mention { id, text, data, group, interactive }
            }
        })
        .collect();
    let text: String = parts
        .iter()
        .map(|part| match part {
            Part::Text { text } => text.clone(),
            Part::Mention { text, .. } => format!("@{text}"),
        })
        .collect();
    let plain = quoted.is_none() && matches!(parts.as_slice(), [] | [Part::Text { .. }]);
    (text, (!plain).then_some(Composed { parts, quoted }))
}

/// Returns a text of an action's payload.
pub(super) fn text_of<'a>(payload: &'a Value, name: &str) -> Option<&'a str> {
    payload.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> UserContent {
        UserContent::InputText { text: text.to_owned() }
    }

    #[test]
    fn single_text_is_stored_without_composition() {
        assert_eq!(composed(vec![text("hi")], None), ("hi".to_owned(), None));
        assert_eq!(composed(vec![text("hi")], Some(String::new())), ("hi".to_owned(), None));
        assert_eq!(composed(vec![], None), (String::new(), None));
        let (plain, kept) = composed(vec![text("a"), text("b")], None);
        assert_eq!(plain, "ab");
        assert_eq!(content(Some("ab"), kept.as_ref()), [text("a"), text("b")]);
        let tag = UserContent::InputTag {
            id: "d1".to_owned(),
            text: "plan".to_owned(),
            data: json!({"page": null}).as_object().unwrap().clone(),
            group: None,
            interactive: true,
        };
        let (plain, kept) = composed(vec![text("see "), tag.clone()], Some("earlier".to_owned()));
        assert_eq!(plain, "see @plan");
        assert_eq!(kept.as_ref().and_then(|kept| kept.quoted.as_deref()), Some("earlier"));
        assert_eq!(content(Some(&plain), kept.as_ref()), [text("see "), tag]);
    }

    #[test]
    fn item_ids_parse_in_every_form() {
        let id = Uuid::from_u128(7);
        for written in [IdKind::Message.write(id), IdKind::ToolCall.write(id), id.to_string()] {
            assert_eq!(item_id(&written), Some(MessageId::new(id)));
        }
        for other in [IdKind::Thread.write(id), "msg_7".to_owned(), String::new()] {
            assert_eq!(item_id(&other), None);
        }
    }
}
