//! Execution of client frames.

use aggregates::ids::{ConversationId, MessageId, ReplyId};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    ApiError, ClientEnvelope, ErrorFrame, MAX_FOLLOWED, Resume, Running, ServerFrame, Session, request_id,
    token_deadline,
};
use crate::app::conversations::branches::RegenerateTarget;
use crate::app::conversations::items::ReplyOptions;
use crate::app::conversations::{NewMessage, Sent};
use crate::app::sign_in::Authenticated;
use crate::app::{Actor, AppError, Kind, RequestContext, Services};
use crate::http::extract::{invalid_key, is_valid_key};
use crate::http::formats::reply::parse_event_id;
use crate::http::surfaces::websocket::frames::ClientFrame;
use traces::spans;

/// Outcome of a frame.
pub(super) struct CommandOutcome {
    answer: Option<ServerFrame>,
    /// A reply to follow.
    follow: Option<Follow>,
    /// New authentication of the session.
    reauthenticated: Option<Authenticated>,
}

struct Follow {
    reply: ReplyId,
    from: Resume,
    asked: Option<i64>,
}

impl CommandOutcome {
    fn with(answer: ServerFrame) -> Self {
        Self { answer: Some(answer), follow: None, reauthenticated: None }
    }

    /// Creates the outcome of a sent or regenerated message: its reply is followed.
    fn sent(reference: Option<String>, sent: &Sent) -> Self {
        Self {
            answer: Some(ServerFrame::Accepted {
                reference,
                position: sent.position,
                session_id: Some(sent.conversation.uuid()),
                user_message_id: Some(sent.message.uuid()),
                message_id: Some(sent.answer.uuid()),
                reply_id: Some(sent.reply.uuid()),
            }),
            follow: Some(Follow { reply: sent.reply, from: Resume::default(), asked: sent.position }),
            reauthenticated: None,
        }
    }

    /// Creates the outcome of a command that panicked.
    pub(super) fn panicked(reference: Option<String>, error: anyhow::Error) -> Self {
        let error = ApiError::from(AppError::internal(error));
        error.report();
        Self::with(ServerFrame::Error(ErrorFrame::new(reference, &error, request_id::current())))
    }
}

impl Session {
    /// Handles a frame: responds at once, or starts a command.
    pub(super) fn handle_frame(&mut self, text: &str) -> Option<ServerFrame> {
        let request = self.services.core.clock.id().to_string();
        let envelope = match ClientEnvelope::parse(text) {
            Ok(envelope) => envelope,
            Err(malformed) => {
                let error = ErrorFrame::new(malformed.reference, &malformed.error, request);
                return Some(ServerFrame::Error(error));
            }
        };
        if matches!(envelope.frame, ClientFrame::Ping {}) {
            return Some(ServerFrame::Pong { reference: envelope.reference });
        }
        let rejection = self.check(&envelope);
        if let Some(error) = rejection {
            return Some(ServerFrame::Error(ErrorFrame::new(envelope.reference, &error, request)));
        }
        let (services, actor, socket) = (self.services.clone(), self.authenticated.actor, self.id);
        let (surface, reference) = (self.surface, envelope.reference.clone());
        let span = tracing::info_span!("frame", request.id = %request);
        let traced = spans::frame(envelope.frame.kind(), &request);
        let work = async move {
            let reference = envelope.reference.clone();
            let key = envelope
                .key
                .clone()
                .map(|key| (key, services.core.fingerprint(&envelope.fingerprint_input())));
            let context = RequestContext { request_id: request.clone(), surface, key };
            match execute(&services, &context, actor, socket, envelope).await {
                Ok(done) => done,
                Err(error) => {
                    error.report();
                    CommandOutcome::with(ServerFrame::Error(ErrorFrame::new(reference, &error, request)))
                }
            }
        };
        let work = async move { traced.run(work.instrument(span)).await };
        let task = self.services.tasks.spawn(work);
        self.command = Some(Running { reference, task });
        None
    }

    fn check(&self, envelope: &ClientEnvelope) -> Option<ApiError> {
        if envelope.key.as_deref().is_some_and(|key| !is_valid_key(key)) {
            return Some(invalid_key());
        }
        let actor = self.authenticated.actor;
        let counted = match &envelope.frame {
            ClientFrame::Follow { .. } => self.services.rate_limits.count_read(actor),
            // Typing is not stored, and the frame limit bounds it.
            ClientFrame::Typing { .. } | ClientFrame::Ping {} => Ok(()),
            _ => self.services.rate_limits.count_command(actor),
        };
        if let Err(error) = counted {
            return Some(error.into());
        }
        let follows = match &envelope.frame {
            ClientFrame::Message { .. } | ClientFrame::Regenerate { .. } | ClientFrame::Edit { .. } => true,
            // A reply that is already followed takes no further slot.
            ClientFrame::Follow { reply_id, .. } => {
                id(reply_id).is_ok_and(|reply| !self.followed.contains_key(&ReplyId::new(reply)))
            }
            _ => false,
        };
        (follows && self.followed.len() >= MAX_FOLLOWED).then(|| {
            let detail = format!("A socket can follow at most {MAX_FOLLOWED} replies at a time.");
            AppError::new(Kind::Conflict, "too_many_followed", detail).into()
        })
    }

    /// Applies the outcome of a command.
    pub(super) fn finish_command(&mut self, done: CommandOutcome) -> Option<ServerFrame> {
        if let Some(Follow { reply, from, asked }) = done.follow {
            let follower = self.services.replies.follow(self.authenticated.actor, reply, from, asked);
            self.follow(reply, follower);
        }
        if let Some(authenticated) = done.reauthenticated {
            self.connection.change_login(&self.services.connections, authenticated.actor);
            self.authenticated = authenticated;
            self.token_deadline = token_deadline(&self.services, authenticated);
        }
        done.answer
    }
}

async fn execute(
    services: &Services,
    context: &RequestContext,
    actor: Actor,
    socket: Uuid,
    envelope: ClientEnvelope,
) -> Result<CommandOutcome, ApiError> {
    let reference = envelope.reference;
    Ok(match envelope.frame {
        // Handled by `handle_frame`.
        ClientFrame::Ping {} => CommandOutcome::with(ServerFrame::Pong { reference }),
        ClientFrame::Message { message, session_id, model } => {
            let conversation = session_id.as_deref().map(id).transpose()?.map(ConversationId::new);
            let message = NewMessage::text(message).with_model(model);
            let sent = services.conversations.send(context, actor, conversation, message).await?;
            CommandOutcome::sent(reference, &sent)
        }
        ClientFrame::Regenerate { session_id, message_id, model } => {
            let (session, message) = (id(&session_id)?, MessageId::new(id(&message_id)?));
            let (session, message) =
                (ConversationId::new(session), RegenerateTarget::MessageOrAnswer(message));
            let wanted = ReplyOptions { model, interactive: false };
            CommandOutcome::sent(
                reference,
                &services.conversations.regenerate(context, actor, session, message, wanted).await?,
            )
        }
        ClientFrame::Edit { session_id, message_id, message, model } => {
            let (session, edited) = (ConversationId::new(id(&session_id)?), MessageId::new(id(&message_id)?));
            let wanted = ReplyOptions { model, interactive: false };
            CommandOutcome::sent(
                reference,
                &services.conversations.edit(context, actor, session, edited, &message, wanted).await?,
            )
        }
        ClientFrame::Switch { session_id, branch } => {
            let session = id(&session_id)?;
            let (_, position) = services
                .conversations
                .switch_branch(context, actor, ConversationId::new(session), branch)
                .await?;
            CommandOutcome::with(ServerFrame::Accepted {
                reference,
                position,
                session_id: Some(session),
                user_message_id: None,
                message_id: None,
                reply_id: None,
            })
        }
        ClientFrame::Follow { reply_id, after } => {
            let reply = ReplyId::new(id(&reply_id)?);
            let from = match after {
                None => Resume::default(),
                Some(after) => parse_event_id(&after)
                    .filter(|(of, _)| *of == reply)
                    .map(|(_, at)| at)
                    .ok_or_else(invalid_after)?,
            };
            let row = services.replies.reply(actor, reply).await?;
            CommandOutcome {
                answer: Some(ServerFrame::Accepted {
                    reference,
                    position: None,
                    session_id: Some(row.conversation_id),
                    user_message_id: Some(row.message_id),
                    message_id: Some(row.answer_id),
                    reply_id: Some(row.reply_id),
                }),
                // Start from the position just seen: a read model below it was rolled back and does not know the
                // reply's end.
                follow: Some(Follow { reply, from, asked: Some(row.position) }),
                reauthenticated: None,
            }
        }
        ClientFrame::Cancel { reply_id } => {
            let (row, position) =
                services.replies.cancel_reply(context, actor, ReplyId::new(id(&reply_id)?)).await?;
            CommandOutcome::with(ServerFrame::Accepted {
                reference,
                position,
                session_id: Some(row.conversation_id),
                user_message_id: Some(row.message_id),
                message_id: Some(row.answer_id),
                reply_id: Some(row.reply_id),
            })
        }
        ClientFrame::Read { session_id, message_id } => {
            let (session, message) = (id(&session_id)?, id(&message_id)?);
            let position = services
                .conversations
                .mark_read(context, actor, ConversationId::new(session), MessageId::new(message))
                .await?;
            CommandOutcome::with(ServerFrame::Accepted {
                reference,
                position,
                session_id: Some(session),
                user_message_id: None,
                message_id: Some(message),
                reply_id: None,
            })
        }
        ClientFrame::Typing { session_id, typing } => {
            services
                .conversations
                .typing(actor, ConversationId::new(id(&session_id)?), typing, socket)
                .await?;
            CommandOutcome { answer: None, follow: None, reauthenticated: None }
        }
        ClientFrame::Auth { token } => {
            let authenticated = services.sign_in.authenticate(&token).await?;
            if authenticated.actor.user != actor.user {
                return Err(AppError::invalid_token().into());
            }
            let answer = ServerFrame::Accepted {
                reference,
                position: None,
                session_id: None,
                user_message_id: None,
                message_id: None,
                reply_id: None,
            };
            CommandOutcome { answer: Some(answer), follow: None, reauthenticated: Some(authenticated) }
        }
    })
}

/// Parses an id. An unparsable id is treated like an unknown one.
fn id(text: &str) -> Result<Uuid, AppError> {
    Uuid::parse_str(text).map_err(|_| AppError::not_found())
}

fn invalid_after() -> ApiError {
    AppError::new(Kind::Invalid, "invalid_last_event_id", "`after` must be an event id of this reply.").into()
}
