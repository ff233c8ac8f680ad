//! The final state of an idle system: the log, the read models, the API's answers, the log lines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::driver::Person;

/// One stored event. Personal text in the payload is encrypted; ids are not.
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
    /// Returns an id in the payload.
    pub(crate) fn id(&self, name: &str) -> Option<Uuid> {
        self.payload[name].as_str().and_then(|id| Uuid::parse_str(id).ok())
    }
}

/// Final state of a campaign.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Evidence {
    /// Whether all replies ended and all projections caught up in time.
    pub(crate) idle: bool,
    /// Events in log order.
    pub(crate) events: Vec<Logged>,
    /// Position of each projection.
    pub(crate) checkpoints: BTreeMap<String, i64>,
    /// Rows of `conversations`.
    pub(crate) conversations: BTreeSet<Uuid>,
    /// Rows of `messages` with the role `user`.
    pub(crate) messages: BTreeSet<Uuid>,
    /// Rows of `pending_replies`.
    pub(crate) pending: BTreeSet<Uuid>,
    /// Conversations in each user's list.
    pub(crate) shown: BTreeMap<Uuid, BTreeSet<Uuid>>,
    /// Number of database sessions idle in a transaction.
    pub(crate) idle_in_transaction: i64,
    /// Status and body of `/health`.
    pub(crate) health: (u16, String),
    /// Whether a rebuild yielded the same rows, and its output.
    pub(crate) rebuilt: (bool, String),
    /// Whether all processes exited successfully on SIGTERM.
    pub(crate) clean_exit: bool,
    /// All log lines.
    pub(crate) log_lines: Vec<String>,
}

/// Whether no reply is pending and every projection is at the end of the log.
pub(crate) async fn is_idle(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM pending_replies)
            AND NOT EXISTS (SELECT FROM checkpoints WHERE position < (SELECT coalesce(max(position), 0) FROM events))",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

impl Evidence {
    /// Reads the state of the database.
    pub(crate) async fn of(connection: &mut PgConnection, idle: bool) -> Self {
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
            idle,
            events,
            checkpoints: checkpoints.into_iter().collect(),
            conversations: ids(connection, "SELECT conversation_id FROM conversations").await,
            messages: ids(connection, "SELECT message_id FROM messages WHERE role = 'user'").await,
            pending: ids(connection, "SELECT reply_id FROM pending_replies").await,
            idle_in_transaction,
            ..Self::default()
        }
    }

    /// Adds the API's answers.
    pub(crate) async fn add_api_state(&mut self, http: &reqwest::Client, base: &str, people: &[&Person]) {
        let health = http.get(format!("{base}/health")).send().await.unwrap();
        // Of several nodes, keep the first unhealthy one.
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

/// Returns the conversations in a user's list, archived or not.
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
