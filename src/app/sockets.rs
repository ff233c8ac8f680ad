//! What open streams and sockets need: who is let in and for how long, what they are told, who types, what was read.

use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, MessageId};
use chrono::{DateTime, Utc};
use projections::{messages, models};
use serde_json::json;
use uuid::Uuid;

use super::seats::{Opened, Seat};
use super::{Actor, App, AppError, Kind, RequestContext};
use crate::auth::tickets::Redeemed;
use crate::auth::{OpenLogin, Ticket};
use crate::live::UserFeed;
use crate::live::sealed::Typing;
use event_store::CommandBatch;

/// Who was let in, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Who.
    pub actor: Actor,
    /// When the access token ends.
    pub ends_at: DateTime<Utc>,
}

/// That something of a person's is open: the login behind it, and the seat it takes.
#[derive(Debug)]
pub struct Presence {
    login: OpenLogin,
    _seat: Seat,
}

impl Presence {
    /// Becomes ready when the login has ended, on whatever node.
    pub async fn ended(&self) {
        self.login.ended().await;
    }

    /// The same person goes on with another login.
    pub fn change_login(&mut self, app: &App, actor: Actor) {
        self.login = app.parts.open_logins.enter(actor.login);
    }
}

impl App {
    /// Who an access token speaks for, and until when, if its login is still live.
    ///
    /// # Errors
    /// `Unauthenticated`, one wording for every reason; the database's.
    pub async fn admit(&self, token: &str) -> Result<Admission, AppError> {
        let parts = &self.parts;
        let access = parts.tokens.verify(token, parts.clock.now()).map_err(|error| {
            tracing::debug!(?error, "access token refused");
            AppError::invalid_token()
        })?;
        let actor = Actor { user: access.user, login: access.login };
        let ends_at = DateTime::from_timestamp(access.expires_at, 0).ok_or_else(AppError::invalid_token)?;
        if event_store::fault_injection::is_injected(event_store::fault_injection::Fault::NoLoginCheck) {
            return Ok(Admission { actor, ends_at });
        }
        self.live(Admission { actor, ends_at }).await
    }

    /// Gives a ticket for one socket to somebody who was let in.
    ///
    /// # Errors
    /// The database's.
    pub async fn ticket(&self, admission: Admission) -> Result<String, AppError> {
        let ticket = Ticket::generate().map_err(AppError::internal)?;
        let Admission { actor, ends_at } = admission;
        let stands_for = Redeemed { user: actor.user, login: actor.login, token_ends_at: ends_at };
        self.parts.tickets.keep(&ticket, stands_for).await?;
        Ok(ticket.expose())
    }

    /// Who a ticket speaks for. It is used up, whatever comes of it.
    ///
    /// # Errors
    /// `Unauthenticated`, one wording for every reason; the database's.
    pub async fn admit_by_ticket(&self, ticket: &str) -> Result<Admission, AppError> {
        let ticket = Ticket::parse(ticket).ok_or_else(AppError::invalid_token)?;
        let redeemed = self.parts.tickets.redeem(&ticket).await?.ok_or_else(AppError::invalid_token)?;
        let actor = Actor { user: redeemed.user, login: redeemed.login };
        let admission = Admission { actor, ends_at: redeemed.token_ends_at };
        if admission.ends_at <= self.parts.clock.now() {
            return Err(AppError::invalid_token());
        }
        self.live(admission).await
    }

    async fn live(&self, admission: Admission) -> Result<Admission, AppError> {
        match self.parts.logins.is_live(admission.actor.login).await? {
            Some(user) if user == admission.actor.user => Ok(admission),
            _ => Err(AppError::invalid_token()),
        }
    }

    /// Notes that something of the actor's is open.
    ///
    /// # Errors
    /// `Throttled` when too much is.
    pub fn open(&self, actor: Actor, what: Opened) -> Result<Presence, AppError> {
        let seat = self.parts.seats.take(actor.user.uuid(), what)?;
        Ok(Presence { login: self.parts.open_logins.enter(actor.login), _seat: seat })
    }

    /// A position that a client names, when an answer or an item can have told it.
    ///
    /// # Errors
    /// `Invalid` when nothing stands there yet; those of the log.
    pub async fn known_position(&self, position: i64) -> Result<i64, AppError> {
        let known = position >= 0
            && (position <= self.parts.people.position()
                || position <= self.parts.reader.last_position().await.map_err(AppError::unavailable)?);
        if known {
            return Ok(position);
        }
        Err(AppError::new(Kind::Invalid, "invalid_position", "Nothing has been told from this position."))
    }

    /// What a person's sockets are told from now on, or since a position.
    pub fn feed(&self, actor: Actor, after: Option<i64>) -> UserFeed {
        self.parts.people.follow(actor.user.uuid(), after)
    }

    /// Notes that the actor has read a conversation up to a message. A mark that is not further than the last one changes
    /// nothing.
    ///
    /// # Errors
    /// `NotFound`, and those of the log.
    pub async fn mark_read(
        &self,
        request: &RequestContext,
        actor: Actor,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Option<i64>, AppError> {
        let parts = &self.parts;
        let (owner, id) = (actor.user.uuid(), conversation.uuid());
        let row = messages::query::of_owner(&parts.pool, owner, id, message.uuid())
            .await?
            .ok_or_else(AppError::not_found)?;
        let command = ConversationCommand::MarkRead {
            by: actor.user,
            message_id: message,
            message_position: row.position,
            at: parts.clock.now(),
        };
        let batch = CommandBatch::new(owner, request.metadata(Some(actor.user), &parts.clock))
            .command::<Conversation>(conversation, command)
            .with_key(request.key_of(actor.user), json!({"conversation_id": conversation}));
        let outcome = parts.executor.run(batch).await?;
        self.catch_up(models::CONVERSATION_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    /// Tells the actor's other sockets that they type in a conversation, or have stopped.
    ///
    /// # Errors
    /// `NotFound`, and the database's.
    pub async fn typing(
        &self,
        actor: Actor,
        conversation: ConversationId,
        typing: bool,
        socket: Uuid,
    ) -> Result<(), AppError> {
        self.conversation(actor, conversation).await?;
        let (user, conversation) = (actor.user.uuid(), conversation.uuid());
        self.parts.people.typing(Typing { user, conversation, typing, socket }).await;
        Ok(())
    }
}
