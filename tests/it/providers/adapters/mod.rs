//! The real adapters against a fake server that speaks their protocols, with and without failures.

mod completions;
mod errors;
mod leaks;
mod streams;

use futures::StreamExt;
use serde_json::json;
use uuid::Uuid;
use verbatim::ai::{
    AiSettings, Api, ApiKey, Completion, Limits, Parameters, Prompt, ProviderError, Purpose, Role,
    SelectedProvider, ServiceSettings, StreamEvent, Turn, from_settings, openai,
};

use crate::support::openai_server::{Act, KEY, OpenAiServer};

/// Both protocols.
pub(super) const APIS: [Api; 2] = [Api::Responses, Api::ChatCompletions];

pub(super) fn provider_at(api: Api, base_url: &str, key: &str, limits: Limits) -> SelectedProvider {
    let mut service = ServiceSettings::new(&openai::SERVICE, ApiKey::new(key));
    (service.api, service.base_url) = (api, Some(base_url.to_owned()));
    let settings = AiSettings { services: vec![service], limits, ..AiSettings::default() };
    from_settings(settings).expect("good settings").all().remove(0)
}

pub(super) fn prompt() -> Prompt {
    let turn = |role, text: &str| Turn::message(role, text);
    Prompt {
        model: None,
        system: "Be brief.".to_owned(),
        turns: vec![
            turn(Role::User, "First question"),
            turn(Role::Assistant, "First answer"),
            turn(Role::User, "Second question"),
        ],
        parameters: Parameters { max_output_tokens: 321, temperature: Some(0.5) },
        tools: Vec::new(),
        tool_choice: None,
        purpose: Purpose::Reply,
        attempt: 1,
        reply: Uuid::nil(),
    }
}

/// Reads a stream; returns its text and how it ended.
pub(super) async fn outcome(provider: &SelectedProvider) -> (String, Result<Completion, ProviderError>) {
    let mut pieces = provider.stream(prompt());
    let mut text = String::new();
    let ending = loop {
        match pieces.next().await.expect("a stream ends with an end or an error") {
            Ok(StreamEvent::Text(more)) => text.push_str(&more),
            Ok(StreamEvent::Call(call)) => panic!("no tool was offered: {call:?}"),
            Ok(StreamEvent::End(end)) => break Ok(end),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(pieces.next().await, None, "an item follows the end");
    (text, ending)
}

/// Makes one call to a server that performs this act.
pub(super) async fn call(api: Api, act: Act) -> (String, Result<Completion, ProviderError>) {
    call_within(api, act, Limits::default()).await
}

pub(super) async fn call_within(
    api: Api,
    act: Act,
    limits: Limits,
) -> (String, Result<Completion, ProviderError>) {
    let server = OpenAiServer::start([act]).await;
    let outcome = outcome(&provider_at(api, &server.base_url(), KEY, limits)).await;
    assert_eq!(server.requests().len(), 1, "the adapter sends one request");
    outcome
}

pub(super) fn raw(kind: &'static str, parts: &[&[u8]]) -> Act {
    Act::Raw { kind, parts: parts.iter().map(|part| part.to_vec()).collect() }
}

/// An event with this text delta, in the protocol's form.
pub(super) fn says(api: Api, text: &str) -> String {
    let event = match api {
        Api::Responses => json!({"type": "response.output_text.delta", "delta": text}),
        Api::ChatCompletions => json!({"choices": [{"index": 0, "delta": {"content": text}}]}),
    };
    format!("data: {event}\n\n")
}

/// Events that complete a reply, in the protocol's form.
pub(super) fn ends(api: Api) -> &'static str {
    match api {
        Api::Responses => {
            "data: {\"type\": \"response.completed\", \"response\": {\"usage\": {\"input_tokens\": -5}}}\n\n"
        }
        Api::ChatCompletions => {
            "data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}], \"usage\": {\"prompt_tokens\": -5}}\n\n"
        }
    }
}
