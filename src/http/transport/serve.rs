//! The accept loop: connections with limits on what a slow or greedy client can hold, and graceful shutdown.

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
/// Maximum size of the headers (and of what is read ahead of a body), in bytes.
const MAX_HEADERS_BYTES: usize = 16 * 1024;
/// Maximum number of headers.
const MAX_HEADERS: usize = 100;
/// Pause of the accept loop after an error, such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// Size of the kernel's send buffer, in bytes. The kernel doubles it for its own book-keeping.
const SEND_BUFFER: usize = 128 * 1024;
/// How long sent data may stay unacknowledged before the peer counts as dead.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);
/// How long shutdown waits for a client that does not read.
const SHUTDOWN_GRACE_PERIOD: Duration = Duration::from_secs(2);
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Response to a connection beyond the limit.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 104\r\n\
    Retry-After: 5\r\nConnection: close\r\n\r\n\
    {\"detail\":\"Too many connections; please retry later.\",\"code\":\"too_many_connections\",\"request_id\":\"none\"}";
const REJECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves `router` on `listener` until `stop`. Connections then finish their requests on `tasks`.
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
                // Either the peer is already gone, or there are too many open files: pause.
                tracing::debug!(%error, "failed to accept connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Responds with 503 and reads the rest, so that the response arrives before the connection is reset.
async fn reject(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(TOO_MANY_CONNECTIONS).await?;
    stream.shutdown().await?;
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

/// Runs a connection to its end, including an upgrade to a WebSocket.
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
    // Bound what the kernel buffers, and notice peers that vanished.
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
        tracing::debug!(%error, "connection ended with an error");
    }
}

/// Limits the incoming bytes of a connection. Shared with its requests, so that an upgrade to a WebSocket can set the
/// limit.
#[derive(Debug, Clone)]
pub struct IngressLimiter {
    /// Bytes per second; `u64::MAX` without a limit.
    limit: Arc<AtomicU64>,
}

impl IngressLimiter {
    fn new() -> Self {
        Self { limit: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// From now on, breaks the connection when more bytes than this arrive within a second.
    pub fn limit(&self, bytes_per_second: u64) {
        self.limit.store(bytes_per_second, Ordering::Relaxed);
    }
}

/// A connection with its permit, which a WebSocket keeps after HTTP has ended.
struct GuardedStream {
    stream: TcpStream,
    ingress: IngressLimiter,
    window: (Instant, u64),
    stop: CancellationToken,
    /// Starts when a write blocks; fires a grace period after shutdown has begun.
    deadline: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _permit: OwnedSemaphorePermit,
}

impl GuardedStream {
    /// Counts bytes read. Returns false if the limit is exceeded.
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

    /// Handles a blocked write: a client that does not read must not delay shutdown.
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
