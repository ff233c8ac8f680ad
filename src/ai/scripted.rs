//! The built-in provider without any AI: for a first start without a key, and for tests.
//!
//! The same prompt always gets the same reply, word by word, at a configured pace. It can simulate the failures of real
//! providers. Chosen by [`select`](super::select).

use std::str::FromStr;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};

use super::{
    Attached, Completion, Content, Finish, Prompt, Provider, ProviderError, Purpose, Role, StreamEvent,
    StreamEvents, TokenUsage, ToolCall, Turn, common_parameters,
};

/// Name of the model.
pub const MODEL: &str = "scripted-echo-1";

/// First words of every reply.
const LABEL: &str = "Built-in scripted provider, no AI.";

/// Most characters of the user's message that a reply repeats.
const MAX_ECHO_CHARS: usize = 400;

/// Number and size of the deltas of an over-long reply: sixteen times the usual limit.
const OVER_LONG_REPLY: (usize, usize) = (1024, 1024);

/// A simulated failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// No failure.
    #[default]
    None,
    /// Fails like a 429 without a retry hint.
    RateLimited,
    /// Fails like a 500.
    ServerError,
    /// Never sends anything.
    Hang,
    /// Stops after half of the words, without an end.
    Cut,
    /// Ends without any text.
    Empty,
    /// Sends 1 MiB as fast as possible.
    OverLong,
}

/// Which attempts of a reply fail, and how.
///
/// Parsed from `none`, `429`, `500`, `hang`, `cut`, `empty` or `over-long`, for all attempts, or with the suffix `:n` for
/// the first `n` only (`429:2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultPlan {
    /// The failure.
    pub fault: Fault,
    /// Last attempt that fails; `None` for all.
    pub until: Option<u32>,
}

impl FaultPlan {
    /// Returns the failure of an attempt (the first is 1).
    fn of(self, attempt: u32) -> Fault {
        match self.until {
            Some(until) if attempt > until => Fault::None,
            _ => self.fault,
        }
    }
}

/// The text is not a [`FaultPlan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected none, 429, 500, hang, cut, empty or over-long, if need be with the number of attempts: 429:2"
)]
pub struct UnknownFault;

impl FromStr for FaultPlan {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let (fault, until) = match text.split_once(':') {
            Some((fault, until)) => (fault, Some(until.parse().map_err(|_| UnknownFault)?)),
            None => (text, None),
        };
        let fault = match fault {
            "none" => Fault::None,
            "429" => Fault::RateLimited,
            "500" => Fault::ServerError,
            "hang" => Fault::Hang,
            "cut" => Fault::Cut,
            "empty" => Fault::Empty,
            "over-long" => Fault::OverLong,
            _ => return Err(UnknownFault),
        };
        Ok(Self { fault, until })
    }
}

impl std::fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.fault {
            Fault::None => "none",
            Fault::RateLimited => "429",
            Fault::ServerError => "500",
            Fault::Hang => "hang",
            Fault::Cut => "cut",
            Fault::Empty => "empty",
            Fault::OverLong => "over-long",
        })?;
        self.until.map_or(Ok(()), |until| write!(f, ":{until}"))
    }
}

/// Settings of the scripted provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScriptedSettings {
    /// Words per second; 0 for no delay.
    pub words_per_second: u32,
    /// Which attempts fail, and how.
    pub faults: FaultPlan,
}

/// The scripted provider.
#[derive(Debug, Clone, Copy)]
pub struct Scripted {
    settings: ScriptedSettings,
}

impl Scripted {
    /// Creates a provider with these settings.
    #[must_use]
    pub fn new(settings: ScriptedSettings) -> Self {
        Self { settings }
    }
}

impl Provider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn model(&self) -> &str {
        MODEL
    }

    fn describe(&self) -> String {
        format!(
            "built-in scripted provider ({MODEL}): repeats your message; set OPENAI_API_KEY, or a key of another \
             provider, for real replies"
        )
    }

    fn parameters(&self, prompt: &Prompt) -> Map<String, Value> {
        let mut map = common_parameters(prompt.parameters);
        map.insert("words_per_second".to_owned(), self.settings.words_per_second.into());
        map
    }

    fn stream(&self, prompt: Prompt) -> StreamEvents {
        let words_per_second = self.settings.words_per_second;
        match self.settings.faults.of(prompt.attempt) {
            Fault::None => {
                if let Some(call) = tool_call(&prompt) {
                    let (_, mut end) = script(&prompt);
                    end.usage = end.usage.map(|usage| TokenUsage { completion_tokens: 0, ..usage });
                    return stream::iter([Ok(StreamEvent::Call(call)), Ok(StreamEvent::End(end))]).boxed();
                }
                let (words, end) = script(&prompt);
                paced(words, words_per_second, Some(end))
            }
            Fault::RateLimited => failed(ProviderError::RateLimited { retry_after: None }),
            Fault::ServerError => failed(ProviderError::unavailable(Some(500))),
            Fault::Hang => stream::pending().boxed(),
            Fault::Cut => {
                let (mut words, _) = script(&prompt);
                words.truncate(words.len() / 2);
                paced(words, words_per_second, None)
            }
            Fault::Empty => {
                let (_, mut end) = script(&prompt);
                end.usage = end.usage.map(|usage| TokenUsage { completion_tokens: 0, ..usage });
                paced(Vec::new(), 0, Some(end))
            }
            Fault::OverLong => {
                let (pieces, bytes) = OVER_LONG_REPLY;
                let (_, end) = script(&prompt);
                let text = "on and ".repeat(bytes / 7 + 1)[..bytes].to_owned();
                let pieces = stream::repeat(text).take(pieces).map(|text| Ok(StreamEvent::Text(text)));
                pieces.chain(stream::once(async { Ok(StreamEvent::End(end)) })).boxed()
            }
        }
    }
}

/// Returns a stream of one error.
fn failed(error: ProviderError) -> StreamEvents {
    stream::once(async { Err(error) }).boxed()
}

/// Returns a stream of the words, each due at a fixed time after the first poll, so that the pace does not drift; then the
/// end, if there is one.
fn paced(words: Vec<String>, words_per_second: u32, end: Option<Completion>) -> StreamEvents {
    let words = (0u64..).zip(words);
    let words = stream::unfold((words, None), move |(mut words, start)| async move {
        let (index, word) = words.next()?;
        let start = start.unwrap_or_else(Instant::now);
        if words_per_second > 0 {
            let due = Duration::from_nanos(index * 1_000_000_000 / u64::from(words_per_second));
            sleep_until(start + due).await;
        }
        Some((Ok(StreamEvent::Text(word)), (words, Some(start))))
    });
    words.chain(stream::iter(end.map(|end| Ok(StreamEvent::End(end))))).boxed()
}

/// Returns the reply to a prompt as words, each with its trailing white space, and the end. A word counts as a token; the
/// reply is cut at `max_output_tokens`.
fn script(prompt: &Prompt) -> (Vec<String>, Completion) {
    let reply = match prompt.purpose {
        Purpose::Reply => reply(prompt),
        Purpose::Title => title(prompt),
    };
    let mut words: Vec<String> = reply.split_inclusive(' ').map(str::to_owned).collect();
    let most = usize::try_from(prompt.parameters.max_output_tokens).unwrap_or(usize::MAX);
    let finish = if words.len() > most { Finish::Length } else { Finish::Stop };
    words.truncate(most);

    let sent = prompt.turns.iter().map(|turn| count_words(turn.text())).sum::<usize>();
    let usage = TokenUsage {
        prompt_tokens: clamp(sent + count_words(&prompt.system)),
        completion_tokens: clamp(words.len()),
    };
    let end = Completion {
        finish,
        usage: Some(usage),
        model: MODEL.to_owned(),
        provider_reply_id: Some(format!("scripted-{}-{}", prompt.reply, prompt.attempt)),
    };
    (words, end)
}

/// Returns the reply as one text.
fn reply(prompt: &Prompt) -> String {
    let from_person = prompt.turns.iter().filter(|turn| turn.role() == Some(Role::User)).count();
    let said = match prompt.turns.last() {
        Some(Turn::ToolCall { name, output, .. }) => {
            format!("The tool {name} has returned: {}", short(&output.to_string()))
        }
        _ => match prompt.turns.iter().rev().find(|turn| turn.role() == Some(Role::User)) {
            Some(turn) => format!("You said: \"{}\"", short(turn.text())),
            None => "You said nothing.".to_owned(),
        },
    };
    let files: String = match prompt.turns.last() {
        Some(Turn::Message { files, .. }) => files.iter().map(received).collect(),
        Some(Turn::ToolCall { .. }) | None => String::new(),
    };
    format!(
        "{LABEL} {said}{files} Turns seen: {} ({from_person} from you, {} from me); words of instructions: {}.",
        prompt.turns.len(),
        prompt.turns.len() - from_person,
        count_words(&prompt.system),
    )
}

/// Shortens a long text.
fn short(text: &str) -> String {
    if text.chars().count() > MAX_ECHO_CHARS {
        let shown: String = text.chars().take(MAX_ECHO_CHARS).collect();
        format!("{shown}…")
    } else {
        text.to_owned()
    }
}

/// Describes a file.
fn received(file: &Attached) -> String {
    match &file.content {
        Content::Text(text) => format!(" File {} says: \"{}\"", file.name, short(text)),
        Content::Bytes(bytes) => format!(" File {} has {} bytes.", file.name, bytes.len()),
    }
}

/// Returns a title: the first words of the first message.
fn title(prompt: &Prompt) -> String {
    let first = prompt.turns.iter().find(|turn| turn.role() == Some(Role::User));
    let words: Vec<&str> = first.map(Turn::text).unwrap_or_default().split_whitespace().take(6).collect();
    words.join(" ")
}

/// Returns a tool call if the message is `call NAME {...}` and the tool is available. A forced tool gets the message itself.
fn tool_call(prompt: &Prompt) -> Option<ToolCall> {
    if prompt.purpose != Purpose::Reply {
        return None;
    }
    let Some(Turn::Message { role: Role::User, text, .. }) = prompt.turns.last() else { return None };
    let call = |name: &str, arguments: Value| ToolCall {
        call_id: format!("call-{}-{}", prompt.reply, prompt.attempt),
        name: name.to_owned(),
        arguments,
    };
    if let Some(rest) = text.strip_prefix("call ") {
        let (name, arguments) = rest.split_once(' ').unwrap_or((rest, "{}"));
        let offered = prompt.tools.iter().any(|tool| tool.name == name);
        return offered.then(|| call(name, serde_json::from_str(arguments).unwrap_or_default()));
    }
    let chosen = prompt.tool_choice.as_deref()?;
    Some(call(chosen, serde_json::json!({"message": text})))
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
