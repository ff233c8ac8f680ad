//! Checks the log's consistency, and the read models against the log.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Findings, Guarantee};
use crate::kill::evidence::{Evidence, Logged};

/// Maximum time from the request to the end of a reply.
const DEADLINE_SECONDS: i64 = 180;

/// Runs all checks that need no history.
pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    order(&evidence.events, findings);
    replies(&evidence.events, findings);
    models(evidence, findings);
    clean_end(evidence, findings);
}

/// Every stream has the sequences 1..n, and positions increase.
fn order(events: &[Logged], findings: &mut Findings) {
    let mut last_sequences: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut previous = 0;
    for event in events {
        findings.expect(event.position > previous, Guarantee::Ordered, || {
            format!("position {} follows {previous}", event.position)
        });
        previous = event.position;
        let stream = last_sequences.entry((&event.aggregate_type, &event.aggregate_id)).or_default();
        findings.expect(event.sequence == *stream + 1, Guarantee::Ordered, || {
            format!("sequence {stream} of the stream is followed by {event:?}")
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

/// Every reply has one request, attempts 1, 2, 3, … and then one final event.
fn replies(events: &[Logged], findings: &mut Findings) {
    let mut replies: BTreeMap<Uuid, Reply> = BTreeMap::new();
    for event in events.iter().filter(|event| event.event_type.starts_with("reply_")) {
        let Some(id) = event.id("reply_id") else {
            findings.expect(false, Guarantee::OneFinalEvent, || format!("a reply without an id: {event:?}"));
            continue;
        };
        let reply = replies.entry(id).or_default();
        let at = event.payload["at"].as_str().and_then(|at| at.parse().ok());
        let attempt = event.payload["attempt"].as_u64().unwrap_or_default();
        findings.expect(reply.ended == 0, Guarantee::OneFinalEvent, || {
            format!("{event:?} follows the reply's final event")
        });
        match event.event_type.as_str() {
            "reply_requested" => {
                findings.expect(reply.requested.is_none(), Guarantee::OneFinalEvent, || {
                    format!("requested twice: {event:?}")
                });
                reply.requested = at;
            }
            "reply_begun" => {
                findings.expect(attempt == reply.attempt + 1, Guarantee::OneFinalEvent, || {
                    format!("attempt {} is followed by {event:?}", reply.attempt)
                });
                reply.attempt = attempt;
            }
            "reply_attempt_failed" => {
                findings.expect(attempt == reply.attempt, Guarantee::OneFinalEvent, || {
                    format!("attempt {} is the last one, but {event:?}", reply.attempt)
                });
            }
            _ => {
                reply.ended += 1;
                let took = reply.requested.zip(at).map(|(from, to)| (to - from).num_seconds());
                let fits = attempt == reply.attempt && took.is_some_and(|took| took <= DEADLINE_SECONDS);
                findings.expect(fits, Guarantee::OneFinalEvent, || {
                    format!("after attempt {}, {took:?} s after its request: {event:?}", reply.attempt)
                });
            }
        }
    }
    for (id, reply) in replies {
        findings.expect(reply.ended == 1, Guarantee::OneFinalEvent, || {
            format!("reply {id} has {} final events (last attempt {})", reply.ended, reply.attempt)
        });
    }
}

/// Read models and lists equal the log.
fn models(evidence: &Evidence, findings: &mut Findings) {
    let head = evidence.events.last().map_or(0, |event| event.position);
    findings.expect(!evidence.checkpoints.is_empty(), Guarantee::Models, || "no checkpoints".to_owned());
    for (model, position) in &evidence.checkpoints {
        findings.expect(*position == head, Guarantee::Models, || {
            format!("{model} is at position {position}, the log at {head}")
        });
    }
    findings.expect(evidence.rebuilt.0, Guarantee::Models, || {
        format!("a rebuild yields other rows:\n{}", evidence.rebuilt.1)
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
    findings.expect(wanted == found, Guarantee::Models, || {
        format!(
            "{what}: {} in the log, {} found; missing {missing:?}, unexpected {too_many:?}",
            wanted.len(),
            found.len()
        )
    });
}

/// No work is left over, and no process logged a problem.
fn clean_end(evidence: &Evidence, findings: &mut Findings) {
    findings.expect(evidence.idle && evidence.pending.is_empty(), Guarantee::CleanEnd, || {
        format!("the system did not become idle; pending replies: {:?}", evidence.pending)
    });
    findings.expect(evidence.idle_in_transaction == 0, Guarantee::CleanEnd, || {
        format!("{} sessions are idle in a transaction", evidence.idle_in_transaction)
    });
    findings.expect(evidence.health.0 == 200, Guarantee::CleanEnd, || {
        format!("/health: {} {}", evidence.health.0, evidence.health.1)
    });
    findings.expect(evidence.clean_exit, Guarantee::CleanEnd, || "a process did not exit cleanly".into());
    for line in &evidence.log_lines {
        let bad = line.contains("panicked")
            || line.contains("PANIC:")
            || (line.contains("\"WARN\"") && line.contains("dropped"));
        findings.expect(!bad, Guarantee::CleanEnd, || format!("logged: {line}"));
    }
}
