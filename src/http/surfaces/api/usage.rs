//! `/api/usage`: usage and remaining quota of the user.

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

/// Maximum number of days.
const MAX_DAYS: i64 = 366;

/// Returns the route.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().api_route(
        "/api/usage",
        get_with(usage, |op| {
            op.id("usage")
                .tag("usage")
                .summary("Get your usage and remaining quota")
                .description(
                    "Quotas count the messages and tokens of a day in UTC. A pending reply reserves tokens until it ends; then its \
                     actual usage counts.",
                )
                .response::<200, Json<UsageAnswer>>()
        }),
    )
}

/// Period of a usage report.
#[derive(Debug, Deserialize, JsonSchema)]
struct UsageQuery {
    /// Number of days up to today: 1 to 366.
    #[serde(default = "month")]
    #[schemars(range(min = 1, max = 366))]
    days: i64,
}

fn month() -> i64 {
    30
}

/// Usage of the user.
#[derive(Debug, Serialize, JsonSchema)]
struct UsageAnswer {
    /// Today, in UTC.
    day: NaiveDate,
    /// Time at which the daily quotas reset.
    resets_at: DateTime<Utc>,
    messages: Metered,
    tokens: Metered,
    replies_at_once: Metered,
    /// Rate limits of messages; null if there are none.
    rates: Option<RatesAnswer>,
    /// Days with usage, newest first.
    days: Vec<DayAnswer>,
}

/// One quota.
#[derive(Debug, Serialize, JsonSchema)]
struct Metered {
    /// Amount used, or in use.
    used: u64,
    /// Amount reserved for replies in progress.
    reserved: u64,
    /// Quota; null if unlimited.
    limit: Option<u64>,
    /// Amount left; null if unlimited.
    remaining: Option<u64>,
}

impl Metered {
    fn of(used: u64, reserved: u64, limit: u64) -> Self {
        let limit = (limit > 0).then_some(limit);
        let remaining = limit.map(|limit| limit.saturating_sub(used.saturating_add(reserved)));
        Self { used, reserved, limit, remaining }
    }
}

/// Rate limits of messages, per minute.
#[derive(Debug, Serialize, JsonSchema)]
struct RatesAnswer {
    /// Per user.
    user_per_minute: u32,
    /// Per user and conversation.
    session_per_minute: u32,
    /// Per user and surface.
    channel_per_minute: u32,
}

/// Usage of one day.
#[derive(Debug, Serialize, JsonSchema)]
struct DayAnswer {
    day: NaiveDate,
    /// Messages that asked for a reply.
    messages: i64,
    models: Vec<ModelAnswer>,
}

/// Usage of one model.
#[derive(Debug, Serialize, JsonSchema)]
struct ModelAnswer {
    model: String,
    /// Replies that the model completed.
    replies: i64,
    tokens: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// Cost in millionths of a dollar, as far as prices were known; null if none was.
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
