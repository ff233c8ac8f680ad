//! A writer that commits slowly: a reader that trusts the highest visible position would miss its events.
//!
//! It calls the database's `append` in a separate transaction and pauses before the commit, while others continue.
//! The program itself uses one autocommitted statement, but a slow disk, a busy server or a second node between
//! statement and commit look the same to a reader.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};
use tokio::sync::watch;
use uuid::Uuid;

use super::driver::Stage;
use super::history::{Answer, History, Ids, Kind, Operation, Outcome, Position};

/// Pause before the commit, in milliseconds; shorter than the allowed lag of the read models.
const PAUSE_MS: std::ops::Range<u64> = 5..60;

/// Starts conversations of `owner` until the load ends.
pub(crate) async fn run(
    seed: u64,
    history: History,
    options: PgConnectOptions,
    mut stage: watch::Receiver<Stage>,
    owner: Uuid,
) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let now = stage.wait_for(|stage| *stage != Stage::Down).await.unwrap().clone();
        if matches!(now, Stage::Over(_)) {
            return;
        }
        // The embedded server is down while no process serves, and may be stopping before that.
        let Ok(mut connection) = PgConnection::connect_with(&options).await else {
            stage.wait_for(|stage| *stage != now).await.unwrap();
            continue;
        };
        while *stage.borrow() == now {
            let pause = Duration::from_millis(random.random_range(PAUSE_MS));
            let conversation = Uuid::from_u128(random.random());
            let number = history.begin(Operation {
                number: 0,
                kind: Kind::Slow,
                user: Some(owner),
                key: None,
                method: "SQL",
                path: format!("append {conversation}"),
                body: None,
                tries: Vec::new(),
            });
            let (_, request_id) = history.before(number);
            match write(&mut connection, conversation, owner, &request_id, pause).await {
                Ok(position) => history.after(
                    number,
                    &request_id,
                    &Answer {
                        outcome: Outcome::Ok,
                        status: 200,
                        code: None,
                        ids: Ids { conversation: Some(conversation), ..Ids::default() },
                        position: Position::Command(Some(position)),
                    },
                ),
                Err(_) => {
                    history.after(number, &request_id, &Answer::none(Outcome::Unknown, "broken off"));
                    break;
                }
            }
        }
    }
}

async fn write(
    connection: &mut PgConnection,
    conversation: Uuid,
    owner: Uuid,
    request_id: &str,
    pause: Duration,
) -> Result<i64, sqlx::Error> {
    let payload = json!({
        "type": "conversation_started", "conversation_id": conversation, "owner": owner, "title": null,
        "at": "2026-01-01T00:00:00Z",
    });
    let mut transaction = connection.begin().await?;
    transaction.execute("SET LOCAL synchronous_commit = on").await?;
    let positions: Vec<i64> = sqlx::query_scalar(
        "SELECT positions FROM append(NULL, NULL, NULL, NULL, ARRAY['conversation'], ARRAY[$1], ARRAY[0::bigint],
             ARRAY['conversation'], ARRAY[$1], ARRAY[1::bigint], ARRAY['conversation_started'], ARRAY['1'],
             ARRAY[$2], $3, NULL)",
    )
    .bind(conversation.to_string())
    .bind(payload.to_string())
    .bind(json!({"surface": "slow", "request_id": request_id}).to_string())
    .fetch_one(&mut *transaction)
    .await?;
    // The pause is part of the test: others get later positions and commit before this transaction.
    tokio::time::sleep(pause).await;
    transaction.commit().await?;
    Ok(positions[0])
}
