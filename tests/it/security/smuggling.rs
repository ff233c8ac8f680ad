//! Requests that two servers in a row could read differently, over a raw connection to the real listener.

use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verbatim::bootstrap::database::MIGRATOR;

use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};

/// The request that is hidden behind the first one.
const HIDDEN: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

/// The statuses of all that is answered to these bytes, up to the end of the connection.
pub(crate) async fn answered(app: &TestApp, bytes: &str) -> (Vec<String>, String) {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let to_the_end = async {
        // What was left unread there makes the end a reset.
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..read]);
        }
    };
    let ended = tokio::time::timeout(WAIT_TIMEOUT, to_the_end).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the connection stays open after {bytes:?}: {answer}");
    let statuses = answer.split("HTTP/1.").skip(1).map(|rest| rest[2..5].to_owned()).collect();
    (statuses, answer)
}

/// S38: what is ambiguous is refused and ends the connection; nothing behind it is taken for a request.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_request_hidden_in_an_ambiguous_one_is_not_answered(db: PgPool) {
    let app = TestApp::start(&db).await;
    // A length that ends before the hidden request, and one that takes it in.
    let (short, long) = ("Content-Length: 0", format!("Content-Length: {}", HIDDEN.len()));
    let refused = [
        format!("{short}\r\n{long}\r\n"),
        format!("{long}\r\n{short}\r\n"),
        format!("{long}, 0\r\n"),
        format!("{long}, {}\r\n", HIDDEN.len()),
        "Content-Length: +0\r\n".to_owned(),
        "Content-Length: 0x0\r\n".to_owned(),
        "Content-Length : 0\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        // Folded, as headers once could be.
        "Transfer-Encoding:\r\n chunked\r\n".to_owned(),
        format!("X-Folded: a\r\n {long}\r\n"),
        format!("X-Folded: a\r\n\t{long}\r\n"),
        // A carriage return by itself, and a header without a name.
        format!("X-Bare: a\r{long}\r\n"),
        format!(": a\r\n{long}\r\n"),
    ];
    for headers in refused {
        let bytes = format!("POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{headers}\r\n{HIDDEN}");
        let (statuses, answer) = answered(&app, &bytes).await;
        assert_eq!(statuses, ["400"], "{headers:?}: {answer}");
    }
    let old = format!("POST /api/auth/login HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    assert_eq!(answered(&app, &old).await.0, ["400"]);

    // These are read as chunks, answered, and the connection ends: whatever comes behind them is nobody's.
    for (headers, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 400\r\n", "0\r\n\r\n"),
        // A line feed by itself is no end of a chunk's line.
        ("Transfer-Encoding: chunked\r\n", "2\n{}\n0\n\n"),
        ("Transfer-Encoding: chunked\r\n", "2;a\n\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    ] {
        let head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let (statuses, answer) = answered(&app, &format!("{head}{headers}\r\n{body}{HIDDEN}")).await;
        assert!(statuses.len() == 1 && statuses[0].starts_with('4'), "{headers:?} {body:?}: {answer}");
        assert!(!answer.contains("alive"), "{headers:?} {body:?}: {answer}");
    }
    app.end().await;
}

/// Head of a sign-in up to these headers, and its body.
fn sign_in(person: &Person, headers: &str) -> (String, String) {
    let body = json!({"username": person.email, "password": PASSWORD}).to_string();
    let head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    (format!("{head}{headers}\r\n"), body)
}

/// RFC 9112, 6.1: chunks override a length, and the connection ends behind the answer. Whoever went by the length in front of us
/// has let nothing pass that we would take for a request.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_length_beside_chunks_does_not_count_and_ends_the_connection(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let end = |bytes: &str| bytes.len().to_string();
    for length in ["5".to_owned(), "0".to_owned(), end(HIDDEN), "400".to_owned()] {
        for headers in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            format!("Content-Length: {length}\r\ntransfer-encoding: Chunked\r\nConnection: keep-alive\r\n"),
        ] {
            let (head, body) = sign_in(&person, &headers);
            let (first, rest) = body.split_at(5);
            let chunks = format!("5\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
            let (statuses, answer) = answered(&app, &format!("{head}{chunks}{HIDDEN}")).await;
            assert_eq!(statuses, ["200"], "{headers:?}: {answer}");
            assert!(answer.contains("access_token") && !answer.contains("alive"), "{headers:?}: {answer}");
        }
    }
    // By themselves chunks leave the connection as it is: what ended it above is the length.
    let (head, body) = sign_in(&person, "Transfer-Encoding: chunked\r\n");
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let last = HIDDEN.replace("Host: x", "Host: x\r\nConnection: close");
    let (statuses, answer) = answered(&app, &format!("{head}{chunks}{last}")).await;
    assert_eq!(statuses, ["200", "200"], "{answer}");
    app.end().await;
}

/// RFC 9112, 6.3: a length that is said twice and is the same both times is one length.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_length_that_is_said_twice_is_one_length(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let last = HIDDEN.replace("Host: x", "Host: x\r\nConnection: close");
    let twice = |length: usize| format!("Content-Length: {length}\r\n").repeat(2);
    // What stands behind it is a request of its own, as it is behind a length that is said once.
    let (_, body) = sign_in(&person, "");
    for headers in [twice(body.len()), format!("Content-Length: {}\r\n", body.len())] {
        let (head, body) = sign_in(&person, &headers);
        let (statuses, answer) = answered(&app, &format!("{head}{body}{last}")).await;
        assert_eq!(statuses, ["200", "200"], "{headers:?}: {answer}");
    }
    // What stands within it is body.
    let headers = format!("{}Connection: close\r\n", twice(body.len() + HIDDEN.len()));
    let (head, body) = sign_in(&person, &headers);
    let (statuses, answer) = answered(&app, &format!("{head}{body}{HIDDEN}")).await;
    assert!(statuses.len() == 1 && statuses[0].starts_with('4'), "{answer}");
    assert!(!answer.contains("alive"), "{answer}");
    app.end().await;
}

/// RFC 9112, 2.2: a line feed may end a line of the head by itself. Then it does so everywhere in it: what stands behind it is a
/// header like any other, and no part of a value.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_line_feed_by_itself_ends_a_line_of_the_head(db: PgPool) {
    let app = TestApp::start(&db).await;
    for head in [
        "GET /livez HTTP/1.1\nHost: x\nConnection: close\n\n",
        "GET /livez HTTP/1.1\r\nHost: x\nConnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Bare: a\nConnection: close\r\n\r\n",
    ] {
        assert_eq!(answered(&app, &format!("{head}{HIDDEN}")).await.0, ["200"], "{head:?}");
    }
    let two = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0\nContent-Length: 7\r\n\r\n{HIDDEN}"
    );
    assert_eq!(answered(&app, &two).await.0, ["400"]);
    app.end().await;
}
