//! Tests accounts: logins, changes, lockout, password resets, administration, mail, and the account commands.

mod admin;
mod audit;
mod commands;
mod import;
mod lockout;
mod logins;
mod mail;
pub(crate) mod mail_server;
mod profile;
mod recovery;
mod security_log;
mod sign_in_load;
mod unknown_users;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::app::{JWT_SECRET, MASTER_KEY, Person, TestApp};
use crate::support::client::Answer;
use crate::support::env_var;

/// Returns a command that runs the program on this app's database.
fn program_on_database_of(app: &TestApp) -> Command {
    let url = env_var("DATABASE_URL").unwrap();
    let name = app.db.connect_options().get_database().unwrap().to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim"));
    command
        .env("DATABASE_URL", format!("{}/{name}", url.rsplit_once('/').unwrap().0))
        .env("MASTER_KEY", MASTER_KEY)
        .env("JWT_SECRET_KEY", JWT_SECRET)
        .env("DATABASE_POOL_SIZE", "4")
        .kill_on_drop(true);
    command
}

/// Grants a role with the command-line program.
pub(crate) async fn grant(app: &TestApp, person: &Person, role: &str) {
    let mut command = program_on_database_of(app);
    command.args(["admin", "grant", "--email", &person.email, "--role", role]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn login(app: &TestApp, identifier: &str, password: &str) -> Answer {
    app.post("/api/auth/login").json(&json!({"username": identifier, "password": password})).send().await
}

async fn me(app: &TestApp, access: &str) -> Answer {
    app.get("/api/users/me").bearer(access).send().await
}

/// Returns types and payloads of the events in a user's stream, from the second on.
async fn user_events(app: &TestApp, person: &Person) -> Vec<(String, Value)> {
    sqlx::query_as(
        "SELECT event_type, payload::jsonb - 'at' FROM events
         WHERE aggregate_type = 'user' AND aggregate_id = $1 AND sequence > 1 ORDER BY sequence",
    )
    .bind(person.id.to_string())
    .fetch_all(&app.db)
    .await
    .unwrap()
}

/// Returns only the types of those events.
async fn user_event_types(app: &TestApp, person: &Person) -> Vec<String> {
    user_events(app, person).await.into_iter().map(|(event_type, _)| event_type).collect()
}
