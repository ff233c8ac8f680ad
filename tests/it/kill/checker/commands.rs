//! Compares the drivers' answers with the log.
//!
//! The program stores the request id with each event, so events can be attributed to requests. Only that reveals a
//! duplicated message among thousands.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Guarantee};
use crate::kill::client::TIMED_OUT;
use crate::kill::evidence::{Evidence, Logged};
use crate::kill::history::{Answer, Kind, Operation, Outcome, Position, Read};

/// Checks every operation and every read.
pub(super) fn check(operations: &[Operation], reads: &[Read], evidence: &Evidence, findings: &mut Findings) {
    let mut by_request: BTreeMap<&str, Vec<&Logged>> = BTreeMap::new();
    let mut by_position: BTreeMap<i64, &Logged> = BTreeMap::new();
    for event in &evidence.events {
        by_position.insert(event.position, event);
        if let Some(request_id) = &event.request_id {
            by_request.entry(request_id).or_default().push(event);
        }
    }
    for operation in operations {
        let tries: Vec<(&Answer, Vec<&Logged>)> = operation
            .tries
            .iter()
            .map(|one| (&one.answer, by_request.get(one.request_id.as_str()).cloned().unwrap_or_default()))
            .collect();
        check_once(operation, &tries, findings);
        check_durable(operation, &tries, &by_position, findings);
        same_answers(operation, findings);
        answers(operation, findings);
    }
    for read in reads {
        findings.expect(read.found || read.excused, Guarantee::ReadYourWrites, || {
            format!("{} did not find message {} after {:?}", read.request_id, read.message, read.took)
        });
    }
}

/// At most one try appends events, and then all of them; a rejected or unsent try appends no events.
fn check_once(operation: &Operation, tries: &[(&Answer, Vec<&Logged>)], findings: &mut Findings) {
    let effective = tries.iter().filter(|(_, events)| !events.is_empty()).count();
    findings.expect(effective <= 1, Guarantee::Once, || {
        format!("{} took effect {effective} times: {tries:#?}", name(operation))
    });
    for (answer, events) in tries {
        if events.is_empty() {
            continue;
        }
        let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        findings.expect(is_whole(operation.kind, &types), Guarantee::Once, || {
            format!("{} appended {types:?}", name(operation))
        });
        findings.expect(
            !matches!(answer.outcome, Outcome::Rejected | Outcome::NotSent),
            Guarantee::Once,
            || format!("{} appended {types:?}, but was answered with {answer:?}", name(operation)),
        );
    }
    // A rejection is final for its key: the command must never take effect.
    if operation.last() == Some(Outcome::Rejected) {
        findings.expect(effective == 0, Guarantee::Once, || {
            format!("{} took effect, but its last try was rejected: {tries:#?}", name(operation))
        });
    }
}

/// Whether these are all events of one command.
fn is_whole(kind: Kind, types: &[&str]) -> bool {
    match kind {
        Kind::Register => {
            types.iter().filter(|name| **name == "user_registered").count() == 1
                && types.iter().filter(|name| **name == "claim_taken").count() == 1
                && types.len() == 2
        }
        Kind::Create => types == ["conversation_started", "message_sent", "reply_requested"],
        Kind::Send => types == ["message_sent", "reply_requested"],
        Kind::Change => {
            let distinct: BTreeSet<&&str> = types.iter().collect();
            distinct.len() == types.len()
                && types.iter().all(|name| {
                    [
                        "conversation_renamed",
                        "conversation_pinned",
                        "conversation_unpinned",
                        "conversation_archived",
                        "conversation_unarchived",
                        "conversation_read",
                    ]
                    .contains(name)
                })
        }
        Kind::Delete => types.split_last().is_some_and(|(last, ends)| {
            *last == "conversation_deleted" && ends.iter().all(|name| *name == "reply_cancelled")
        }),
        Kind::Cancel => types == ["reply_cancelled"],
        Kind::Slow => types == ["conversation_started"],
        Kind::Reused => false,
    }
}

/// Acknowledged commands are in the log, with the position and ids of the answer.
fn check_durable(
    operation: &Operation,
    tries: &[(&Answer, Vec<&Logged>)],
    by_position: &BTreeMap<i64, &Logged>,
    findings: &mut Findings,
) {
    let events: Vec<&Logged> = tries.iter().flat_map(|(_, events)| events).copied().collect();
    let last = events.iter().map(|event| event.position).max();
    for (answer, _) in tries.iter().filter(|(answer, _)| answer.outcome == Outcome::Ok) {
        findings.expect(operation.kind != Kind::Reused, Guarantee::Once, || {
            format!("{} was not rejected: {answer:?}", name(operation))
        });
        let context =
            || format!("{} was acknowledged with {answer:?}; the log has {events:#?}", name(operation));
        let must_append = !matches!(operation.kind, Kind::Change | Kind::Delete | Kind::Cancel);
        findings.expect(!must_append || last.is_some(), Guarantee::Durable, context);
        match answer.position {
            Position::Command(position) => findings.expect(position == last, Guarantee::Durable, context),
            Position::ReplyEnd(position) => {
                let end = by_position.get(&position);
                let fits = end.is_some_and(|end| {
                    end.event_type == "reply_completed" && end.id("reply_id") == answer.ids.reply
                });
                findings.expect(fits, Guarantee::Durable, context);
            }
            Position::NotGiven => {}
        }
        if last.is_some() {
            let has = |id: Option<uuid::Uuid>, name: &str| {
                id.is_none() || events.iter().any(|event| event.id(name) == id)
            };
            let fits = has(answer.ids.user, "user_id")
                && has(answer.ids.conversation, "conversation_id")
                && has(answer.ids.message, "message_id")
                && has(answer.ids.reply, "reply_id");
            findings.expect(fits, Guarantee::Durable, context);
        }
    }
}

/// All acknowledgements of one operation have the same ids.
fn same_answers(operation: &Operation, findings: &mut Findings) {
    let Some(first) = operation.acknowledged() else { return };
    for one in operation.tries.iter().filter(|one| one.answer.outcome == Outcome::Ok) {
        let answer = &one.answer;
        // An answer that only tells how the reply ended has no ids.
        let position_missing = [answer, first].iter().any(|answer| answer.position == Position::NotGiven);
        findings.expect(position_missing || answer.ids == first.ids, Guarantee::Once, || {
            format!("{} was answered with {first:?}, then with {answer:?}", name(operation))
        });
    }
}

fn answers(operation: &Operation, findings: &mut Findings) {
    for one in &operation.tries {
        let answer = &one.answer;
        let failed = answer.status >= 500 && answer.status != 503;
        let hung = answer.code.as_deref() == Some(TIMED_OUT);
        findings.expect(!failed && !hung, Guarantee::Available, || {
            format!("{} ({}) was answered with {answer:?}", name(operation), one.request_id)
        });
    }
}

fn name(operation: &Operation) -> String {
    let key = operation.key.as_deref().unwrap_or("no key");
    format!("operation {} ({} {}, {key})", operation.number, operation.method, operation.path)
}
