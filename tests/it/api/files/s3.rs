//! Tests files in an S3 bucket, with a small S3 server of the tests' own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

use super::{path, png, stored_objects, upload, upload_text};
use crate::support::app::TestApp;

/// Contents of the bucket by path.
type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// Serves the part of S3 that the store uses: put, get, delete and list, for requests signed with the right key.
async fn answer(
    State(objects): State<Objects>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let signed = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answered = |status: StatusCode| Response::builder().status(status).header("etag", "\"tag\"");
    if !signed.starts_with("AWS4-HMAC-SHA256 Credential=the-id/") || !signed.contains("/eu-test/s3/") {
        return answered(StatusCode::FORBIDDEN).body(Body::empty()).unwrap();
    }
    let mut objects = objects.lock().unwrap();
    let key = uri.path().to_owned();
    let query = uri.query().unwrap_or_default();
    if method == Method::GET && query.contains("list-type=2") {
        let contents: String = objects
            .iter()
            .map(|(key, object)| {
                let key = key.strip_prefix("/bucket/").unwrap();
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"tag\"</ETag><Size>{}</Size></Contents>",
                    object.len()
                )
            })
            .collect();
        let list = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
        return answered(StatusCode::OK).header("content-type", "application/xml").body(list.into()).unwrap();
    }
    match method {
        Method::PUT => {
            objects.insert(key, body);
            answered(StatusCode::OK).body(Body::empty()).unwrap()
        }
        Method::DELETE => {
            objects.remove(&key);
            answered(StatusCode::NO_CONTENT).body(Body::empty()).unwrap()
        }
        _ => match objects.get(&key) {
            Some(object) => answered(StatusCode::OK)
                .header("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT")
                .body(object.clone().into())
                .unwrap(),
            None => {
                answered(StatusCode::NOT_FOUND).body("<Error><Code>NoSuchKey</Code></Error>".into()).unwrap()
            }
        },
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn files_are_stored_in_s3_bucket(db: PgPool) {
    let kept = Objects::default();
    let service = Router::new().fallback(answer).with_state(Arc::clone(&kept));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, service).await });
    let variables = [
        ("FILES_URL", "s3://bucket/of/tests"),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_REGION", "eu-test"),
        ("AWS_ACCESS_KEY_ID", "the-id"),
        ("AWS_SECRET_ACCESS_KEY", "the-secret"),
    ];
    let app = TestApp::with(&db, &variables).await;
    let person = app.person().await;
    let image = png(40, 40);
    let attachment = upload(&app, &person, "a.png", None, &image).await.is(200);
    let text = upload_text(&app, &person, "in the bucket").await;
    assert!(kept.lock().unwrap().keys().all(|key| key.starts_with("/bucket/of/tests/")));
    assert_eq!(stored_objects(&app).await, 3);
    let given = app.get(&format!("/files/{text}")).by(&person).send().await.is(200);
    assert_eq!(given.text, "in the bucket");
    let id = attachment.field("id");
    let (_, bytes) = app.get(&format!("/files/{id}")).by(&person).download().await;
    assert!(bytes == image);
    app.get(&path(&attachment.field("preview_url"))).send().await.is(200);

    app.delete(&format!("/files/{id}")).by(&person).send().await.is(204);
    app.sweep().sweep_deleted((0, Uuid::nil())).await.unwrap();
    assert_eq!(stored_objects(&app).await, 1);
    assert_eq!(app.sweep().full_sweep().await.unwrap(), 0);
    // With a key that the server rejects nothing is recorded.
    let events = app.events().await;
    app.end().await;
    let wrong = [&variables[..3], &[("AWS_ACCESS_KEY_ID", "another"), variables[4]]].concat();
    let app = TestApp::with(&db, &wrong).await;
    upload(&app, &person, "a.txt", None, b"text").await.assert_error(503, "unavailable");
    assert_eq!(app.events().await, events);
    app.end().await;
}
