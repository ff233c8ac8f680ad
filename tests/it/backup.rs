//! `scripts/check-backup`: a dump restored into a fresh cluster is the same to the last event.

use std::path::PathBuf;

use serde_json::json;
use sqlx::PgPool;
use tokio::process::Command;
use verbatim::schema::MIGRATOR;

use crate::support::app::{JWT_SECRET, MASTER_KEY, TestApp};
use crate::support::env_var;

fn check(app: &TestApp, dump: Option<&str>) -> Command {
    let url = env_var("DATABASE_URL").unwrap();
    let name = app.db.connect_options().get_database().unwrap().to_owned();
    let mut command = Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts/check-backup"));
    command
        .args(dump)
        .env("DATABASE_URL", format!("{}/{name}", url.rsplit_once('/').unwrap().0))
        .env("MASTER_KEY", MASTER_KEY)
        .env("JWT_SECRET_KEY", JWT_SECRET)
        .env("VERBATIM", env!("CARGO_BIN_EXE_verbatim"))
        .kill_on_drop(true);
    command
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_dump_is_the_same_to_the_last_event_and_a_changed_log_is_noticed(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    for title in ["One", "Two"] {
        let path = format!("/api/history/{session}");
        app.patch(&path).by(&person).json(&json!({"title": title})).send().await.is(200);
    }
    app.wait_for_projections().await;
    let output = check(&app, None).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the backup is good"), "{said}");

    // A row that no event gave is found.
    sqlx::query("UPDATE conversations SET title = 'Three'").execute(&app.db).await.unwrap();
    let output = check(&app, None).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("not what the log gives"), "{said}");
    sqlx::query("UPDATE conversations SET title = 'Two'").execute(&app.db).await.unwrap();
    app.end().await;
}
