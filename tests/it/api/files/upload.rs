//! Tests uploads: what is accepted, and that a rejected upload leaves nothing behind.

use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verbatim::schema::MIGRATOR;

use super::{file_events, png, stored_objects, upload, upload_text, uuid};
use crate::support::app::TestApp;
use crate::support::client::form;

#[sqlx::test(migrator = "MIGRATOR")]
async fn form_upload_stores_file(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let image = png(640, 480);
    let answer = upload(&app, &person, "tide table.png", Some("image/png"), &image).await.is(200);
    let attachment = answer.value();
    let id = attachment["id"].as_str().unwrap();
    assert!(id.starts_with("atc_") && id.len() == 36, "{id}");
    let file = uuid(id);
    let preview = attachment["preview_url"].as_str().unwrap();
    assert!(
        preview.starts_with(&format!("http://{}/files/{file}/preview?expires=", app.address())),
        "{preview}"
    );
    let expected = json!({"type": "image", "id": id, "name": "tide table.png", "mime_type": "image/png", "preview_url": preview});
    assert_eq!(attachment, expected);
    assert!(answer.position() > 0);

    let text =
        upload(&app, &person, "note.md", Some("text/markdown"), "# Grüße".as_bytes()).await.is(200).value();
    let expected = json!({"type": "file", "id": text["id"], "name": "note.md", "mime_type": "text/markdown"});
    assert_eq!(text, expected);
    // Image, preview and text.
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (2, 3));
    let (width, height): (i32, i32) = sqlx::query_as("SELECT width, height FROM files WHERE file_id = $1")
        .bind(file)
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!((width, height), (640, 480));
    app.end().await;
}

/// Returns a PNG whose header claims this size.
fn png_claiming_size(side: u32) -> Vec<u8> {
    let mut png = png(1, 1);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let mut sum = u32::MAX;
    for byte in &png[12..29] {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
        }
    }
    png[29..33].copy_from_slice(&(!sum).to_be_bytes());
    png
}

/// Name, declared type and content of a file; status and code of its rejection.
type Case<'a> = (&'a str, Option<&'a str>, &'a [u8], u16, &'a str);

#[sqlx::test(migrator = "MIGRATOR")]
async fn rejected_upload_leaves_nothing_behind(db: PgPool) {
    let app = TestApp::with(&db, &[("MAX_FILE_BYTES", "100000")]).await;
    let person = app.person().await;
    let image = png(8, 8);
    let zip = [b"PK\x03\x04".as_slice(), &[0; 200]].concat();
    let html = b"<!DOCTYPE html><script>alert(1)</script>".as_slice();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".as_slice();
    let text = b"just text".as_slice();
    let long = "x".repeat(4096);
    let huge = vec![b'x'; 100_001];
    let wide = png_claiming_size(30_000);
    let cases: [Case<'_>; 23] = [
        ("a.jpg", Some("image/png"), &image, 415, "unsupported_file_type"),
        ("a.png", Some("image/jpeg"), &image, 415, "unsupported_file_type"),
        ("a.jpg", Some("image/jpeg"), &image, 415, "unsupported_file_type"),
        ("a.png", Some("image/png"), text, 415, "unsupported_file_type"),
        ("a.txt", Some("text/plain"), &image, 415, "unsupported_file_type"),
        ("a.png", Some("image/png"), &image[..40], 415, "unsupported_file_type"),
        ("a.html", Some("text/html"), html, 415, "unsupported_file_type"),
        ("a.txt", Some("text/plain"), html, 415, "unsupported_file_type"),
        ("a.svg", Some("image/svg+xml"), svg, 415, "unsupported_file_type"),
        ("a.png", Some("image/png"), svg, 415, "unsupported_file_type"),
        ("a.txt", Some("text/plain"), svg, 415, "unsupported_file_type"),
        ("a.txt", Some("text/plain"), b"#!/bin/sh\necho", 415, "unsupported_file_type"),
        ("a.js", Some("text/javascript"), text, 415, "unsupported_file_type"),
        ("a.zip", Some("application/zip"), &zip, 415, "unsupported_file_type"),
        ("a.pdf", Some("application/pdf"), &zip, 415, "unsupported_file_type"),
        ("a.exe", None, b"MZ\x90\0", 415, "unsupported_file_type"),
        ("a", None, text, 415, "unsupported_file_type"),
        ("a.json", Some("application/json"), b"{", 415, "unsupported_file_type"),
        ("a.png", Some("image/png"), &wide, 413, "image_too_large"),
        ("a.txt", Some("text/plain"), b"", 400, "file_empty"),
        ("a.txt", Some("text/plain"), &huge, 413, "file_too_large"),
        ("..", Some("text/plain"), text, 400, "invalid_value"),
        (&long, Some("text/plain"), text, 400, "invalid_value"),
    ];
    for (name, media, content, status, code) in cases {
        let answer = upload(&app, &person, name, media, content).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{name:.20} {media:?}");
    }
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (0, 0));
    upload(&app, &person, "a.txt", Some("text/plain"), &huge[1..]).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn file_names_are_sanitized(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    for (sent, kept) in [
        ("../x.txt", "x.txt"),
        ("..%2fx.txt", "%2fx.txt"),
        ("/etc/passwd.txt", "passwd.txt"),
        ("C:\\\\temp\\\\notes.txt", "notes.txt"),
        ("photo\u{202e}gnp.txt", "photognp.txt"),
        ("a;b=c.txt", "a;b=c.txt"),
    ] {
        let answer = upload(&app, &person, sent, Some("text/plain"), b"text").await.is(200);
        assert_eq!(answer.field("name"), kept, "{sent}");
        let file = app.get(&format!("/files/{}", answer.field("id"))).by(&person).send().await.is(200);
        let disposition = file.header("content-disposition");
        assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
        assert!(disposition.contains("filename*=UTF-8''"), "{disposition}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        let policy = "sandbox; default-src 'none'; frame-ancestors 'none'";
        assert_eq!(file.header("content-security-policy"), policy);
    }
    // A line break or a NUL in the header makes the form malformed.
    for sent in ["a\r\nX: y.txt", "a\0.txt"] {
        let answer = upload(&app, &person, sent, Some("text/plain"), b"text").await;
        assert!((400..500).contains(&answer.status) || answer.field("name") != sent, "{sent:?}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_upload_forms_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let text = b"text".as_slice();
    let part = ("file", Some("a.txt"), Some("text/plain"), text);
    for parts in [
        &[][..],
        &[part, part],
        &[part, ("more", None, None, text)],
        &[("more", None, None, text), part],
        &[("document", Some("a.txt"), Some("text/plain"), text)],
        &[("file", None, Some("text/plain"), text)],
    ] {
        let answer = app.post("/files").by(&person).parts(parts).send().await;
        assert!([400, 422].contains(&answer.status), "{parts:?} {}", answer.text);
        answer.error_code();
    }
    let whole = form(&[part]);
    for end in [whole.len() - 4, whole.len() - 20, 30, 0] {
        let cut = whole[..end].to_vec();
        let answer =
            app.post("/files").by(&person).body("multipart/form-data; boundary=cut-here", cut).send().await;
        answer.assert_error(400, "invalid_form");
    }
    for media in
        ["multipart/form-data", "application/json", "text/plain", "multipart/mixed; boundary=cut-here"]
    {
        let answer = app.post("/files").by(&person).body(media, whole.clone()).send().await;
        answer.assert_error(422, "malformed_request");
    }
    app.post("/files").parts(&[part]).send().await.assert_error(401, "invalid_token");
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (0, 0));
    app.end().await;
}

/// Sends raw bytes as a request and returns the response status.
async fn send_raw(app: &TestApp, head: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn oversized_upload_is_rejected_before_reading(db: PgPool) {
    let app = TestApp::with(&db, &[("MAX_FILE_BYTES", "4096")]).await;
    let person = app.person().await;
    let head = |more: &str| {
        format!(
            "POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: multipart/form-data; boundary=cut-here\r\n{more}\r\n",
            person.access
        )
    };
    // The body is never sent.
    assert_eq!(send_raw(&app, &head("Content-Length: 22020096\r\n"), b"").await, 413);
    // A chunked body of unknown length is rejected once it exceeds the limit.
    let part = b"--cut-here\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n";
    let piece = [part.as_slice(), &vec![b'x'; 8192]].concat();
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    assert_eq!(send_raw(&app, &head("Transfer-Encoding: chunked\r\n"), &chunk).await, 413);
    // The same for the header of a part, which is buffered as well.
    let piece = [b"--cut-here\r\nX: ".as_slice(), &vec![b'x'; 40_000]].concat();
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
    assert_eq!(send_raw(&app, &head("Transfer-Encoding: chunked\r\n"), &chunk).await, 413);
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (0, 0));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn storage_quota_limits_files_and_bytes(db: PgPool) {
    let limits =
        [("MAX_FILES_PER_USER", "3"), ("MAX_FILE_BYTES", "2000"), ("MAX_FILE_BYTES_PER_USER", "5000")];
    let app = TestApp::with(&db, &limits).await;
    let (person, other) = (app.person().await, app.person().await);
    let large = "x".repeat(2000);
    let first = upload_text(&app, &person, &large).await;
    upload_text(&app, &person, &large).await;
    // Rejected by bytes, then by number of files.
    let refused = upload(&app, &person, "a.txt", None, large.as_bytes()).await;
    refused.assert_error(413, "file_quota");
    upload_text(&app, &person, "small").await;
    upload(&app, &person, "a.txt", None, b"small").await.assert_error(413, "file_quota");
    upload_text(&app, &other, &large).await;
    // A deletion frees quota.
    app.delete(&format!("/files/{first}")).by(&person).send().await.is(204);
    upload_text(&app, &person, &large).await;
    upload(&app, &person, "a.txt", None, b"small").await.assert_error(413, "file_quota");
    assert_eq!(stored_objects(&app).await, 5, "rejected files are not stored");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_uploads_stay_within_quota(db: PgPool) {
    let app = TestApp::with(&db, &[("MAX_FILES_PER_USER", "4")]).await;
    let person = app.person().await;
    let uploads = (0..8).map(|n| {
        let (app, person) = (&app, &person);
        async move { upload(app, person, "a.txt", None, format!("text {n}").as_bytes()).await.status }
    });
    let statuses = futures::future::join_all(uploads).await;
    let taken = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..=4).contains(&taken), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 413].contains(status)), "{statuses:?}");
    assert_eq!(file_events(&app).await, i64::try_from(taken).unwrap());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn keyed_upload_stores_file_once(db: PgPool) {
    let app = TestApp::with(&db, &[("MAX_FILES_PER_USER", "1")]).await;
    let person = app.person().await;
    let send = async |key: &str, name: &str, content: &[u8]| {
        let part = ("file", Some(name), Some("text/plain"), content);
        app.post("/files").by(&person).key(key).parts(&[part]).send().await
    };
    let first = send("a", "one.txt", b"one").await.is(200);
    // The repetition works although another file would exceed the quota.
    let again = send("a", "one.txt", b"one").await.is(200);
    assert_eq!((again.value(), again.position()), (first.value(), first.position()));
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (1, 1));
    send("a", "one.txt", b"two").await.assert_error(422, "idempotency_key_reused");
    send("a", "two.txt", b"one").await.assert_error(422, "idempotency_key_reused");
    send("b", "one.txt", b"one").await.assert_error(413, "file_quota");
    assert_eq!(stored_objects(&app).await, 1);
    let path = format!("/files/{}", first.field("id"));
    for _ in 0..2 {
        app.delete(&path).by(&person).key("c").send().await.is(204);
    }
    assert_eq!(file_events(&app).await, 2);
    app.end().await;
}
