//! Tests request smuggling: requests that a proxy and this server could parse differently, sent over a raw connection.

use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};

/// The request smuggled behind the first one.
const HIDDEN: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends these bytes and returns the statuses of all responses, and their text, up to the end of the connection.
pub(crate) async fn send_raw(app: &TestApp, bytes: &str) -> (Vec<String>, String) {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let read_to_end = async {
        // Bytes that the server left unread turn the close into a reset.
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            answer.extend_from_slice(&piece[..read]);
        }
    };
    let ended = tokio::time::timeout(WAIT_TIMEOUT, read_to_end).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the connection stays open after {bytes:?}: {answer}");
    let statuses = answer.split("HTTP/1.").skip(1).map(|rest| rest[2..5].to_owned()).collect();
    (statuses, answer)
}

/// An ambiguous request is rejected and ends the connection; bytes after it are never parsed as a request.
#[sqlx::test(migrator = "MIGRATOR")]
async fn request_smuggled_in_ambiguous_one_is_not_answered(db: PgPool) {
    let app = TestApp::start(&db).await;
    // A length that ends before the smuggled request, and one that includes it.
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
        // Obsolete line folding.
        "Transfer-Encoding:\r\n chunked\r\n".to_owned(),
        format!("X-Folded: a\r\n {long}\r\n"),
        format!("X-Folded: a\r\n\t{long}\r\n"),
        // A bare carriage return, and a header without a name.
        format!("X-Bare: a\r{long}\r\n"),
        format!(": a\r\n{long}\r\n"),
    ];
    for headers in refused {
        let bytes = format!("POST /api/auth/login HTTP/1.1\r\nHost: x\r\n{headers}\r\n{HIDDEN}");
        let (statuses, answer) = send_raw(&app, &bytes).await;
        assert_eq!(statuses, ["400"], "{headers:?}: {answer}");
    }
    let old = format!("POST /api/auth/login HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    assert_eq!(send_raw(&app, &old).await.0, ["400"]);

    // These are parsed as chunked and answered, and the connection ends: later bytes are not parsed.
    for (headers, body) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 400\r\n", "0\r\n\r\n"),
        // A bare line feed does not end a chunk's line.
        ("Transfer-Encoding: chunked\r\n", "2\n{}\n0\n\n"),
        ("Transfer-Encoding: chunked\r\n", "2;a\n\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    ] {
        let head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        let (statuses, answer) = send_raw(&app, &format!("{head}{headers}\r\n{body}{HIDDEN}")).await;
        assert!(statuses.len() == 1 && statuses[0].starts_with('4'), "{headers:?} {body:?}: {answer}");
        assert!(!answer.contains("alive"), "{headers:?} {body:?}: {answer}");
    }
    app.end().await;
}

/// Returns the head of a sign-in with these headers, and its body.
fn sign_in(person: &Person, headers: &str) -> (String, String) {
    let body = json!({"username": person.email, "password": PASSWORD}).to_string();
    let head = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    (format!("{head}{headers}\r\n"), body)
}

/// RFC 9112, 6.1: chunked encoding overrides a length, and the connection ends after the response. So a proxy that
/// went by the length cannot have let a smuggled request pass.
#[sqlx::test(migrator = "MIGRATOR")]
async fn chunked_encoding_overrides_length_and_ends_connection(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let len = |bytes: &str| bytes.len().to_string();
    for length in ["5".to_owned(), "0".to_owned(), len(HIDDEN), "400".to_owned()] {
        for headers in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            format!("Content-Length: {length}\r\ntransfer-encoding: Chunked\r\nConnection: keep-alive\r\n"),
        ] {
            let (head, body) = sign_in(&person, &headers);
            let (first, rest) = body.split_at(5);
            let chunks = format!("5\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
            let (statuses, answer) = send_raw(&app, &format!("{head}{chunks}{HIDDEN}")).await;
            assert_eq!(statuses, ["200"], "{headers:?}: {answer}");
            assert!(answer.contains("access_token") && !answer.contains("alive"), "{headers:?}: {answer}");
        }
    }
    // Chunked encoding alone keeps the connection open: the length ended it above.
    let (head, body) = sign_in(&person, "Transfer-Encoding: chunked\r\n");
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let last = HIDDEN.replace("Host: x", "Host: x\r\nConnection: close");
    let (statuses, answer) = send_raw(&app, &format!("{head}{chunks}{last}")).await;
    assert_eq!(statuses, ["200", "200"], "{answer}");
    app.end().await;
}

/// RFC 9112, 6.3: the same length given twice is one length.
#[sqlx::test(migrator = "MIGRATOR")]
async fn repeated_equal_content_length_counts_once(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let last = HIDDEN.replace("Host: x", "Host: x\r\nConnection: close");
    let twice = |length: usize| format!("Content-Length: {length}\r\n").repeat(2);
    // Bytes after the body are a request of their own, as with a single length.
    let (_, body) = sign_in(&person, "");
    for headers in [twice(body.len()), format!("Content-Length: {}\r\n", body.len())] {
        let (head, body) = sign_in(&person, &headers);
        let (statuses, answer) = send_raw(&app, &format!("{head}{body}{last}")).await;
        assert_eq!(statuses, ["200", "200"], "{headers:?}: {answer}");
    }
    // Bytes within the length are body.
    let headers = format!("{}Connection: close\r\n", twice(body.len() + HIDDEN.len()));
    let (head, body) = sign_in(&person, &headers);
    let (statuses, answer) = send_raw(&app, &format!("{head}{body}{HIDDEN}")).await;
    assert!(statuses.len() == 1 && statuses[0].starts_with('4'), "{answer}");
    assert!(!answer.contains("alive"), "{answer}");
    app.end().await;
}

/// RFC 9112, 2.2: a bare line feed may end a line of the head. It then does so everywhere: what follows is a header,
/// not part of a value.
#[sqlx::test(migrator = "MIGRATOR")]
async fn bare_line_feed_ends_header_line(db: PgPool) {
    let app = TestApp::start(&db).await;
    for head in [
        "GET /livez HTTP/1.1\nHost: x\nConnection: close\n\n",
        "GET /livez HTTP/1.1\r\nHost: x\nConnection: close\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Bare: a\nConnection: close\r\n\r\n",
    ] {
        assert_eq!(send_raw(&app, &format!("{head}{HIDDEN}")).await.0, ["200"], "{head:?}");
    }
    let two = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0\nContent-Length: 7\r\n\r\n{HIDDEN}"
    );
    assert_eq!(send_raw(&app, &two).await.0, ["400"]);
    app.end().await;
}
