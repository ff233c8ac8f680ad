//! Which models clients may request, and which model each provider of the chain then uses.

use super::{ModelRow, ModelTable};

/// A provider of the chain and its default model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProviderDefault {
    provider: &'static str,
    /// Model for requests that name none, or one that the provider does not serve.
    model: String,
}

/// A model that clients may request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailableModel {
    /// Name for clients.
    pub name: String,
    /// Providers that serve the model, in the order of calling.
    pub providers: Vec<&'static str>,
    /// Table row for the first provider.
    pub row: Option<ModelRow>,
    /// Whether the model is used for requests that name none.
    pub default: bool,
}

/// The model that one provider uses for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChoice {
    /// The provider's name for the model.
    pub model: String,
    /// Table row of the model.
    pub row: Option<ModelRow>,
    /// Whether this is the requested model, or none was requested.
    pub as_requested: bool,
}

/// The models of a chain of providers.
#[derive(Debug, Clone)]
pub struct Catalogue {
    table: ModelTable,
    servers: Vec<ProviderDefault>,
    /// Names that may be requested, in order.
    names: Vec<String>,
}

impl Catalogue {
    /// Creates the catalogue of these providers and their default models, in the order of calling. `allowed` are the names that
    /// the operator allows; by default those of the operator's table, if there is one. The providers' defaults are always
    /// allowed.
    pub fn new(
        table: ModelTable,
        servers: impl IntoIterator<Item = (&'static str, String)>,
        allowed: Option<Vec<String>>,
    ) -> Self {
        let servers: Vec<ProviderDefault> =
            servers.into_iter().map(|(provider, model)| ProviderDefault { provider, model }).collect();
        let mut this = Self { table, servers, names: Vec::new() };
        let defaults = this.servers.iter().map(|server| match this.row_of_model(server) {
            Some(row) => row.name.clone(),
            None => server.model.clone(),
        });
        let mut names: Vec<String> = defaults.collect();
        match allowed {
            Some(allowed) => names.extend(allowed),
            None if this.table.own => {
                let served = |row: &&ModelRow| this.servers.iter().any(|s| s.provider == row.provider);
                names.extend(this.table.rows.iter().filter(served).map(|row| row.name.clone()));
            }
            // The built-in table lists prices; it does not allow requests.
            None => {}
        }
        for name in names {
            if !this.names.contains(&name) {
                this.names.push(name);
            }
        }
        this
    }

    /// Returns whether a model may be requested, by its name or by a provider's name for its default.
    #[must_use]
    pub fn offers(&self, name: &str) -> bool {
        self.names.iter().any(|offered| offered == name)
            || self.servers.iter().any(|server| server.model == name)
    }

    /// Returns all models that may be requested, the default first.
    #[must_use]
    pub fn available(&self) -> Vec<AvailableModel> {
        let default = self.names.first();
        let offered = self.names.iter().map(|name| {
            let serving: Vec<&ProviderDefault> =
                self.servers.iter().filter(|server| self.serves(server, name)).collect();
            let providers: Vec<&'static str> = serving.iter().map(|server| server.provider).collect();
            let row = serving.first().and_then(|server| self.row(server, name)).cloned();
            AvailableModel { name: name.clone(), providers, row, default: Some(name) == default }
        });
        offered.collect()
    }

    /// Returns the model that `provider` uses when a client requests `requested`, or none in particular.
    #[must_use]
    pub fn resolve(&self, provider: &str, requested: Option<&str>) -> Option<ModelChoice> {
        let server = self.servers.iter().find(|server| server.provider == provider)?;
        let own = || (server.model.clone(), self.row_of_model(server).cloned());
        let (model, row, as_requested) = match requested {
            None => {
                let (model, row) = own();
                (model, row, true)
            }
            Some(name) if self.serves(server, name) => match self.row(server, name) {
                Some(row) => (row.model.clone(), Some(row.clone()), true),
                None => (name.to_owned(), None, true),
            },
            Some(_) => {
                let (model, row) = own();
                (model, row, false)
            }
        };
        Some(ModelChoice { model, row, as_requested })
    }

    /// Returns whether a provider serves a model. The first one serves models that are in no row.
    fn serves(&self, server: &ProviderDefault, name: &str) -> bool {
        if self.servers.iter().any(|server| self.row(server, name).is_some() || server.model == name) {
            return self.row(server, name).is_some() || server.model == name;
        }
        self.servers.first() == Some(server)
    }

    fn row(&self, server: &ProviderDefault, name: &str) -> Option<&ModelRow> {
        let at = |row: &&ModelRow| row.provider == server.provider;
        let named = self.table.rows.iter().filter(at).find(|row| row.name == name);
        // The default may also be requested by the provider's own name.
        named.or_else(|| (server.model == name).then(|| self.row_of_model(server)).flatten())
    }

    fn row_of_model(&self, server: &ProviderDefault) -> Option<&ModelRow> {
        self.table.rows.iter().find(|row| row.provider == server.provider && row.model == server.model)
    }
}

#[cfg(test)]
mod tests;
