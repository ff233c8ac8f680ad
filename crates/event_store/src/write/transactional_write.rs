//! Writes of other modules that join the append's transaction.

use serde_json::{Map, Value};

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
        let mut row = self.arguments.clone();
        let kind = match self.function {
            "user_key_insert" => "user_key",
            "data_key_insert" => "data_key",
            "credential_check" => "credential_seen",
            "credential_set" => "credential",
            "logins_end" => "logins_end_all",
            "administrator_set" => match row.remove("is_administrator") {
                Some(Value::Bool(true)) => "administrator_add",
                _ => "administrator_remove",
            },
            "password_reset_use" => "reset_spend",
            "password_resets_revoke" => "resets_void",
            "sign_in_failures_reset" => "failures_forget",
            "mail_enqueue" => {
                let kind = row.remove("kind").unwrap_or_default();
                row.insert("mail_kind".to_owned(), kind);
                "mail"
            }
            function => function,
        };
        row.insert("kind".to_owned(), kind.into());
        row.into()
    }
}
