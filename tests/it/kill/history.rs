//! Records the drivers' operations and answers: one line before each request and one after its answer.
//!
//! The lines go to a file in the build folder for the analysis of failed runs; the checker reads the same data in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// Kind of an operation; determines which events it appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Registers an account.
    Register,
    /// Sends a message in a new conversation.
    Create,
    /// Sends a message in an existing conversation.
    Send,
    /// Changes title, pin or archive state.
    Change,
    /// Deletes a conversation.
    Delete,
    /// Cancels a reply.
    Cancel,
    /// Sends another message with a used key; must be rejected.
    Reused,
    /// Starts a conversation by a direct database transaction that commits slowly.
    Slow,
}

/// What the client knows of a try's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Acknowledged.
    Ok,
    /// Rejected: must have had no effect.
    Rejected,
    /// May have taken effect or not.
    Unknown,
    /// Never sent: must have had no effect.
    NotSent,
}

/// Log position in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Position {
    /// Of the command's last event; `None` if it appended none.
    Command(Option<i64>),
    /// Of the final event of the requested reply.
    ReplyEnd(i64),
    /// The answer has no position.
    NotGiven,
}

/// Ids in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Ids {
    pub(crate) user: Option<Uuid>,
    pub(crate) conversation: Option<Uuid>,
    pub(crate) message: Option<Uuid>,
    pub(crate) reply: Option<Uuid>,
}

/// An answer, or why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// HTTP status; 0 without an answer.
    pub(crate) status: u16,
    /// Error code, or the driver's reason for a missing answer.
    pub(crate) code: Option<String>,
    pub(crate) ids: Ids,
    pub(crate) position: Position,
}

impl Answer {
    /// A missing answer.
    pub(crate) fn none(outcome: Outcome, code: &str) -> Self {
        Self {
            outcome,
            status: 0,
            code: Some(code.to_owned()),
            ids: Ids::default(),
            position: Position::NotGiven,
        }
    }
}

/// One request for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Try {
    /// `X-Request-Id`; the program stores it with each event, so events can be attributed to requests.
    pub(crate) request_id: String,
    pub(crate) answer: Answer,
}

/// One operation with all its tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// The signed-in user, if any.
    pub(crate) user: Option<Uuid>,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<String>,
    pub(crate) tries: Vec<Try>,
}

impl Operation {
    /// Returns the first acknowledgement.
    pub(crate) fn acknowledged(&self) -> Option<&Answer> {
        self.tries.iter().map(|one| &one.answer).find(|answer| answer.outcome == Outcome::Ok)
    }

    /// Returns the outcome of the last try.
    pub(crate) fn last(&self) -> Option<Outcome> {
        self.tries.last().map(|one| one.answer.outcome)
    }
}

/// A read of a message after its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) request_id: String,
    pub(crate) message: Uuid,
    pub(crate) found: bool,
    pub(crate) took: Duration,
    /// Whether a missing message is allowed: a deletion was requested, or the answer was late or missing.
    pub(crate) excused: bool,
}

/// History shared by all drivers.
#[derive(Clone)]
pub(crate) struct History {
    inner: Arc<Mutex<Inner>>,
    path: Arc<Path>,
}

struct Inner {
    file: File,
    operations: BTreeMap<u64, Operation>,
    reads: Vec<Read>,
}

impl History {
    /// Creates a history in the file `name`.
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kill");
        std::fs::create_dir_all(&folder).unwrap();
        let path: Arc<Path> = folder.join(format!("{name}.jsonl")).into();
        let inner =
            Inner { file: File::create(&path).unwrap(), operations: BTreeMap::new(), reads: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)), path }
    }

    /// Path of the history file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Records a new operation and returns its number.
    pub(crate) fn begin(&self, operation: Operation) -> u64 {
        let mut inner = self.inner.lock().unwrap();
        let number = inner.operations.len() as u64 + 1;
        inner.operations.insert(number, Operation { number, ..operation });
        number
    }

    /// Records that an operation is about to be sent; returns it and the request id.
    pub(crate) fn before(&self, number: u64) -> (Operation, String) {
        let mut inner = self.inner.lock().unwrap();
        let operation = inner.operations.get_mut(&number).unwrap();
        let request_id = format!("op{number}-{}", operation.tries.len() + 1);
        operation.tries.push(Try {
            request_id: request_id.clone(),
            answer: Answer::none(Outcome::Unknown, "no answer yet"),
        });
        let operation = operation.clone();
        inner.line(&json!({
            "before": request_id, "kind": operation.kind, "user": operation.user, "key": operation.key,
            "request": format!("{} {}", operation.method, operation.path),
            "body": operation.body.as_deref().map(hash),
        }));
        (operation, request_id)
    }

    /// Records the answer to one try of an operation.
    pub(crate) fn after(&self, number: u64, request_id: &str, answer: &Answer) {
        let mut inner = self.inner.lock().unwrap();
        let tries = &mut inner.operations.get_mut(&number).unwrap().tries;
        tries.iter_mut().find(|one| one.request_id == request_id).unwrap().answer = answer.clone();
        inner.line(&json!({"after": request_id, "answer": answer}));
    }

    /// Records a read.
    pub(crate) fn read(&self, read: Read) {
        let mut inner = self.inner.lock().unwrap();
        inner.line(&json!({
            "read": read.request_id, "message": read.message, "found": read.found,
            "took_ms": read.took.as_millis(), "excused": read.excused,
        }));
        inner.reads.push(read);
    }

    /// Returns one operation with its tries so far.
    pub(crate) fn operation(&self, number: u64) -> Operation {
        self.inner.lock().unwrap().operations[&number].clone()
    }

    /// Returns all operations and reads.
    pub(crate) fn all(&self) -> (Vec<Operation>, Vec<Read>) {
        let inner = self.inner.lock().unwrap();
        (inner.operations.values().cloned().collect(), inner.reads.clone())
    }
}

impl Inner {
    fn line(&mut self, line: &serde_json::Value) {
        writeln!(self.file, "{line}").unwrap();
    }
}

/// Hashes a body for the history file.
fn hash(body: &str) -> String {
    digest(&SHA256, body.as_bytes()).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
