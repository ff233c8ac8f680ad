//! The accept loop: sockets to requests, with limits on what a slow or greedy client can hold, and a graceful end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::client_address::Peer;
use crate::config::ServeLimits;

/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of headers (and of what is read ahead of a body).
const MAX_HEADERS_BYTES: usize = 16 * 1024;
/// The most headers.
const MAX_HEADERS: usize = 100;
/// How long the loop waits when no socket can be had.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// What the system holds of what a client has not taken yet, in bytes (it doubles this for its own book-keeping).
const SEND_BUFFER: usize = 128 * 1024;
/// How long a peer may leave unacknowledged what was sent to it: after that it is dead.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client that takes nothing is waited for when the process ends.
const SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(2);
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// What one connection too many is told, and how long that may take.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 103\r\n\
    Retry-After: 5\r\nConnection: close\r\n\r\n\
    {\"detail\":\"Too many connections; please come again.\",\"code\":\"too_many_connections\",\"request_id\":\"none\"}";
const REJECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves `router` on `listener` until `stop`; connections then finish what they have begun, on `tasks`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => {
                    let peer = Peer(peer);
                    tasks.spawn(connection(
                        (stream, peer),
                        router.clone(),
                        limits.slow,
                        permit,
                        stop.clone(),
                    ));
                }
                Err(_) => {
                    metrics::counter!("verbatim_connections_refused_total").increment(1);
                    tasks.spawn(tokio::time::timeout(REJECT_TIMEOUT, reject(stream)));
                }
            },
            Err(error) => {
                // A connection that was gone before it was accepted is nothing; too many open files is worth a pause.
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Says that there is no place. Only what was asked is read, so that the answer arrives.
async fn reject(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(TOO_MANY_CONNECTIONS).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// A connection, up to its end; that of a socket, when it becomes one.
async fn connection(
    (stream, peer): (TcpStream, Peer),
    router: Router,
    slow: Duration,
    permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    // Small frames must not wait for each other.
    let _ = stream.set_nodelay(true);
    let options = SockRef::from(&stream);
    // What is bounded in here must not pile up in the system, and whoever is gone without a word must be noticed.
    let _ = options.set_send_buffer_size(SEND_BUFFER);
    #[cfg(target_os = "linux")]
    let _ = options.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    let ingress = IngressLimiter::new();
    let stream = GuardedStream {
        stream,
        ingress: ingress.clone(),
        window: (Instant::now(), 0),
        stop: stop.clone(),
        deadline: None,
        _permit: permit,
    };
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(slow));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ingress.clone());
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADERS_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// What a connection takes in. Shared with the requests on it, so that one which becomes a socket can be held to a rate.
#[derive(Debug, Clone)]
pub struct IngressLimiter {
    /// Bytes a second; none without a limit.
    limit: Arc<AtomicU64>,
}

impl IngressLimiter {
    fn new() -> Self {
        Self { limit: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// From now on the connection breaks when more bytes than this come within a second.
    pub fn limit(&self, bytes_per_second: u64) {
        self.limit.store(bytes_per_second, Ordering::Relaxed);
    }
}

/// A connection with the place that it takes: a socket keeps it after the HTTP is over.
struct GuardedStream {
    stream: TcpStream,
    ingress: IngressLimiter,
    window: (Instant, u64),
    stop: CancellationToken,
    /// Begun when something could not be written: ends a while after the process is told to end.
    deadline: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _permit: OwnedSemaphorePermit,
}

impl GuardedStream {
    /// Counts what was read. False: it is too much.
    fn within_limit(&mut self, bytes: usize) -> bool {
        let limit = self.ingress.limit.load(Ordering::Relaxed);
        if limit == u64::MAX {
            return true;
        }
        let now = Instant::now();
        if now.duration_since(self.window.0) >= RATE_WINDOW {
            self.window = (now, 0);
        }
        self.window.1 += u64::try_from(bytes).unwrap_or(u64::MAX);
        self.window.1 <= limit
    }

    /// Nothing can be written now. Whoever takes nothing does not hold up the end of the process.
    fn write_blocked<T>(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<T>> {
        let deadline = self.deadline.get_or_insert_with(|| {
            let stop = self.stop.clone();
            Box::pin(async move {
                stop.cancelled().await;
                tokio::time::sleep(SHUTDOWN_GRACE_PERIOD).await;
            })
        });
        deadline.as_mut().poll(cx).map(|()| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && !self.within_limit(buffer.filled().len() - before) {
            return Poll::Ready(Err(std::io::ErrorKind::QuotaExceeded.into()));
        }
        read
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => self.write_blocked(cx),
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, parts) {
            Poll::Pending => self.write_blocked(cx),
            written => written,
        }
    }
}
