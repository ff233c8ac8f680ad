//! The real adapters against a loopback server that speaks their protocols, in good days and bad.

mod answers;
mod leaks;
mod refusals;
mod streams;

use futures::StreamExt;
use serde_json::json;
use uuid::Uuid;
use verbatim::ai::{
    AiSettings, Api, ApiKey, Choice, Completion, Limits, Parameters, Piece, Prompt, ProviderError, Purpose,
    Role, ServiceSettings, Turn, from_settings, openai,
};

use crate::support::openai_server::{Act, KEY, OpenAiServer};

/// Both protocols.
pub(super) const APIS: [Api; 2] = [Api::Responses, Api::ChatCompletions];

pub(super) fn provider_at(api: Api, base_url: &str, key: &str, limits: Limits) -> Choice {
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

/// All text of a stream, and how it ended.
pub(super) async fn outcome(provider: &Choice) -> (String, Result<Completion, ProviderError>) {
    let mut pieces = provider.stream(prompt());
    let mut text = String::new();
    let ending = loop {
        match pieces.next().await.expect("a stream ends with an end or an error") {
            Ok(Piece::Text(more)) => text.push_str(&more),
            Ok(Piece::Call(call)) => panic!("nobody offered a tool: {call:?}"),
            Ok(Piece::End(end)) => break Ok(end),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(pieces.next().await, None, "nothing follows the end");
    (text, ending)
}

/// What one call makes of a server that acts so.
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
    assert_eq!(server.requests().len(), 1, "nothing is tried twice");
    outcome
}

pub(super) fn raw(kind: &'static str, parts: &[&[u8]]) -> Act {
    Act::Raw { kind, parts: parts.iter().map(|part| part.to_vec()).collect() }
}

/// An event that says this much text, in the protocol's own form.
pub(super) fn says(api: Api, text: &str) -> String {
    let event = match api {
        Api::Responses => json!({"type": "response.output_text.delta", "delta": text}),
        Api::ChatCompletions => json!({"choices": [{"index": 0, "delta": {"content": text}}]}),
    };
    format!("data: {event}\n\n")
}

/// Events that end a reply well, in the protocol's own form.
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
