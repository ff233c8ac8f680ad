//! Connects quotas to the event store.

use event_store::{AppendCharge, ChargePolicy, ChargeRejection, FastPool};
use serde_json::{Map, Value};
use sqlx::types::Json;

use super::{QuotaCharge, QuotaExceeded, RateRemaining, RejectionCache, entries, parse_remaining};

/// Prices a batch: charges what a use case names, and settles the replies that end.
#[derive(Debug)]
pub struct QuotaPolicy {
    charge: Option<QuotaCharge>,
    rejections: RejectionCache,
}

impl QuotaPolicy {
    /// Charges a batch.
    pub fn charging(charge: QuotaCharge, rejections: RejectionCache) -> Self {
        Self { charge: Some(charge), rejections }
    }

    /// Only settles replies that end, which another process may have reserved.
    pub fn settling(rejections: RejectionCache) -> Self {
        Self { charge: None, rejections }
    }
}

impl ChargePolicy for QuotaPolicy {
    fn price(&self, events: &[&aggregates::Event]) -> Result<Option<AppendCharge>, ChargeRejection> {
        let charge = entries::price(self.charge.as_ref(), events);
        match charge.as_ref().and_then(|charge| self.rejections.of_replies(charge)) {
            Some(known) => Err(ChargeRejection(known.to_json())),
            None => Ok(charge),
        }
    }

    fn committed(&self, charge: &AppendCharge) {
        if entries::ends_replies(charge) {
            self.rejections.reply_ended(charge.user);
        }
    }

    fn rejected(&self, charge: &AppendCharge, rejection: &ChargeRejection) {
        if let Some(exceeded) = QuotaExceeded::parse(&rejection.0) {
            self.rejections.remember(charge.user, &exceeded);
        }
    }
}

/// Counts a request for the rates of `charge` without an append.
///
/// # Errors
/// `Ok(Err(_))` if a limit is exceeded; else the database's.
pub async fn consume(
    charge: &QuotaCharge,
    rejections: &RejectionCache,
    pool: &FastPool,
) -> Result<Result<Vec<RateRemaining>, QuotaExceeded>, sqlx::Error> {
    let entries: Map<String, Value> = entries::rates(charge).into_iter().collect();
    let (remaining, rejection): (Option<Json<Value>>, Option<Json<Value>>) =
        sqlx::query_as("SELECT remaining, rejection FROM quota_consume($1, $2)")
            .bind(charge.user)
            .bind(Json(entries))
            .fetch_one(pool)
            .await?;
    let Some(Json(rejection)) = rejection else {
        return Ok(Ok(remaining.map_or_else(Vec::new, |Json(remaining)| parse_remaining(&remaining))));
    };
    let exceeded = QuotaExceeded::parse(&rejection)
        .ok_or_else(|| sqlx::Error::Decode(format!("malformed rejection: {rejection}").into()))?;
    rejections.remember(charge.user, &exceeded);
    Ok(Err(exceeded))
}
