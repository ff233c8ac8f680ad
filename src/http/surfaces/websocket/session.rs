//! The conversation with one client: frames in, commands to the use cases, and everything that it is told.
//!
//! One task holds it all, and holds nothing in between: what is told is fetched when the client has taken what came before
//! (replies are followed where they stand in memory, stored items come from a channel or the read models). So a slow client
//! costs one frame. Commands run on tasks of their own, one at a time, in the order of the frames.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use chrono::TimeDelta;
use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll, unfold};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::frames::{Cancelled, ErrorFrame, Sending, ServerFrame, VERSION};
use super::reader::{Came, Inbox, socket_error};
use crate::app::Services;
use crate::app::connections::ConnectionGuard;
use crate::app::sign_in::Authenticated;
use crate::auth::tokens::LEEWAY;
use crate::config::SocketsConfig;
use crate::http::errors::ApiError;
use crate::http::formats::reply::{Deleted, Delta, Restart, event_id};
use crate::http::transport::request_id;
use crate::live::{Fed, Frame, ReplyFollower, Resume, UserFeed};
use crate::telemetry::panics::broken_off;

mod commands;
use commands::Done;

/// The close code for a token or a login that has ended.
const SIGNED_OUT: u16 = 4401;
/// How long the client may take to answer the close.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How many questions without an answer end a socket.
const UNANSWERED: u32 = 3;
/// How many replies a socket may follow at a time.
const MAX_FOLLOWED: usize = 16;

/// Something to be told.
enum Told {
    Frame(ServerFrame),
    /// The reply has ended, with this frame.
    Ended(aggregates::ids::ReplyId, ServerFrame),
    /// The process goes down.
    Closing,
    /// The database has not answered for long.
    Failed,
}

/// How the conversation ends.
enum End {
    /// With a close frame.
    Close(u16, &'static str),
    /// The client has closed, and is to be answered.
    Closed,
    /// There is nobody to be told.
    Gone,
}

/// One open socket.
pub(super) struct Session {
    id: Uuid,
    services: Arc<Services>,
    limits: SocketsConfig,
    surface: &'static str,
    admission: Authenticated,
    presence: ConnectionGuard,
    told: SelectAll<BoxStream<'static, Told>>,
    followed: HashMap<aggregates::ids::ReplyId, CancellationToken>,
    /// The command that runs, and its own name.
    command: Option<Running>,
    /// Since when the client has not taken all that is there for it.
    behind: Option<Instant>,
    /// Pings since the last sign of life.
    unanswered: u32,
    /// When the access token ends, with the leeway that every request has.
    token_ends: Instant,
    hello: ServerFrame,
}

impl Session {
    pub(super) fn new(
        services: Arc<Services>,
        limits: SocketsConfig,
        surface: &'static str,
        admission: Authenticated,
        presence: ConnectionGuard,
        after: Option<i64>,
    ) -> Self {
        let id = services.core.clock.id();
        let feed = services.connections.feed(admission.actor, after);
        let hello = ServerFrame::Hello { version: VERSION, position: feed.at() };
        let token_ends = ends(&services, admission);
        let mut told = SelectAll::new();
        told.push(items(feed, id));
        Self {
            id,
            services,
            limits,
            surface,
            admission,
            presence,
            told,
            followed: HashMap::new(),
            command: None,
            behind: None,
            unanswered: 0,
            token_ends,
            hello,
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Talks with the client until either has had enough.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        let _counted = Counted::new();
        let hello = self.hello.clone();
        let end = match self.say(&mut socket, &hello).await {
            Ok(()) => self.converse(&mut socket).await,
            Err(end) => end,
        };
        let close = match end {
            End::Gone => return,
            End::Closed => None,
            End::Close(code, reason) => {
                metrics::counter!("verbatim_sockets_closed_total", "code" => code.to_string()).increment(1);
                tracing::debug!(code, reason, "socket closed");
                Some(Message::Close(Some(CloseFrame { code, reason: reason.into() })))
            }
        };
        let farewell = async {
            if let Some(close) = close
                && socket.send(close).await.is_err()
            {
                return;
            }
            // The answer to a close is written while the rest is read.
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = tokio::time::timeout(LAST_WORDS, farewell).await;
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> End {
        let mut inbox = Inbox::new();
        let mut ping = tokio::time::interval_at(Instant::now() + self.limits.ping, self.limits.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.services.stopping.clone();
        loop {
            let token_ends = self.token_ends;
            let frame = tokio::select! {
                // First what ends it, last the rest when there is nothing else.
                biased;
                () = stopping.cancelled() => return self.leave(socket).await,
                () = self.presence.ended() => return End::Close(SIGNED_OUT, "signed out"),
                () = tokio::time::sleep_until(token_ends) => return End::Close(SIGNED_OUT, "the token has ended"),
                _ = ping.tick() => {
                    if self.unanswered >= UNANSWERED {
                        return End::Gone;
                    }
                    self.unanswered += 1;
                    match self.write(socket, Message::Ping(Vec::new().into())).await {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
                done = finished(&mut self.command) => self.done(done),
                came = inbox.next(socket), if self.command.is_none() => {
                    self.unanswered = 0;
                    match came {
                        Came::Text(text) => self.take(&text),
                        Came::Life => None,
                        Came::Breach(code, reason) => return End::Close(code, reason),
                        Came::Closed => return End::Closed,
                        Came::Gone => return End::Gone,
                    }
                }
                told = self.told.next() => match told {
                    Some(Told::Frame(frame)) => Some(frame),
                    Some(Told::Ended(reply, frame)) => {
                        self.followed.remove(&reply);
                        Some(frame)
                    }
                    Some(Told::Closing) => return self.leave(socket).await,
                    Some(Told::Failed) | None => return End::Close(close_code::AGAIN, "come back in a moment"),
                },
                () = std::future::ready(()), if self.behind.is_some() => {
                    self.behind = None;
                    None
                }
            };
            if let Some(frame) = frame
                && let Err(end) = self.say(socket, &frame).await
            {
                return end;
            }
        }
    }

    /// The process goes down: the command that runs is still answered.
    async fn leave(&mut self, socket: &mut WebSocket) -> End {
        if self.command.is_some() {
            let done = finished(&mut self.command).await;
            if let Some(frame) = self.done(done)
                && let Err(end) = self.say(socket, &frame).await
            {
                return end;
            }
        }
        End::Close(close_code::AWAY, "going down: come back")
    }

    async fn say(&mut self, socket: &mut WebSocket, frame: &ServerFrame) -> Result<(), End> {
        match serde_json::to_string(frame) {
            Ok(text) => self.write(socket, Message::Text(text.into())).await,
            Err(error) => {
                tracing::error!(%error, "a frame cannot be written");
                Err(End::Close(close_code::ERROR, "a frame could not be written"))
            }
        }
    }

    /// Writes a frame, as long as the client is not too slow.
    async fn write(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), End> {
        let behind = *self.behind.get_or_insert_with(Instant::now);
        let stopping = &self.services.stopping;
        tokio::select! {
            biased;
            sent = socket.send(message) => sent.map_err(|error| unsent(&error)),
            () = self.presence.ended() => Err(End::Close(SIGNED_OUT, "signed out")),
            () = tokio::time::sleep_until(self.token_ends) => Err(End::Close(SIGNED_OUT, "the token has ended")),
            () = async {
                stopping.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            } => Err(End::Gone),
            () = tokio::time::sleep_until(behind + self.limits.slow) => {
                metrics::counter!("verbatim_slow_clients_cut_total").increment(1);
                Err(End::Close(close_code::POLICY, "too slow: come back with the last position"))
            }
        }
    }

    /// Begins to follow a reply, instead of where it was followed from before.
    fn follow(&mut self, reply: aggregates::ids::ReplyId, follower: ReplyFollower) {
        let left = CancellationToken::new();
        if let Some(before) = self.followed.insert(reply, left.clone()) {
            before.cancel();
        }
        self.told.push(Box::pin(frames(reply, follower).take_until(left.cancelled_owned())));
    }
}

/// When the access token of an admission ends, with the leeway that every request has.
fn ends(services: &Services, admission: Authenticated) -> Instant {
    let left = admission.ends_at + TimeDelta::seconds(LEEWAY) - services.core.clock.now();
    Instant::now() + left.to_std().unwrap_or_default()
}

/// What it means that a frame could not be written.
fn unsent(error: &axum::Error) -> End {
    match socket_error(error) {
        Some(SocketError::WriteBufferFull(_)) => {
            tracing::error!("a frame is larger than what may wait to be written");
            End::Close(close_code::ERROR, "a frame could not be written")
        }
        _ => End::Gone,
    }
}

/// Counts an open socket for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!("verbatim_sockets_open").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("verbatim_sockets_open").decrement(1.0);
    }
}

/// A command that runs.
struct Running {
    reference: Option<String>,
    task: JoinHandle<Done>,
}

/// Waits for the command that runs; for ever when there is none.
async fn finished(command: &mut Option<Running>) -> Done {
    match command {
        Some(running) => {
            let done = (&mut running.task).await;
            let reference = running.reference.take();
            let done = done.unwrap_or_else(|error| Done::panicked(reference, broken_off(&error)));
            *command = None;
            done
        }
        None => std::future::pending().await,
    }
}

/// The stored items and signs that the socket is told.
fn items(feed: UserFeed, socket: Uuid) -> BoxStream<'static, Told> {
    Box::pin(
        unfold(feed, |mut feed| async {
            let fed = feed.next().await;
            Some((fed, feed))
        })
        .filter_map(move |fed| {
            std::future::ready(match fed {
                Ok(Fed::Item(item)) => ServerFrame::item(&item, socket).map(Told::Frame),
                Ok(Fed::Reset { position }) => Some(Told::Frame(ServerFrame::Reset { position })),
                Err(error) => {
                    tracing::warn!(%error, "a socket could not be told what it had missed");
                    Some(Told::Failed)
                }
            })
        }),
    )
}

/// The frames of a reply.
fn frames(
    reply: aggregates::ids::ReplyId,
    follower: ReplyFollower,
) -> impl futures::Stream<Item = Told> + Send + 'static {
    unfold(Some(follower), move |follower| async move {
        let mut follower = follower?;
        let frame = match follower.next().await {
            Ok(frame) => frame?,
            Err(error) => {
                tracing::warn!(%error, "a reply could not be followed on");
                return Some((Told::Failed, None));
            }
        };
        Some(match frame {
            Frame::Restart { attempt } => (
                Told::Frame(ServerFrame::Restart(Restart { reply_id: reply.uuid(), attempt })),
                Some(follower),
            ),
            Frame::Delta { attempt, offset, text } => {
                let id = event_id(reply, Resume { attempt, offset });
                let delta = Delta { reply_id: reply.uuid(), attempt, offset, text };
                (Told::Frame(ServerFrame::Delta { id, delta }), Some(follower))
            }
            Frame::End(ended) => (Told::Ended(reply, ServerFrame::end(&ended, reply, follower.at())), None),
            Frame::Deleted => {
                let deleted = Cancelled::Deleted(Deleted::new(reply));
                (Told::Ended(reply, ServerFrame::Cancelled(deleted)), None)
            }
            Frame::Closing => (Told::Closing, None),
        })
    })
}
