//! Other replies, edited messages, and going from branch to branch.

use super::*;

/// Branch `branch` begins at the `n`th message.
fn begun_branch(branch: u32, parent: u32, n: u128, messages: u32) -> Event {
    event(
        20,
        BranchEvent::BranchBegun {
            branch,
            parent,
            message_id: message(n),
            edited: false,
            fork_position: i64::try_from(n).unwrap() * 10,
            messages,
        },
    )
}

/// Branch `branch` begins in the place of the `n`th message.
fn begun_before(branch: u32, parent: u32, n: u128, fork_position: i64, messages: u32) -> Event {
    event(
        20,
        BranchEvent::BranchBegun {
            branch,
            parent,
            message_id: message(n),
            edited: true,
            fork_position,
            messages,
        },
    )
}

fn switched(branch: u32) -> Event {
    event(30, BranchEvent::BranchSwitched { branch })
}

/// As logs have it that were written before there were branches.
fn rewound(n: u128) -> Event {
    event(
        20,
        BranchEvent::ConversationRewound {
            message_id: message(n),
            message_position: i64::try_from(n).unwrap() * 10,
        },
    )
}

fn cancelled_again(n: u128, reply_id: ReplyId, attempt: u32) -> Event {
    reply_event_of(message(n), reply_id, 20, ReplyEvent::ReplyCancelled { attempt, text: None })
}

fn again(n: u128, round: u32) -> Event {
    asked_by(message(n), ReplyId::again(message(n), round), 20, 200)
}

fn edited(n: u128) -> Vec<Event> {
    let sent = event(
        20,
        MessageEvent::MessageSent {
            message_id: message(n),
            text: text("hello"),
            enclosed: MessageContext::default(),
        },
    );
    vec![sent, asked_by(message(n), reply(n), 20, 200)]
}

/// Two messages with their answers.
fn two_turns() -> Vec<Event> {
    [answered(), vec![sent(2), requested(2), begun(2, 1, "w"), completed(2, 1)]].concat()
}

fn after(events: impl IntoIterator<Item = Event>) -> Conversation {
    use cqrs_es::Aggregate as _;
    let mut state = Conversation::default();
    events.into_iter().for_each(|event| state.apply(event));
    state
}

fn shown(state: &Conversation, messages: &[u128]) -> Vec<u128> {
    messages.iter().copied().filter(|n| state.shows(message(*n))).collect()
}

#[test]
fn regeneration_begins_a_branch_after_the_message() {
    given(answered())
        .when(regenerate_at(ada(), 1, 0))
        .then_expect_events(vec![begun_branch(1, 0, 1, 1), again(1, 1)]);
    given(two_turns())
        .when(regenerate_at(ada(), 1, 0))
        .then_expect_events(vec![begun_branch(1, 0, 1, 1), again(1, 1)]);
    given(two_turns())
        .when(regenerate_at(ada(), 2, 2))
        .then_expect_events(vec![begun_branch(1, 0, 2, 3), again(2, 1)]);
}

#[test]
fn no_branch_begins_at_the_newest_message() {
    given(vec![started(), sent(1)]).when(regenerate(ada(), 1)).then_expect_events(vec![asked_by(
        message(1),
        reply(1),
        20,
        200,
    )]);
    given(asked([failed(1, 0)])).when(regenerate(ada(), 1)).then_expect_events(vec![again(1, 1)]);
    given(asked([begun(1, 1, "w")]))
        .when(regenerate(ada(), 1))
        .then_expect_events(vec![cancelled_again(1, reply(1), 1), again(1, 1)]);
    // The partial text of an answer stays there.
    let partly = reply_event(1, 6, ReplyEvent::ReplyCancelled { attempt: 1, text: Some(answer("h")) });
    given(asked([begun(1, 1, "w"), partly]))
        .when(regenerate(ada(), 1))
        .then_expect_events(vec![begun_branch(1, 0, 1, 1), again(1, 1)]);
}

#[test]
fn regeneration_cancels_pending_replies_from_the_message_on() {
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
    given(events).when(regenerate_at(ada(), 2, 1)).then_expect_events(vec![
        cancelled_again(2, reply(2), 0),
        cancelled_again(3, reply(3), 0),
        begun_branch(1, 0, 2, 2),
        again(2, 1),
    ]);
}

fn cancelled_with(n: u128, reply_id: ReplyId, attempt: u32, said: &str) -> Event {
    let event = ReplyEvent::ReplyCancelled { attempt, text: Some(answer(said)) };
    reply_event_of(message(n), reply_id, 20, event)
}

#[test]
fn partial_answer_is_kept_and_regeneration_begins_a_branch() {
    given(asked([begun(1, 1, "w")]))
        .when(regenerate_with(ada(), 1, 0, vec![partial_texts(reply(1))]))
        .then_expect_events(vec![
            cancelled_with(1, reply(1), 1, "so f"),
            begun_branch(1, 0, 1, 1),
            again(1, 1),
        ]);
    let expected = [vec![cancelled_with(1, reply(1), 1, "so f"), begun_before(1, 0, 1, 9, 0)], edited(2)];
    given(asked([begun(1, 1, "w")]))
        .when(edit_with(ada(), 1, 0, 2, vec![partial_texts(reply(1))]))
        .then_expect_events(expected.concat());
}

#[test]
fn partial_texts_are_stored_with_their_cancelled_replies() {
    let two = [asked([begun(1, 1, "w")]), vec![sent(2), requested(2)]].concat();
    let known = vec![partial_texts(reply(9)), partial_texts(reply(2)), partial_texts(reply(1))];
    // The first one goes on: it is before what is asked again.
    given(two.clone()).when(regenerate_with(ada(), 2, 1, known.clone())).then_expect_events(vec![]);
    given(two.clone()).when(edit_with(ada(), 2, 1, 3, known.clone())).then_expect_events(
        [vec![cancelled_with(2, reply(2), 0, "so f"), begun_before(1, 0, 2, 19, 1)], edited(3)].concat(),
    );
    given(two).when(edit_with(ada(), 1, 0, 3, known[2..].to_vec())).then_expect_events(
        [
            vec![
                cancelled_with(1, reply(1), 1, "so f"),
                cancelled_again(2, reply(2), 0),
                begun_before(1, 0, 1, 9, 0),
            ],
            edited(3),
        ]
        .concat(),
    );
    // What has ended meanwhile has its own text.
    given(answered())
        .when(regenerate_with(ada(), 1, 0, vec![partial_texts(reply(1))]))
        .then_expect_events(vec![begun_branch(1, 0, 1, 1), again(1, 1)]);
}

#[test]
fn cancelling_an_earlier_reply_after_an_edit_adds_no_note() {
    let stop = || Command::CancelReply {
        reply_id: reply(1),
        by: ada(),
        text: Some(answer("so f")),
        note: Some((item(8), Personal::Known("stopped".to_owned()))),
        at: at(20),
    };
    let note =
        event(20, ItemEvent::NoteAdded { item_id: item(8), note: Personal::Known("stopped".to_owned()) });
    let kept = cancelled_with(1, reply(1), 1, "so f");
    let two = [asked([begun(1, 1, "w")]), vec![sent(2), requested(2)]].concat();
    given(two.clone()).when(stop()).then_expect_events(vec![kept.clone(), note.clone()]);
    let cancelled = cancelled_again(2, reply(2), 0);
    let edited = [two, vec![cancelled, begun_before(1, 0, 2, 19, 1)], edited(3)].concat();
    given(edited).when(stop()).then_expect_events(vec![kept]);
    // The last message of a path is one that it may share.
    let again_running = [answered(), vec![begun_branch(1, 0, 1, 1), again(1, 1)]].concat();
    let reply_id = ReplyId::again(message(1), 1);
    let Command::CancelReply { by, text, note: told, at, .. } = stop() else { panic!("it is one") };
    given(again_running)
        .when(Command::CancelReply { reply_id, by, text, note: told, at })
        .then_expect_events(vec![cancelled_with(1, reply_id, 0, "so f"), note]);
}

#[test]
fn repeated_regeneration_adds_nothing_until_reply_begins() {
    let waiting = [answered(), vec![begun_branch(1, 0, 1, 1), again(1, 1)]].concat();
    given(waiting.clone()).when(regenerate(ada(), 1)).then_expect_events(vec![]);
    let begun = reply_event_of(
        message(1),
        ReplyId::again(message(1), 1),
        21,
        ReplyEvent::ReplyBegun { attempt: 1, plan: plan("w") },
    );
    given([waiting, vec![begun]].concat())
        .when(regenerate(ada(), 1))
        .then_expect_events(vec![cancelled_again(1, ReplyId::again(message(1), 1), 1), again(1, 2)]);
}

#[test]
fn edited_message_begins_a_branch() {
    let expected = [vec![begun_before(1, 0, 2, 19, 2)], edited(3)].concat();
    given(two_turns()).when(edit(ada(), 2, 2, 3)).then_expect_events(expected.clone());
    given([two_turns(), expected.clone()].concat()).when(edit(ada(), 2, 2, 3)).then_expect_events(vec![]);
    // What is pending to the old one is cancelled.
    let expected = [vec![cancelled_again(1, reply(1), 0), begun_before(1, 0, 1, 9, 0)], edited(2)].concat();
    given(asked([])).when(edit(ada(), 1, 0, 2)).then_expect_events(expected);
}

#[test]
fn message_edited_twice_has_sibling_branches() {
    let once = [two_turns(), vec![begun_before(1, 0, 2, 19, 2)], edited(3)].concat();
    let first = cancelled_again(3, reply(3), 0);
    let expected = [vec![first, begun_before(2, 0, 3, 19, 2)], edited(4)].concat();
    given(once).when(edit(ada(), 3, 2, 4)).then_expect_events(expected);
}

#[test]
fn edited_message_needs_its_own_id() {
    given(tool_waiting()).when(edit(ada(), 1, 0, 101)).then_expect_error(Error::MessageIdTaken);
    given([two_turns(), vec![sent(3)]].concat())
        .when(edit(ada(), 2, 2, 3))
        .then_expect_error(Error::MessageIdTaken);
    let derived = Command::EditMessage {
        by: ada(),
        place: place(1, 0),
        message_id: MessageId::answering(reply(7)),
        text: text("hello"),
        enclosed: MessageContext::default(),
        partial_texts: Vec::new(),
        reply: wanted(),
        at: at(20),
        deadline: at(200),
    };
    given(answered()).when(derived).then_expect_error(Error::MessageIdTaken);
}

#[test]
fn switching_to_a_branch_and_back_continues_it() {
    let forked = [two_turns(), vec![begun_branch(1, 0, 1, 1), again(1, 1)]].concat();
    given(forked.clone()).when(switch(ada(), 0)).then_expect_error(Error::RepliesPending);
    let ended = reply_event_of(
        message(1),
        ReplyId::again(message(1), 1),
        21,
        ReplyEvent::ReplyCancelled { attempt: 0, text: None },
    );
    let ended = [forked, vec![ended, sent(3)]].concat();
    given(ended.clone()).when(switch(ada(), 1)).then_expect_events(vec![]);
    given(ended.clone()).when(switch(ada(), 2)).then_expect_error(Error::UnknownBranch);
    given(ended.clone()).when(switch(ada(), 0)).then_expect_events(vec![switched(0)]);
    assert_eq!(shown(&after(ended.clone()), &[1, 2, 3]), [1, 3]);
    let back = [ended, vec![switched(0)]].concat();
    assert_eq!(shown(&after(back.clone()), &[1, 2, 3]), [1, 2]);
    let on = [back, vec![sent(4)]].concat();
    assert_eq!(shown(&after(on.clone()), &[1, 2, 3, 4]), [1, 2, 4]);
    // A branch off the old one knows nothing of the other.
    given(on.clone())
        .when(edit(ada(), 4, 4, 5))
        .then_expect_events([vec![begun_before(2, 0, 4, 39, 4)], edited(5)].concat());
    assert_eq!(shown(&after([on, vec![switched(1)]].concat()), &[1, 2, 3, 4]), [1, 3]);
}

#[test]
fn inactive_branch_rejects_regenerate_edit_and_answer() {
    let waiting = [tool_waiting(), vec![sent(2), begun_branch(1, 0, 1, 1)]].concat();
    given(waiting.clone()).when(regenerate(ada(), 2)).then_expect_error(Error::OtherBranch);
    given(waiting.clone()).when(edit(ada(), 2, 2, 3)).then_expect_error(Error::OtherBranch);
    given(waiting.clone()).when(tool_output(ada(), 101)).then_expect_error(Error::OtherBranch);
    let back = [waiting, vec![switched(0)]].concat();
    given(back).when(tool_output(ada(), 101)).then_expect_events(vec![
        event(
            21,
            ItemEvent::ClientToolAnswered {
                item_id: item(1),
                output: Personal::Known(json!({"celsius": 3})),
            },
        ),
        asked_by(item(1), ReplyId::of(item(1)), 21, 201),
    ]);
}

#[test]
fn answered_call_drops_calls_of_its_own_path_only() {
    let other = event(
        21,
        ItemEvent::ClientToolCalled {
            item_id: item(2),
            reply_id: ReplyId::again(message(1), 1),
            call_id: "call-2".to_owned(),
            name: "look".to_owned(),
            arguments: Personal::Known(json!({})),
        },
    );
    let both = [tool_waiting(), vec![begun_branch(1, 0, 1, 1), other]].concat();
    given(both.clone()).when(tool_output(ada(), 102)).then_expect_events(vec![
        event(
            21,
            ItemEvent::ClientToolAnswered {
                item_id: item(2),
                output: Personal::Known(json!({"celsius": 3})),
            },
        ),
        asked_by(item(2), ReplyId::of(item(2)), 21, 201),
    ]);
}

#[test]
fn rewound_messages_are_a_branch_to_switch_to() {
    let old = [two_turns(), vec![rewound(1), again(1, 1), sent(3)]].concat();
    let state = after(old.clone());
    assert_eq!((state.active_branch(), state.branches()), (1, 2));
    assert_eq!(shown(&state, &[1, 2, 3]), [1, 3]);
    given(old.clone()).when(regenerate(ada(), 2)).then_expect_error(Error::OtherBranch);
    let ended = reply_event_of(
        message(1),
        ReplyId::again(message(1), 1),
        21,
        ReplyEvent::ReplyCancelled { attempt: 0, text: None },
    );
    let ended = [old, vec![ended]].concat();
    given(ended.clone()).when(switch(ada(), 0)).then_expect_events(vec![switched(0)]);
    assert_eq!(shown(&after([ended.clone(), vec![switched(0)]].concat()), &[1, 2, 3]), [1, 2]);
    // Twice to the same message: side by side.
    let twice = after([ended, vec![rewound(1)]].concat());
    assert_eq!((twice.active_branch(), shown(&twice, &[1, 2, 3])), (2, vec![1]));
}

#[test]
fn only_messages_of_the_conversation_can_be_regenerated() {
    for n in [9, 101] {
        given(tool_waiting()).when(regenerate(ada(), n)).then_expect_error(Error::UnknownItem);
        given(tool_waiting()).when(edit(ada(), n, 0, 5)).then_expect_error(Error::UnknownItem);
    }
}

#[test]
fn number_of_branches_is_limited() {
    let branches = (1..u32::try_from(MAX_BRANCHES).unwrap()).map(|branch| begun_branch(branch, 0, 1, 1));
    let full: Vec<Event> = answered().into_iter().chain(branches).chain([sent(2)]).collect();
    let limit = MAX_BRANCHES;
    given(full.clone()).when(edit(ada(), 2, 1, 3)).then_expect_error(Error::TooManyBranches { limit });
    given(full.clone()).when(regenerate(ada(), 1)).then_expect_error(Error::TooManyBranches { limit });
    given(full).when(switch(ada(), 998)).then_expect_events(vec![switched(998)]);
}

#[test]
fn clones_share_the_branches() {
    let state = after(answered().into_iter().chain((1..500).map(|branch| begun_branch(branch, 0, 1, 1))));
    assert_eq!(state.branches(), 500);
    let weight = state.approximate_bytes();
    assert!(weight < 64 * 1024, "{weight}");
    let written = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<Conversation>(&written).unwrap(), state);
}
