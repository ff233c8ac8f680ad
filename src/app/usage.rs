//! Usage of a user, and what is left of today's quotas.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use projections::usage::query::{self, UsageRow};
use serde_json::Value;
use sqlx::types::Json;

use super::quotas::QuotaService;
use super::{Actor, AppError};
use crate::quotas::Quotas;

/// Usage of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    /// Current day (UTC).
    pub day: NaiveDate,
    /// End of the day.
    pub resets_at: DateTime<Utc>,
    /// Messages charged today.
    pub messages: u64,
    /// Tokens charged today.
    pub tokens: u64,
    /// Tokens reserved for pending replies.
    pub reserved: u64,
    /// Conversations with pending replies.
    pub open: u64,
    /// The quotas.
    pub quotas: Quotas,
    /// Usage per day and model, newest day first.
    pub days: Vec<UsageRow>,
}

/// A quota row: the day, messages and tokens used on it, pending replies.
type Row = (NaiveDate, i64, i64, Json<serde_json::Map<String, Value>>);

impl QuotaService {
    /// Returns the actor's usage of the last `days` days, including today.
    ///
    /// # Errors
    /// The database's.
    pub async fn usage(&self, actor: Actor, days: u32) -> Result<Usage, AppError> {
        let now = self.core.clock.now();
        let day = now.date_naive();
        let from = day.checked_sub_days(Days::new(u64::from(days.saturating_sub(1)))).unwrap_or(day);
        let user = actor.user.uuid();
        let rows = query::since(&self.core.pool, user, from);
        let row =
            sqlx::query_as("SELECT day, messages, tokens, reservations FROM user_quotas WHERE user_id = $1")
                .bind(user)
                .fetch_optional(&self.core.pool);
        let (rows, row): (Vec<UsageRow>, Option<Row>) = tokio::try_join!(rows, row)?;
        let whole = |count: i64| u64::try_from(count).unwrap_or(0);
        let (charged, open) = match row {
            Some((of, messages, tokens, Json(open))) if of == day => {
                (Some((whole(messages), whole(tokens))), open)
            }
            Some((_, _, _, Json(open))) => (None, open),
            None => (None, serde_json::Map::new()),
        };
        // Without limits nothing is charged: report the usage from the read model.
        let (messages, tokens) = charged.unwrap_or_else(|| {
            let today = || rows.iter().filter(|row| row.day == day);
            let tokens = today().map(|row| row.prompt_tokens + row.completion_tokens).sum();
            (today().map(|row| whole(row.messages)).max().unwrap_or(0), whole(tokens))
        });
        let pending =
            || open.values().filter(|reply| reply[2].as_i64().is_some_and(|until| until > now.timestamp()));
        let resets_at = day.checked_add_days(Days::new(1)).unwrap_or(day).and_time(NaiveTime::MIN).and_utc();
        Ok(Usage {
            day,
            resets_at,
            messages,
            tokens,
            reserved: pending().filter_map(|reply| reply[1].as_u64()).sum(),
            open: pending().filter_map(|reply| reply[0].as_str()).collect::<BTreeSet<_>>().len() as u64,
            quotas: self.limits.quotas(),
            days: rows,
        })
    }
}
