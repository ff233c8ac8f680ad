//! The checker on small histories: a good one, and the same with one thing wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{Promise, check};
use crate::kill::client::{TIMED_OUT, judge};
use crate::kill::evidence::{Evidence, Logged};
use crate::kill::history::{Answer, Kind, Operation, Outcome, Position, Read, Try};

const PERSON: Uuid = Uuid::from_u128(1);
const CONVERSATION: Uuid = Uuid::from_u128(2);
const MESSAGE: Uuid = Uuid::from_u128(3);
const REPLY: Uuid = Uuid::from_u128(4);

/// What one run left: a message sent by an operation that was repeated once, and its reply.
struct Case {
    operations: Vec<Operation>,
    reads: Vec<Read>,
    evidence: Evidence,
}

fn event(position: i64, event_type: &str, request_id: Option<&str>, more: serde_json::Value) -> Logged {
    let mut payload = json!({
        "conversation_id": CONVERSATION, "owner": PERSON, "message_id": MESSAGE, "reply_id": REPLY,
        "at": "2026-01-01T00:00:00Z",
    });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Logged {
        position,
        aggregate_type: "conversation".to_owned(),
        aggregate_id: CONVERSATION.to_string(),
        sequence: position,
        event_type: event_type.to_owned(),
        request_id: request_id.map(str::to_owned),
        payload,
    }
}

fn told(status: u16, position: Option<i64>, status_text: &str) -> Answer {
    let body = json!({
        "status": status_text, "session_id": CONVERSATION, "user_message_id": MESSAGE, "reply_id": REPLY,
    });
    judge(Kind::Create, status, position, &body)
}

impl Case {
    fn good() -> Self {
        let tries = [
            ("op1-1", Answer::none(Outcome::Unknown, "broken off")),
            ("op1-2", told(202, Some(3), "pending")),
            ("op1-3", told(200, Some(5), "completed")),
        ];
        let operation = Operation {
            number: 1,
            kind: Kind::Create,
            user: Some(PERSON),
            key: Some("key".to_owned()),
            method: "POST",
            path: "/api/chat".to_owned(),
            body: Some("{}".to_owned()),
            tries: tries.map(|(request_id, answer)| Try { request_id: request_id.to_owned(), answer }).into(),
        };
        let first = Some("op1-1");
        let events = vec![
            event(1, "conversation_started", first, json!({})),
            event(2, "message_sent", first, json!({})),
            event(3, "reply_requested", first, json!({})),
            event(4, "reply_begun", None, json!({"attempt": 1})),
            event(5, "reply_completed", None, json!({"attempt": 1})),
        ];
        let evidence = Evidence {
            quiet: true,
            events,
            checkpoints: [("messages".to_owned(), 5)].into(),
            conversations: [CONVERSATION].into(),
            messages: [MESSAGE].into(),
            pending: BTreeSet::new(),
            shown: [(PERSON, [CONVERSATION].into())].into(),
            idle_in_transaction: 0,
            health: (200, String::new()),
            rebuilt: (true, String::new()),
            ended_in_order: true,
            said: vec!["{\"level\":\"INFO\"}".to_owned()],
        };
        Self { operations: vec![operation], reads: Vec::new(), evidence }
    }

    /// The promises that are broken once `change` has been made.
    fn broken(change: impl FnOnce(&mut Self)) -> Vec<Promise> {
        let mut case = Self::good();
        change(&mut case);
        let mut promises: Vec<Promise> = Vec::new();
        for violation in check(&case.operations, &case.reads, &case.evidence) {
            if !promises.contains(&violation.promise) {
                promises.push(violation.promise);
            }
        }
        promises
    }

    fn answer(&mut self, index: usize) -> &mut Answer {
        &mut self.operations[0].tries[index].answer
    }
}

#[test]
fn a_good_run_is_good() {
    assert_eq!(Case::broken(|_| {}), []);
}

#[test]
fn a_lost_command_is_found() {
    let broken = Case::broken(|case| {
        case.evidence.events.clear();
        case.evidence.checkpoints.insert("messages".to_owned(), 0);
        case.evidence.conversations.clear();
        case.evidence.messages.clear();
        case.evidence.shown.clear();
    });
    assert_eq!(broken, [Promise::Kept]);
    assert_eq!(Case::broken(|case| case.answer(1).position = Position::Command(None)), [Promise::Kept]);
    assert_eq!(Case::broken(|case| case.answer(1).position = Position::Command(Some(9))), [Promise::Kept]);
    assert_eq!(Case::broken(|case| case.answer(2).position = Position::ReplyEnd(4)), [Promise::Kept]);
}

#[test]
fn a_doubled_command_is_found() {
    let broken = Case::broken(|case| {
        let again = Some("op1-2");
        let other = json!({"message_id": Uuid::from_u128(30), "reply_id": Uuid::from_u128(40)});
        case.evidence.events.extend([
            event(6, "message_sent", again, other.clone()),
            event(7, "reply_requested", again, other.clone()),
            event(8, "reply_cancelled", None, json!({"reply_id": Uuid::from_u128(40), "attempt": 0})),
        ]);
        case.evidence.messages.insert(Uuid::from_u128(30));
        case.evidence.checkpoints.insert("messages".to_owned(), 8);
    });
    assert!(broken.contains(&Promise::Once), "{broken:?}");
    let renamed = |case: &mut Case| case.answer(2).ids.message = Some(Uuid::from_u128(30));
    assert!(Case::broken(renamed).contains(&Promise::Once));
}

#[test]
fn an_effect_of_what_was_refused_or_never_sent_is_found() {
    for outcome in [Outcome::Refused, Outcome::NotSent] {
        assert_eq!(Case::broken(|case| case.answer(0).outcome = outcome), [Promise::Once], "{outcome:?}");
    }
    assert_eq!(Case::broken(|case| case.answer(2).outcome = Outcome::Refused), [Promise::Once]);
    assert!(Case::broken(|case| case.operations[0].kind = Kind::Reused).contains(&Promise::Once));
}

#[test]
fn half_a_command_is_found() {
    let broken = Case::broken(|case| {
        case.evidence.events.remove(1);
        for (index, event) in (1_i64..).zip(&mut case.evidence.events) {
            event.sequence = index;
        }
        case.evidence.messages.clear();
    });
    assert_eq!(broken, [Promise::Once]);
}

#[test]
fn disorder_is_found() {
    assert_eq!(Case::broken(|case| case.evidence.events[3].sequence = 7), [Promise::Ordered]);
    assert!(Case::broken(|case| case.evidence.events[2].position = 9).contains(&Promise::Ordered));
}

#[test]
fn a_second_end_no_end_and_a_repeated_attempt_are_found() {
    let ended_again = |case: &mut Case| {
        case.evidence.events.push(event(6, "reply_failed", None, json!({"attempt": 1})));
        case.evidence.checkpoints.insert("messages".to_owned(), 6);
    };
    assert_eq!(Case::broken(ended_again), [Promise::OneEnd]);
    let never_ended = |case: &mut Case| {
        case.evidence.events.pop();
        case.evidence.checkpoints.insert("messages".to_owned(), 4);
        case.operations[0].tries.pop();
    };
    assert_eq!(Case::broken(never_ended), [Promise::OneEnd]);
    let late = |case: &mut Case| case.evidence.events[4].payload["at"] = "2026-01-01T00:03:01Z".into();
    assert_eq!(Case::broken(late), [Promise::OneEnd]);
    let skipped = |case: &mut Case| case.evidence.events[3].payload["attempt"] = 2.into();
    assert_eq!(Case::broken(skipped), [Promise::OneEnd]);
}

#[test]
fn read_models_that_differ_from_the_log_are_found() {
    let changes: [fn(&mut Case); 6] = [
        |case| case.evidence.checkpoints.values_mut().for_each(|position| *position -= 1),
        |case| case.evidence.checkpoints.clear(),
        |case| case.evidence.messages.clear(),
        |case| case.evidence.conversations.extend([Uuid::from_u128(9)]),
        |case| drop(case.evidence.shown.insert(PERSON, BTreeSet::new())),
        |case| case.evidence.rebuilt.0 = false,
    ];
    for change in changes {
        assert_eq!(Case::broken(change), [Promise::Models]);
    }
}

#[test]
fn a_stale_look_is_found_unless_it_is_excused() {
    let look = |excused| {
        move |case: &mut Case| {
            case.reads.push(Read {
                request_id: "look".to_owned(),
                message: MESSAGE,
                found: false,
                took: Duration::from_millis(9),
                excused,
            });
        }
    };
    assert_eq!(Case::broken(look(false)), [Promise::ReadsWrites]);
    assert_eq!(Case::broken(look(true)), []);
}

#[test]
fn failures_and_hanging_are_found() {
    assert_eq!(Case::broken(|case| case.answer(0).status = 500), [Promise::Answers]);
    assert_eq!(Case::broken(|case| case.answer(0).status = 503), []);
    assert_eq!(Case::broken(|case| case.answer(0).code = Some(TIMED_OUT.to_owned())), [Promise::Answers]);
}

#[test]
fn leftovers_are_found() {
    let changes: [fn(&mut Case); 7] = [
        |case| case.evidence.quiet = false,
        |case| case.evidence.pending.extend([REPLY]),
        |case| case.evidence.idle_in_transaction = 1,
        |case| case.evidence.health.0 = 503,
        |case| case.evidence.ended_in_order = false,
        |case| case.evidence.said.push("thread 'x' panicked at src/y.rs".to_owned()),
        |case| case.evidence.said.push("{\"level\":\"WARN\",\"message\":\"3 frames dropped\"}".to_owned()),
    ];
    for change in changes {
        assert_eq!(Case::broken(change), [Promise::CleanEnd]);
    }
}
