//! Tests of the proxy: each of its faults does what it says.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::proxy::{CutPoint, Direction, Proxy};

/// Time in which any expected bytes arrive.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time after which no bytes are assumed to arrive.
const SILENCE: Duration = Duration::from_millis(150);

/// A server that echoes what it reads and reports it.
struct Echo {
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hear, heard) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(echo(stream, hear.clone()));
            }
        });
        Self { address, heard, _tasks: tasks }
    }

    async fn heard(&mut self) -> Vec<u8> {
        tokio::time::timeout(RECEIVE_TIMEOUT, self.heard.recv())
            .await
            .expect("timed out waiting for bytes")
            .unwrap()
    }
}

async fn echo(mut stream: TcpStream, hear: mpsc::UnboundedSender<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let _ = hear.send(buffer[..read].to_vec());
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn opened(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Sends bytes; returns the response, or how the connection ended.
async fn exchange(stream: &mut TcpStream, words: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    stream.write_all(words).await.map_err(|error| error.kind())?;
    heard(stream).await
}

async fn heard(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut buffer = [0; 1024];
    match tokio::time::timeout(RECEIVE_TIMEOUT, stream.read(&mut buffer))
        .await
        .expect("timed out waiting for bytes")
    {
        Ok(read) => Ok(buffer[..read].to_vec()),
        Err(error) => Err(error.kind()),
    }
}

async fn assert_silent(stream: &mut TcpStream) {
    let mut buffer = [0; 1];
    assert!(tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await.is_err(), "bytes arrived");
}

#[tokio::test]
async fn freeze_holds_bytes_back_and_closes_nothing() {
    let mut server = Echo::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = opened(&proxy).await;
    assert_eq!(exchange(&mut stream, b"one").await.unwrap(), b"one");
    proxy.freeze();
    stream.write_all(b"two").await.unwrap();
    assert_silent(&mut stream).await;
    let mut late = opened(&proxy).await;
    late.write_all(b"three").await.unwrap();
    assert_silent(&mut late).await;
    proxy.freeze_one(Direction::ToClient);
    assert_eq!(server.heard().await, b"one");
    let mut arrived = [server.heard().await, server.heard().await];
    arrived.sort();
    assert_eq!(arrived, [&b"three"[..], b"two"]);
    assert_silent(&mut stream).await;
    proxy.thaw();
    assert_eq!(heard(&mut stream).await.unwrap(), b"two");
    assert_eq!(heard(&mut late).await.unwrap(), b"three");
}

#[tokio::test]
async fn resets_refusals_and_half_closes_differ() {
    let mut server = Echo::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = opened(&proxy).await;
    assert_eq!(exchange(&mut stream, b"one").await.unwrap(), b"one");
    proxy.reset_all();
    assert_eq!(heard(&mut stream).await.unwrap_err(), ErrorKind::ConnectionReset);
    // New connections are not affected.
    let mut stream = opened(&proxy).await;
    assert_eq!(exchange(&mut stream, b"two").await.unwrap(), b"two");
    proxy.half_close_all();
    assert_eq!(heard(&mut stream).await.unwrap(), b"", "a clean end");
    stream.write_all(b"still heard").await.unwrap();
    for words in [&b"one"[..], b"two", b"still heard"] {
        assert_eq!(server.heard().await, words);
    }
    proxy.refuse(true);
    // A reset may come before or after the first write.
    let refused = match TcpStream::connect(proxy.address()).await {
        Ok(mut stream) => exchange(&mut stream, b"x").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    proxy.refuse(false);
    let mut stream = opened(&proxy).await;
    proxy.delay(SILENCE);
    stream.write_all(b"slow").await.unwrap();
    assert_silent(&mut stream).await;
    assert_eq!(heard(&mut stream).await.unwrap(), b"slow");
}

#[tokio::test]
async fn one_response_is_lost_after_server_received_request() {
    let mut server = Echo::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = opened(&proxy).await;
    proxy.cut_at("the word", CutPoint::Answered, 1);
    assert_eq!(exchange(&mut stream, b"another").await.unwrap(), b"another");
    // In two chunks.
    assert_eq!(exchange(&mut stream, b"this is the w").await.unwrap(), b"this is the w");
    assert_eq!(exchange(&mut stream, b"ord").await.unwrap_err(), ErrorKind::ConnectionReset);
    let mut stream = opened(&proxy).await;
    assert_eq!(exchange(&mut stream, b"the word").await.unwrap(), b"the word", "once only");
    for words in [&b"another"[..], b"this is the w", b"ord", b"the word"] {
        assert_eq!(server.heard().await, words);
    }
    proxy.cut_at("never", CutPoint::Before, 1);
    assert_eq!(exchange(&mut stream, b"never").await.unwrap_err(), ErrorKind::ConnectionReset);
    proxy.cut_new_after(Some(3));
    let mut stream = opened(&proxy).await;
    assert_eq!(exchange(&mut stream, b"four").await.unwrap(), b"fou");
    assert_eq!(heard(&mut stream).await.unwrap_err(), ErrorKind::ConnectionReset);
    assert!(server.heard().await == b"four", "bytes before the cut arrived");
    assert_eq!((proxy.cut(), proxy.opened()), (2, 3));
}
