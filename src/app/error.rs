//! Failures of use cases, independent of the transport.

use std::time::Duration;

use aggregates::Rejection;
use aggregates::claim::ClaimError;
use aggregates::conversation::ConversationError;
use aggregates::file::FileError;
use aggregates::quiz::QuizError;
use aggregates::user::UserError;
use aggregates::values::ValueError;

use crate::auth::passwords::{PasswordError, PasswordRule};
use crate::auth::{administrators, credentials, password_resets};
use crate::files::picture::PictureError;
use crate::files::{KindError, StoreError, UploadError};
use event_store::ExecuteError;

/// Kind of a failure; surfaces map it to their own status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A well-formed request breaks a rule.
    Invalid,
    /// The request is malformed, or a field is missing or of the wrong type.
    Unprocessable,
    /// Not signed in, or wrong credentials.
    Unauthenticated,
    /// Signed in, but not permitted.
    Forbidden,
    /// Missing, or not visible to the caller.
    NotFound,
    /// Conflicts with the current state.
    Conflict,
    /// Larger than allowed.
    TooLarge,
    /// Of an unsupported type.
    UnsupportedType,
    /// No storage space left.
    StorageFull,
    /// Over a rate limit or quota.
    Throttled,
    /// Temporarily blocked by other work.
    Busy,
    /// A required part does not respond.
    Unavailable,
    /// A defect of the server.
    Internal,
}

/// A failure of a use case.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct AppError {
    /// Kind of the failure.
    pub kind: Kind,
    /// Stable code for programs.
    pub code: &'static str,
    /// Sentence for users; safe to show.
    pub detail: String,
    /// Time after which a retry can succeed.
    pub retry_after: Option<Duration>,
    /// The cause, for logs only.
    #[source]
    pub source: Option<anyhow::Error>,
}

impl AppError {
    /// Makes a failure.
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into(), retry_after: None, source: None }
    }

    /// Adds the time after which a retry can succeed.
    #[must_use]
    pub fn after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    fn caused(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The resource is missing or not visible to the caller: the same response for both.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "not_found", "Not found.")
    }

    /// The command was executed, but its conversation has been deleted since. Not `not_found`, which would mean that
    /// nothing was done.
    pub fn conversation_deleted() -> Self {
        Self::new(
            Kind::Conflict,
            "conversation_deleted",
            "The conversation has been deleted in the meantime.",
        )
    }

    /// The message is on an inactive branch.
    pub fn other_branch() -> Self {
        Self::new(
            Kind::Conflict,
            "branch_not_active",
            "This is on an inactive branch of the conversation; switch to that branch first.",
        )
    }

    /// The item does not await a response (any more).
    pub fn not_pending() -> Self {
        Self::new(Kind::Conflict, "not_pending", "This item is not awaiting a response.")
    }

    /// Wrong password of a signed-in user.
    pub fn wrong_password() -> Self {
        Self::new(Kind::Forbidden, "wrong_password", "The password is not correct.")
    }

    /// Another account has the e-mail address.
    pub fn email_taken() -> Self {
        Self::new(Kind::Conflict, "email_taken", "This e-mail address is already registered.")
    }

    /// Another account has the user name.
    pub fn username_taken() -> Self {
        Self::new(Kind::Conflict, "username_taken", "This user name is already taken.")
    }

    /// Too many wrong passwords: none is checked for a while.
    pub fn locked(wait: Duration) -> Self {
        Self::new(
            Kind::Throttled,
            "too_many_failures",
            "Too many wrong passwords; try again later or reset your password.",
        )
        .after(wait)
    }

    /// The actor's role does not allow this.
    pub fn forbidden() -> Self {
        Self::new(Kind::Forbidden, "forbidden", "Your role does not allow this.")
    }

    /// Wrong credentials; does not reveal which part.
    pub fn wrong_credentials() -> Self {
        Self::new(
            Kind::Unauthenticated,
            "invalid_credentials",
            "Incorrect user name, e-mail address or password.",
        )
    }

    /// The token is missing, forged, expired or revoked: the same response for all.
    pub fn invalid_token() -> Self {
        Self::new(Kind::Unauthenticated, "invalid_token", "The token is missing, invalid or has expired.")
    }

    /// The process is shutting down and accepts no new work.
    pub fn shutting_down() -> Self {
        Self::new(Kind::Unavailable, "shutting_down", "The server is shutting down; please retry.")
            .after(Duration::from_secs(1))
    }

    /// The file already has other bytes.
    pub fn file_already_uploaded() -> Self {
        Self::new(Kind::Conflict, "file_already_uploaded", "The file has already been uploaded.")
    }

    /// The event log or the database does not respond.
    pub fn unavailable(source: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Unavailable, "unavailable", "The service is temporarily unavailable; please retry.")
            .after(Duration::from_secs(1))
            .caused(source)
    }

    /// A defect of the server.
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
            StoreError::Full(_) => Self::new(
                Kind::StorageFull,
                "storage_full",
                "The server has no storage space left for the file.",
            )
            .caused(error),
            StoreError::Failed(_) => Self::unavailable(error),
            StoreError::Missing => Self::internal(error),
        }
    }
}

impl From<UploadError> for AppError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { .. } => Self::new(Kind::TooLarge, "file_too_large", sentence(&error)),
            UploadError::Store(error) => error.into(),
        }
    }
}

impl From<KindError> for AppError {
    fn from(error: KindError) -> Self {
        Self::new(Kind::UnsupportedType, "unsupported_file_type", sentence(&error))
    }
}

impl From<PictureError> for AppError {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::TooLarge => Self::new(Kind::TooLarge, "image_too_large", sentence(&error)),
            PictureError::Broken => {
                Self::new(Kind::UnsupportedType, "unsupported_file_type", sentence(&error))
            }
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
                Self::new(Kind::Busy, "busy", "Too many concurrent sign-ins; please retry.")
                    .after(Duration::from_secs(2))
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
            password_resets::TOKEN_INVALID => Self::invalid_token(),
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
                "This Idempotency-Key has already been used for a different request.",
            ),
            ExecuteError::ChargeRejected(rejection) => (&rejection).into(),
            ExecuteError::ConditionFailed { code } => Self::condition_failed(&code),
            ExecuteError::Busy => Self::new(Kind::Busy, "busy", "Too many concurrent changes; please retry.")
                .after(Duration::from_secs(1)),
            ExecuteError::Unavailable(source) => Self::unavailable(source),
            ExecuteError::Internal(source) => Self::internal(source),
        }
    }
}

impl From<Rejection> for AppError {
    fn from(refusal: Rejection) -> Self {
        match refusal {
            Rejection::User(error) => match error {
                UserError::NotRegistered | UserError::Deactivated => Self::not_found(),
                UserError::AlreadyRegistered => {
                    Self::new(Kind::Conflict, "already_registered", "This account already exists.")
                }
                UserError::ChangedMeanwhile => {
                    Self::new(Kind::Conflict, "conflict", sentence(&error)).caused(error)
                }
            },
            Rejection::Claim(ClaimError::Taken) => {
                Self::new(Kind::Conflict, "name_taken", "This name is already taken.")
            }
            Rejection::Conversation(error) => error.into(),
            Rejection::Quiz(error) => error.into(),
            Rejection::File(error) => match error {
                // Another user's file must look like a missing one.
                FileError::Unknown | FileError::NotOwner | FileError::Deleted => Self::not_found(),
                FileError::AlreadyStored => Self::file_already_uploaded(),
                FileError::NotStored => {
                    Self::new(Kind::Conflict, "file_not_uploaded", "The file has not been uploaded yet.")
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
            // Another user's conversation must look like a missing one.
            ConversationError::NotStarted
            | ConversationError::Deleted
            | ConversationError::NotOwner
            | ConversationError::UnknownReply
            | ConversationError::UnknownItem => Self::not_found(),
            ConversationError::NotPending => Self::not_pending(),
            ConversationError::OtherBranch => Self::other_branch(),
            // Like a missing conversation.
            ConversationError::UnknownBranch => Self::not_found(),
            ConversationError::RepliesPending => Self::new(
                Kind::Conflict,
                "replies_pending",
                "Replies are in progress on this branch; wait for them or cancel them first.",
            ),
            ConversationError::TooManyBranches { limit } => Self::new(
                Kind::Conflict,
                "too_many_branches",
                format!("A conversation can have at most {limit} branches."),
            ),
            ConversationError::TooManyReplies { limit } => Self::new(
                Kind::Conflict,
                "too_many_pending_replies",
                format!("This conversation already has {limit} replies pending."),
            )
            .after(Duration::from_secs(5)),
            ConversationError::ReplyEnded => {
                Self::new(Kind::Conflict, "reply_ended", "The reply has already ended.")
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
            // Questions come from the question bank, which was checked when it was loaded.
            QuizError::Questions(_) => Self::internal(error),
        }
    }
}

/// Turns an error's lower-case text into a sentence.
fn sentence(message: &impl std::fmt::Display) -> String {
    let text = message.to_string();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => text,
    }
}
