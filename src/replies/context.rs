//! The context policy: what a provider is sent of a conversation. One pure function; its inputs are the provenance.
//!
//! * Order: the standing instructions, then whole turns, oldest first, the asked message last. An answer stands right
//!   after the message it answers, even when another message was sent in between.
//! * Messages that were sent after the asked one are not sent: they get replies of their own.
//! * Whole turns only, the newest ones that fit `history_turns` and `history_chars`; the asked message always goes,
//!   whatever its length.
//! * Erased messages, and answers of which nothing was kept, are left out. An answer that was cut short goes as far as
//!   it was kept.

use aggregates::ids::MessageId;
use projections::messages::query::MessageRow;
use uuid::Uuid;

use super::settings::ReplySettings;
use crate::ai::{Role, Turn};

/// What a provider is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Standing instructions.
    pub system: String,
    /// The turns, oldest first; the last one is the asked message.
    pub turns: Vec<Turn>,
    /// The messages that went in, in that order.
    pub inputs: Vec<MessageId>,
}

/// Makes the context of the reply to `asked` from the conversation's messages, in any order. None when the asked
/// message is not among them or is erased: there is nothing to answer.
pub fn build(settings: &ReplySettings, asked: Uuid, messages: &[MessageRow]) -> Option<Context> {
    let question = messages.iter().find(|message| message.message_id == asked)?;
    let question_text = question.text.as_deref()?;
    let mut earlier: Vec<&MessageRow> = messages
        .iter()
        .filter(|message| {
            message.role == "user" && message.position < question.position && message.text.is_some()
        })
        .collect();
    earlier.sort_by_key(|message| std::cmp::Reverse(message.position));

    let mut left = settings.history_chars.saturating_sub(chars(question_text));
    let mut picked: Vec<Vec<&MessageRow>> = Vec::new();
    for message in earlier.into_iter().take(settings.history_turns) {
        let mut turn = vec![message];
        turn.extend(
            messages
                .iter()
                .find(|answer| answer.in_reply_to == Some(message.message_id) && answer.text.is_some()),
        );
        let size = turn.iter().filter_map(|message| message.text.as_deref()).map(chars).sum::<usize>();
        if size > left {
            break;
        }
        left -= size;
        picked.push(turn);
    }
    let ordered = picked.into_iter().rev().flatten().chain([question]);

    let mut context =
        Context { system: settings.system_prompt.clone(), turns: Vec::new(), inputs: Vec::new() };
    for message in ordered {
        let role = if message.role == "user" { Role::User } else { Role::Assistant };
        context.turns.push(Turn { role, text: message.text.clone().unwrap_or_default() });
        context.inputs.push(MessageId::from(message.message_id));
    }
    Some(context)
}

/// How many rows have to be read so that [`build`] sees every turn it may send.
pub fn rows_needed(settings: &ReplySettings) -> i64 {
    // A turn is two rows; some more for messages that wait behind the asked one.
    i64::try_from(settings.history_turns).unwrap_or(1_000) * 2 + 32
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeZone as _, Utc};
    use proptest::prelude::*;

    fn row(id: u128, position: i64, text: Option<&str>, answers: Option<u128>) -> MessageRow {
        MessageRow {
            message_id: Uuid::from_u128(id),
            conversation_id: Uuid::from_u128(1),
            position,
            role: if answers.is_some() { "assistant" } else { "user" }.to_owned(),
            status: "complete".to_owned(),
            text: text.map(str::to_owned),
            reply_id: None,
            in_reply_to: answers.map(Uuid::from_u128),
            model: None,
            created_at: Utc.timestamp_opt(0, 0).unwrap(),
        }
    }

    fn texts(context: &Context) -> Vec<&str> {
        context.turns.iter().map(|turn| turn.text.as_str()).collect()
    }

    #[test]
    fn an_answer_stands_after_its_question_even_when_another_message_came_between() {
        let rows = [
            row(10, 1, Some("first"), None),
            row(20, 2, Some("second"), None),
            row(11, 3, Some("answer to first"), Some(10)),
        ];
        let context = build(&ReplySettings::default(), Uuid::from_u128(20), &rows).unwrap();
        assert_eq!(texts(&context), ["first", "answer to first", "second"]);
        assert_eq!(context.turns[1].role, Role::Assistant);
    }

    #[test]
    fn a_later_message_is_not_sent() {
        let rows = [row(10, 1, Some("first"), None), row(20, 2, Some("second"), None)];
        let context = build(&ReplySettings::default(), Uuid::from_u128(10), &rows).unwrap();
        assert_eq!(texts(&context), ["first"]);
    }

    #[test]
    fn old_turns_go_whole_when_the_budget_is_spent() {
        let settings = ReplySettings { history_chars: 12, ..ReplySettings::default() };
        let rows = [
            row(10, 1, Some("aaaa"), None),
            row(11, 2, Some("bbbb"), Some(10)),
            row(20, 3, Some("cc"), None),
            row(21, 4, Some("dd"), Some(20)),
            row(30, 5, Some("eeee"), None),
        ];
        let context = build(&settings, Uuid::from_u128(30), &rows).unwrap();
        assert_eq!(texts(&context), ["cc", "dd", "eeee"]);
    }

    #[test]
    fn an_erased_question_has_no_context_and_an_erased_turn_is_left_out() {
        let rows = [row(10, 1, None, None), row(20, 2, Some("second"), None)];
        assert_eq!(build(&ReplySettings::default(), Uuid::from_u128(10), &rows), None);
        let context = build(&ReplySettings::default(), Uuid::from_u128(20), &rows).unwrap();
        assert_eq!(texts(&context), ["second"]);
    }

    proptest! {
        #[test]
        fn the_question_is_last_the_budget_holds_and_the_order_of_rows_does_not_matter(
            lengths in proptest::collection::vec((0_usize..40, proptest::option::of(0_usize..40)), 1..12),
            turns in 0_usize..8, budget in 0_usize..120, seed in any::<u64>(),
        ) {
            let settings = ReplySettings { history_turns: turns, history_chars: budget, ..ReplySettings::default() };
            let mut rows = Vec::new();
            for (index, (question, answer)) in lengths.iter().enumerate() {
                let id = (index as u128 + 1) * 10;
                rows.push(row(id, index as i64 * 2, Some(&"q".repeat(*question)), None));
                if let Some(answer) = answer {
                    rows.push(row(id + 1, index as i64 * 2 + 1, Some(&"a".repeat(*answer)), Some(id)));
                }
            }
            let asked = Uuid::from_u128(lengths.len() as u128 * 10);
            let context = build(&settings, asked, &rows).unwrap();
            prop_assert_eq!(context.inputs.last().map(|id| id.uuid()), Some(asked));
            prop_assert_eq!(context.turns.len(), context.inputs.len());
            prop_assert!(context.turns.iter().filter(|turn| turn.role == Role::User).count() <= turns + 1);
            let question = lengths[lengths.len() - 1].0;
            let sent: usize = context.turns.iter().map(|turn| turn.text.len()).sum();
            prop_assert!(sent <= budget.max(question));
            let mut shuffled = rows.clone();
            let turn_by = (seed % rows.len() as u64) as usize;
            shuffled.rotate_left(turn_by);
            prop_assert_eq!(build(&settings, asked, &shuffled), Some(context));
        }
    }
}
