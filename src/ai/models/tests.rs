use super::*;

#[test]
fn built_in_table_is_valid_and_has_every_default_model() {
    let table = ModelTable::default();
    assert!(table.rows.len() > 10 && !table.own);
    for service in service::SERVICES {
        let own = |row: &&ModelRow| row.provider == service.name && row.model == service.model;
        let row = table.rows.iter().find(own).unwrap_or_else(|| panic!("{}", service.name));
        assert!(row.price().is_some() && row.context_window.is_some(), "{row:?}");
    }
    assert!(table.rows.iter().all(|row| row.price().is_some_and(|price| price.prompt < 1_000_000_000)));
}

#[test]
fn operator_table_is_parsed_and_errors_are_named() {
    let good = r#"[{"name": "fast", "provider": "groq", "model": "llama-3.1-8b-instant"}]"#;
    let table = ModelTable::parse(good).unwrap();
    assert_eq!((table.rows[0].price(), table.own), (None, true));
    let row = |more: &str| format!(r#"[{{"name": "a", "provider": "groq", "model": "b"{more}}}]"#);
    for (text, says) in [
        ("{}".to_owned(), "expected a sequence"),
        (row(r#", "x": 1"#), "unknown field"),
        (row(r#", "prompt_price": 1"#), "only one of `prompt_price`"),
        (row(r#", "prompt_price": -1, "completion_price": 1"#), "invalid value"),
        (row(r#", "context_window": 0"#), "zero tokens"),
        (row("").replace("groq", "grok"), "the provider must be one of openai, openrouter, groq, gemini"),
        (row("").replace("\"a\"", "\"a b\""), "model 1 has a `name`"),
        (format!("[{0}, {0}]", row("").trim_matches(['[', ']'])), "twice"),
    ] {
        let refused = ModelTable::parse(&text).unwrap_err();
        assert!(refused.contains(says), "{text}: {refused}");
    }
}
