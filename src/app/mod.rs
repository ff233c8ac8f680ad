//! The use cases, called by every API surface.
//!
//! A use case draws ids and the time, names the user who asks, runs one [`CommandBatch`](event_store::CommandBatch) and answers from
//! what it drew. It knows no wire format; surfaces know no SQL and no events. The use cases are methods of the services
//! in [`Services`]; each service has only the parts that it needs, and [`core::Core`] holds what all of them need.
//!
//! | service | use cases |
//! | --- | --- |
//! | [`sign_in`] | registration, sign-in, logins, access tokens, tickets |
//! | [`accounts`] | profile, password recovery, administration |
//! | [`conversations`] | messages, items, branches, interactions, titles, read marks |
//! | [`replies`] | following, awaiting and cancelling a reply |
//! | [`files`] | uploads, downloads, previews |
//! | [`quizzes`] | quizzes, from the first question to the score |
//! | [`connections`] | open streams and sockets, and their number per user |
//! | [`quotas`] | message rates and daily quotas, [`usage`] |
//! | [`rate_limits`] | sign-in attempts, reads and commands |
//! | [`audit`] | reading the log |
//! | [`health`] | health and readiness |

pub mod accounts;
pub mod audit;
pub mod connection_limits;
pub mod connections;
pub mod context;
pub mod conversations;
pub mod core;
pub mod error;
pub mod files;
pub mod health;
pub mod models;
pub mod quizzes;
pub mod quotas;
pub mod rate_limit_headers;
pub mod rate_limits;
pub mod replies;
pub mod sign_in;
pub mod usage;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::core::Core;
pub use context::{Actor, RequestContext};
pub use error::{AppError, Kind};

/// All services, as the API surfaces hold them (behind an [`Arc`]).
pub struct Services {
    /// Time, ids, and waiting for the read models.
    pub core: Core,
    /// Registration, sign-in, logins, access tokens, tickets.
    pub sign_in: sign_in::SignInService,
    /// Profile, password recovery, administration.
    pub accounts: accounts::AccountService,
    /// Messages, items, branches, interactions.
    pub conversations: conversations::ConversationService,
    /// Following, awaiting and cancelling replies.
    pub replies: replies::ReplyService,
    /// Uploads, downloads, previews.
    pub files: files::FileService,
    /// Quizzes.
    pub quizzes: quizzes::QuizService,
    /// Open streams and sockets.
    pub connections: connections::ConnectionService,
    /// Message rates and daily quotas.
    pub quotas: Arc<quotas::QuotaService>,
    /// Sign-in attempts, reads and commands.
    pub rate_limits: Arc<rate_limits::RateLimits>,
    /// Reading the log.
    pub audit: audit::AuditService,
    /// Health and readiness.
    pub health: health::HealthService,
    /// Tasks that outlive their request.
    pub tasks: TaskTracker,
    /// Cancelled when the process stops accepting work.
    pub stopping: CancellationToken,
}
