//! Order, models and circuits of the chain.

use futures::StreamExt as _;
use futures::stream;

use super::*;
use crate::ai::{Completion, Finish, Parameters, Purpose, StreamEvent, TokenUsage};

/// A provider with one fixed result.
struct Fake {
    name: &'static str,
    says: Result<(), ProviderError>,
}

impl Provider for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn model(&self) -> &'static str {
        "own"
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }

    fn parameters(&self, _: &Prompt) -> Map<String, Value> {
        Map::new()
    }

    fn stream(&self, prompt: Prompt) -> StreamEvents {
        let end = Completion {
            finish: Finish::Stop,
            usage: Some(TokenUsage { prompt_tokens: 3, completion_tokens: 4 }),
            model: prompt.model.unwrap_or_default(),
            provider_reply_id: None,
        };
        let said = self.says.clone().map(|()| StreamEvent::Text("Hi".to_owned()));
        let end = self.says.is_ok().then_some(Ok(StreamEvent::End(end)));
        stream::iter([said].into_iter().chain(end)).boxed()
    }
}

const CIRCUIT: CircuitSettings =
    CircuitSettings { failures: Some(2), probe_every: Duration::from_secs(3600) };

fn fails() -> Result<(), ProviderError> {
    Err(ProviderError::unavailable(Some(500)))
}

fn chain(links: &[(&'static str, u32, Result<(), ProviderError>)]) -> Chain {
    chain_with(links, CIRCUIT)
}

fn chain_with(links: &[(&'static str, u32, Result<(), ProviderError>)], circuit: CircuitSettings) -> Chain {
    let mut servers: Vec<(&'static str, String)> = Vec::new();
    for (name, _, _) in links {
        if servers.iter().all(|(known, _)| known != name) {
            servers.push((name, format!("{name}-own")));
        }
    }
    let table = crate::ai::ModelTable::parse(
        r#"[{"name": "llama", "provider": "groq", "model": "llama-70b", "prompt_price": 5, "completion_price": 7,
             "max_output_tokens": 100}]"#,
    );
    let links = links.iter().map(|(name, key, says)| ChainEntry {
        provider: Arc::new(Fake { name, says: says.clone() }) as Arc<dyn Provider>,
        key: Some(*key),
    });
    Chain::new(links.collect(), Catalogue::new(table.unwrap(), servers, None), circuit)
}

fn order(chain: &Chain, wish: Option<&str>, reply: u128) -> Vec<(&'static str, u32)> {
    let candidates = chain.candidates(wish, Uuid::from_u128(reply));
    candidates.into_iter().map(|one| (one.provider, one.key.unwrap())).collect()
}

fn prompt() -> Prompt {
    Prompt {
        model: None,
        system: String::new(),
        turns: Vec::new(),
        parameters: Parameters { max_output_tokens: 500, temperature: None },
        tools: Vec::new(),
        tool_choice: None,
        purpose: Purpose::Reply,
        attempt: 1,
        reply: Uuid::nil(),
    }
}

#[test]
fn keys_rotate_by_reply_and_providers_keep_their_order() {
    let chain = chain(&[("openai", 1, Ok(())), ("openrouter", 1, Ok(())), ("openrouter", 2, Ok(()))]);
    assert_eq!(order(&chain, None, 2), [("openai", 1), ("openrouter", 1), ("openrouter", 2)]);
    assert_eq!(order(&chain, None, 3), [("openai", 1), ("openrouter", 2), ("openrouter", 1)]);
}

#[test]
fn provider_that_serves_the_requested_model_comes_first_at_its_price() {
    let chain = chain(&[("openai", 1, Ok(())), ("groq", 1, Ok(()))]);
    assert_eq!(order(&chain, Some("llama"), 0), [("groq", 1), ("openai", 1)]);
    let choice = chain.choose(1, Some("llama")).unwrap();
    let prompt = choice.prompt(prompt());
    assert_eq!((prompt.model.as_deref(), prompt.parameters.max_output_tokens), (Some("llama-70b"), 100));
    let parameters = Value::Object(choice.parameters(&prompt));
    assert_eq!(parameters, json!({"key": 1, "price": {"prompt": 5, "completion": 7}}));
    let other = chain.choose(0, Some("llama")).unwrap();
    assert_eq!((other.model(), Value::Object(other.parameters(&prompt))), ("openai-own", json!({"key": 1})));
}

#[tokio::test]
async fn failing_provider_is_skipped_and_reports_its_state() {
    let chain = chain(&[("openai", 1, fails()), ("groq", 1, Ok(()))]);
    let call = async |index: usize| {
        let choice = chain.choose(index, None).unwrap();
        choice.stream(choice.prompt(prompt())).collect::<Vec<_>>().await
    };
    assert_eq!(chain.first(None, Uuid::nil()).unwrap().provider(), "openai");
    for _ in 0..2 {
        assert_eq!(call(0).await.len(), 1);
    }
    assert_eq!(chain.first(None, Uuid::nil()).unwrap().provider(), "groq");
    let candidates = chain.candidates(None, Uuid::nil());
    assert!(candidates[0].opens_in.is_some() && candidates[1].opens_in.is_none());
    let standing = chain.standing();
    assert_eq!((standing[0].open, standing[0].trouble), (true, Some("provider_unavailable")));
    assert_eq!((standing[1].open, standing[1].trouble), (false, None));
}

#[tokio::test]
async fn background_call_takes_no_probe() {
    let chain =
        chain_with(&[("openai", 1, fails())], CircuitSettings { probe_every: Duration::ZERO, ..CIRCUIT });
    for _ in 0..2 {
        chain.choose(0, None).unwrap().stream(prompt()).for_each(|_| async {}).await;
    }
    assert_eq!(chain.candidates(None, Uuid::nil())[0].opens_in, Some(Duration::ZERO), "a probe is due");
    assert!(chain.first(None, Uuid::nil()).is_none());
    assert!(chain.choose(0, None).unwrap().admits());
}

#[tokio::test]
async fn dropped_call_records_nothing() {
    let chain = chain(&[("openai", 1, fails())]);
    for _ in 0..10 {
        let choice = chain.choose(0, None).unwrap();
        drop(choice.stream(prompt()));
    }
    assert!(!chain.standing()[0].open);
}

#[tokio::test]
async fn failure_caused_by_the_question_opens_no_circuit() {
    let chain = chain(&[("openai", 1, Err(ProviderError::ContextTooLong))]);
    for _ in 0..10 {
        let choice = chain.choose(0, None).unwrap();
        choice.stream(prompt()).for_each(|_| async {}).await;
    }
    assert_eq!(
        chain.standing()[0],
        ProviderStanding { provider: "openai", key: Some(1), open: false, trouble: None }
    );
}

#[test]
fn calls_are_counted_by_provider_without_text_in_labels() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let chain = chain(&[("openai", 1, fails()), ("groq", 2, Ok(()))]);
        for index in [0, 0, 1] {
            let choice = chain.choose(index, None).unwrap();
            let _events: Vec<_> =
                futures::executor::block_on_stream(choice.stream(choice.prompt(prompt()))).collect();
        }
    });
    let shown = handle.render();
    for line in [
        "verbatim_provider_failures_total{provider=\"openai\",code=\"provider_unavailable\"} 2",
        "verbatim_provider_circuit_open{provider=\"openai\",key=\"1\"} 1",
        "verbatim_provider_circuit_open{provider=\"groq\",key=\"2\"} 0",
        "verbatim_provider_answers_total{provider=\"groq\"} 1",
        "verbatim_provider_tokens_total{provider=\"groq\",kind=\"completion\"} 4",
        "verbatim_provider_first_token_seconds_count{provider=\"groq\"} 1",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
}
