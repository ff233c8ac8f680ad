//! What each person may do: so many messages a minute, in all, in one conversation and through one channel (a door), and so
//! many messages and tokens a day. Counted in the database with the message itself, so that all nodes share one count; see
//! [`event_store::charge`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aggregates::ids::UserId;
use uuid::Uuid;

use super::error::{AppError, Kind};
use super::{Actor, App, RequestContext};
use event_store::{
    CommandBatch, CommandOutcome, ExecuteError, MESSAGES_PER_DAY, QuotaCharge, QuotaExceeded, Quotas,
    REPLIES_AT_ONCE, Rate, RateRemaining, TOKENS_PER_DAY,
};

/// Messages a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Of one person.
    pub user: u32,
    /// Of one person in one conversation.
    pub session: u32,
    /// Of one person through one channel.
    pub channel: u32,
}

/// The limits on messages.
#[derive(Debug)]
pub struct MessageLimits {
    rates: Option<Rates>,
    quotas: Quotas,
}

impl MessageLimits {
    /// These limits.
    pub fn new(rates: Option<Rates>, quotas: Quotas) -> Self {
        Self { rates, quotas }
    }

    /// Whether there is anything to count.
    pub fn is_charging(rates: Option<Rates>, quotas: Quotas) -> bool {
        let Quotas { messages_per_day, tokens_per_day, reserved_tokens: _, at_once } = quotas;
        rates.is_some() || messages_per_day > 0 || tokens_per_day > 0 || at_once > 0
    }

    /// The quotas.
    pub fn quotas(&self) -> Quotas {
        self.quotas
    }

    /// What a message of `user` costs.
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

    /// What costs as much as a message of its user and stands in no conversation.
    fn work(&self, user: UserId) -> QuotaCharge {
        let rate = |rates: Rates| Rate { name: "user".to_owned(), per_minute: rates.user };
        QuotaCharge {
            user: user.uuid(),
            rates: self.rates.map(rate).into_iter().collect(),
            quotas: self.quotas,
        }
    }
}

/// The failure to tell.
fn refuse(charge: &QuotaCharge, exceeded: &QuotaExceeded) -> AppError {
    note_refused(charge, exceeded);
    throttled(exceeded)
}

/// A refusal as the use cases tell it.
fn throttled(exceeded: &QuotaExceeded) -> AppError {
    let bound = exceeded.bound;
    let (policy, error) = match exceeded.policy.as_str() {
        MESSAGES_PER_DAY => {
            let detail = format!("Your {bound} messages of today are used up.");
            ("messages", AppError::new(Kind::Throttled, "quota_exceeded", detail))
        }
        TOKENS_PER_DAY => {
            let detail =
                format!("Your {bound} tokens of today are used up or set aside for replies under way.");
            ("tokens", AppError::new(Kind::Throttled, "quota_exceeded", detail))
        }
        REPLIES_AT_ONCE => {
            let detail =
                format!("Answers are awaited in {bound} of your conversations; please wait for one.");
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

/// One policy as the answer's headers tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `user`, `session` or `channel`; `address` or `names` of attempts.
    pub name: &'static str,
    /// How many in a window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
    /// How many more now.
    pub rest: u64,
    /// After how long all of it is there again; after a refusal: after how long one is.
    pub reset: Duration,
}

/// The window of each rate of messages.
const MINUTE: Duration = Duration::from_secs(60);

/// The policies' names, in the order in which a message is charged for them.
const POLICIES: [&str; 3] = ["user", "session", "channel"];

tokio::task_local! {
    /// What the rates of this request came to: set around each request that may be answered with it.
    pub static NOTED: Noted;
}

/// Where a request's rates are noted for its answer.
#[derive(Debug, Clone, Default)]
pub struct Noted(Arc<Mutex<Vec<Policy>>>);

impl Noted {
    /// What was noted.
    pub fn policies(&self) -> Vec<Policy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn note(policies: Vec<Policy>) {
    // Outside of a request, as on a socket, nobody asks for it.
    let _ = NOTED.try_with(|noted| *noted.0.lock().unwrap_or_else(PoisonError::into_inner) = policies);
}

fn note_remaining(charge: &QuotaCharge, remaining: &[RateRemaining]) {
    let policy = |remaining: &RateRemaining| {
        let rate = charge.rates.get(remaining.rate)?;
        let name = POLICIES.get(remaining.rate)?;
        Some(Policy {
            name,
            quota: rate.per_minute,
            window: MINUTE,
            rest: remaining.rest,
            reset: remaining.reset,
        })
    };
    note(remaining.iter().filter_map(policy).collect());
}

fn note_refused(charge: &QuotaCharge, exceeded: &QuotaExceeded) {
    let refused = charge.rates.iter().zip(POLICIES).find(|(rate, _)| rate.name == exceeded.policy);
    note(
        refused
            .map(|(rate, name)| Policy {
                name,
                quota: rate.per_minute,
                window: MINUTE,
                rest: 0,
                reset: exceeded.wait,
            })
            .into_iter()
            .collect(),
    );
}

impl App {
    /// Carries out what counts as a message of `actor` in `session`.
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
        let charge = self.parts.limits.message(actor.user, session, request.surface);
        self.run_charged(request, actor, charge, batch).await
    }

    /// Carries out what costs `actor` as much work as a message and asks for no reply. It counts for no conversation and no
    /// channel, so that whoever does much of it can still say something.
    ///
    /// # Errors
    /// `Throttled`; those of the log.
    pub(super) async fn run_as_work(
        &self,
        request: &RequestContext,
        actor: Actor,
        batch: CommandBatch,
    ) -> Result<CommandOutcome, AppError> {
        let charge = self.parts.limits.work(actor.user);
        self.run_charged(request, actor, charge, batch).await
    }

    async fn run_charged(
        &self,
        request: &RequestContext,
        actor: Actor,
        charge: QuotaCharge,
        batch: CommandBatch,
    ) -> Result<CommandOutcome, AppError> {
        if let Some(exceeded) = self.parts.executor.rejections().of_rates(&charge) {
            // A repetition costs nothing, and must not be refused what the first one was given.
            let key = request.key_of(actor.user);
            return match self.repeated(key.as_ref()).await? {
                Some(outcome) => Ok(outcome),
                None => Err(refuse(&charge, &exceeded)),
            };
        }
        match self.parts.executor.run(batch.with_charge(Some(charge.clone()))).await {
            Ok(outcome) => {
                note_remaining(&charge, &outcome.remaining);
                Ok(outcome)
            }
            Err(ExecuteError::QuotaExceeded(exceeded)) => Err(refuse(&charge, &exceeded)),
            Err(error) => Err(error.into()),
        }
    }

    /// How many messages a minute may be sent; none: as many as one likes.
    pub fn rates(&self) -> Option<Rates> {
        self.parts.limits.rates
    }

    /// Counts what costs as much as a message of `actor` and is none: a file that is about to be sent, a recording.
    ///
    /// # Errors
    /// `Throttled`; those of the database.
    pub(super) async fn count_work(&self, actor: Actor) -> Result<(), AppError> {
        let limits = &self.parts.limits;
        let charge = limits.work(actor.user);
        if charge.rates.is_empty() {
            return Ok(());
        }
        if let Some(exceeded) = self.parts.executor.rejections().of_rates(&charge) {
            return Err(refuse(&charge, &exceeded));
        }
        match self.parts.executor.charge(&charge).await {
            Ok(remaining) => {
                note_remaining(&charge, &remaining);
                Ok(())
            }
            Err(ExecuteError::QuotaExceeded(exceeded)) => Err(refuse(&charge, &exceeded)),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<&QuotaExceeded> for AppError {
    fn from(exceeded: &QuotaExceeded) -> Self {
        throttled(exceeded)
    }
}
