//! `verbatim providers`: tests each configured provider with a short request.

use std::io::Write;
use std::process::ExitCode;

use futures::StreamExt as _;
use uuid::Uuid;

use crate::ai::service::{self, Variables};
use crate::ai::{
    Completion, Parameters, Prompt, ProviderError, Purpose, Role, SelectedProvider, StreamEvent, Turn,
};
use crate::bootstrap::build;
use crate::config::Config;

/// The request. It costs a few tokens.
const QUESTION: &str = "Answer with the one word OK.";
/// Smallest token limit that every provider accepts.
const MIN_OUTPUT_TOKENS: u32 = 16;

/// Checks every provider with each of its keys; the exit code is 1 if one fails.
///
/// # Errors
/// One plain sentence: the configuration or the output.
pub async fn check(config: &Config, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let chain = build::chain(config)?;
    let mut good = true;
    for choice in chain.all() {
        if choice.key().is_none() {
            let keys: Vec<&str> = service::SERVICES
                .iter()
                .filter_map(|service| service.variables.keys.first().copied())
                .collect();
            writeln!(
                out,
                "No provider has a key: the built-in script answers. Set one of {}.",
                keys.join(", ")
            )?;
            continue;
        }
        let outcome = ask(&choice).await;
        good &= outcome.is_ok();
        let key = choice.key().unwrap_or_default();
        writeln!(out, "{}, key {key}: {}", choice.describe(), sentence(&choice, outcome))?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(choice: &SelectedProvider) -> Result<Completion, ProviderError> {
    let prompt = Prompt {
        model: None,
        system: String::new(),
        turns: vec![Turn::message(Role::User, QUESTION)],
        parameters: Parameters { max_output_tokens: MIN_OUTPUT_TOKENS, temperature: None },
        tools: Vec::new(),
        tool_choice: None,
        purpose: Purpose::Reply,
        attempt: 1,
        reply: Uuid::nil(),
    };
    let mut pieces = choice.stream(choice.prompt(prompt));
    while let Some(piece) = pieces.next().await {
        if let StreamEvent::End(end) = piece? {
            return Ok(end);
        }
    }
    Err(ProviderError::Cut)
}

/// Describes the result and what to do about it.
fn sentence(choice: &SelectedProvider, outcome: Result<Completion, ProviderError>) -> String {
    let variables = service::by_name(choice.provider()).map(|service| &service.variables);
    let named = |of: fn(&Variables, usize) -> Option<&'static str>| {
        let place = choice.key().map_or(0, |key| usize::try_from(key).unwrap_or(1).saturating_sub(1));
        variables.and_then(|variables| of(variables, place)).unwrap_or("the configuration")
    };
    let key = named(|variables, place| variables.keys.get(place).copied());
    let base_url = named(|variables, _| Some(variables.base_url));
    let model = named(|variables, _| Some(variables.model));
    match outcome {
        Ok(end) => format!("it works; {} answered.", end.model),
        Err(error) => match error {
            ProviderError::KeyMissing => format!("no key is set: check {key}."),
            ProviderError::KeyInvalid => format!("the key is rejected: check {key}."),
            ProviderError::QuotaExceeded => {
                "the key is valid, but the account has no credit or quota left.".to_owned()
            }
            ProviderError::ModelUnknown => format!(
                "the model `{}` is unknown or unavailable for this account: check {model}.",
                choice.model()
            ),
            ProviderError::RateLimited { .. } => {
                "the key is valid; the rate limit is exceeded right now.".to_owned()
            }
            ProviderError::Unavailable { status: Some(status), .. } => {
                format!("the provider failed (status {status}).")
            }
            ProviderError::Unavailable { status: None, .. } => {
                format!("no connection: check the network and {base_url}.")
            }
            ProviderError::BadResponse => {
                format!("the server does not speak this protocol: check {base_url}.")
            }
            error => format!("{error}."),
        },
    }
}
