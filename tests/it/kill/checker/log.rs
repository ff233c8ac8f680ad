//! The log against itself and against what was made of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Findings, Promise};
use crate::kill::evidence::{Evidence, Logged};

/// From the request to the end of a reply, at most.
const DEADLINE_SECONDS: i64 = 180;

/// Checks everything that needs no history.
pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    order(&evidence.events, findings);
    replies(&evidence.events, findings);
    models(evidence, findings);
    clean_end(evidence, findings);
}

/// Sequences 1..n in every stream, and positions that rise along it.
fn order(events: &[Logged], findings: &mut Findings) {
    let mut stands: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut previous = 0;
    for event in events {
        findings.expect(event.position > previous, Promise::Ordered, || {
            format!("position {} stands behind {previous}", event.position)
        });
        previous = event.position;
        let stream = stands.entry((&event.aggregate_type, &event.aggregate_id)).or_default();
        findings.expect(event.sequence == *stream + 1, Promise::Ordered, || {
            format!("after sequence {stream} of its stream comes {event:?}")
        });
        *stream = event.sequence;
    }
}

#[derive(Default)]
struct Reply {
    requested: Option<DateTime<Utc>>,
    attempt: u64,
    ended: u32,
}

/// One request, attempts 1, 2, 3, … and then one end, for every reply.
fn replies(events: &[Logged], findings: &mut Findings) {
    let mut replies: BTreeMap<Uuid, Reply> = BTreeMap::new();
    for event in events.iter().filter(|event| event.event_type.starts_with("reply_")) {
        let Some(id) = event.id("reply_id") else {
            findings.expect(false, Promise::OneEnd, || format!("a reply without an id: {event:?}"));
            continue;
        };
        let reply = replies.entry(id).or_default();
        let at = event.payload["at"].as_str().and_then(|at| at.parse().ok());
        let attempt = event.payload["attempt"].as_u64().unwrap_or_default();
        findings
            .expect(reply.ended == 0, Promise::OneEnd, || format!("{event:?} comes after its reply's end"));
        match event.event_type.as_str() {
            "reply_requested" => {
                findings.expect(reply.requested.is_none(), Promise::OneEnd, || {
                    format!("requested twice: {event:?}")
                });
                reply.requested = at;
            }
            "reply_begun" => {
                findings.expect(attempt == reply.attempt + 1, Promise::OneEnd, || {
                    format!("after attempt {} comes {event:?}", reply.attempt)
                });
                reply.attempt = attempt;
            }
            "reply_attempt_failed" => findings.expect(attempt == reply.attempt, Promise::OneEnd, || {
                format!("attempt {} is the last one, but {event:?}", reply.attempt)
            }),
            _ => {
                reply.ended += 1;
                let took = reply.requested.zip(at).map(|(from, to)| (to - from).num_seconds());
                let fits = attempt == reply.attempt && took.is_some_and(|took| took <= DEADLINE_SECONDS);
                findings.expect(fits, Promise::OneEnd, || {
                    format!("after attempt {}, {took:?} s after its request: {event:?}", reply.attempt)
                });
            }
        }
    }
    for (id, reply) in replies {
        findings.expect(reply.ended == 1, Promise::OneEnd, || {
            format!("reply {id} has {} ends (last attempt {})", reply.ended, reply.attempt)
        });
    }
}

/// Read models and lists show what the log says, no less and no more.
fn models(evidence: &Evidence, findings: &mut Findings) {
    let head = evidence.events.last().map_or(0, |event| event.position);
    findings.expect(!evidence.checkpoints.is_empty(), Promise::Models, || "no checkpoints".to_owned());
    for (model, position) in &evidence.checkpoints {
        findings.expect(*position == head, Promise::Models, || {
            format!("{model} stands at {position}, the log at {head}")
        });
    }
    findings.expect(evidence.rebuilt.0, Promise::Models, || {
        format!("a rebuild gives other rows:\n{}", evidence.rebuilt.1)
    });

    let mut owners: BTreeMap<Uuid, Uuid> = BTreeMap::new();
    let mut messages: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
    for event in &evidence.events {
        let Some(conversation) = event.id("conversation_id") else { continue };
        match event.event_type.as_str() {
            "conversation_started" => {
                owners.extend(event.id("owner").map(|owner| (conversation, owner)));
            }
            "message_sent" => messages.entry(conversation).or_default().extend(event.id("message_id")),
            "conversation_deleted" => {
                owners.remove(&conversation);
                messages.remove(&conversation);
            }
            _ => {}
        }
    }
    compare("conversations", &owners.keys().copied().collect(), &evidence.conversations, findings);
    compare("messages", &messages.into_values().flatten().collect(), &evidence.messages, findings);
    for (person, shown) in &evidence.shown {
        let theirs = owners.iter().filter(|(_, owner)| *owner == person).map(|(id, _)| *id).collect();
        compare(&format!("the list of {person}"), &theirs, shown, findings);
    }
}

fn compare(what: &str, wanted: &BTreeSet<Uuid>, found: &BTreeSet<Uuid>, findings: &mut Findings) {
    let missing: Vec<_> = wanted.difference(found).take(5).collect();
    let too_many: Vec<_> = found.difference(wanted).take(5).collect();
    findings.expect(wanted == found, Promise::Models, || {
        format!(
            "{what}: {} by the log, {} there; missing {missing:?}, too many {too_many:?}",
            wanted.len(),
            found.len()
        )
    });
}

/// Nothing is left over, and nobody has complained.
fn clean_end(evidence: &Evidence, findings: &mut Findings) {
    findings.expect(evidence.quiet && evidence.pending.is_empty(), Promise::CleanEnd, || {
        format!("not everything came to rest; owed: {:?}", evidence.pending)
    });
    findings.expect(evidence.idle_in_transaction == 0, Promise::CleanEnd, || {
        format!("{} sessions sit in an open transaction", evidence.idle_in_transaction)
    });
    findings.expect(evidence.health.0 == 200, Promise::CleanEnd, || {
        format!("/health: {} {}", evidence.health.0, evidence.health.1)
    });
    findings.expect(evidence.ended_in_order, Promise::CleanEnd, || {
        "the last process did not end in order".into()
    });
    for line in &evidence.said {
        let bad = line.contains("panicked")
            || line.contains("PANIC:")
            || (line.contains("\"WARN\"") && line.contains("dropped"));
        findings.expect(!bad, Promise::CleanEnd, || format!("logged: {line}"));
    }
}
