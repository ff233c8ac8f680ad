//! Administration of accounts, by administrators through the API and by operators at the command line.
//!
//! [`Administration`] needs only the database, so the command line uses it without a server.

use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::ids::UserId;
use aggregates::user::{User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use aggregates::{Personal, Rejection};
use event_store::{CommandBatch, CommandKey, CommandOutcome, ExecuteError, Executor, Metadata};
use projections::users;
use projections::users::query::UserRow;
use serde_json::json;

use super::AccountService;
use crate::app::core::check_range;
use crate::app::{Actor, AppError, Kind, RequestContext};
use crate::audit_log;
use crate::auth::logins::{self, EndReason};
use crate::auth::{KeyedHasher, PasswordResets, ResetToken, administrators, credentials, password_resets};
use crate::clock::Clock;

pub use aggregates::user::Role;

/// The part that needs no server. Cheap to clone.
#[derive(Clone)]
pub struct Administration {
    /// Runs commands.
    pub executor: Executor,
    /// Keyed hashes.
    pub hasher: KeyedHasher,
    /// Tokens that replace a forgotten password.
    pub resets: PasswordResets,
    /// Time and ids.
    pub clock: Clock,
}

/// An account to import from another system.
pub struct Imported {
    /// E-mail address.
    pub email: EmailAddress,
    /// User name, if it has one.
    pub username: Option<Username>,
    /// A usable password hash; `None`: the user must reset the password.
    pub hash: Option<String>,
}

/// Result of importing an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Import {
    /// The account was created.
    Created(UserId),
    /// The address is already registered.
    EmailTaken,
    /// The user name is taken.
    UsernameTaken,
}

impl Administration {
    /// Returns the active user with this address.
    ///
    /// # Errors
    /// `Invalid` address; those of the log.
    pub async fn find(&self, email: &str) -> Result<Option<UserId>, AppError> {
        let claim = self.hasher.email_claim(&EmailAddress::parse(email)?.normalised());
        let owner = self.executor.state::<Claim>(&claim).await?.owner();
        let Some(owner) = owner else { return Ok(None) };
        let open = self.executor.state::<User>(&owner.to_string()).await?.is_active();
        Ok(open.then_some(owner))
    }

    /// Grants a role; `by` is the administrator, or `None` at the command line.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for the last administrator; those of the log.
    pub async fn grant(
        &self,
        user: UserId,
        role: Role,
        by: Option<UserId>,
        metadata: Metadata,
        key: Option<CommandKey>,
    ) -> Result<CommandOutcome, AppError> {
        let batch = CommandBatch::new(user.uuid(), metadata)
            .command::<User>(user, UserCommand::GrantRole { role, by, at: self.clock.now() })
            .with_write(administrators::set(user, role == Role::Admin))
            .with_key(key, json!({"user_id": user}));
        let outcome = self.executor.run(batch).await?;
        if outcome.position.is_some() && outcome.replayed.is_none() {
            audit_log::role_granted(user, role, by);
        }
        Ok(outcome)
    }

    /// Issues a password-reset token, which the operator passes on to the user.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn issue_reset(&self, user: UserId) -> Result<ResetToken, AppError> {
        let token = ResetToken::generate().map_err(AppError::internal)?;
        self.resets.store(&token, user, None).await?;
        audit_log::reset_issued(user, false);
        Ok(token)
    }

    /// Imports an account.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn import(&self, account: Imported) -> Result<Import, AppError> {
        let (user, at) = (UserId::new(self.clock.id()), self.clock.now());
        let email_claim = self.hasher.email_claim(&account.email.normalised());
        let username_claim =
            account.username.as_ref().map(|name| self.hasher.username_claim(&name.normalised()));
        let claims = std::iter::once(&email_claim).chain(&username_claim);
        let mut batch = claims.fold(CommandBatch::new(user.uuid(), self.by_command()), |batch, claim| {
            batch.command::<Claim>(claim, ClaimCommand::Take { owner: user, at })
        });
        batch = batch.command::<User>(
            user,
            UserCommand::Register {
                user_id: user,
                email: Personal::Known(account.email),
                username: account.username.map(Personal::Known),
                at,
            },
        );
        if let Some(hash) = account.hash {
            batch = batch.with_write(credentials::set_hash(user, &hash));
        }
        match self.executor.run(batch).await {
            Ok(_) => Ok(Import::Created(user)),
            Err(ExecuteError::Rejected(Rejection::Claim(ClaimError::Taken))) => {
                let by_email = self.executor.state::<Claim>(&email_claim).await?.owner().is_some();
                Ok(if by_email { Import::EmailTaken } else { Import::UsernameTaken })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the metadata of events that the command line causes.
    #[must_use]
    pub fn by_command(&self) -> Metadata {
        Metadata {
            surface: "command".to_owned(),
            occurred_at: Some(self.clock.now()),
            app_version: crate::VERSION.to_owned(),
            ..Metadata::default()
        }
    }
}

/// A user, as administrators see it.
#[derive(Debug, Clone)]
pub struct ManagedUser {
    /// The user.
    pub row: UserRow,
    /// Number of live logins.
    pub live_logins: usize,
}

impl AccountService {
    fn administration(&self) -> Administration {
        Administration {
            executor: self.core.executor.clone(),
            hasher: self.core.hasher.clone(),
            resets: self.resets.clone(),
            clock: self.core.clock.clone(),
        }
    }

    /// Requires that the actor has this role or a higher one. Reads it from the log with every request, so that a revoked
    /// role has no effect any more, on any node.
    ///
    /// # Errors
    /// `Forbidden`; those of the log.
    pub async fn require(&self, actor: Actor, role: Role) -> Result<(), AppError> {
        let held = self.core.executor.state::<User>(&actor.user.to_string()).await?.role();
        if held >= role {
            return Ok(());
        }
        audit_log::access_denied(actor.user, role);
        Err(AppError::forbidden())
    }

    /// Returns a page of users after `after`, and whether there are more.
    ///
    /// # Errors
    /// `Invalid` limit; the database's.
    pub async fn users_page(
        &self,
        after: Option<UserId>,
        limit: i64,
    ) -> Result<(Vec<UserRow>, bool), AppError> {
        check_range("limit", limit, 1..=100)?;
        let mut rows =
            users::query::page(&self.core.pool, after.map(UserId::uuid), limit.saturating_add(1)).await?;
        let wanted = usize::try_from(limit).unwrap_or_default();
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        Ok((rows, more))
    }

    /// Returns a user, as administrators see it.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn managed_user(&self, user: UserId) -> Result<ManagedUser, AppError> {
        let row = self.user(user).await?;
        let live_logins = self.logins.list(user).await?.len();
        Ok(ManagedUser { row, live_logins })
    }

    /// Grants a role to a user.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` role; `Conflict` for the last administrator; those of the log.
    pub async fn grant_role(
        &self,
        request: &RequestContext,
        actor: Actor,
        user: UserId,
        role: &str,
    ) -> Result<(UserRow, Option<i64>), AppError> {
        let role = Role::named(role).ok_or_else(|| {
            AppError::new(Kind::Invalid, "unknown_role", "The role must be user, auditor or admin.")
        })?;
        let metadata = request.metadata(Some(actor.user), &self.core.clock);
        let key = request.key_of(actor.user);
        let outcome = self.administration().grant(user, role, Some(actor.user), metadata, key).await?;
        self.core.catch_up(projections::registry::ACCOUNT_MODELS, outcome.position).await;
        let row = self.user(user).await?;
        // After a repetition the role may have been changed again.
        let role = if outcome.replayed.is_some() { row.role.clone() } else { role.as_str().to_owned() };
        Ok((UserRow { role, ..row }, outcome.position))
    }

    /// Closes a user's account and ends every login.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` for the last administrator; those of the log.
    pub async fn deactivate_user(
        &self,
        request: &RequestContext,
        actor: Actor,
        user: UserId,
    ) -> Result<Option<i64>, AppError> {
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<User>(user, UserCommand::Deactivate { at: self.core.clock.now() })
            .with_write(administrators::set(user, false))
            .with_write(password_resets::revoke_all(user))
            .with_write(logins::end_logins(user, EndReason::ByAdministrator, None))
            .with_key(request.key_of(actor.user), json!({"user_id": user}));
        let outcome = self.change_account(batch).await?;
        self.logins.invalidate(user);
        audit_log::account_closed(user, actor.user);
        Ok(outcome.position)
    }

    /// Ends every login of a user.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn end_logins_of(&self, actor: Actor, user: UserId) -> Result<(), AppError> {
        self.user(user).await?;
        self.logins.end_all(user, EndReason::ByAdministrator, None).await?;
        audit_log::logins_ended(user, actor.user);
        Ok(())
    }
}
