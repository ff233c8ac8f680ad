//! Writes of other modules that join the append's transaction.

use serde_json::{Map, Value, json};

/// A call of an SQL function of the schema `transactional_writes`, made in the append's transaction.
///
/// The module that owns the written rows supplies both the SQL function and the constructor of the call. The function may
/// also check a condition and raise an error of its own, which fails the append with
/// [`ExecuteError::ConditionFailed`](crate::ExecuteError::ConditionFailed).
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionalWrite {
    function: &'static str,
    arguments: Map<String, Value>,
}

impl TransactionalWrite {
    /// Creates a call of `function` with named `arguments`.
    pub fn new<const N: usize>(function: &'static str, arguments: [(&'static str, Value); N]) -> Self {
        let arguments = arguments.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { function, arguments }
    }

    /// Encodes the call for the append function.
    pub fn to_json(&self) -> Value {
        json!({"function": self.function, "arguments": self.arguments})
    }
}
