//! What is done to accounts by others than their owners: by administrators over the API, and by whoever runs the service,
//! by command.
//!
//! [`Administration`] is the part that needs no server: commands use it with nothing but the database.

use aggregates::claim::{Claim, ClaimCommand, ClaimError};
use aggregates::ids::UserId;
use aggregates::user::{User, UserCommand};
use aggregates::values::{EmailAddress, Username};
use aggregates::{Personal, Refusal};
use event_store::{CommandBatch, CommandKey, CommandOutcome, ExecuteError, Executor, Metadata};
use projections::users;
use projections::users::query::UserRow;
use serde_json::json;

use super::AccountService;
use crate::app::core::check_range;
use crate::app::{Actor, AppError, Kind, RequestContext};
use crate::audit_log;
use crate::auth::logins::{self, EndReason};
use crate::auth::{NameKeys, ResetToken, Resets, administrators, credentials, resets};
use crate::clock::Clock;

pub use aggregates::user::Role;

/// What needs no server. Cheap to clone.
#[derive(Clone)]
pub struct Administration {
    /// Writes.
    pub executor: Executor,
    /// Keyed hashes.
    pub names: NameKeys,
    /// Tokens that replace a forgotten password.
    pub resets: Resets,
    /// Time and ids.
    pub clock: Clock,
}

/// An account that another system had.
pub struct Imported {
    /// Its address.
    pub email: EmailAddress,
    /// Its name to sign in with.
    pub username: Option<Username>,
    /// A password hash that was found usable; none: the password has to be reset.
    pub hash: Option<String>,
}

/// What became of an account that was to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Import {
    /// It was made.
    Made(UserId),
    /// Its address is registered already.
    EmailTaken,
    /// Its name is somebody else's.
    UsernameTaken,
}

impl Administration {
    /// Who has this address, if anybody does.
    ///
    /// # Errors
    /// `Invalid` for what is no address; those of the log.
    pub async fn find(&self, email: &str) -> Result<Option<UserId>, AppError> {
        let claim = self.names.email_claim(&EmailAddress::parse(email)?.normalised());
        let owner = self.executor.state::<Claim>(&claim).await?.owner();
        let Some(owner) = owner else { return Ok(None) };
        let open = self.executor.state::<User>(&owner.to_string()).await?.is_active();
        Ok(open.then_some(owner))
    }

    /// Settles what a user may do. `by`: the administrator who decides it; none: by command.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when no administrator would be left; those of the log.
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

    /// Makes a token that replaces the user's password, to be handed over by whoever asked for it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn issue_reset(&self, user: UserId) -> Result<ResetToken, AppError> {
        let token = ResetToken::generate().map_err(AppError::internal)?;
        self.resets.keep(&token, user, None).await?;
        audit_log::reset_issued(user, false);
        Ok(token)
    }

    /// Makes an account that another system had.
    ///
    /// # Errors
    /// Those of the log.
    pub async fn import(&self, account: Imported) -> Result<Import, AppError> {
        let (user, at) = (UserId::new(self.clock.id()), self.clock.now());
        let email_claim = self.names.email_claim(&account.email.normalised());
        let username_claim =
            account.username.as_ref().map(|name| self.names.username_claim(&name.normalised()));
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
            Ok(_) => Ok(Import::Made(user)),
            Err(ExecuteError::Rejected(Refusal::Claim(ClaimError::Taken))) => {
                let by_email = self.executor.state::<Claim>(&email_claim).await?.owner().is_some();
                Ok(if by_email { Import::EmailTaken } else { Import::UsernameTaken })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Metadata of events that a command at the server causes.
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

/// A user as administrators see one.
#[derive(Debug, Clone)]
pub struct ManagedUser {
    /// The user.
    pub row: UserRow,
    /// How many logins of theirs are live.
    pub live_logins: usize,
}

impl AccountService {
    fn administration(&self) -> Administration {
        Administration {
            executor: self.core.executor.clone(),
            names: self.core.names.clone(),
            resets: self.resets.clone(),
            clock: self.core.clock.clone(),
        }
    }

    /// Makes sure that the actor has this role, or one above it: as the log has it now, on every request. What a token says
    /// does not matter, and a role that was taken a moment ago on another node does not count here any more.
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

    /// Users behind `after`, and whether there are more.
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

    /// One user, with what concerns administrators.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn managed_user(&self, user: UserId) -> Result<ManagedUser, AppError> {
        let row = self.user(user).await?;
        let live_logins = self.logins.list(user).await?.len();
        Ok(ManagedUser { row, live_logins })
    }

    /// Settles what a user may do.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` role; `Conflict` when no administrator would be left; those of the log.
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
        self.core.catch_up(projections::models::ACCOUNT_MODELS, outcome.position).await;
        let row = self.user(user).await?;
        // What a repetition finds may have been changed again since.
        let role = if outcome.replayed.is_some() { row.role.clone() } else { role.as_str().to_owned() };
        Ok((UserRow { role, ..row }, outcome.position))
    }

    /// Closes somebody's account and ends every login.
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
            .with_write(resets::revoke_all(user))
            .with_write(logins::end_logins(user, EndReason::ByAdministrator, None))
            .with_key(request.key_of(actor.user), json!({"user_id": user}));
        let outcome = self.change_account(batch).await?;
        self.logins.forget(user);
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
