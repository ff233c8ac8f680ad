//! Every way in which a use case can fail, free of any transport.

use std::time::Duration;

use aggregates::Refusal;
use aggregates::claim::ClaimError;
use aggregates::conversation::ConversationError;
use aggregates::file::FileError;
use aggregates::quiz::QuizError;
use aggregates::user::UserError;
use aggregates::values::ValueError;

use crate::auth::passwords::{PasswordError, PasswordRule};
use crate::auth::{administrators, credentials, resets};
use crate::files::picture::PictureError;
use crate::files::{IncomingError, KindError, StoreError};
use event_store::ExecuteError;

/// What kind of failure it is; doors turn it into their own status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rule is broken by a well-formed request.
    Invalid,
    /// The request cannot be read: malformed, a field missing or of the wrong type.
    Unprocessable,
    /// Nobody is signed in, or the credentials are wrong.
    Unauthenticated,
    /// Signed in, but not permitted.
    Forbidden,
    /// Not there, or not to be known.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// More than is allowed.
    TooLarge,
    /// Of a type that is not taken.
    UnsupportedType,
    /// There is no room for it.
    StorageFull,
    /// Too often.
    Throttled,
    /// Other work is in the way; later it will go.
    Busy,
    /// A part that is needed does not answer.
    Unavailable,
    /// A defect of ours.
    Internal,
}

/// A failure of a use case.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct AppError {
    /// What kind of failure it is.
    pub kind: Kind,
    /// Stable name for programs.
    pub code: &'static str,
    /// Sentence for people; safe to show.
    pub detail: String,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
    /// What caused it; for logs only.
    #[source]
    pub source: Option<anyhow::Error>,
}

impl AppError {
    /// A failure of this kind.
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), retry_after: None, source: None }
    }

    /// The same, worth trying again after `time`.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    fn caused(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Something that the caller may not know of, or that does not exist: one wording for both.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "not_found", "Not found.")
    }

    /// The command was carried out, but what it concerns has been deleted since. Not "not found": that would tell that
    /// nothing was done.
    pub fn deleted_since() -> Self {
        Self::new(Kind::Conflict, "deleted_since", "The conversation has been deleted since.")
    }

    /// Something of a branch is meant that is not the active one.
    pub fn other_branch() -> Self {
        Self::new(
            Kind::Conflict,
            "branch_not_active",
            "This stands on another branch of the conversation; go to that branch first.",
        )
    }

    /// Something was answered that waits for no answer, or does not any more.
    pub fn not_pending() -> Self {
        Self::new(Kind::Conflict, "not_pending", "This does not wait for an answer.")
    }

    /// Not the password of the person who is signed in.
    pub fn wrong_password() -> Self {
        Self::new(Kind::Forbidden, "wrong_password", "The password is not correct.")
    }

    /// The address is somebody's.
    pub fn email_taken() -> Self {
        Self::new(Kind::Conflict, "email_taken", "This e-mail address is registered already.")
    }

    /// The user name is somebody's.
    pub fn username_taken() -> Self {
        Self::new(Kind::Conflict, "username_taken", "This user name is taken already.")
    }

    /// Too many wrong passwords: none is looked at for a while.
    pub fn locked(wait: Duration) -> Self {
        Self::new(
            Kind::Throttled,
            "too_many_failures",
            "Too many wrong passwords; please try again later, or reset the password.",
        )
        .after(wait)
    }

    /// The actor's role does not allow it.
    pub fn forbidden() -> Self {
        Self::new(Kind::Forbidden, "forbidden", "This account is not allowed to do that.")
    }

    /// Wrong credentials, whichever part of them.
    pub fn wrong_credentials() -> Self {
        Self::new(
            Kind::Unauthenticated,
            "invalid_credentials",
            "Incorrect user name, e-mail address or password.",
        )
    }

    /// A token that is missing, forged, run out or revoked: one wording for all.
    pub fn invalid_token() -> Self {
        Self::new(Kind::Unauthenticated, "invalid_token", "The token is missing, invalid or has expired.")
    }

    /// The process goes down and takes nothing new.
    pub fn shutting_down() -> Self {
        Self::new(Kind::Unavailable, "shutting_down", "The service is going down.")
            .after(Duration::from_secs(1))
    }

    /// A file's bytes are there already, and they are others.
    pub fn file_stored() -> Self {
        Self::new(Kind::Conflict, "file_stored", "The file has its content already.")
    }

    /// The event log cannot be reached.
    pub fn unavailable(source: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Unavailable, "unavailable", "The service is not available at the moment.")
            .after(Duration::from_secs(1))
            .caused(source)
    }

    /// A defect of ours.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Internal, "internal", "An unexpected error occurred.").caused(source)
    }
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        Self::unavailable(error)
    }
}

impl From<ValueError> for AppError {
    fn from(error: ValueError) -> Self {
        Self::new(Kind::Invalid, "invalid_value", sentence(&error))
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        let reason = match error {
            StoreError::Full(_) => "full",
            StoreError::Failed(_) => "failed",
            StoreError::Missing => "missing",
        };
        metrics::counter!("verbatim_file_store_failures_total", "reason" => reason).increment(1);
        match error {
            StoreError::Full(_) => {
                Self::new(Kind::StorageFull, "storage_full", "There is no room for the file.").caused(error)
            }
            StoreError::Failed(_) => Self::unavailable(error),
            StoreError::Missing => Self::internal(error),
        }
    }
}

impl From<IncomingError> for AppError {
    fn from(error: IncomingError) -> Self {
        match error {
            IncomingError::TooLarge { .. } => Self::new(Kind::TooLarge, "file_too_large", sentence(&error)),
            IncomingError::Store(error) => error.into(),
        }
    }
}

impl From<KindError> for AppError {
    fn from(error: KindError) -> Self {
        Self::new(Kind::UnsupportedType, "file_type_not_taken", sentence(&error))
    }
}

impl From<PictureError> for AppError {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::TooLarge => Self::new(Kind::TooLarge, "image_too_large", sentence(&error)),
            PictureError::Broken => Self::new(Kind::UnsupportedType, "file_type_not_taken", sentence(&error)),
        }
    }
}

impl From<PasswordRule> for AppError {
    fn from(rule: PasswordRule) -> Self {
        Self::new(Kind::Invalid, "invalid_password", sentence(&rule))
    }
}

impl From<PasswordError> for AppError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => {
                Self::new(Kind::Busy, "busy", "Too many sign-ins at once.").after(Duration::from_secs(2))
            }
            PasswordError::StoredHash | PasswordError::Failed => Self::internal(error),
        }
    }
}

impl AppError {
    /// Translates the SQLSTATE of a transactional write.
    fn condition_failed(code: &str) -> Self {
        match code {
            // The password was changed after it was verified.
            credentials::PASSWORD_CHANGED => Self::wrong_password(),
            administrators::LAST_ADMINISTRATOR => Self::new(
                Kind::Conflict,
                "last_administrator",
                "This is the last administrator: make another user an administrator first.",
            ),
            resets::TOKEN_INVALID => Self::invalid_token(),
            _ => Self::internal(anyhow::anyhow!("a transactional write failed with {code}")),
        }
    }
}

impl From<ExecuteError> for AppError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Rejected(refusal) => refusal.into(),
            ExecuteError::KeyReused => Self::new(
                Kind::Unprocessable,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request.",
            ),
            ExecuteError::ChargeRejected(rejection) => (&rejection).into(),
            ExecuteError::ConditionFailed { code } => Self::condition_failed(&code),
            ExecuteError::Busy => {
                Self::new(Kind::Busy, "busy", "Too many changes at once; please try again.")
                    .after(Duration::from_secs(1))
            }
            ExecuteError::Unavailable(source) => Self::unavailable(source),
            ExecuteError::Internal(source) => Self::internal(source),
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::User(error) => match error {
                UserError::NotRegistered | UserError::Deactivated => Self::not_found(),
                UserError::AlreadyRegistered => {
                    Self::new(Kind::Conflict, "already_registered", "This account exists already.")
                }
                UserError::ChangedMeanwhile => {
                    Self::new(Kind::Conflict, "conflict", sentence(&error)).caused(error)
                }
            },
            Refusal::Claim(ClaimError::Taken) => {
                Self::new(Kind::Conflict, "taken", "This name is taken already.")
            }
            Refusal::Conversation(error) => error.into(),
            Refusal::Quiz(error) => error.into(),
            Refusal::File(error) => match error {
                // Somebody else's file must look like one that does not exist.
                FileError::Unknown | FileError::NotOwner | FileError::Deleted => Self::not_found(),
                FileError::AlreadyStored => Self::file_stored(),
                FileError::NotStored => {
                    Self::new(Kind::Conflict, "file_not_stored", "The file's content has not come yet.")
                }
                FileError::Attached | FileError::AttachedElsewhere => {
                    Self::new(Kind::Conflict, "file_attached", sentence(&error))
                }
                FileError::AlreadyAnnounced => {
                    Self::new(Kind::Conflict, "conflict", sentence(&error)).caused(error)
                }
            },
        }
    }
}

impl From<ConversationError> for AppError {
    fn from(error: ConversationError) -> Self {
        match error {
            // Somebody else's conversation must look like one that does not exist.
            ConversationError::NotStarted
            | ConversationError::Deleted
            | ConversationError::NotOwner
            | ConversationError::UnknownReply
            | ConversationError::UnknownItem => Self::not_found(),
            ConversationError::NotPending => Self::not_pending(),
            ConversationError::OtherBranch => Self::other_branch(),
            // As a conversation that does not exist.
            ConversationError::UnknownBranch => Self::not_found(),
            ConversationError::RepliesOwed => Self::new(
                Kind::Conflict,
                "replies_owed",
                "Replies are being made on this branch; wait for them or cancel them first.",
            ),
            ConversationError::TooManyBranches { limit } => Self::new(
                Kind::Conflict,
                "too_many_branches",
                format!("A conversation can have at most {limit} branches."),
            ),
            ConversationError::TooManyWaiting { limit } => Self::new(
                Kind::Conflict,
                "too_many_waiting",
                format!("At most {limit} replies can be waited for in one conversation."),
            )
            .after(Duration::from_secs(5)),
            ConversationError::ReplyEnded => {
                Self::new(Kind::Conflict, "reply_ended", "The reply has ended already.")
            }
            ConversationError::AlreadyStarted
            | ConversationError::MessageIdTaken
            | ConversationError::NotYourTurn
            | ConversationError::StaleAttempt { .. } => {
                Self::new(Kind::Conflict, "conflict", sentence(&error)).caused(error)
            }
        }
    }
}

impl From<QuizError> for AppError {
    fn from(error: QuizError) -> Self {
        match error {
            QuizError::NotStarted | QuizError::NotOwner => Self::not_found(),
            QuizError::UnknownQuestion => {
                Self::new(Kind::Invalid, "unknown_question", "The quiz has no such question.")
            }
            QuizError::UnknownChoice => {
                Self::new(Kind::Invalid, "unknown_choice", "The question has no such option.")
            }
            QuizError::AlreadyStarted => {
                Self::new(Kind::Conflict, "conflict", sentence(&error)).caused(error)
            }
            // Questions come from the bank, which was checked when it was loaded.
            QuizError::Questions(_) => Self::internal(error),
        }
    }
}

/// A library's lower-case message as a sentence.
fn sentence(message: &impl std::fmt::Display) -> String {
    let text = message.to_string();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}
