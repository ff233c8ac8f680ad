//! Tests of the checker on small histories: a correct one, and variants with one violation.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{Guarantee, check};
use crate::kill::client::{TIMED_OUT, classify};
use crate::kill::evidence::{Evidence, Logged};
use crate::kill::history::{Answer, Kind, Operation, Outcome, Position, Read, Try};

const PERSON: Uuid = Uuid::from_u128(1);
const CONVERSATION: Uuid = Uuid::from_u128(2);
const MESSAGE: Uuid = Uuid::from_u128(3);
const REPLY: Uuid = Uuid::from_u128(4);

/// A correct run: a message sent by an operation that was repeated, and its reply.
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

fn answer_with(status: u16, position: Option<i64>, status_text: &str) -> Answer {
    let body = json!({
        "status": status_text, "session_id": CONVERSATION, "user_message_id": MESSAGE, "reply_id": REPLY,
    });
    classify(Kind::Create, status, position, &body)
}

impl Case {
    fn good() -> Self {
        let tries = [
            ("op1-1", Answer::none(Outcome::Unknown, "broken off")),
            ("op1-2", answer_with(202, Some(3), "pending")),
            ("op1-3", answer_with(200, Some(5), "completed")),
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
            idle: true,
            events,
            checkpoints: [("messages".to_owned(), 5)].into(),
            conversations: [CONVERSATION].into(),
            messages: [MESSAGE].into(),
            pending: BTreeSet::new(),
            shown: [(PERSON, [CONVERSATION].into())].into(),
            idle_in_transaction: 0,
            health: (200, String::new()),
            rebuilt: (true, String::new()),
            clean_exit: true,
            log_lines: vec!["{\"level\":\"INFO\"}".to_owned()],
        };
        Self { operations: vec![operation], reads: Vec::new(), evidence }
    }

    /// Returns the guarantees that are violated after `change`.
    fn violated(change: impl FnOnce(&mut Self)) -> Vec<Guarantee> {
        let mut case = Self::good();
        change(&mut case);
        let mut guarantees: Vec<Guarantee> = Vec::new();
        for violation in check(&case.operations, &case.reads, &case.evidence) {
            if !guarantees.contains(&violation.guarantee) {
                guarantees.push(violation.guarantee);
            }
        }
        guarantees
    }

    fn answer_mut(&mut self, index: usize) -> &mut Answer {
        &mut self.operations[0].tries[index].answer
    }
}

#[test]
fn correct_run_has_no_violations() {
    assert_eq!(Case::violated(|_| {}), []);
}

#[test]
fn lost_command_is_detected() {
    let violated = Case::violated(|case| {
        case.evidence.events.clear();
        case.evidence.checkpoints.insert("messages".to_owned(), 0);
        case.evidence.conversations.clear();
        case.evidence.messages.clear();
        case.evidence.shown.clear();
    });
    assert_eq!(violated, [Guarantee::Durable]);
    assert_eq!(
        Case::violated(|case| case.answer_mut(1).position = Position::Command(None)),
        [Guarantee::Durable]
    );
    assert_eq!(
        Case::violated(|case| case.answer_mut(1).position = Position::Command(Some(9))),
        [Guarantee::Durable]
    );
    assert_eq!(
        Case::violated(|case| case.answer_mut(2).position = Position::ReplyEnd(4)),
        [Guarantee::Durable]
    );
}

#[test]
fn duplicated_command_is_detected() {
    let violated = Case::violated(|case| {
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
    assert!(violated.contains(&Guarantee::Once), "{violated:?}");
    let renamed = |case: &mut Case| case.answer_mut(2).ids.message = Some(Uuid::from_u128(30));
    assert!(Case::violated(renamed).contains(&Guarantee::Once));
}

#[test]
fn effect_of_rejected_or_unsent_command_is_detected() {
    for outcome in [Outcome::Rejected, Outcome::NotSent] {
        assert_eq!(
            Case::violated(|case| case.answer_mut(0).outcome = outcome),
            [Guarantee::Once],
            "{outcome:?}"
        );
    }
    assert_eq!(Case::violated(|case| case.answer_mut(2).outcome = Outcome::Rejected), [Guarantee::Once]);
    assert!(Case::violated(|case| case.operations[0].kind = Kind::Reused).contains(&Guarantee::Once));
}

#[test]
fn partial_command_is_detected() {
    let violated = Case::violated(|case| {
        case.evidence.events.remove(1);
        for (index, event) in (1_i64..).zip(&mut case.evidence.events) {
            event.sequence = index;
        }
        case.evidence.messages.clear();
    });
    assert_eq!(violated, [Guarantee::Once]);
}

#[test]
fn disorder_in_log_is_detected() {
    assert_eq!(Case::violated(|case| case.evidence.events[3].sequence = 7), [Guarantee::Ordered]);
    assert!(Case::violated(|case| case.evidence.events[2].position = 9).contains(&Guarantee::Ordered));
}

#[test]
fn wrong_final_events_and_attempts_are_detected() {
    let ended_again = |case: &mut Case| {
        case.evidence.events.push(event(6, "reply_failed", None, json!({"attempt": 1})));
        case.evidence.checkpoints.insert("messages".to_owned(), 6);
    };
    assert_eq!(Case::violated(ended_again), [Guarantee::OneFinalEvent]);
    let never_ended = |case: &mut Case| {
        case.evidence.events.pop();
        case.evidence.checkpoints.insert("messages".to_owned(), 4);
        case.operations[0].tries.pop();
    };
    assert_eq!(Case::violated(never_ended), [Guarantee::OneFinalEvent]);
    let late = |case: &mut Case| case.evidence.events[4].payload["at"] = "2026-01-01T00:03:01Z".into();
    assert_eq!(Case::violated(late), [Guarantee::OneFinalEvent]);
    let skipped = |case: &mut Case| case.evidence.events[3].payload["attempt"] = 2.into();
    assert_eq!(Case::violated(skipped), [Guarantee::OneFinalEvent]);
}

#[test]
fn read_models_differing_from_log_are_detected() {
    let changes: [fn(&mut Case); 6] = [
        |case| case.evidence.checkpoints.values_mut().for_each(|position| *position -= 1),
        |case| case.evidence.checkpoints.clear(),
        |case| case.evidence.messages.clear(),
        |case| case.evidence.conversations.extend([Uuid::from_u128(9)]),
        |case| drop(case.evidence.shown.insert(PERSON, BTreeSet::new())),
        |case| case.evidence.rebuilt.0 = false,
    ];
    for change in changes {
        assert_eq!(Case::violated(change), [Guarantee::Models]);
    }
}

#[test]
fn stale_read_is_detected_unless_excused() {
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
    assert_eq!(Case::violated(look(false)), [Guarantee::ReadYourWrites]);
    assert_eq!(Case::violated(look(true)), []);
}

#[test]
fn failures_and_timeouts_are_detected() {
    assert_eq!(Case::violated(|case| case.answer_mut(0).status = 500), [Guarantee::Available]);
    assert_eq!(Case::violated(|case| case.answer_mut(0).status = 503), []);
    assert_eq!(
        Case::violated(|case| case.answer_mut(0).code = Some(TIMED_OUT.to_owned())),
        [Guarantee::Available]
    );
}

#[test]
fn leftovers_are_detected() {
    let changes: [fn(&mut Case); 7] = [
        |case| case.evidence.idle = false,
        |case| case.evidence.pending.extend([REPLY]),
        |case| case.evidence.idle_in_transaction = 1,
        |case| case.evidence.health.0 = 503,
        |case| case.evidence.clean_exit = false,
        |case| case.evidence.log_lines.push("thread 'x' panicked at src/y.rs".to_owned()),
        |case| {
            case.evidence.log_lines.push("{\"level\":\"WARN\",\"message\":\"3 frames dropped\"}".to_owned());
        },
    ];
    for change in changes {
        assert_eq!(Case::violated(change), [Guarantee::CleanEnd]);
    }
}
