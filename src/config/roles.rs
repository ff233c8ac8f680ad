//! Roles of a process. By default it has all; larger deployments run one kind per process.

use super::error::ConfigError;
use super::reader::{Reader, invalid};

/// A role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Serves the API. Without it only health and readiness are served.
    Api,
    /// Makes replies, and ends those past their deadline.
    Worker,
    /// Relays the log to NATS.
    Relay,
    /// Runs the projections.
    Project,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Api, Self::Worker, Self::Relay, Self::Project];

    /// Returns the name in `ROLES`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Relay => "relay",
            Self::Project => "project",
        }
    }
}

/// The roles of one process; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Returns a set with only this role.
    pub fn only(role: Role) -> Self {
        Self(vec![role])
    }

    /// Returns whether the process has this role.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Returns whether the process has all roles.
    pub fn is_all(&self) -> bool {
        Role::ALL.iter().all(|role| self.has(*role))
    }

    pub(super) fn read(reader: &mut Reader<'_>, embedded: bool) -> Result<Self, ConfigError> {
        const NAME: &str = "ROLES";
        const EXPECTED: &str = "a list of api, worker, relay and project, with commas between";
        let show = |roles: &Self| roles.0.iter().map(|role| role.name()).collect::<Vec<_>>().join(",");
        let roles = reader.parsed(NAME, Self(Role::ALL.to_vec()), EXPECTED, show, |text| {
            let named = |name: &str| Role::ALL.into_iter().find(|role| role.name() == name.trim());
            let mut roles = text.split(',').map(named).collect::<Option<Vec<_>>>()?;
            roles.sort_unstable();
            roles.dedup();
            Some(Self(roles))
        })?;
        if embedded && !roles.is_all() {
            let expected =
                "all of api, worker, relay and project without DATABASE_URL: the private server has one user";
            return Err(invalid(NAME, &show(&roles), expected));
        }
        Ok(roles)
    }
}
