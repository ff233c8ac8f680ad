//! A WebSocket session: frames in, commands to use cases, items and replies out.
//!
//! One task owns the session and buffers nothing: it fetches the next frame when the client has taken the previous one.
//! Replies are followed in memory; stored items come from a channel or the read models. A slow client therefore costs
//! one frame. Commands run on their own tasks, one at a time, in the order of the frames.

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

use super::frames::{CancelledFrame, ClientEnvelope, ErrorFrame, ServerFrame, VERSION};
use super::reader::{FrameReader, Incoming, socket_error};
use crate::app::Services;
use crate::app::connections::ConnectionGuard;
use crate::app::sign_in::Authenticated;
use crate::auth::tokens::LEEWAY;
use crate::config::SocketsConfig;
use crate::http::errors::ApiError;
use crate::http::formats::reply::{Deleted, Delta, Restart, event_id};
use crate::http::transport::request_id;
use crate::live::{FeedItem, Frame, ReplyFollower, Resume, UserFeed};
use crate::telemetry::panics::join_error;

mod commands;
use commands::CommandOutcome;

/// Close code for an expired token or an ended login.
const SIGNED_OUT: u16 = 4401;
/// How long the client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of pings without a response after which a connection counts as lost.
const MAX_UNANSWERED_PINGS: u32 = 3;
/// Maximum replies that a socket follows at a time.
const MAX_FOLLOWED: usize = 16;

/// An item to send.
enum Outgoing {
    Frame(ServerFrame),
    /// The last frame of a reply.
    Ended(aggregates::ids::ReplyId, ServerFrame),
    /// The process is shutting down.
    Closing,
    /// The database has been unavailable for too long.
    Failed,
}

/// How a session ends.
enum End {
    /// With a close frame.
    Close(u16, &'static str),
    /// The client closed; the library answers the close frame.
    Closed,
    /// The connection is lost: nothing can be sent.
    Lost,
}

/// An open WebSocket.
pub(super) struct Session {
    id: Uuid,
    services: Arc<Services>,
    limits: SocketsConfig,
    surface: &'static str,
    authenticated: Authenticated,
    connection: ConnectionGuard,
    outgoing: SelectAll<BoxStream<'static, Outgoing>>,
    followed: HashMap<aggregates::ids::ReplyId, CancellationToken>,
    /// The running command.
    command: Option<Running>,
    /// Time since which the client has not taken everything sent to it.
    blocked_since: Option<Instant>,
    /// Pings since the last frame from the client.
    unanswered_pings: u32,
    /// Expiry of the access token, plus the leeway that every request has.
    token_deadline: Instant,
    hello: ServerFrame,
}

impl Session {
    pub(super) fn new(
        services: Arc<Services>,
        limits: SocketsConfig,
        surface: &'static str,
        authenticated: Authenticated,
        connection: ConnectionGuard,
        after: Option<i64>,
    ) -> Self {
        let id = services.core.clock.id();
        let feed = services.connections.feed(authenticated.actor, after);
        let hello = ServerFrame::Hello { version: VERSION, position: feed.at() };
        let token_deadline = token_deadline(&services, authenticated);
        let mut outgoing = SelectAll::new();
        outgoing.push(user_items(feed, id));
        Self {
            id,
            services,
            limits,
            surface,
            authenticated,
            connection,
            outgoing,
            followed: HashMap::new(),
            command: None,
            blocked_since: None,
            unanswered_pings: 0,
            token_deadline,
            hello,
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        let _gauge = OpenSocketGauge::new();
        let hello = self.hello.clone();
        let end = match self.send(&mut socket, &hello).await {
            Ok(()) => self.run_loop(&mut socket).await,
            Err(end) => end,
        };
        let close = match end {
            End::Lost => return,
            End::Closed => None,
            End::Close(code, reason) => {
                metrics::counter!("verbatim_sockets_closed_total", "code" => code.to_string()).increment(1);
                tracing::debug!(code, reason, "socket closed");
                Some(Message::Close(Some(CloseFrame { code, reason: reason.into() })))
            }
        };
        let closing = async {
            if let Some(close) = close
                && socket.send(close).await.is_err()
            {
                return;
            }
            // The library answers a close frame while the rest is read.
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
    }

    async fn run_loop(&mut self, socket: &mut WebSocket) -> End {
        let mut reader = FrameReader::new();
        let mut ping = tokio::time::interval_at(Instant::now() + self.limits.ping, self.limits.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.services.stopping.clone();
        loop {
            let token_deadline = self.token_deadline;
            let frame = tokio::select! {
                // Endings come first; the last branch runs when nothing else is ready.
                biased;
                () = stopping.cancelled() => return self.shut_down(socket).await,
                () = self.connection.ended() => return End::Close(SIGNED_OUT, "signed out"),
                () = tokio::time::sleep_until(token_deadline) => return End::Close(SIGNED_OUT, "the token has ended"),
                _ = ping.tick() => {
                    if self.unanswered_pings >= MAX_UNANSWERED_PINGS {
                        return End::Lost;
                    }
                    self.unanswered_pings += 1;
                    match self.write(socket, Message::Ping(Vec::new().into())).await {
                        Ok(()) => continue,
                        Err(end) => return end,
                    }
                }
                done = command_outcome(&mut self.command) => self.finish_command(done),
                incoming = reader.next(socket), if self.command.is_none() => {
                    self.unanswered_pings = 0;
                    match incoming {
                        Incoming::Text(text) => self.handle_frame(&text),
                        Incoming::Heartbeat => None,
                        Incoming::Violation(code, reason) => return End::Close(code, reason),
                        Incoming::Closed => return End::Closed,
                        Incoming::Lost => return End::Lost,
                    }
                }
                outgoing = self.outgoing.next() => match outgoing {
                    Some(Outgoing::Frame(frame)) => Some(frame),
                    Some(Outgoing::Ended(reply, frame)) => {
                        self.followed.remove(&reply);
                        Some(frame)
                    }
                    Some(Outgoing::Closing) => return self.shut_down(socket).await,
                    Some(Outgoing::Failed) | None => return End::Close(close_code::AGAIN, "temporarily unavailable: reconnect"),
                },
                () = std::future::ready(()), if self.blocked_since.is_some() => {
                    self.blocked_since = None;
                    None
                }
            };
            if let Some(frame) = frame
                && let Err(end) = self.send(socket, &frame).await
            {
                return end;
            }
        }
    }

    /// Ends the session at shutdown; a running command is still answered.
    async fn shut_down(&mut self, socket: &mut WebSocket) -> End {
        if self.command.is_some() {
            let done = command_outcome(&mut self.command).await;
            if let Some(frame) = self.finish_command(done)
                && let Err(end) = self.send(socket, &frame).await
            {
                return end;
            }
        }
        End::Close(close_code::AWAY, "shutting down: reconnect")
    }

    async fn send(&mut self, socket: &mut WebSocket, frame: &ServerFrame) -> Result<(), End> {
        match serde_json::to_string(frame) {
            Ok(text) => self.write(socket, Message::Text(text.into())).await,
            Err(error) => {
                tracing::error!(%error, "failed to serialize frame");
                Err(End::Close(close_code::ERROR, "a frame could not be sent"))
            }
        }
    }

    /// Sends a message unless the client is too slow.
    async fn write(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), End> {
        let blocked_since = *self.blocked_since.get_or_insert_with(Instant::now);
        let stopping = &self.services.stopping;
        tokio::select! {
            biased;
            sent = socket.send(message) => sent.map_err(|error| write_error(&error)),
            () = self.connection.ended() => Err(End::Close(SIGNED_OUT, "signed out")),
            () = tokio::time::sleep_until(self.token_deadline) => Err(End::Close(SIGNED_OUT, "the token has ended")),
            () = async {
                stopping.cancelled().await;
                tokio::time::sleep(CLOSE_TIMEOUT).await;
            } => Err(End::Lost),
            () = tokio::time::sleep_until(blocked_since + self.limits.slow) => {
                metrics::counter!("verbatim_slow_clients_cut_total").increment(1);
                Err(End::Close(close_code::POLICY, "too slow: reconnect with the last position"))
            }
        }
    }

    /// Follows a reply, replacing an earlier follower of it.
    fn follow(&mut self, reply: aggregates::ids::ReplyId, follower: ReplyFollower) {
        let left = CancellationToken::new();
        if let Some(before) = self.followed.insert(reply, left.clone()) {
            before.cancel();
        }
        self.outgoing.push(Box::pin(reply_frames(reply, follower).take_until(left.cancelled_owned())));
    }
}

/// Returns when the access token expires, plus the leeway that every request has.
fn token_deadline(services: &Services, authenticated: Authenticated) -> Instant {
    let left = authenticated.ends_at + TimeDelta::seconds(LEEWAY) - services.core.clock.now();
    Instant::now() + left.to_std().unwrap_or_default()
}

/// What it means that a frame could not be sent.
fn write_error(error: &axum::Error) -> End {
    match socket_error(error) {
        Some(SocketError::WriteBufferFull(_)) => {
            tracing::error!("frame exceeds the write buffer");
            End::Close(close_code::ERROR, "a frame could not be sent")
        }
        _ => End::Lost,
    }
}

/// Counts the session as open until dropped.
struct OpenSocketGauge;

impl OpenSocketGauge {
    fn new() -> Self {
        metrics::gauge!("verbatim_sockets_open").increment(1.0);
        Self
    }
}

impl Drop for OpenSocketGauge {
    fn drop(&mut self) {
        metrics::gauge!("verbatim_sockets_open").decrement(1.0);
    }
}

/// A running command.
struct Running {
    reference: Option<String>,
    task: JoinHandle<CommandOutcome>,
}

/// Waits for the running command; never returns if there is none.
async fn command_outcome(command: &mut Option<Running>) -> CommandOutcome {
    match command {
        Some(running) => {
            let done = (&mut running.task).await;
            let reference = running.reference.take();
            let done = done.unwrap_or_else(|error| CommandOutcome::panicked(reference, join_error(&error)));
            *command = None;
            done
        }
        None => std::future::pending().await,
    }
}

/// Returns the user's stored items and live signals as frames.
fn user_items(feed: UserFeed, socket: Uuid) -> BoxStream<'static, Outgoing> {
    Box::pin(
        unfold(feed, |mut feed| async {
            let fed = feed.next().await;
            Some((fed, feed))
        })
        .filter_map(move |fed| {
            std::future::ready(match fed {
                Ok(FeedItem::Item(item)) => ServerFrame::item(&item, socket).map(Outgoing::Frame),
                Ok(FeedItem::Reset { position }) => Some(Outgoing::Frame(ServerFrame::Reset { position })),
                Err(error) => {
                    tracing::warn!(%error, "failed to load missed items for socket");
                    Some(Outgoing::Failed)
                }
            })
        }),
    )
}

/// Returns the frames of a reply.
fn reply_frames(
    reply: aggregates::ids::ReplyId,
    follower: ReplyFollower,
) -> impl futures::Stream<Item = Outgoing> + Send + 'static {
    unfold(Some(follower), move |follower| async move {
        let mut follower = follower?;
        let frame = match follower.next().await {
            Ok(frame) => frame?,
            Err(error) => {
                tracing::warn!(%error, "failed to follow reply");
                return Some((Outgoing::Failed, None));
            }
        };
        Some(match frame {
            Frame::Restart { attempt } => (
                Outgoing::Frame(ServerFrame::Restart(Restart { reply_id: reply.uuid(), attempt })),
                Some(follower),
            ),
            Frame::Delta { attempt, offset, text } => {
                let id = event_id(reply, Resume { attempt, offset });
                let delta = Delta { reply_id: reply.uuid(), attempt, offset, text };
                (Outgoing::Frame(ServerFrame::Delta { id, delta }), Some(follower))
            }
            Frame::End(ended) => {
                (Outgoing::Ended(reply, ServerFrame::end(&ended, reply, follower.at())), None)
            }
            Frame::Deleted => {
                let deleted = CancelledFrame::Deleted(Deleted::new(reply));
                (Outgoing::Ended(reply, ServerFrame::Cancelled(deleted)), None)
            }
            Frame::Closing => (Outgoing::Closing, None),
        })
    })
}
