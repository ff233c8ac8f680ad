//! Which models may be asked for, and what becomes of a wish at each provider of the chain.

use super::{ModelRow, ModelTable};

/// A provider of the chain, as far as models are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Server {
    provider: &'static str,
    /// The model that it is asked for when it does not serve the one wished for.
    model: String,
}

/// A model that may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// What clients ask for.
    pub name: String,
    /// Who is asked for it, in that order.
    pub providers: Vec<&'static str>,
    /// The row of the first of them.
    pub row: Option<ModelRow>,
    /// It is what is asked for when nobody wishes for anything.
    pub default: bool,
}

/// What one provider is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// In the provider's own words.
    pub model: String,
    /// What is known of it.
    pub row: Option<ModelRow>,
    /// It is what was wished for, or nothing was.
    pub as_wished: bool,
}

/// The models of a chain of providers.
#[derive(Debug, Clone)]
pub struct Catalogue {
    table: ModelTable,
    servers: Vec<Server>,
    /// The names that may be asked for, in order.
    names: Vec<String>,
}

impl Catalogue {
    /// The models of these providers, each with its own default, in the order in which they are asked. `allowed` are the
    /// names that the operator allows; none: those of the operator's table, if there is one. The providers' defaults may
    /// always be asked for.
    pub fn new(
        table: ModelTable,
        servers: impl IntoIterator<Item = (&'static str, String)>,
        allowed: Option<Vec<String>>,
    ) -> Self {
        let servers: Vec<Server> =
            servers.into_iter().map(|(provider, model)| Server { provider, model }).collect();
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
            // The built-in table says what models cost, not that anybody may ask for them.
            None => {}
        }
        for name in names {
            if !this.names.contains(&name) {
                this.names.push(name);
            }
        }
        this
    }

    /// Whether this may be asked for: by its name, or by what a provider calls its default.
    #[must_use]
    pub fn offers(&self, name: &str) -> bool {
        self.names.iter().any(|offered| offered == name)
            || self.servers.iter().any(|server| server.model == name)
    }

    /// Everything that may be asked for; the default comes first.
    #[must_use]
    pub fn offered(&self) -> Vec<Offered> {
        let default = self.names.first();
        let offered = self.names.iter().map(|name| {
            let serving: Vec<&Server> =
                self.servers.iter().filter(|server| self.serves(server, name)).collect();
            let providers: Vec<&'static str> = serving.iter().map(|server| server.provider).collect();
            let row = serving.first().and_then(|server| self.row(server, name)).cloned();
            Offered { name: name.clone(), providers, row, default: Some(name) == default }
        });
        offered.collect()
    }

    /// What `provider` is asked for when somebody wishes for `wish`, or for nothing in particular.
    #[must_use]
    pub fn asked(&self, provider: &str, wish: Option<&str>) -> Option<Asked> {
        let server = self.servers.iter().find(|server| server.provider == provider)?;
        let own = || (server.model.clone(), self.row_of_model(server).cloned());
        let (model, row, as_wished) = match wish {
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
        Some(Asked { model, row, as_wished })
    }

    /// Whether a provider has what is wished for. What nobody in the table has is asked of the first one.
    fn serves(&self, server: &Server, name: &str) -> bool {
        if self.servers.iter().any(|server| self.row(server, name).is_some() || server.model == name) {
            return self.row(server, name).is_some() || server.model == name;
        }
        self.servers.first() == Some(server)
    }

    fn row(&self, server: &Server, name: &str) -> Option<&ModelRow> {
        let at = |row: &&ModelRow| row.provider == server.provider;
        let named = self.table.rows.iter().filter(at).find(|row| row.name == name);
        // The default may also be asked for by what the provider calls it.
        named.or_else(|| (server.model == name).then(|| self.row_of_model(server)).flatten())
    }

    fn row_of_model(&self, server: &Server) -> Option<&ModelRow> {
        self.table.rows.iter().find(|row| row.provider == server.provider && row.model == server.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ModelTable {
        let row = |name: &str, provider: &str, model: &str| {
            format!(
                r#"{{"name": "{name}", "provider": "{provider}", "model": "{model}", "prompt_price": 1, "completion_price": 2}}"#
            )
        };
        let rows = [
            row("mini", "openai", "gpt-mini"),
            row("mini", "openrouter", "openai/gpt-mini"),
            row("llama", "groq", "llama-70b"),
            row("flash", "gemini", "gemini-flash"),
        ];
        ModelTable::parse(&format!("[{}]", rows.join(","))).unwrap()
    }

    fn catalogue(servers: &[(&'static str, &str)], allowed: Option<&[&str]>) -> Catalogue {
        let servers = servers.iter().map(|(provider, model)| (*provider, (*model).to_owned()));
        let allowed = allowed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        Catalogue::new(table(), servers, allowed)
    }

    fn names(catalogue: &Catalogue) -> Vec<String> {
        catalogue.offered().into_iter().map(|offered| offered.name).collect()
    }

    fn asked(catalogue: &Catalogue, provider: &str, wish: Option<&str>) -> (String, bool) {
        let asked = catalogue.asked(provider, wish).unwrap();
        (asked.model, asked.as_wished)
    }

    #[test]
    fn an_operators_table_may_be_asked_for_as_far_as_it_is_served() {
        let both = catalogue(&[("openai", "gpt-mini"), ("groq", "other")], None);
        assert_eq!(names(&both), ["mini", "other", "llama"]);
        assert!(both.offers("gpt-mini") && both.offers("llama") && !both.offers("flash"));
        let first = &both.offered()[0];
        assert!(first.default && first.providers == ["openai"]);
    }

    #[test]
    fn allowed_names_narrow_the_table_and_may_stand_outside_of_it() {
        let narrow =
            catalogue(&[("openai", "gpt-mini"), ("groq", "llama-70b")], Some(&["unlisted", "flash"]));
        assert_eq!(names(&narrow), ["mini", "llama", "unlisted", "flash"]);
        // Nobody in the chain has a row for either: the first one is asked, by that name, at no known price.
        for name in ["unlisted", "flash"] {
            assert_eq!(asked(&narrow, "openai", Some(name)), (name.to_owned(), true));
            assert_eq!(asked(&narrow, "groq", Some(name)), ("llama-70b".to_owned(), false));
            assert_eq!(narrow.asked("openai", Some(name)).unwrap().row, None);
        }
    }

    #[test]
    fn the_built_in_table_alone_offers_nothing_but_the_defaults() {
        let servers = [("openai", "gpt-4o-mini".to_owned())];
        let catalogue = Catalogue::new(ModelTable::default(), servers, None);
        assert_eq!(names(&catalogue), ["gpt-4o-mini"]);
        assert!(!catalogue.offers("gpt-4o"));
        assert!(catalogue.asked("openai", None).unwrap().row.unwrap().price().is_some());
    }

    #[test]
    fn a_wish_is_for_those_who_serve_it_and_the_others_give_their_own() {
        let chain = catalogue(&[("openai", "gpt-mini"), ("openrouter", "x"), ("groq", "llama-70b")], None);
        let offered = chain.offered();
        assert_eq!(offered[0].providers, ["openai", "openrouter"]);
        assert_eq!(asked(&chain, "openrouter", Some("mini")), ("openai/gpt-mini".to_owned(), true));
        assert_eq!(asked(&chain, "groq", Some("mini")), ("llama-70b".to_owned(), false));
        assert_eq!(asked(&chain, "openai", Some("llama")), ("gpt-mini".to_owned(), false));
        assert_eq!(asked(&chain, "groq", None), ("llama-70b".to_owned(), true));
        assert_eq!(chain.asked("gemini", None), None);
    }
}
