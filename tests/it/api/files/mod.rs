//! Files: brought, refused, given back, deleted.

mod bringing;
mod giving;
mod links;
mod s3;
mod store;

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb};
use uuid::Uuid;

use crate::support::app::{Person, TestApp};
use crate::support::client::Answer;

/// A PNG of this size in one colour.
fn png(width: u32, height: u32) -> Vec<u8> {
    let image: DynamicImage = ImageBuffer::from_pixel(width, height, Rgb([20_u8, 90, 160])).into();
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Brings a file in one step.
async fn bring(app: &TestApp, person: &Person, name: &str, media: Option<&str>, content: &[u8]) -> Answer {
    app.post("/files").by(person).parts(&[("file", Some(name), media, content)]).send().await
}

/// Brings a text; gives its id.
async fn note(app: &TestApp, person: &Person, text: &str) -> String {
    bring(app, person, "note.txt", Some("text/plain"), text.as_bytes()).await.is(200).field("id")
}

/// The UUID of an attachment.
fn uuid(id: &str) -> Uuid {
    Uuid::parse_str(id.strip_prefix("atc_").unwrap()).unwrap()
}

/// Path and query of a link.
fn path(url: &str) -> String {
    url.split_once("://").unwrap().1.split_once('/').map(|(_, path)| format!("/{path}")).unwrap()
}

/// How many events about files there are.
async fn file_events(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE aggregate_type = 'file'")
        .fetch_one(&app.db)
        .await
        .unwrap()
}

/// How many objects lie in the store.
async fn objects(app: &TestApp) -> usize {
    use futures::TryStreamExt as _;
    app.files().list().await.unwrap().try_collect::<Vec<_>>().await.unwrap().len()
}
