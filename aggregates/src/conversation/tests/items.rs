//! Calls of the page's tools, questions to the person, notes and feedback.

use super::*;

fn call(n: u128) -> ReplyItem {
    ReplyItem::ClientToolCall {
        item_id: item(n),
        call_id: "call-1".to_owned(),
        name: "look".to_owned(),
        arguments: Personal::Known(json!({"at": "sky"})),
    }
}

#[test]
fn answer_is_recorded_with_its_items() {
    let widget = Personal::Known(json!({"type": "Card", "children": []}));
    let items = vec![
        call(1),
        ReplyItem::InputRequest { item_id: item(2), questions: questions() },
        ReplyItem::Widget { item_id: item(3), widget: widget.clone(), copy_text: None },
        ReplyItem::Quiz { item_id: item(4) },
    ];
    given(asked([begun(1, 1, "w")])).when(record_with(1, 1, items)).then_expect_events(vec![
        completed_with(1, 1, vec![item(1), item(2), item(3), item(4)]),
        called(1),
        input_requested(2),
        event(4, ItemEvent::WidgetShown { item_id: item(3), reply_id: reply(1), widget, copy_text: None }),
    ]);
}

#[test]
fn items_of_an_answer_need_their_own_ids() {
    for ids in [[1, 1], [1, 0]] {
        let items = vec![
            call(ids[0]),
            match ids[1] {
                0 => ReplyItem::Quiz { item_id: message(1) },
                n => ReplyItem::Quiz { item_id: item(n) },
            },
        ];
        given(asked([begun(1, 1, "w")]))
            .when(record_with(1, 1, items))
            .then_expect_error(Error::MessageIdTaken);
    }
}

#[test]
fn tool_output_asks_for_reply_and_drops_other_pending_calls() {
    let second = [tool_waiting(), vec![called(2)]].concat();
    given(second).when(tool_output(ada(), 102)).then_expect_events(vec![
        event(
            21,
            ItemEvent::ClientToolAnswered {
                item_id: item(2),
                output: Personal::Known(json!({"celsius": 3})),
            },
        ),
        event(21, ItemEvent::ClientToolDropped { item_id: item(1) }),
        asked_by(item(2), ReplyId::of(item(2)), 21, 201),
    ]);
}

#[test]
fn dropped_or_answered_call_cannot_be_answered() {
    let dropped = event(21, ItemEvent::ClientToolDropped { item_id: item(1) });
    given([tool_waiting(), vec![dropped]].concat())
        .when(tool_output(ada(), 101))
        .then_expect_error(Error::NotPending);
    let answered = event(21, ItemEvent::ClientToolAnswered { item_id: item(1), output: Personal::Erased });
    let events = [tool_waiting(), vec![answered, asked_by(item(1), ReplyId::of(item(1)), 21, 201)]].concat();
    given(events).when(tool_output(ada(), 101)).then_expect_error(Error::NotPending);
}

#[test]
fn question_is_answered_once() {
    let waiting = asked([begun(1, 1, "w"), completed_with(1, 1, vec![item(1)]), input_requested(1)]);
    let answers =
        Personal::Known(vec![InputAnswer { id: "q".into(), values: vec!["a".into()], skipped: false }]);
    let answered = vec![
        event(22, ItemEvent::InputAnswered { item_id: item(1), skipped: false, answers }),
        asked_by(item(1), ReplyId::of(item(1)), 22, 202),
    ];
    given(waiting.clone()).when(input_answer(ada(), 101)).then_expect_events(answered.clone());
    given([waiting.clone(), answered].concat())
        .when(input_answer(ada(), 101))
        .then_expect_error(Error::NotPending);
    given(waiting.clone()).when(tool_output(ada(), 101)).then_expect_error(Error::NotPending);
    given(waiting).when(input_answer(ada(), 1)).then_expect_error(Error::UnknownItem);
}

#[test]
fn note_is_added_once_and_is_no_message() {
    let added =
        event(23, ItemEvent::NoteAdded { item_id: item(5), note: Personal::Known("stopped".to_owned()) });
    given(answered()).when(note(ada(), 105)).then_expect_events(vec![added.clone()]);
    given([answered(), vec![added.clone()]].concat()).when(note(ada(), 105)).then_expect_events(vec![]);
    given([answered(), vec![added]].concat())
        .when(regenerate_at(ada(), 105, 100))
        .then_expect_error(Error::UnknownItem);
}

#[test]
fn note_is_added_only_with_its_cancellation() {
    let stop = || Command::CancelReply {
        reply_id: reply(1),
        by: ada(),
        text: None,
        note: Some((item(5), Personal::Known("stopped".to_owned()))),
        at: at(6),
    };
    let note =
        event(6, ItemEvent::NoteAdded { item_id: item(5), note: Personal::Known("stopped".to_owned()) });
    given(asked([])).when(stop()).then_expect_events(vec![cancelled(1, 0), note]);
    given(asked([cancelled(1, 0)])).when(stop()).then_expect_events(vec![]);
    given(answered()).when(stop()).then_expect_error(Error::ReplyEnded);
}

#[test]
fn feedback_is_recorded_each_time_unless_empty() {
    let given_feedback =
        event(24, MessageEvent::FeedbackGiven { item_ids: vec![message(1)], verdict: Verdict::Positive });
    given(answered()).when(feedback(ada(), 1)).then_expect_events(vec![given_feedback]);
    let nothing =
        Command::GiveFeedback { by: ada(), item_ids: vec![], verdict: Verdict::Negative, at: at(24) };
    given(answered()).when(nothing).then_expect_events(vec![]);
}

#[test]
fn suggested_title_is_ignored_if_there_is_one() {
    let suggest = || Command::SuggestTitle { title: title("Plants"), at: at(25) };
    let named = event(25, SettingsEvent::ConversationRenamed { title: title("Plants") });
    given(vec![started()]).when(suggest()).then_expect_events(vec![named.clone()]);
    given(vec![started(), named]).when(suggest()).then_expect_events(vec![]);
    given(vec![started(), deleted()]).when(suggest()).then_expect_error(Error::Deleted);
}
