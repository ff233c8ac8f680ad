//! Charges: what a batch costs its user, booked by the database in the append's transaction.
//!
//! What is charged, and for what, is up to the application: it supplies a [`ChargePolicy`] that prices the decided events.
//! The event store passes the entries to the database, which books them or rejects the append.

use std::fmt;

use aggregates::Event;
use serde_json::Value;
use uuid::Uuid;

/// A priced charge.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendCharge {
    /// User who is charged.
    pub user: Uuid,
    /// Entries in the format of the database's charging function.
    pub entries: Value,
}

/// Why a charge was rejected, in the format of the database's charging function. Nothing was written.
#[derive(Debug, Clone, PartialEq)]
pub struct ChargeRejection(pub Value);

impl fmt::Display for ChargeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the charge was rejected")
    }
}

/// Prices batches.
pub trait ChargePolicy: Send + Sync {
    /// Returns the charge for the events that a batch's commands produced; `None` if they cost nothing.
    ///
    /// # Errors
    /// The rejection, if it is known without asking the database.
    fn price(&self, events: &[&Event]) -> Result<Option<AppendCharge>, ChargeRejection>;

    /// Called after an append with this charge has committed.
    fn committed(&self, charge: &AppendCharge);

    /// Called after the database has rejected this charge.
    fn rejected(&self, charge: &AppendCharge, rejection: &ChargeRejection);
}
