//! `/api/usage`: what a person has used, and what is left of today.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use projections::usage::query::UsageRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::history::between;
use crate::app::usage::Usage;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::Query;
use crate::http::extract::auth::SignedIn;
use crate::http::formats::answer::Answer;

/// The most days that are shown.
const MAX_DAYS: i64 = 366;

/// The routes.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().api_route(
        "/api/usage",
        get_with(usage, |op| {
            op.id("usage")
                .tag("usage")
                .summary("What you have used, and what is left of today")
                .description(
                    "Quotas count the messages and tokens of a day in UTC. For a reply that is owed, tokens are set aside \
                     until it ends; then what it really took counts.",
                )
                .response::<200, Json<UsageAnswer>>()
        }),
    )
}

/// Which days.
#[derive(Debug, Deserialize, JsonSchema)]
struct UsageQuery {
    /// How many days up to today are reported: 1 to 366.
    #[serde(default = "month")]
    #[schemars(range(min = 1, max = 366))]
    days: i64,
}

fn month() -> i64 {
    30
}

/// What was used.
#[derive(Debug, Serialize, JsonSchema)]
struct UsageAnswer {
    /// Today, in UTC.
    day: NaiveDate,
    /// When today ends.
    resets_at: DateTime<Utc>,
    messages: Metered,
    tokens: Metered,
    replies_at_once: Metered,
    /// How many messages a minute; none without such limits.
    rates: Option<RatesAnswer>,
    /// The newest day first; days without use are left out.
    days: Vec<DayAnswer>,
}

/// One quota.
#[derive(Debug, Serialize, JsonSchema)]
struct Metered {
    /// What was used, or is in use.
    used: u64,
    /// What is set aside for replies that are owed.
    reserved: u64,
    /// What may be used; none without a bound.
    limit: Option<u64>,
    /// What is left; none without a bound.
    remaining: Option<u64>,
}

impl Metered {
    fn of(used: u64, reserved: u64, limit: u64) -> Self {
        let limit = (limit > 0).then_some(limit);
        let remaining = limit.map(|limit| limit.saturating_sub(used.saturating_add(reserved)));
        Self { used, reserved, limit, remaining }
    }
}

/// Messages a minute.
#[derive(Debug, Serialize, JsonSchema)]
struct RatesAnswer {
    /// Of one person.
    user_per_minute: u32,
    /// Of one person in one conversation.
    session_per_minute: u32,
    /// Of one person through one channel.
    channel_per_minute: u32,
}

/// What was used on one day.
#[derive(Debug, Serialize, JsonSchema)]
struct DayAnswer {
    day: NaiveDate,
    /// Messages that asked for a reply.
    messages: i64,
    models: Vec<ModelAnswer>,
}

/// What was used of one model.
#[derive(Debug, Serialize, JsonSchema)]
struct ModelAnswer {
    model: String,
    /// Replies that it completed.
    replies: i64,
    tokens: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// In millionths of a dollar, as far as prices were known; null when none was.
    cost_micros: Option<i64>,
}

async fn usage(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    Query(query): Query<UsageQuery>,
) -> Result<Answer<UsageAnswer>, ApiError> {
    between("days", query.days, MAX_DAYS)?;
    let usage = state.services.quotas.usage(actor, u32::try_from(query.days).unwrap_or(1)).await?;
    let rates = state.services.quotas.rates().map(|rates| RatesAnswer {
        user_per_minute: rates.user,
        session_per_minute: rates.session,
        channel_per_minute: rates.channel,
    });
    let Usage { day, resets_at, messages, tokens, reserved, open, quotas, days } = usage;
    Ok(Answer::ok(UsageAnswer {
        day,
        resets_at,
        messages: Metered::of(messages, 0, quotas.messages_per_day),
        tokens: Metered::of(tokens, reserved, quotas.tokens_per_day),
        replies_at_once: Metered::of(open, 0, quotas.at_once.into()),
        rates,
        days: by_day(days),
    }))
}

fn by_day(rows: Vec<UsageRow>) -> Vec<DayAnswer> {
    let mut days: Vec<DayAnswer> = Vec::new();
    for row in rows {
        if days.last().is_none_or(|last| last.day != row.day) {
            days.push(DayAnswer { day: row.day, messages: row.messages, models: Vec::new() });
        }
        if let (Some(model), Some(day)) = (row.model, days.last_mut()) {
            day.models.push(ModelAnswer {
                model,
                replies: row.replies,
                tokens: row.prompt_tokens + row.completion_tokens,
                prompt_tokens: row.prompt_tokens,
                completion_tokens: row.completion_tokens,
                cost_micros: row.cost_micros,
            });
        }
    }
    days
}
