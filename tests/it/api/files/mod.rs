//! Tests files: uploads, rejections, downloads, deletion.

mod download;
mod s3;
mod store;
mod upload;
mod upload_links;

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb};
use uuid::Uuid;

use crate::support::app::{Person, TestApp};
use crate::support::client::Answer;

/// Returns a PNG of this size in one colour.
fn png(width: u32, height: u32) -> Vec<u8> {
    let image: DynamicImage = ImageBuffer::from_pixel(width, height, Rgb([20_u8, 90, 160])).into();
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Uploads a file as a form.
async fn upload(app: &TestApp, person: &Person, name: &str, media: Option<&str>, content: &[u8]) -> Answer {
    app.post("/files").by(person).parts(&[("file", Some(name), media, content)]).send().await
}

/// Uploads a text file; returns its id.
async fn upload_text(app: &TestApp, person: &Person, text: &str) -> String {
    upload(app, person, "note.txt", Some("text/plain"), text.as_bytes()).await.is(200).field("id")
}

/// Returns the UUID of an attachment id.
fn uuid(id: &str) -> Uuid {
    Uuid::parse_str(id.strip_prefix("atc_").unwrap()).unwrap()
}

/// Returns the path and query of a URL.
fn path(url: &str) -> String {
    url.split_once("://").unwrap().1.split_once('/').map(|(_, path)| format!("/{path}")).unwrap()
}

/// Counts the events about files.
async fn file_events(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE aggregate_type = 'file'")
        .fetch_one(&app.db)
        .await
        .unwrap()
}

/// Counts the objects in the store.
async fn stored_objects(app: &TestApp) -> usize {
    use futures::TryStreamExt as _;
    app.files().list().await.unwrap().try_collect::<Vec<_>>().await.unwrap().len()
}
