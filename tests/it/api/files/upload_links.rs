//! Tests files that are announced first and uploaded through a signed link.

use aggregates::ids::{FileId, LoginId, UserId};
use chrono::TimeDelta;
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::app::{Actor, RequestContext};
use verbatim::auth::UrlSigningKey;
use verbatim::auth::signed_urls::Purpose;
use verbatim::schema::MIGRATOR;

use super::{file_events, path, png, stored_objects, uuid};
use crate::support::app::{MASTER_KEY, Person, TestApp};

/// Announces a file; returns its id and the path and query of its upload link.
async fn announce(app: &TestApp, person: &Person, name: &str, media: &str, size: usize) -> (Uuid, String) {
    let request = RequestContext { request_id: "test".to_owned(), surface: "test", key: None };
    let actor = Actor { user: UserId::new(person.id), login: LoginId::new(Uuid::nil()) };
    let size = u64::try_from(size).unwrap();
    let (file, _) =
        app.services().files.announce_file(&request, actor, name, Some(media), size).await.unwrap();
    let link = app.services().files.file_link(FileId::new(file.file_id), Purpose::Upload);
    let path =
        format!("/files/{}/content?expires={}&signature={}", file.file_id, link.expires, link.signature);
    (file.file_id, path)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn announced_file_is_uploaded_once_by_each_method(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let image = png(30, 20);
    for method in 0..4 {
        let (file, content) = announce(&app, &person, "a.png", "image/png", image.len()).await;
        app.get(&format!("/files/{file}")).by(&person).send().await.is(404);
        let call = || if method % 2 == 0 { app.post(&content) } else { app.put(&content) };
        let send = || {
            if method < 2 {
                call().body("image/png", image.clone())
            } else {
                call().parts(&[("file", Some("b.png"), None, &image)])
            }
        };
        let attachment = send().send().await.is(200).value();
        assert_eq!(uuid(attachment["id"].as_str().unwrap()), file);
        assert_eq!(attachment["type"], "image");
        assert!(attachment.get("upload_descriptor").is_none() && attachment.get("thread_id").is_none());
        app.get(&path(attachment["preview_url"].as_str().unwrap())).send().await.is(200);
        // The same content again changes nothing; other content is rejected.
        let events = file_events(&app).await;
        assert_eq!(send().send().await.is(200).value(), attachment);
        app.post(&content)
            .body("image/png", png(9, 9))
            .send()
            .await
            .assert_error(409, "file_already_uploaded");
        // It is rejected without decoding.
        app.put(&content)
            .body("image/png", b"text".to_vec())
            .send()
            .await
            .assert_error(409, "file_already_uploaded");
        assert_eq!(file_events(&app).await, events);
        let (_, bytes) = app.get(&format!("/files/{file}")).by(&person).download().await;
        assert!(bytes == image);
    }
    assert_eq!(stored_objects(&app).await, 8);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn forged_expired_or_misused_links_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (file, content) = announce(&app, &person, "a.txt", "text/plain", 4).await;
    let (other, _) = announce(&app, &person, "b.txt", "text/plain", 4).await;
    let (_, query) = content.split_once('?').unwrap();
    let mut master = [0; 32];
    for (byte, digits) in master.iter_mut().zip(MASTER_KEY.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    }
    let key = UrlSigningKey::new(&master).unwrap();
    let query_of = |purpose, minutes| {
        let made = app.services().core.clock.now() - TimeDelta::minutes(minutes);
        let link = key.sign(FileId::new(file), purpose, made);
        format!("expires={}&signature={}", link.expires, link.signature)
    };
    let forged = format!("{}A", &query[..query.len() - 1]);
    let longer = query.replacen("expires=1", "expires=2", 1);
    for (file, query) in [
        (file, query_of(Purpose::Upload, 11)),
        (file, query_of(Purpose::Preview, 0)),
        (other, query.to_owned()),
        (Uuid::from_u128(9), query.to_owned()),
        (file, longer),
        (file, "expires=1&signature=".to_owned()),
    ] {
        let answer = app
            .post(&format!("/files/{file}/content?{query}"))
            .body("text/plain", b"text".to_vec())
            .send()
            .await;
        answer.assert_error(403, "invalid_link");
    }
    if forged != query {
        let answer = app
            .post(&format!("/files/{file}/content?{forged}"))
            .body("text/plain", b"text".to_vec())
            .send()
            .await;
        answer.assert_error(403, "invalid_link");
    }
    for query in ["", "?expires=1", "?signature=x", "?expires=x&signature=y"] {
        app.post(&format!("/files/{file}/content{query}"))
            .send()
            .await
            .assert_error(422, "malformed_request");
    }
    let upload = query_of(Purpose::Upload, 0);
    app.get(&format!("/files/{file}/preview?{upload}")).send().await.assert_error(403, "invalid_link");
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (2, 0));
    app.post(&format!("/files/{file}/content?{}", query_of(Purpose::Upload, 9)))
        .body("text/plain", b"text".to_vec())
        .send()
        .await
        .is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn content_differing_from_announcement_is_rejected(db: PgPool) {
    let app = TestApp::with(&db, &[("MAX_FILE_BYTES", "5000"), ("MAX_FILE_BYTES_PER_USER", "6000")]).await;
    let person = app.person().await;
    let (file, content) = announce(&app, &person, "a.png", "image/png", 100).await;
    let image = png(6, 6);
    app.put(&content)
        .body("text/plain", image.clone())
        .send()
        .await
        .assert_error(415, "unsupported_file_type");
    app.put(&content)
        .body("image/png", b"text".to_vec())
        .send()
        .await
        .assert_error(415, "unsupported_file_type");
    app.put(&content).body("image/png", Vec::new()).send().await.assert_error(400, "file_empty");
    app.put(&content).body("image/png", vec![0; 5001]).send().await.assert_error(413, "file_too_large");
    assert_eq!((file_events(&app).await, stored_objects(&app).await), (1, 0));
    app.put(&content).body("application/octet-stream", image).send().await.is(200);

    // The actual size counts, not the announced one.
    let (_, first) = announce(&app, &person, "a.txt", "text/plain", 1).await;
    let (_, second) = announce(&app, &person, "a.txt", "text/plain", 1).await;
    let large = vec![b'x'; 4000];
    app.put(&first).body("text/plain", large.clone()).send().await.is(200);
    app.put(&second).body("text/plain", large).send().await.assert_error(413, "file_quota");
    app.delete(&format!("/files/{file}")).by(&person).send().await.is(204);
    app.put(&content).body("image/png", png(6, 6)).send().await.assert_error(404, "not_found");
    app.end().await;
}

/// Uploads through a link count against the owner's command limit, so that a link cannot cause unlimited hashing.
#[sqlx::test(migrator = "MIGRATOR")]
async fn link_uploads_count_as_owner_commands(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("COMMAND_LIMIT_USER_PER_MINUTE", "2")]).await;
    let (person, other) = (app.person().await, app.person().await);
    let (_, content) = announce(&app, &person, "a.txt", "text/plain", 4).await;
    let put_text = |content: &str| app.put(content).body("text/plain", b"text".to_vec()).send();
    // A forged link counts against no user.
    for _ in 0..3 {
        put_text(&format!("{content}x")).await.assert_error(403, "invalid_link");
    }
    for _ in 0..2 {
        put_text(&content).await.is(200);
    }
    let refused = put_text(&content).await;
    refused.assert_error(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    app.delete("/api/history/00000000-0000-0000-0000-000000000007")
        .by(&person)
        .send()
        .await
        .assert_error(429, "rate_limited");
    let (_, content) = announce(&app, &other, "a.txt", "text/plain", 4).await;
    put_text(&content).await.is(200);
    app.end().await;
}
