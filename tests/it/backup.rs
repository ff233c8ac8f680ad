//! `scripts/check-backup` accepts a good backup and reports a difference.

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
async fn check_backup_accepts_good_dump_and_reports_changed_row(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    for title in ["One", "Two"] {
        let path = format!("/api/history/{session}");
        app.patch(&path).by(&person).json(&json!({"title": title})).send().await.is(200);
    }
    app.wait_for_projections().await;
    let output = check(&app, None).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("the backup is good"), "{stderr}");

    // A row that differs from a replay is reported.
    sqlx::query("UPDATE conversations SET title = 'Three'").execute(&app.db).await.unwrap();
    let output = check(&app, None).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("differ from a rebuild"), "{stderr}");
    sqlx::query("UPDATE conversations SET title = 'Two'").execute(&app.db).await.unwrap();
    app.end().await;
}
