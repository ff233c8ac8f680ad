//! The proxy itself: each of its faults is what it says, or the other tests would prove nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::proxy::{Proxy, Way, When};

/// Long enough for anything that comes at all, on this machine.
const COMES: Duration = Duration::from_secs(5);
/// Long enough to see that nothing comes.
const NOTHING: Duration = Duration::from_millis(150);

/// A server that sends back what it reads, and tells what that was.
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
        tokio::time::timeout(COMES, self.heard.recv()).await.expect("something, in time").unwrap()
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

/// What comes back, or how the connection ended.
async fn said(stream: &mut TcpStream, words: &[u8]) -> Result<Vec<u8>, ErrorKind> {
    stream.write_all(words).await.map_err(|error| error.kind())?;
    heard(stream).await
}

async fn heard(stream: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut buffer = [0; 1024];
    match tokio::time::timeout(COMES, stream.read(&mut buffer)).await.expect("something, in time") {
        Ok(read) => Ok(buffer[..read].to_vec()),
        Err(error) => Err(error.kind()),
    }
}

async fn nothing_comes(stream: &mut TcpStream) {
    let mut buffer = [0; 1];
    assert!(tokio::time::timeout(NOTHING, stream.read(&mut buffer)).await.is_err(), "something came");
}

#[tokio::test]
async fn a_freeze_holds_everything_back_and_closes_nothing() {
    let mut server = Echo::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = opened(&proxy).await;
    assert_eq!(said(&mut stream, b"one").await.unwrap(), b"one");
    proxy.freeze();
    stream.write_all(b"two").await.unwrap();
    nothing_comes(&mut stream).await;
    let mut late = opened(&proxy).await;
    late.write_all(b"three").await.unwrap();
    nothing_comes(&mut late).await;
    proxy.freeze_one(Way::ToClient);
    assert_eq!(server.heard().await, b"one");
    let mut arrived = [server.heard().await, server.heard().await];
    arrived.sort();
    assert_eq!(arrived, [&b"three"[..], b"two"]);
    nothing_comes(&mut stream).await;
    proxy.thaw();
    assert_eq!(heard(&mut stream).await.unwrap(), b"two");
    assert_eq!(heard(&mut late).await.unwrap(), b"three");
}

#[tokio::test]
async fn resets_refusals_and_half_closes_are_told_apart() {
    let mut server = Echo::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = opened(&proxy).await;
    assert_eq!(said(&mut stream, b"one").await.unwrap(), b"one");
    proxy.reset_all();
    assert_eq!(heard(&mut stream).await.unwrap_err(), ErrorKind::ConnectionReset);
    // Those of afterwards are not concerned.
    let mut stream = opened(&proxy).await;
    assert_eq!(said(&mut stream, b"two").await.unwrap(), b"two");
    proxy.half_close_all();
    assert_eq!(heard(&mut stream).await.unwrap(), b"", "the end, in order");
    stream.write_all(b"still heard").await.unwrap();
    for words in [&b"one"[..], b"two", b"still heard"] {
        assert_eq!(server.heard().await, words);
    }
    proxy.refuse(true);
    // A reset may come before or after the first word.
    let refused = match TcpStream::connect(proxy.address()).await {
        Ok(mut stream) => said(&mut stream, b"x").await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    proxy.refuse(false);
    let mut stream = opened(&proxy).await;
    proxy.delay(NOTHING);
    stream.write_all(b"slow").await.unwrap();
    nothing_comes(&mut stream).await;
    assert_eq!(heard(&mut stream).await.unwrap(), b"slow");
}

#[tokio::test]
async fn one_answer_is_lost_after_the_server_has_heard_the_question() {
    let mut server = Echo::start().await;
    let proxy = Proxy::before(server.address).await;
    let mut stream = opened(&proxy).await;
    proxy.cut_at("the word", When::Answered, 1);
    assert_eq!(said(&mut stream, b"another").await.unwrap(), b"another");
    // In two pieces.
    assert_eq!(said(&mut stream, b"this is the w").await.unwrap(), b"this is the w");
    assert_eq!(said(&mut stream, b"ord").await.unwrap_err(), ErrorKind::ConnectionReset);
    let mut stream = opened(&proxy).await;
    assert_eq!(said(&mut stream, b"the word").await.unwrap(), b"the word", "once only");
    for words in [&b"another"[..], b"this is the w", b"ord", b"the word"] {
        assert_eq!(server.heard().await, words);
    }
    proxy.cut_at("never", When::Before, 1);
    assert_eq!(said(&mut stream, b"never").await.unwrap_err(), ErrorKind::ConnectionReset);
    proxy.cut_new_after(Some(3));
    let mut stream = opened(&proxy).await;
    assert_eq!(said(&mut stream, b"four").await.unwrap(), b"fou");
    assert_eq!(heard(&mut stream).await.unwrap_err(), ErrorKind::ConnectionReset);
    assert!(server.heard().await == b"four", "what was cut before came through");
    assert_eq!((proxy.cut(), proxy.opened()), (2, 3));
}
