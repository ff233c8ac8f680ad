//! A death between the bytes of a file and its event.

use std::time::{Duration, SystemTime};

use reqwest::multipart::{Form as Parts, Part};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client;
use super::process::{Form, Place, SOON, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_the_bytes_and_their_event_leaves_no_file_and_no_refuse() {
    let mut home = Place::new(Form::Server, None).await;
    let folder = tempfile::tempdir().unwrap();
    home.set("FILES_URL", format!("file://{}", folder.path().display()));
    let http = client::http();
    let (node, base, _) = home.start(&http, SOON).await.unwrap();
    let account = json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let registered = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    let token = registered.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    assert!(node.stop().await.success());
    let bring = async |base: &str| {
        let part =
            Part::bytes(b"what was brought".as_slice()).file_name("a.txt").mime_str("text/plain").unwrap();
        http.post(format!("{base}/files"))
            .bearer_auth(&token)
            .header("idempotency-key", "the-file")
            .multipart(Parts::new().part("file", part))
            .send()
            .await
    };
    let kept =
        || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();

    home.set("INJECTED_FAULT", "crash-at:bytes-stored:1".to_owned());
    let (node, base, _) = home.start(&http, SOON).await.unwrap();
    let (died, answer) = tokio::join!(node.died(), bring(&base));
    assert!(died && answer.is_err(), "{answer:?}");
    let lost = kept();
    assert_eq!(lost.len(), 1, "the bytes are there");
    let mut connection = PgConnection::connect_with(&home.options()).await.unwrap();
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE aggregate_type = 'file'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(events, 0, "and no event");

    // The client says it again, and what the death left is swept away once it is old.
    home.set("INJECTED_FAULT", String::new());
    #[expect(clippy::disallowed_methods, reason = "the age of a file is told by the system's clock")]
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    std::fs::File::options().write(true).open(&lost[0]).unwrap().set_modified(old).unwrap();
    let (node, base, _) = home.start(&http, SOON).await.unwrap();
    let file: Value = bring(&base).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let again: Value = bring(&base).await.unwrap().error_for_status().unwrap().json().await.unwrap();
    assert_eq!(again["id"], file["id"]);
    assert!(within(SOON, async || !lost[0].exists()).await, "nothing swept the lost bytes");
    let url = format!("{base}/files/{}", file["id"].as_str().unwrap());
    let given = http.get(url).bearer_auth(&token).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(given.text().await.unwrap(), "what was brought");
    assert_eq!(kept().len(), 1);
    assert!(node.stop().await.success());
    let (equal, said) = home.rebuild();
    assert!(equal, "{said}");
    connection.close().await.unwrap();
    home.remove().await;
}
