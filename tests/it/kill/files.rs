//! A crash between storing the bytes of a file and appending its event.

use std::time::{Duration, SystemTime};

use reqwest::multipart::{Form as Parts, Part};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client;
use super::process::{Installation, PostgresKind, STEP_TIMEOUT, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_between_bytes_and_event_leaves_no_file_or_orphan() {
    let mut installation = Installation::new(PostgresKind::Server, None).await;
    let folder = tempfile::tempdir().unwrap();
    installation.set("FILES_URL", format!("file://{}", folder.path().display()));
    let http = client::http();
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let account = json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    let token = registered.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    assert!(node.stop().await.success());
    let upload = async |base: &str| {
        let part =
            Part::bytes(b"file contents".as_slice()).file_name("a.txt").mime_str("text/plain").unwrap();
        http.post(format!("{base}/files"))
            .bearer_auth(&token)
            .header("idempotency-key", "the-file")
            .multipart(Parts::new().part("file", part))
            .send()
            .await
    };
    let stored =
        || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();

    installation.set("INJECTED_FAULT", "crash-at:bytes-stored:1".to_owned());
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let (died, answer) = tokio::join!(node.exited_by_signal(), upload(&base));
    assert!(died && answer.is_err(), "{answer:?}");
    let orphans = stored();
    assert_eq!(orphans.len(), 1, "the bytes are stored");
    let mut connection = PgConnection::connect_with(&installation.options()).await.unwrap();
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE aggregate_type = 'file'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(events, 0, "no event is stored");

    // The client retries, and the sweep removes the orphaned bytes once they are old.
    installation.set("INJECTED_FAULT", String::new());
    #[expect(clippy::disallowed_methods, reason = "the age of a file depends on the system's clock")]
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    std::fs::File::options().write(true).open(&orphans[0]).unwrap().set_modified(old).unwrap();
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let file: Value = upload(&base).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let again: Value = upload(&base).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    assert_eq!(again["id"], file["id"]);
    assert!(
        within(STEP_TIMEOUT, async || !orphans[0].exists()).await,
        "the sweep did not remove the orphaned bytes"
    );
    let url = format!("{base}/files/{}", file["id"].as_str().unwrap());
    let given = http.get(url).bearer_auth(&token).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(given.text().await.unwrap(), "file contents");
    assert_eq!(stored().len(), 1);
    assert!(node.stop().await.success());
    let (equal, output) = installation.rebuild();
    assert!(equal, "{output}");
    connection.close().await.unwrap();
    installation.remove().await;
}
