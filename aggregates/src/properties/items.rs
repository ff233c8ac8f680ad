//! Random items: what messages enclose and answers bring.

use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::strategies::personal;
use crate::conversation::{Composed, InputAnswer, InputForm, InputQuestion, MessageContext, Part, ReplyItem};
use crate::ids::{FileId, MessageId};
use crate::personal::Personal;

/// Items have ids of their own, few enough to meet.
pub(super) fn item() -> impl Strategy<Value = MessageId> {
    let minted = 0x0190_0000_0000_7000_9000_0000_0000_0000;
    (0_u128..6).prop_map(move |n| MessageId::new(Uuid::from_u128(minted + n)))
}

/// Ids of notes, which wait for nothing; some are those of items.
pub(super) fn note() -> impl Strategy<Value = MessageId> {
    let minted = 0x0190_0000_0000_7000_9000_0000_0000_0000;
    (5_u128..8).prop_map(move |n| MessageId::new(Uuid::from_u128(minted + n)))
}

pub(super) fn json_value() -> impl Strategy<Value = Personal<serde_json::Value>> {
    personal(prop::sample::select(vec![json!(null), json!({"a": [1, null, "x"]}), json!("text")]))
}

pub(super) fn answers() -> impl Strategy<Value = Personal<Vec<InputAnswer>>> {
    let answer = ("[a-z]{1,3}", prop::collection::vec("[a-z]{1,5}", 0..3), any::<bool>())
        .prop_map(|(id, values, skipped)| InputAnswer { id, values, skipped });
    personal(prop::collection::vec(answer, 0..3))
}

pub(super) fn enclosed() -> impl Strategy<Value = MessageContext> {
    let file = (1_u128..9).prop_map(|n| FileId::new(Uuid::from_u128(n)));
    let part = prop_oneof![
        "[a-z ]{0,9}".prop_map(|text| Part::Text { text }),
        ("[a-z]{1,4}", "[a-z]{1,4}", prop::option::of("[a-z]{1,4}"), any::<bool>()).prop_map(
            |(id, text, group, interactive)| Part::Mention {
                id,
                text,
                data: serde_json::Map::from_iter([("kept".to_owned(), json!(null))]),
                group,
                interactive,
            }
        ),
    ];
    let composed = (prop::collection::vec(part, 0..3), prop::option::of("[a-z]{1,9}"))
        .prop_map(|(parts, quoted)| Composed { parts, quoted });
    (
        prop::collection::vec(file, 0..3),
        prop::option::weighted(0.2, personal(composed)),
        prop::option::weighted(0.2, "[a-z]{1,5}"),
    )
        .prop_map(|(files, composed, tool_choice)| MessageContext { files, composed, tool_choice })
}

pub(super) fn reply_items() -> impl Strategy<Value = Vec<ReplyItem>> {
    let question = ("[a-z]{1,3}", "[a-z ]{1,9}", prop::option::of(prop::collection::vec("[a-z]{1,3}", 0..3)))
        .prop_map(|(id, question, options)| InputQuestion {
            id,
            question,
            form: options.map_or(InputForm::Freeform { description: None }, |options| InputForm::Choice {
                options,
                multiple: false,
            }),
        });
    let one = prop_oneof![
        5 => (item(), json_value()).prop_map(|(item_id, arguments)| ReplyItem::ClientToolCall {
            item_id,
            call_id: "call-1".to_owned(),
            name: "look".to_owned(),
            arguments,
        }),
        2 => (item(), personal(prop::collection::vec(question, 1..3)))
            .prop_map(|(item_id, questions)| ReplyItem::InputRequest { item_id, questions }),
        1 => (item(), json_value(), prop::option::of(personal("[a-z]{0,5}")))
            .prop_map(|(item_id, widget, copy_text)| ReplyItem::Widget { item_id, widget, copy_text }),
        1 => item().prop_map(|item_id| ReplyItem::Quiz { item_id }),
    ];
    prop::collection::vec(one, 0..4)
}
