//! Limits on what a client may send, how fast, and how slowly it may read.

use std::time::Duration;

use futures::SinkExt as _;
use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use verbatim::schema::MIGRATOR;

use super::client::{Socket, open};
use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};

async fn closed_after(app: &TestApp, person: &Person, messages: Vec<Message>) -> u16 {
    let mut socket = Socket::of(app, person).await;
    for message in messages {
        // The server may close before the last message.
        if socket.stream.send(message).await.is_err() {
            break;
        }
    }
    socket.closed().await
}

fn fragment(kind: Data, last: bool, bytes: Vec<u8>) -> Message {
    Message::Frame(Frame::message(bytes, OpCode::Data(kind), last))
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn protocol_violation_closes_with_its_code(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let events = app.events().await;
    let large = Message::text("x".repeat(65 * 1024));
    assert_eq!(closed_after(&app, &person, vec![large]).await, 1009);
    let mut fragments = vec![fragment(Data::Text, false, vec![b'x'; 1024])];
    fragments.extend((0..200).map(|_| fragment(Data::Continue, false, vec![b'x'; 1024])));
    assert_eq!(closed_after(&app, &person, fragments).await, 1009);
    assert_eq!(closed_after(&app, &person, vec![Message::binary(vec![1, 2, 3])]).await, 1003);
    let bad = vec![fragment(Data::Text, true, vec![b'a', 0xFF, b'b'])];
    assert_eq!(closed_after(&app, &person, bad).await, 1007);
    let flood = (0..1000).map(|_| Message::text(r#"{"type":"ping"}"#)).collect();
    assert_eq!(closed_after(&app, &person, flood).await, 1008);
    let reserved = vec![Message::Frame(Frame::message(vec![1], OpCode::Data(Data::Reserved(5)), true))];
    assert_eq!(closed_after(&app, &person, reserved).await, 1002);
    assert_eq!(app.events().await, events);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn frame_of_64_kib_is_accepted(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut socket = Socket::of(&app, &person).await;
    let around = json!({"type": "ping", "ref": "r", "x": ""}).to_string().len();
    let text = json!({"type": "ping", "ref": "r", "x": "x".repeat(64 * 1024 - around)}).to_string();
    assert_eq!(text.len(), 64 * 1024);
    socket.stream.send(Message::text(text)).await.unwrap();
    assert_eq!(socket.next().await.unwrap(), json!({"type": "pong", "ref": "r"}));
    app.end().await;
}

/// Opens a socket with a small receive window and reads only the response to the upgrade.
async fn open_stalled(app: &TestApp, person: &Person) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(app.address()).await.unwrap();
    let request = format!(
        "GET /api/chat/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {}\r\n\r\n",
        person.access
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// Reads until the server closes the connection.
async fn read_to_close(stream: &mut TcpStream) {
    let mut rest = vec![0; 64 * 1024];
    let ended = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(WAIT_TIMEOUT, ended).await.expect("the connection ends");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stalled_client_is_disconnected_without_delaying_others(db: PgPool) {
    let app = TestApp::with(
        &db,
        &[("SLOW_CLIENT_SECONDS", "1"), ("SOCKET_PING_SECONDS", "300"), ("MAX_SOCKETS_PER_USER", "2")],
    )
    .await;
    let person = app.person().await;
    let mut stalled = open_stalled(&app, &person).await;
    let mut reader = Socket::of(&app, &person).await;
    let session = app.session(&person).await;
    let text = "x".repeat(30_000);
    for _ in 0..20 {
        let answer = app.say(&person, Some(&session), &text).await;
        while reader.next_of("message", &["typing"]).await["message_id"] != answer["message_id"] {}
    }
    // The disconnect frees its connection slot; the stalled client has still read nothing.
    let bearer = format!("Bearer {}", person.access);
    let third = async || open(&app.address().to_string(), "", &[("authorization", &bearer)]).await.is_ok();
    app.wait_until("the stalled client is disconnected", third).await;
    read_to_close(&mut stalled).await;
    reader.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn client_without_pongs_is_disconnected(db: PgPool) {
    let app = TestApp::with(&db, &[("SOCKET_PING_SECONDS", "1"), ("MAX_SOCKETS_PER_USER", "1")]).await;
    let person = app.person().await;
    let mut silent = open_stalled(&app, &person).await;
    read_to_close(&mut silent).await;
    // Its slot is free, and a client that answers pings keeps it.
    let mut socket = Socket::of(&app, &person).await;
    let mut pings = 0;
    while pings < 5 {
        let message =
            tokio::time::timeout(WAIT_TIMEOUT, futures::StreamExt::next(&mut socket.stream)).await.unwrap();
        match message.unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    socket.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn excess_connection_gets_503_with_retry_after(db: PgPool) {
    let app = TestApp::with(&db, &[("MAX_CONNECTIONS", "16")]).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
    }
    let answer = tokio::time::timeout(Duration::from_secs(5), async {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
    .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After: 5"), "{answer}");
    let length: usize =
        head.split_once("Content-Length: ").unwrap().1.split("\r\n").next().unwrap().parse().unwrap();
    assert_eq!(length, body.len());
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["code"], "too_many_connections");
    held.pop();
    app.wait_until("a connection slot is free", async || {
        let Ok(mut stream) = TcpStream::connect(app.address()).await else { return false };
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200"
    })
    .await;
    drop(held);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn incomplete_upgrade_is_closed(db: PgPool) {
    let app = TestApp::start(&db).await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(b"GET /api/chat/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgr").await.unwrap();
    read_to_close(&mut stream).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stalled_client_does_not_delay_shutdown(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let _stalled = open_stalled(&app, &person).await;
    let session = app.session(&person).await;
    let text = "x".repeat(30_000);
    for _ in 0..20 {
        app.say(&person, Some(&session), &text).await;
    }
    let began = std::time::Instant::now();
    app.stop(Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
