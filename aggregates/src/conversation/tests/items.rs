//! Going back, calls of the page's tools, questions to the person, notes and feedback.

use super::*;

fn item(n: u128) -> MessageId {
    message(100 + n)
}

fn called(n: u128) -> Event {
    Event::ClientToolCalled {
        conversation_id: talk(),
        owner: ada(),
        item_id: item(n),
        reply_id: reply(1),
        call_id: "call-1".to_owned(),
        name: "look".to_owned(),
        arguments: Personal::Known(json!({"at": "sky"})),
        at: at(4),
    }
}

fn call(n: u128) -> Brought {
    Brought::ClientToolCall {
        item_id: item(n),
        call_id: "call-1".to_owned(),
        name: "look".to_owned(),
        arguments: Personal::Known(json!({"at": "sky"})),
    }
}

fn questions() -> Personal<Vec<InputQuestion>> {
    Personal::Known(vec![InputQuestion {
        id: "q".to_owned(),
        question: "Which?".to_owned(),
        form: InputForm::Choice { options: vec!["a".to_owned(), "b".to_owned()], multiple: false },
    }])
}

fn input_requested(n: u128) -> Event {
    Event::InputRequested {
        conversation_id: talk(),
        owner: ada(),
        item_id: item(n),
        reply_id: reply(1),
        questions: questions(),
        at: at(4),
    }
}

/// A reply asked for by an interactive asker.
fn asked_by(asker: MessageId, reply_id: ReplyId, second: i64, deadline: i64) -> Event {
    Event::ReplyRequested {
        conversation_id: talk(),
        message_id: asker,
        reply_id,
        owner: ada(),
        model: None,
        interactive: true,
        deadline: at(deadline),
        at: at(second),
    }
}

fn rewound(n: u128) -> Event {
    Event::ConversationRewound {
        conversation_id: talk(),
        owner: ada(),
        message_id: message(n),
        message_position: 100,
        at: at(20),
    }
}

fn cancelled_again(n: u128, reply_id: ReplyId, attempt: u32) -> Event {
    Event::ReplyCancelled {
        conversation_id: talk(),
        message_id: message(n),
        reply_id,
        owner: ada(),
        attempt,
        text: None,
        at: at(20),
    }
}

fn answered() -> Vec<Event> {
    asked([begun(1, 1, "w"), completed(1, 1)])
}

fn tool_waiting() -> Vec<Event> {
    asked([begun(1, 1, "w"), completed_with(1, 1, vec![item(1)]), called(1)])
}

#[test]
fn an_answer_is_recorded_with_what_it_brings() {
    let widget = Personal::Known(json!({"type": "Card", "children": []}));
    let brought = vec![
        call(1),
        Brought::InputRequest { item_id: item(2), questions: questions() },
        Brought::Widget { item_id: item(3), widget: widget.clone(), copy_text: None },
        Brought::Quiz { item_id: item(4) },
    ];
    given(asked([begun(1, 1, "w")])).when(record_with(1, 1, brought)).then_expect_events(vec![
        completed_with(1, 1, vec![item(1), item(2), item(3), item(4)]),
        called(1),
        input_requested(2),
        Event::WidgetShown {
            conversation_id: talk(),
            owner: ada(),
            item_id: item(3),
            reply_id: reply(1),
            widget,
            copy_text: None,
            at: at(4),
        },
    ]);
}

#[test]
fn what_an_answer_brings_needs_an_id_of_its_own() {
    for ids in [[1, 1], [1, 0]] {
        let brought = vec![
            call(ids[0]),
            match ids[1] {
                0 => Brought::Quiz { item_id: message(1) },
                n => Brought::Quiz { item_id: item(n) },
            },
        ];
        given(asked([begun(1, 1, "w")]))
            .when(record_with(1, 1, brought))
            .then_expect_error(Error::MessageIdTaken);
    }
}

#[test]
fn asking_again_leaves_what_stands_after_and_asks_for_another_reply() {
    given(answered())
        .when(ask_again(ada(), 1))
        .then_expect_events(vec![rewound(1), asked_by(message(1), ReplyId::again(message(1), 1), 20, 200)]);
}

#[test]
fn asking_again_cancels_what_is_owed_for_it_and_after_it_and_nothing_before() {
    let events = vec![
        started(),
        sent(1),
        requested(1),
        sent(2),
        requested(2),
        sent(3),
        requested(3),
        begun(1, 1, "w"),
    ];
    given(events).when(ask_again(ada(), 2)).then_expect_events(vec![
        cancelled_again(2, reply(2), 0),
        cancelled_again(3, reply(3), 0),
        rewound(2),
        asked_by(message(2), ReplyId::again(message(2), 1), 20, 200),
    ]);
}

#[test]
fn asking_again_twice_adds_nothing_until_the_reply_has_begun() {
    let again = ReplyId::again(message(1), 1);
    let asked_again = [rewound(1), asked_by(message(1), again, 20, 200)];
    let waiting = [answered(), asked_again.to_vec()].concat();
    given(waiting.clone()).when(ask_again(ada(), 1)).then_expect_events(vec![]);
    let begun = Event::ReplyBegun {
        conversation_id: talk(),
        message_id: message(1),
        reply_id: again,
        owner: ada(),
        attempt: 1,
        plan: plan("w"),
        at: at(21),
    };
    given([waiting, vec![begun]].concat()).when(ask_again(ada(), 1)).then_expect_events(vec![
        cancelled_again(1, again, 1),
        rewound(1),
        asked_by(message(1), ReplyId::again(message(1), 2), 20, 200),
    ]);
}

#[test]
fn a_message_that_asked_for_nothing_is_asked_for_its_first_reply() {
    given(vec![started(), sent(1)])
        .when(ask_again(ada(), 1))
        .then_expect_events(vec![rewound(1), asked_by(message(1), reply(1), 20, 200)]);
}

#[test]
fn what_was_left_behind_can_be_neither_asked_again_nor_answered() {
    let left = [tool_waiting(), vec![sent(2), rewound(1)]].concat();
    given(left.clone()).when(ask_again(ada(), 2)).then_expect_error(Error::UnknownItem);
    given(left).when(tool_output(ada(), 101)).then_expect_error(Error::UnknownItem);
}

#[test]
fn what_comes_after_going_back_is_in_the_conversation() {
    let again = ReplyId::again(message(1), 1);
    let events = [
        answered(),
        vec![
            sent(2),
            requested(2),
            cancelled(2, 0),
            rewound(1),
            asked_by(message(1), again, 20, 200),
            sent(3),
        ],
    ]
    .concat();
    given(events).when(ask_again(ada(), 3)).then_expect_events(vec![
        Event::ConversationRewound {
            conversation_id: talk(),
            owner: ada(),
            message_id: message(3),
            message_position: 100,
            at: at(20),
        },
        asked_by(message(3), reply(3), 20, 200),
    ]);
}

#[test]
fn nothing_but_a_message_of_the_conversation_can_be_asked_again() {
    for n in [9, 101] {
        given(tool_waiting()).when(ask_again(ada(), n)).then_expect_error(Error::UnknownItem);
    }
}

#[test]
fn the_output_of_a_tool_asks_for_a_reply_and_drops_the_calls_that_wait_besides() {
    let second = [tool_waiting(), vec![called(2)]].concat();
    given(second).when(tool_output(ada(), 102)).then_expect_events(vec![
        Event::ClientToolAnswered {
            conversation_id: talk(),
            owner: ada(),
            item_id: item(2),
            output: Personal::Known(json!({"celsius": 3})),
            at: at(21),
        },
        Event::ClientToolDropped { conversation_id: talk(), owner: ada(), item_id: item(1), at: at(21) },
        asked_by(item(2), ReplyId::of(item(2)), 21, 201),
    ]);
}

#[test]
fn neither_a_dropped_call_nor_an_answered_one_can_be_answered() {
    let dropped =
        Event::ClientToolDropped { conversation_id: talk(), owner: ada(), item_id: item(1), at: at(21) };
    given([tool_waiting(), vec![dropped]].concat())
        .when(tool_output(ada(), 101))
        .then_expect_error(Error::NotPending);
    let answered = Event::ClientToolAnswered {
        conversation_id: talk(),
        owner: ada(),
        item_id: item(1),
        output: Personal::Erased,
        at: at(21),
    };
    let events = [tool_waiting(), vec![answered, asked_by(item(1), ReplyId::of(item(1)), 21, 201)]].concat();
    given(events).when(tool_output(ada(), 101)).then_expect_error(Error::NotPending);
}

#[test]
fn a_question_is_answered_once() {
    let waiting = asked([begun(1, 1, "w"), completed_with(1, 1, vec![item(1)]), input_requested(1)]);
    let answers =
        Personal::Known(vec![InputAnswer { id: "q".into(), values: vec!["a".into()], skipped: false }]);
    let answered = vec![
        Event::InputAnswered {
            conversation_id: talk(),
            owner: ada(),
            item_id: item(1),
            skipped: false,
            answers,
            at: at(22),
        },
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
fn a_note_is_added_once_and_is_no_message() {
    let added = Event::NoteAdded {
        conversation_id: talk(),
        owner: ada(),
        item_id: item(5),
        note: Personal::Known("stopped".to_owned()),
        at: at(23),
    };
    given(answered()).when(note(ada(), 105)).then_expect_events(vec![added.clone()]);
    given([answered(), vec![added.clone()]].concat()).when(note(ada(), 105)).then_expect_events(vec![]);
    given([answered(), vec![added]].concat())
        .when(ask_again(ada(), 105))
        .then_expect_error(Error::UnknownItem);
}

#[test]
fn a_note_goes_with_the_end_that_it_is_about_or_not_at_all() {
    let stop = || Command::CancelReply {
        reply_id: reply(1),
        by: ada(),
        text: None,
        note: Some((item(5), Personal::Known("stopped".to_owned()))),
        at: at(6),
    };
    let note = Event::NoteAdded {
        conversation_id: talk(),
        owner: ada(),
        item_id: item(5),
        note: Personal::Known("stopped".to_owned()),
        at: at(6),
    };
    given(asked([])).when(stop()).then_expect_events(vec![cancelled(1, 0), note]);
    given(asked([cancelled(1, 0)])).when(stop()).then_expect_events(vec![]);
    given(answered()).when(stop()).then_expect_error(Error::ReplyEnded);
}

#[test]
fn feedback_is_recorded_each_time_and_none_for_nothing() {
    let given_feedback = Event::FeedbackGiven {
        conversation_id: talk(),
        owner: ada(),
        item_ids: vec![message(1)],
        verdict: Verdict::Positive,
        at: at(24),
    };
    given(answered()).when(feedback(ada(), 1)).then_expect_events(vec![given_feedback]);
    let nothing =
        Command::GiveFeedback { by: ada(), item_ids: vec![], verdict: Verdict::Negative, at: at(24) };
    given(answered()).when(nothing).then_expect_events(vec![]);
}

#[test]
fn a_suggested_title_counts_only_as_long_as_there_is_none() {
    let suggest = || Command::SuggestTitle { title: title("Plants"), at: at(25) };
    let named = Event::ConversationRenamed {
        conversation_id: talk(),
        owner: ada(),
        title: title("Plants"),
        at: at(25),
    };
    given(vec![started()]).when(suggest()).then_expect_events(vec![named.clone()]);
    given(vec![started(), named]).when(suggest()).then_expect_events(vec![]);
    given(vec![started(), deleted()]).when(suggest()).then_expect_error(Error::Deleted);
}
