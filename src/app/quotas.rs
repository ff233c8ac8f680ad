//! Rate limits and quotas of messages: messages per minute of a user, in one conversation and through one surface, and messages
//! and tokens per day. The append charges them in the transaction of the message, so that all nodes share one count; see
//! [`crate::quotas`].

use std::time::Duration;

use aggregates::ids::UserId;
use uuid::Uuid;

use super::error::{AppError, Kind};
use super::rate_limit_headers::{RateLimitStatus, record};
use super::{Actor, Core, RequestContext};
use crate::quotas::{
    MESSAGES_PER_DAY, QuotaCharge, QuotaExceeded, QuotaPolicy, Quotas, REPLIES_AT_ONCE, Rate, RateRemaining,
    RejectionCache, TOKENS_PER_DAY, consume, parse_remaining,
};
use event_store::{ChargeRejection, CommandBatch, CommandOutcome, ExecuteError};

/// Messages per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of one user.
    pub user: u32,
    /// Of one user in one conversation.
    pub session: u32,
    /// Of one user through one surface.
    pub channel: u32,
}

/// Rates and quotas of messages.
#[derive(Debug)]
pub struct MessageLimits {
    rates: Option<Rates>,
    quotas: Quotas,
}

impl MessageLimits {
    /// Sets rates and quotas.
    pub fn new(rates: Option<Rates>, quotas: Quotas) -> Self {
        Self { rates, quotas }
    }

    /// Returns whether any limit is set.
    fn is_charging(&self) -> bool {
        let Quotas { messages_per_day, tokens_per_day, reserved_tokens: _, at_once } = self.quotas;
        self.rates.is_some() || messages_per_day > 0 || tokens_per_day > 0 || at_once > 0
    }

    /// Returns the quotas.
    pub fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// Returns the charge for a message of `user`.
    fn message(&self, user: UserId, session: Uuid, channel: &str) -> QuotaCharge {
        let rate = |name: String, per_minute| Rate { name, per_minute };
        let rates = self.rates.map_or_else(Vec::new, |rates| {
            vec![
                rate("user".to_owned(), rates.user),
                rate(session.to_string(), rates.session),
                rate(format!("channel {channel}"), rates.channel),
            ]
        });
        QuotaCharge { user: user.uuid(), rates, quotas: self.quotas }
    }

    /// Returns the charge for work that counts like a message, but in no conversation and no surface.
    fn work(&self, user: UserId) -> QuotaCharge {
        let rate = |rates: Rates| Rate { name: "user".to_owned(), per_minute: rates.user };
        QuotaCharge {
            user: user.uuid(),
            rates: self.rates.map(rate).into_iter().collect(),
            quotas: self.quotas,
        }
    }
}

/// Records the rejection for the headers and returns the error.
fn reject(charge: &QuotaCharge, exceeded: &QuotaExceeded) -> AppError {
    record_rejection(charge, exceeded);
    throttled(exceeded)
}

/// Maps an exceeded rate or quota to an error.
fn throttled(exceeded: &QuotaExceeded) -> AppError {
    let bound = exceeded.bound;
    let (policy, error) = match exceeded.policy.as_str() {
        MESSAGES_PER_DAY => {
            let detail = format!("Daily limit of {bound} messages reached.");
            ("messages", AppError::new(Kind::Throttled, "quota_exceeded", detail))
        }
        TOKENS_PER_DAY => {
            let detail = format!(
                "Daily limit of {bound} tokens reached, including tokens reserved for replies in progress."
            );
            ("tokens", AppError::new(Kind::Throttled, "quota_exceeded", detail))
        }
        REPLIES_AT_ONCE => {
            let detail =
                format!("You have replies in progress in {bound} conversations; wait for one to finish.");
            ("at_once", AppError::new(Kind::Throttled, "too_many_replies", detail))
        }
        _ => {
            let detail = "Too many messages; please wait a moment.";
            ("rate", AppError::new(Kind::Throttled, "rate_limited", detail))
        }
    };
    metrics::counter!("verbatim_throttled_total", "policy" => policy).increment(1);
    error.after(exceeded.wait.max(Duration::from_secs(1)))
}

/// Window of the rates.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Names of the rates in response headers, in the order of a message's charge.
const RATE_NAMES: [&str; 3] = ["user", "session", "channel"];

fn record_remaining(charge: &QuotaCharge, remaining: &[RateRemaining]) {
    let policy = |left: &RateRemaining| {
        let rate = charge.rates.get(left.rate)?;
        let name = RATE_NAMES.get(left.rate)?;
        Some(RateLimitStatus {
            name,
            quota: rate.per_minute,
            window: RATE_WINDOW,
            remaining: left.remaining,
            reset: left.reset,
        })
    };
    record(remaining.iter().filter_map(policy).collect());
}

fn record_rejection(charge: &QuotaCharge, exceeded: &QuotaExceeded) {
    let rate = charge.rates.iter().zip(RATE_NAMES).find(|(rate, _)| rate.name == exceeded.policy);
    record(
        rate.map(|(rate, name)| RateLimitStatus {
            name,
            quota: rate.per_minute,
            window: RATE_WINDOW,
            remaining: 0,
            reset: exceeded.wait,
        })
        .into_iter()
        .collect(),
    );
}

/// Charges messages to their user's rates and quotas.
pub struct QuotaService {
    /// The log, the read models, time and ids.
    pub core: Core,
    /// The limits on messages.
    pub limits: MessageLimits,
    /// Recent rejections, shared with the executor's policy.
    pub rejections: RejectionCache,
}

impl QuotaService {
    /// Runs a command that counts as a message of `actor` in the conversation `session`.
    ///
    /// # Errors
    /// `Throttled`; those of the log.
    pub(super) async fn run_as_message(
        &self,
        request: &RequestContext,
        actor: Actor,
        session: Uuid,
        batch: CommandBatch,
    ) -> Result<CommandOutcome, AppError> {
        let charge = self.limits.message(actor.user, session, request.surface);
        self.run_charged(request, actor, charge, batch).await
    }

    /// Runs a command that costs as much work as a message but requests no reply. It counts for no conversation and no
    /// surface, so that the user can still send messages.
    ///
    /// # Errors
    /// `Throttled`; those of the log.
    pub(super) async fn run_as_work(
        &self,
        request: &RequestContext,
        actor: Actor,
        batch: CommandBatch,
    ) -> Result<CommandOutcome, AppError> {
        let charge = self.limits.work(actor.user);
        self.run_charged(request, actor, charge, batch).await
    }

    async fn run_charged(
        &self,
        request: &RequestContext,
        actor: Actor,
        charge: QuotaCharge,
        batch: CommandBatch,
    ) -> Result<CommandOutcome, AppError> {
        if let Some(exceeded) = self.rejections.of_rates(&charge) {
            // A repetition costs nothing, and must not be refused what the first one was given.
            let key = request.key_of(actor.user);
            return match self.core.repeated(key.as_ref()).await? {
                Some(outcome) => Ok(outcome),
                None => Err(reject(&charge, &exceeded)),
            };
        }
        let batch = if self.limits.is_charging() {
            batch.with_charge_policy(QuotaPolicy::charging(charge.clone(), self.rejections.clone()))
        } else {
            batch
        };
        match self.core.executor.run(batch).await {
            Ok(outcome) => {
                let remaining = outcome.remaining.as_ref().map_or_else(Vec::new, parse_remaining);
                record_remaining(&charge, &remaining);
                Ok(outcome)
            }
            Err(ExecuteError::ChargeRejected(rejection)) => match QuotaExceeded::parse(&rejection.0) {
                Some(exceeded) => Err(reject(&charge, &exceeded)),
                None => Err(malformed(&rejection)),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the rates of messages; `None`: unlimited.
    pub fn rates(&self) -> Option<Rates> {
        self.limits.rates
    }

    /// Charges work that counts like a message of `actor` without being one: an upload or a transcription.
    ///
    /// # Errors
    /// `Throttled`; those of the database.
    pub(super) async fn count_work(&self, actor: Actor) -> Result<(), AppError> {
        let limits = &self.limits;
        let charge = limits.work(actor.user);
        if charge.rates.is_empty() {
            return Ok(());
        }
        if let Some(exceeded) = self.rejections.of_rates(&charge) {
            return Err(reject(&charge, &exceeded));
        }
        match consume(&charge, &self.rejections, &self.core.pool).await {
            Ok(Ok(remaining)) => {
                record_remaining(&charge, &remaining);
                Ok(())
            }
            Ok(Err(exceeded)) => Err(reject(&charge, &exceeded)),
            Err(error) => Err(AppError::unavailable(error)),
        }
    }
}

impl From<&ChargeRejection> for AppError {
    fn from(rejection: &ChargeRejection) -> Self {
        QuotaExceeded::parse(&rejection.0)
            .map_or_else(|| malformed(rejection), |exceeded| throttled(&exceeded))
    }
}

/// The database rejected a charge in an unknown format: a bug.
fn malformed(rejection: &ChargeRejection) -> AppError {
    AppError::internal(anyhow::anyhow!("malformed rejection of a charge: {}", rejection.0))
}
