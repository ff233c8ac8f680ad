//! State and decisions of a user.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::{Role, UserCommand, UserError, UserEvent};
use crate::ids::UserId;
use crate::personal::Personal;
use crate::values::{EmailAddress, Username};

/// One registered user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    account: Option<Account>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    user_id: UserId,
    email: Personal<EmailAddress>,
    username: Option<Personal<Username>>,
    role: Role,
    active: bool,
}

impl User {
    /// Returns the user's id, once registered.
    #[must_use]
    pub fn id(&self) -> Option<UserId> {
        self.account.as_ref().map(|account| account.user_id)
    }

    /// Returns the e-mail address.
    #[must_use]
    pub fn email(&self) -> Option<&Personal<EmailAddress>> {
        self.account.as_ref().map(|account| &account.email)
    }

    /// Returns the user name, if there is one.
    #[must_use]
    pub fn username(&self) -> Option<&Personal<Username>> {
        self.account.as_ref().and_then(|account| account.username.as_ref())
    }

    /// Whether the user is registered and the account is active.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.active)
    }

    /// Returns the role; the lowest once the account is deactivated.
    #[must_use]
    pub fn role(&self) -> Role {
        self.account.as_ref().filter(|account| account.active).map_or(Role::User, |account| account.role)
    }

    /// Returns the approximate size of the state in memory, for a cache bounded by bytes.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        let text = |account: &Account| {
            let email = account.email.as_ref().known().map_or(0, |email| email.as_str().len());
            let name = account.username.as_ref().and_then(|name| name.as_ref().known());
            email + name.map_or(0, |name| name.as_str().len())
        };
        size_of::<Self>() + self.account.as_ref().map_or(0, text)
    }
}

/// Returns the events that `command` leads to in `state`. Pure: equal arguments give equal results.
///
/// A repeated command adds no events, except [`UserCommand::ChangePassword`]: the state does not know the
/// password, so each one is recorded. Idempotency keys make a request count once.
///
/// # Errors
/// Returns the rejection if the command is not allowed in this state.
pub fn decide(state: &User, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
    match command {
        UserCommand::Register { user_id, email, username, at } => match &state.account {
            None => Ok(vec![UserEvent::UserRegistered { user_id, email, username, at }]),
            Some(account) if !account.active => Err(UserError::Deactivated),
            Some(account)
                if account.user_id == user_id && account.email == email && account.username == username =>
            {
                Ok(Vec::new())
            }
            Some(_) => Err(UserError::AlreadyRegistered),
        },
        UserCommand::ChangePassword { at } => {
            let account = open(state)?;
            Ok(vec![UserEvent::PasswordChanged { user_id: account.user_id, at }])
        }
        UserCommand::ChangeEmail { from, to, at } => {
            let account = open(state)?;
            if account.email == to {
                return Ok(Vec::new());
            }
            if account.email != from {
                return Err(UserError::ChangedMeanwhile);
            }
            Ok(vec![UserEvent::EmailChanged { user_id: account.user_id, email: to, at }])
        }
        UserCommand::ChangeUsername { from, to, at } => {
            let account = open(state)?;
            if account.username.as_ref() == Some(&to) {
                return Ok(Vec::new());
            }
            if account.username != from {
                return Err(UserError::ChangedMeanwhile);
            }
            Ok(vec![UserEvent::UsernameChanged { user_id: account.user_id, username: to, at }])
        }
        UserCommand::GrantRole { role, by, at } => {
            let account = open(state)?;
            if account.role == role {
                return Ok(Vec::new());
            }
            Ok(vec![UserEvent::RoleGranted { user_id: account.user_id, role, by, at }])
        }
        UserCommand::Deactivate { at } => {
            let account = state.account.as_ref().ok_or(UserError::NotRegistered)?;
            if !account.active {
                return Ok(Vec::new());
            }
            Ok(vec![UserEvent::UserDeactivated { user_id: account.user_id, at }])
        }
    }
}

/// Returns the account if there is one and it is active.
fn open(state: &User) -> Result<&Account, UserError> {
    let account = state.account.as_ref().ok_or(UserError::NotRegistered)?;
    if account.active { Ok(account) } else { Err(UserError::Deactivated) }
}

impl Aggregate for User {
    const TYPE: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = UserError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in decide(self, command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        if let UserEvent::UserRegistered { user_id, email, username, at: _ } = event {
            self.account = Some(Account { user_id, email, username, role: Role::User, active: true });
            return;
        }
        let Some(account) = &mut self.account else { return };
        match event {
            UserEvent::UserRegistered { .. } | UserEvent::PasswordChanged { .. } => {}
            UserEvent::EmailChanged { email, .. } => account.email = email,
            UserEvent::UsernameChanged { username, .. } => account.username = Some(username),
            UserEvent::RoleGranted { role, .. } => account.role = role,
            UserEvent::UserDeactivated { .. } => account.active = false,
        }
    }
}
