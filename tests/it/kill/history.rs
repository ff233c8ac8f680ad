//! What the drivers did and were told: one line per operation before it is sent, and one after its answer.
//!
//! The lines go to a file under the build folder as they come, so that a failed run can be read; the checker gets the
//! same in memory.

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

/// What an operation is, and so which events it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A new account.
    Register,
    /// A message in a new conversation.
    Create,
    /// A message in a conversation that is there.
    Send,
    /// Title, pin or archive.
    Change,
    /// The end of a conversation.
    Delete,
    /// The end of a reply.
    Cancel,
    /// Another message under a key that was used before: to be refused.
    Reused,
    /// A new conversation, written past the program by a transaction that is slow to commit.
    Slow,
}

/// What is known of a try's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Acknowledged.
    Ok,
    /// Refused: nothing may have happened.
    Refused,
    /// It may have happened or not.
    Unknown,
    /// Never left the driver: nothing may have happened.
    NotSent,
}

/// The position that an answer named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Position {
    /// The command's: of its last event; none when there was nothing to add.
    Command(Option<i64>),
    /// Of the end of the reply that the command asked for.
    ReplyEnd(i64),
    /// The answer is of a kind that tells none.
    Untold,
}

/// Ids that an answer named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Ids {
    pub(crate) user: Option<Uuid>,
    pub(crate) conversation: Option<Uuid>,
    pub(crate) message: Option<Uuid>,
    pub(crate) reply: Option<Uuid>,
}

/// An answer, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// 0 when there was no answer.
    pub(crate) status: u16,
    /// The failure's name, or the driver's own word for what kept the answer from coming.
    pub(crate) code: Option<String>,
    pub(crate) ids: Ids,
    pub(crate) position: Position,
}

impl Answer {
    /// No answer.
    pub(crate) fn none(outcome: Outcome, code: &str) -> Self {
        Self {
            outcome,
            status: 0,
            code: Some(code.to_owned()),
            ids: Ids::default(),
            position: Position::Untold,
        }
    }
}

/// One time an operation was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Try {
    /// `X-Request-Id`, which the program writes beside each event: it tells whose an event is.
    pub(crate) request_id: String,
    pub(crate) answer: Answer,
}

/// One operation with all its tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    /// Whose, where there is somebody already.
    pub(crate) user: Option<Uuid>,
    /// `Idempotency-Key`.
    pub(crate) key: Option<String>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<String>,
    pub(crate) tries: Vec<Try>,
}

impl Operation {
    /// The first acknowledgement.
    pub(crate) fn acknowledged(&self) -> Option<&Answer> {
        self.tries.iter().map(|one| &one.answer).find(|answer| answer.outcome == Outcome::Ok)
    }

    /// What the last try came to.
    pub(crate) fn last(&self) -> Option<Outcome> {
        self.tries.last().map(|one| one.answer.outcome)
    }
}

/// A look for a message after its own acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) request_id: String,
    pub(crate) message: Uuid,
    pub(crate) found: bool,
    pub(crate) took: Duration,
    /// Somebody had begun to delete the conversation, or no answer came.
    pub(crate) excused: bool,
}

/// The history, shared by all drivers.
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
    /// A new one; `name` names its file.
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kill");
        std::fs::create_dir_all(&folder).unwrap();
        let path: Arc<Path> = folder.join(format!("{name}.jsonl")).into();
        let inner =
            Inner { file: File::create(&path).unwrap(), operations: BTreeMap::new(), reads: Vec::new() };
        Self { inner: Arc::new(Mutex::new(inner)), path }
    }

    /// Where its lines are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a new operation, not sent yet; gives it its number.
    pub(crate) fn begin(&self, operation: Operation) -> u64 {
        let mut inner = self.inner.lock().unwrap();
        let number = inner.operations.len() as u64 + 1;
        inner.operations.insert(number, Operation { number, ..operation });
        number
    }

    /// Notes that an operation is about to be sent (again); gives it with the id of this request.
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

    /// Notes the answer to one of an operation's tries.
    pub(crate) fn after(&self, number: u64, request_id: &str, answer: &Answer) {
        let mut inner = self.inner.lock().unwrap();
        let tries = &mut inner.operations.get_mut(&number).unwrap().tries;
        tries.iter_mut().find(|one| one.request_id == request_id).unwrap().answer = answer.clone();
        inner.line(&json!({"after": request_id, "answer": answer}));
    }

    /// Notes a look.
    pub(crate) fn read(&self, read: Read) {
        let mut inner = self.inner.lock().unwrap();
        inner.line(&json!({
            "read": read.request_id, "message": read.message, "found": read.found,
            "took_ms": read.took.as_millis(), "excused": read.excused,
        }));
        inner.reads.push(read);
    }

    /// One operation as it stands.
    pub(crate) fn operation(&self, number: u64) -> Operation {
        self.inner.lock().unwrap().operations[&number].clone()
    }

    /// Everything.
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

/// Names a body in the history.
fn hash(body: &str) -> String {
    digest(&SHA256, body.as_bytes()).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
