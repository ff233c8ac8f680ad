//! What frames ask for.

use aggregates::ids::{ConversationId, MessageId, ReplyId};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    ApiError, ErrorFrame, MAX_FOLLOWED, Resume, Running, Sending, ServerFrame, Session, ends, request_id,
};
use crate::app::conversations::branches::Again;
use crate::app::conversations::items::WantedReply;
use crate::app::conversations::{NewMessage, Sent};
use crate::app::sign_in::Authenticated;
use crate::app::{Actor, AppError, Kind, RequestContext, Services};
use crate::http::extract::{invalid_key, is_key};
use crate::http::formats::reply::parse_event_id;
use crate::http::surfaces::websocket::frames::ClientFrame;
use traces::spans;

/// What came of a frame.
pub(super) struct Done {
    answer: Option<ServerFrame>,
    /// A reply to be followed from now on.
    follow: Option<Follow>,
    /// The socket goes on with this token.
    admitted: Option<Authenticated>,
}

struct Follow {
    reply: ReplyId,
    from: Resume,
    asked: Option<i64>,
}

impl Done {
    fn with(answer: ServerFrame) -> Self {
        Self { answer: Some(answer), follow: None, admitted: None }
    }

    /// A message was taken, or an old one again: its reply is followed.
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
            admitted: None,
        }
    }

    /// The command came to no end of its own.
    pub(super) fn panicked(reference: Option<String>, error: anyhow::Error) -> Self {
        let error = ApiError::from(AppError::internal(error));
        error.report();
        Self::with(ServerFrame::Error(ErrorFrame::new(reference, &error, request_id::current())))
    }
}

impl Session {
    /// Takes a frame: answers it at once, or begins what it asks for.
    pub(super) fn take(&mut self, text: &str) -> Option<ServerFrame> {
        let request = self.services.core.clock.id().to_string();
        let sending = match Sending::parse(text) {
            Ok(sending) => sending,
            Err(unreadable) => {
                let error = ErrorFrame::new(unreadable.reference, &unreadable.error, request);
                return Some(ServerFrame::Error(error));
            }
        };
        if matches!(sending.frame, ClientFrame::Ping {}) {
            return Some(ServerFrame::Pong { reference: sending.reference });
        }
        let refused = self.refused(&sending);
        if let Some(error) = refused {
            return Some(ServerFrame::Error(ErrorFrame::new(sending.reference, &error, request)));
        }
        let (services, actor, socket) = (self.services.clone(), self.admission.actor, self.id);
        let (surface, reference) = (self.surface, sending.reference.clone());
        let span = tracing::info_span!("frame", request.id = %request);
        let traced = spans::frame(sending.frame.kind(), &request);
        let work = async move {
            let reference = sending.reference.clone();
            let key =
                sending.key.clone().map(|key| (key, services.core.fingerprint(&sending.fingerprinted())));
            let context = RequestContext { request_id: request.clone(), surface, key };
            match act(&services, &context, actor, socket, sending).await {
                Ok(done) => done,
                Err(error) => {
                    error.report();
                    Done::with(ServerFrame::Error(ErrorFrame::new(reference, &error, request)))
                }
            }
        };
        let work = async move { traced.around(work.instrument(span)).await };
        let task = self.services.tasks.spawn(work);
        self.command = Some(Running { reference, task });
        None
    }

    fn refused(&self, sending: &Sending) -> Option<ApiError> {
        if sending.key.as_deref().is_some_and(|key| !is_key(key)) {
            return Some(invalid_key());
        }
        let actor = self.admission.actor;
        let counted = match &sending.frame {
            ClientFrame::Follow { .. } => self.services.rate_limits.count_read(actor),
            // Kept nowhere, and bounded by the frames that a socket may send.
            ClientFrame::Typing { .. } | ClientFrame::Ping {} => Ok(()),
            _ => self.services.rate_limits.count_command(actor),
        };
        if let Err(error) = counted {
            return Some(error.into());
        }
        let follows = match &sending.frame {
            ClientFrame::Message { .. } | ClientFrame::Regenerate { .. } | ClientFrame::Edit { .. } => true,
            // One that is followed already takes no other place.
            ClientFrame::Follow { reply_id, .. } => {
                id(reply_id).is_ok_and(|reply| !self.followed.contains_key(&ReplyId::new(reply)))
            }
            _ => false,
        };
        (follows && self.followed.len() >= MAX_FOLLOWED).then(|| {
            let detail = format!("At most {MAX_FOLLOWED} replies can be followed on one socket at a time.");
            AppError::new(Kind::Conflict, "too_many_followed", detail).into()
        })
    }

    /// Takes in what came of a frame.
    pub(super) fn done(&mut self, done: Done) -> Option<ServerFrame> {
        if let Some(Follow { reply, from, asked }) = done.follow {
            let follower = self.services.replies.follow(self.admission.actor, reply, from, asked);
            self.follow(reply, follower);
        }
        if let Some(admission) = done.admitted {
            self.presence.change_login(&self.services.connections, admission.actor);
            self.admission = admission;
            self.token_ends = ends(&self.services, admission);
        }
        done.answer
    }
}

async fn act(
    services: &Services,
    context: &RequestContext,
    actor: Actor,
    socket: Uuid,
    sending: Sending,
) -> Result<Done, ApiError> {
    let reference = sending.reference;
    Ok(match sending.frame {
        // Answered before.
        ClientFrame::Ping {} => Done::with(ServerFrame::Pong { reference }),
        ClientFrame::Message { message, session_id, model } => {
            let conversation = session_id.as_deref().map(id).transpose()?.map(ConversationId::new);
            let message = NewMessage::text(message).asking(model);
            let sent = services.conversations.send(context, actor, conversation, message).await?;
            Done::sent(reference, &sent)
        }
        ClientFrame::Regenerate { session_id, message_id, model } => {
            let (session, message) = (id(&session_id)?, MessageId::new(id(&message_id)?));
            let (session, message) = (ConversationId::new(session), Again::MessageOrAnswer(message));
            let wanted = WantedReply { model, interactive: false };
            Done::sent(
                reference,
                &services.conversations.ask_again(context, actor, session, message, wanted).await?,
            )
        }
        ClientFrame::Edit { session_id, message_id, message, model } => {
            let (session, edited) = (ConversationId::new(id(&session_id)?), MessageId::new(id(&message_id)?));
            let wanted = WantedReply { model, interactive: false };
            Done::sent(
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
            Done::with(ServerFrame::Accepted {
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
            Done {
                answer: Some(ServerFrame::Accepted {
                    reference,
                    position: None,
                    session_id: Some(row.conversation_id),
                    user_message_id: Some(row.message_id),
                    message_id: Some(row.answer_id),
                    reply_id: Some(row.reply_id),
                }),
                // Where it stood a moment ago: models that stand lower have stepped back, and tell nothing of its end.
                follow: Some(Follow { reply, from, asked: Some(row.position) }),
                admitted: None,
            }
        }
        ClientFrame::Cancel { reply_id } => {
            let (row, position) =
                services.replies.cancel_reply(context, actor, ReplyId::new(id(&reply_id)?)).await?;
            Done::with(ServerFrame::Accepted {
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
            Done::with(ServerFrame::Accepted {
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
            Done { answer: None, follow: None, admitted: None }
        }
        ClientFrame::Auth { token } => {
            let admission = services.sign_in.authenticate(&token).await?;
            if admission.actor.user != actor.user {
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
            Done { answer: Some(answer), follow: None, admitted: Some(admission) }
        }
    })
}

/// What is no id is nobody's thing.
fn id(text: &str) -> Result<Uuid, AppError> {
    Uuid::parse_str(text).map_err(|_| AppError::not_found())
}

fn invalid_after() -> ApiError {
    AppError::new(Kind::Invalid, "invalid_last_event_id", "`after` must be an id that this reply has sent.")
        .into()
}
