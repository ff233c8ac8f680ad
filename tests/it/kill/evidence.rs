//! What is there when everything has come to rest: the log, the read models, what the API shows, what was logged.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::driver::Person;

/// One event as stored. Personal text in the payload is sealed; ids are not.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub(crate) struct Logged {
    pub(crate) position: i64,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: i64,
    pub(crate) event_type: String,
    pub(crate) request_id: Option<String>,
    pub(crate) payload: Value,
}

impl Logged {
    /// An id in the payload.
    pub(crate) fn id(&self, name: &str) -> Option<Uuid> {
        self.payload[name].as_str().and_then(|id| Uuid::parse_str(id).ok())
    }
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Evidence {
    /// Whether all replies had ended and all models had come to the head in time.
    pub(crate) quiet: bool,
    /// The log, in its order.
    pub(crate) events: Vec<Logged>,
    /// How far each read model has come.
    pub(crate) checkpoints: BTreeMap<String, i64>,
    /// Rows of `conversations`.
    pub(crate) conversations: BTreeSet<Uuid>,
    /// Rows of `messages` that people wrote.
    pub(crate) messages: BTreeSet<Uuid>,
    /// Rows of `pending_replies`.
    pub(crate) pending: BTreeSet<Uuid>,
    /// What each person's list of conversations shows.
    pub(crate) shown: BTreeMap<Uuid, BTreeSet<Uuid>>,
    /// Sessions that sit in an open transaction.
    pub(crate) idle_in_transaction: i64,
    /// `/health`: status and body.
    pub(crate) health: (u16, String),
    /// Whether a rebuild gave the same rows, and what it said.
    pub(crate) rebuilt: (bool, String),
    /// Whether the last process ended in order when it was asked to.
    pub(crate) ended_in_order: bool,
    /// Every line that was logged.
    pub(crate) said: Vec<String>,
}

/// Whether nothing is owed and every model has come to the head.
pub(crate) async fn is_quiet(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM pending_replies)
            AND NOT EXISTS (SELECT FROM checkpoints WHERE position < (SELECT coalesce(max(position), 0) FROM events))",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

impl Evidence {
    /// What the database holds.
    pub(crate) async fn of(connection: &mut PgConnection, quiet: bool) -> Self {
        let events = sqlx::query_as(
            "SELECT position, aggregate_type, aggregate_id, sequence, event_type, metadata ->> 'request_id' AS request_id,
                    payload
             FROM events ORDER BY position",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let checkpoints: Vec<(String, i64)> = sqlx::query_as("SELECT projection, position FROM checkpoints")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let idle_in_transaction = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'
               AND state_change < clock_timestamp() - interval '1 second'",
        )
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        Self {
            quiet,
            events,
            checkpoints: checkpoints.into_iter().collect(),
            conversations: ids(connection, "SELECT conversation_id FROM conversations").await,
            messages: ids(connection, "SELECT message_id FROM messages WHERE role = 'user'").await,
            pending: ids(connection, "SELECT reply_id FROM pending_replies").await,
            idle_in_transaction,
            ..Self::default()
        }
    }

    /// Adds what the API shows.
    pub(crate) async fn ask(&mut self, http: &reqwest::Client, base: &str, people: &[&Person]) {
        let health = http.get(format!("{base}/health")).send().await.unwrap();
        // Of several nodes, the first one that is not well.
        if [0, 200].contains(&self.health.0) {
            self.health = (health.status().as_u16(), health.text().await.unwrap());
        }
        for person in people {
            self.shown.insert(person.id, list(http, base, person).await);
        }
    }
}

async fn ids(connection: &mut PgConnection, statement: &str) -> BTreeSet<Uuid> {
    let ids: Vec<Uuid> = sqlx::query_scalar(statement).fetch_all(connection).await.unwrap();
    ids.into_iter().collect()
}

/// Every conversation that a person's list shows, in the archive or not.
async fn list(http: &reqwest::Client, base: &str, person: &Person) -> BTreeSet<Uuid> {
    let mut shown = BTreeSet::new();
    for archived in [false, true] {
        for page in 1.. {
            let url = format!("{base}/api/history?per_page=100&page={page}&archived={archived}");
            let answer = http.get(url).bearer_auth(&person.token).send().await.unwrap();
            let body: Value = answer.json().await.unwrap();
            let items = body["items"].as_array().unwrap_or_else(|| panic!("no list: {body}"));
            if items.is_empty() {
                break;
            }
            shown.extend(
                items.iter().map(|item| Uuid::parse_str(item["session_id"].as_str().unwrap()).unwrap()),
            );
        }
    }
    shown
}
