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
    catalogue.available().into_iter().map(|offered| offered.name).collect()
}

fn choice(catalogue: &Catalogue, provider: &str, requested: Option<&str>) -> (String, bool) {
    let choice = catalogue.resolve(provider, requested).unwrap();
    (choice.model, choice.as_requested)
}

#[test]
fn operator_table_is_offered_as_far_as_it_is_served() {
    let both = catalogue(&[("openai", "gpt-mini"), ("groq", "other")], None);
    assert_eq!(names(&both), ["mini", "other", "llama"]);
    assert!(both.offers("gpt-mini") && both.offers("llama") && !both.offers("flash"));
    let first = &both.available()[0];
    assert!(first.default && first.providers == ["openai"]);
}

#[test]
fn allowed_names_narrow_and_extend_the_table() {
    let narrow = catalogue(&[("openai", "gpt-mini"), ("groq", "llama-70b")], Some(&["unlisted", "flash"]));
    assert_eq!(names(&narrow), ["mini", "llama", "unlisted", "flash"]);
    // No provider has a row for either: the first one is called with that name, at an unknown price.
    for name in ["unlisted", "flash"] {
        assert_eq!(choice(&narrow, "openai", Some(name)), (name.to_owned(), true));
        assert_eq!(choice(&narrow, "groq", Some(name)), ("llama-70b".to_owned(), false));
        assert_eq!(narrow.resolve("openai", Some(name)).unwrap().row, None);
    }
}

#[test]
fn built_in_table_offers_only_the_defaults() {
    let servers = [("openai", "gpt-4o-mini".to_owned())];
    let catalogue = Catalogue::new(ModelTable::default(), servers, None);
    assert_eq!(names(&catalogue), ["gpt-4o-mini"]);
    assert!(!catalogue.offers("gpt-4o"));
    assert!(catalogue.resolve("openai", None).unwrap().row.unwrap().price().is_some());
}

#[test]
fn requested_model_is_used_where_served_and_defaults_elsewhere() {
    let chain = catalogue(&[("openai", "gpt-mini"), ("openrouter", "x"), ("groq", "llama-70b")], None);
    let offered = chain.available();
    assert_eq!(offered[0].providers, ["openai", "openrouter"]);
    assert_eq!(choice(&chain, "openrouter", Some("mini")), ("openai/gpt-mini".to_owned(), true));
    assert_eq!(choice(&chain, "groq", Some("mini")), ("llama-70b".to_owned(), false));
    assert_eq!(choice(&chain, "openai", Some("llama")), ("gpt-mini".to_owned(), false));
    assert_eq!(choice(&chain, "groq", None), ("llama-70b".to_owned(), true));
    assert_eq!(chain.resolve("gemini", None), None);
}
