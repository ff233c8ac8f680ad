//! Tests downloads by the owner, previews by link, and deletion.

use aggregates::ids::{ConversationId, FileId, MessageId, UserId};
use event_store::{CommandBatch, ExecuteError, Metadata};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::app::files::with_attachments;
use verbatim::files::{Budget, Content, bytes, contents};
use verbatim::schema::MIGRATOR;

use super::{file_events, path, png, stored_objects, upload, upload_text, uuid};
use crate::support::app::{Person, TestApp};

/// Attaches the files to a message, as sending the message does.
async fn attach(
    app: &TestApp,
    person: &Person,
    files: &[&str],
    session: &str,
    n: u128,
) -> Result<(), ExecuteError> {
    let by = UserId::new(person.id);
    let files: Vec<FileId> = files.iter().map(|id| FileId::new(uuid(id))).collect();
    let conversation = ConversationId::new(session.parse().unwrap());
    let message = MessageId::new(Uuid::from_u128(n));
    let batch = CommandBatch::new(person.id, Metadata::default());
    let batch = with_attachments(batch, &files, by, conversation, message, app.services().core.clock.now());
    app.sweep().executor.run(batch).await.map(drop)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn file_is_served_only_to_owner(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let image = png(900, 30);
    let id = upload(&app, &person, "Größe.png", None, &image).await.is(200).field("id");
    let plain = uuid(&id).to_string();
    for id in [&id, &plain] {
        let (answer, bytes) = app.get(&format!("/files/{id}")).by(&person).download().await;
        assert_eq!((answer.status, bytes == image), (200, true));
        assert_eq!(answer.header("content-type"), "image/png");
        assert_eq!(answer.header("content-length"), image.len().to_string());
        assert_eq!(
            answer.header("content-disposition"),
            "attachment; filename=\"Gr__e.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.png"
        );
        let policy = "sandbox; default-src 'none'; frame-ancestors 'none'";
        assert_eq!(answer.header("content-security-policy"), policy);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "private, no-store");
        let tag = answer.header("etag").to_owned();
        let known =
            app.get(&format!("/files/{id}")).by(&person).header("if-none-match", &tag).send().await.is(304);
        assert_eq!((known.text.as_str(), known.header("etag")), ("", tag.as_str()));
        assert_eq!(known.header("cache-control"), "private, no-store");
    }
    // For another user the file does not exist.
    let unknown = app.get(&format!("/files/{}", Uuid::from_u128(7))).by(&other).send().await.is(404);
    for id in [id.as_str(), plain.as_str(), "atc_x", "x", "..%2f..%2fetc%2fpasswd"] {
        let get = app.get(&format!("/files/{id}")).by(&other).send().await.is(404);
        assert_eq!(get.without_request_id(), unknown.without_request_id(), "{id}");
        let delete = app.delete(&format!("/files/{id}")).by(&other).send().await.is(404);
        assert_eq!(delete.without_request_id(), unknown.without_request_id(), "{id}");
    }
    app.get(&format!("/files/{id}")).send().await.assert_error(401, "invalid_token");
    assert_eq!(file_events(&app).await, 1);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn preview_link_serves_thumbnail_without_sign_in(db: PgPool) {
    let app = TestApp::with(&db, &[("PUBLIC_URL", "https://chat.example/")]).await;
    let person = app.person().await;
    let url = upload(&app, &person, "a.png", None, &png(2000, 1000)).await.is(200).field("preview_url");
    assert!(url.starts_with("https://chat.example/files/"), "{url}");
    let (answer, bytes) = app.get(&path(&url)).download().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "image/jpeg");
    assert_eq!(answer.header("content-disposition"), "inline");
    assert_eq!(answer.header("cache-control"), "private, no-store");
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let preview = image::load_from_memory(&bytes).unwrap();
    assert_eq!((preview.width(), preview.height()), (512, 256));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn deleted_file_is_hidden_at_once_and_swept_later(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let image = upload(&app, &person, "a.png", None, &png(20, 20)).await.is(200);
    let (kept, id) = (upload_text(&app, &person, "kept").await, image.field("id"));
    app.delete(&format!("/files/{id}")).by(&person).send().await.is(204);
    app.get(&format!("/files/{id}")).by(&person).send().await.is(404);
    app.get(&path(&image.field("preview_url"))).send().await.assert_error(404, "not_found");
    app.delete(&format!("/files/{id}")).by(&person).send().await.is(204);
    app.sweep().sweep_deleted((0, Uuid::nil())).await.unwrap();
    assert_eq!(stored_objects(&app).await, 1);
    app.get(&format!("/files/{kept}")).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn attached_files_live_as_long_as_their_conversation(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let (session, elsewhere) = (app.session(&person).await, app.session(&person).await);
    let (one, two) = (upload_text(&app, &person, "one").await, upload_text(&app, &person, "two").await);
    attach(&app, &person, &[&one, &two], &session, 1).await.unwrap();
    attach(&app, &person, &[&one], &session, 1).await.unwrap();
    attach(&app, &person, &[&one], &session, 2).await.unwrap();
    // All or nothing: the second file is attached elsewhere already.
    let three = upload_text(&app, &person, "three").await;
    let events = file_events(&app).await;
    for (by, files) in [(&person, [&three, &two]), (&other, [&three, &three])] {
        let refused = attach(&app, by, &[files[0], files[1]], &elsewhere, 3).await;
        assert!(matches!(refused, Err(ExecuteError::Rejected(_))), "{refused:?}");
    }
    assert_eq!(file_events(&app).await, events);
    app.wait_for_projections().await;
    app.delete(&format!("/files/{one}")).by(&person).send().await.assert_error(409, "file_attached");
    app.get(&format!("/files/{one}")).by(&person).send().await.is(200);

    app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
    app.wait_for_projections().await;
    for id in [&one, &two] {
        app.get(&format!("/files/{id}")).by(&person).send().await.is(404);
    }
    app.sweep().sweep_deleted((0, Uuid::nil())).await.unwrap();
    assert_eq!(stored_objects(&app).await, 1);
    app.get(&format!("/files/{three}")).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn prompt_contains_file_contents(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let image = png(5, 5);
    let picture = upload(&app, &person, "a.png", None, &image).await.is(200).field("id");
    let text = upload_text(&app, &person, "Grüße aus dem Hafen").await;
    let pdf = upload(&app, &person, "a.pdf", None, b"%PDF-1.7\n").await.is(200).field("id");
    let gone = upload_text(&app, &person, "gone").await;
    app.delete(&format!("/files/{gone}")).by(&person).send().await.is(204);
    let theirs = upload_text(&app, &other, "theirs").await;
    let ids = [&text, &gone, &theirs, &picture, &pdf].map(|id| FileId::new(uuid(id)));
    let owner = UserId::new(person.id);
    let (pool, store) = (app.sweep().pool.clone(), app.files());
    let found = |budget| contents(&pool, store, owner, &ids, budget);
    let files = found(Budget { each: 5, all: 8 }).await.unwrap();
    let inside: Vec<&Content> = files.iter().map(|file| &file.content).collect();
    let grüße = Content::Text { text: "Grüße".to_owned(), cut: true };
    assert_eq!(inside, [&grüße, &Content::Image { pixels: Some((5, 5)) }, &Content::Pdf]);
    assert_eq!(bytes(store, &files[1]).await.unwrap().unwrap(), image);
    assert_eq!(bytes(store, &files[2]).await.unwrap().unwrap(), b"%PDF-1.7\n".as_slice());

    // Texts share a total budget; nothing is added beyond it.
    let more = upload_text(&app, &person, "more").await;
    let ids = [&text, &more, &text].map(|id| FileId::new(uuid(id)));
    let files = contents(&pool, store, owner, &ids, Budget { each: 5, all: 8 }).await.unwrap();
    let inside: Vec<&Content> = files.iter().map(|file| &file.content).collect();
    assert_eq!(inside, [&grüße, &Content::Text { text: "mor".to_owned(), cut: true }, &Content::TooMuch]);
    app.end().await;
}
