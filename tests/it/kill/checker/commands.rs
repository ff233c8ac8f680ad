//! What the drivers were told against what is in the log.
//!
//! The program writes each request's id beside the events it causes, so every event of a command can be told from all
//! others: no other way would find a doubled message among thousands.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, Promise};
use crate::kill::client::TIMED_OUT;
use crate::kill::evidence::{Evidence, Logged};
use crate::kill::history::{Answer, Kind, Operation, Outcome, Position, Read};

/// Checks every operation and every look.
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
        once(operation, &tries, findings);
        kept(operation, &tries, &by_position, findings);
        same_answers(operation, findings);
        answers(operation, findings);
    }
    for read in reads {
        findings.expect(read.found || read.excused, Promise::ReadsWrites, || {
            format!("{} did not find message {} after {:?}", read.request_id, read.message, read.took)
        });
    }
}

/// All of the command or nothing, by at most one of its tries; nothing where it was refused or never sent.
fn once(operation: &Operation, tries: &[(&Answer, Vec<&Logged>)], findings: &mut Findings) {
    let effective = tries.iter().filter(|(_, events)| !events.is_empty()).count();
    findings.expect(effective <= 1, Promise::Once, || {
        format!("{} took effect {effective} times: {tries:#?}", name(operation))
    });
    for (answer, events) in tries {
        if events.is_empty() {
            continue;
        }
        let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        findings.expect(is_whole(operation.kind, &types), Promise::Once, || {
            format!("{} left {types:?}", name(operation))
        });
        findings.expect(
            !matches!(answer.outcome, Outcome::Refused | Outcome::NotSent),
            Promise::Once,
            || format!("{} left {types:?}, but was told {answer:?}", name(operation)),
        );
    }
    // A refusal is final for its key: whoever gets one must be able to rely on nothing having happened, ever.
    if operation.last() == Some(Outcome::Refused) {
        findings.expect(effective == 0, Promise::Once, || {
            format!("{} took effect, but its last try was refused: {tries:#?}", name(operation))
        });
    }
}

/// Whether these are the events of one whole command.
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

/// What was acknowledged is in the log, where and with the ids that the answer told.
fn kept(
    operation: &Operation,
    tries: &[(&Answer, Vec<&Logged>)],
    by_position: &BTreeMap<i64, &Logged>,
    findings: &mut Findings,
) {
    let events: Vec<&Logged> = tries.iter().flat_map(|(_, events)| events).copied().collect();
    let last = events.iter().map(|event| event.position).max();
    for (answer, _) in tries.iter().filter(|(answer, _)| answer.outcome == Outcome::Ok) {
        findings.expect(operation.kind != Kind::Reused, Promise::Once, || {
            format!("{} was not refused: {answer:?}", name(operation))
        });
        let told =
            || format!("{} was acknowledged with {answer:?}; the log has {events:#?}", name(operation));
        let always = !matches!(operation.kind, Kind::Change | Kind::Delete | Kind::Cancel);
        findings.expect(!always || last.is_some(), Promise::Kept, told);
        match answer.position {
            Position::Command(position) => findings.expect(position == last, Promise::Kept, told),
            Position::ReplyEnd(position) => {
                let end = by_position.get(&position);
                let fits = end.is_some_and(|end| {
                    end.event_type == "reply_completed" && end.id("reply_id") == answer.ids.reply
                });
                findings.expect(fits, Promise::Kept, told);
            }
            Position::Untold => {}
        }
        if last.is_some() {
            let has = |id: Option<uuid::Uuid>, name: &str| {
                id.is_none() || events.iter().any(|event| event.id(name) == id)
            };
            let fits = has(answer.ids.user, "user_id")
                && has(answer.ids.conversation, "conversation_id")
                && has(answer.ids.message, "message_id")
                && has(answer.ids.reply, "reply_id");
            findings.expect(fits, Promise::Kept, told);
        }
    }
}

/// Every acknowledgement of one operation names the same ids and positions.
fn same_answers(operation: &Operation, findings: &mut Findings) {
    let Some(first) = operation.acknowledged() else { return };
    for one in operation.tries.iter().filter(|one| one.answer.outcome == Outcome::Ok) {
        let answer = &one.answer;
        // An answer that only tells how the reply ended names nothing.
        let untold = [answer, first].iter().any(|answer| answer.position == Position::Untold);
        findings.expect(untold || answer.ids == first.ids, Promise::Once, || {
            format!("{} was answered with {first:?}, then with {answer:?}", name(operation))
        });
    }
}

fn answers(operation: &Operation, findings: &mut Findings) {
    for one in &operation.tries {
        let answer = &one.answer;
        let failed = answer.status >= 500 && answer.status != 503;
        let hung = answer.code.as_deref() == Some(TIMED_OUT);
        findings.expect(!failed && !hung, Promise::Answers, || {
            format!("{} ({}) was answered with {answer:?}", name(operation), one.request_id)
        });
    }
}

fn name(operation: &Operation) -> String {
    let key = operation.key.as_deref().unwrap_or("no key");
    format!("operation {} ({} {}, {key})", operation.number, operation.method, operation.path)
}
