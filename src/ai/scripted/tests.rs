use uuid::Uuid;

use super::*;
use crate::ai::{LimitedProvider, Limits, Parameters, TimeoutKind, Tool};

fn prompt(turns: &[(Role, &str)]) -> Prompt {
    Prompt {
        model: None,
        system: "Be very brief.".to_owned(),
        turns: turns.iter().map(|&(role, text)| Turn::message(role, text)).collect(),
        parameters: Parameters { max_output_tokens: 500, temperature: None },
        tools: Vec::new(),
        tool_choice: None,
        purpose: Purpose::Reply,
        attempt: 1,
        reply: Uuid::nil(),
    }
}

fn hello() -> Prompt {
    prompt(&[(Role::User, "Hello there")])
}

fn failing(plan: &str) -> Scripted {
    Scripted::new(ScriptedSettings { words_per_second: 0, faults: plan.parse().unwrap() })
}

async fn all(provider: &impl Provider, prompt: Prompt) -> Vec<Result<StreamEvent, ProviderError>> {
    provider.stream(prompt).collect().await
}

fn text_of(events: &[Result<StreamEvent, ProviderError>]) -> String {
    events
        .iter()
        .filter_map(|p| if let Ok(StreamEvent::Text(text)) = p { Some(text.as_str()) } else { None })
        .collect()
}

#[tokio::test]
async fn reply_names_itself_repeats_the_message_and_counts_turns() {
    let turns = [(Role::User, "Hi"), (Role::Assistant, "Hello"), (Role::User, "What is  this?\nTell me.")];
    let got = all(&failing("none"), prompt(&turns)).await;
    assert_eq!(
        text_of(&got),
        "Built-in scripted provider, no AI. You said: \"What is  this?\nTell me.\" \
         Turns seen: 3 (2 from you, 1 from me); words of instructions: 3.",
    );
    let (Some(Ok(StreamEvent::End(end))), words) = (got.last(), got.len() - 1) else {
        panic!("no end: {got:?}")
    };
    assert_eq!(end.finish, Finish::Stop);
    assert_eq!(end.model, "scripted-echo-1");
    let usage = TokenUsage { prompt_tokens: 10, completion_tokens: u32::try_from(words).unwrap() };
    assert_eq!(end.usage, Some(usage));
    assert_eq!(got, all(&failing("none"), prompt(&turns)).await, "the same prompt, the same reply");
}

#[tokio::test]
async fn long_message_is_shortened_and_missing_one_reported() {
    let long = "é".repeat(MAX_ECHO_CHARS + 1);
    let got = text_of(&all(&failing("none"), prompt(&[(Role::User, &long)])).await);
    assert!(got.contains(&format!("\"{}…\"", "é".repeat(MAX_ECHO_CHARS))), "{got}");
    let got = text_of(&all(&failing("none"), prompt(&[])).await);
    assert!(got.contains("You said nothing. Turns seen: 0"), "{got}");
}

#[tokio::test]
async fn available_tool_is_called_on_command() {
    let mut asked = prompt(&[(Role::User, "call look {\"at\": \"sky\"}")]);
    assert!(text_of(&all(&failing("none"), asked.clone()).await).contains("You said: \"call look"));
    asked.tools = vec![Tool {
        name: "look".to_owned(),
        description: String::new(),
        parameters: serde_json::json!({"type": "object"}),
    }];
    let got = all(&failing("none"), asked.clone()).await;
    let [Ok(StreamEvent::Call(call)), Ok(StreamEvent::End(_))] = got.as_slice() else {
        panic!("no call: {got:?}")
    };
    assert_eq!((call.name.as_str(), &call.arguments), ("look", &serde_json::json!({"at": "sky"})));
    asked.turns.push(Turn::ToolCall {
        call_id: call.call_id.clone(),
        name: "look".to_owned(),
        arguments: call.arguments.clone(),
        output: serde_json::json!({"stars": 3}),
    });
    let summary = text_of(&all(&failing("none"), asked).await);
    assert!(summary.contains("The tool look has returned: {\"stars\":3}"), "{summary}");
}

#[tokio::test]
async fn title_is_the_first_words_and_files_are_described() {
    let mut asked = prompt(&[(Role::User, "How do I prune an old apple tree in winter?")]);
    asked.purpose = Purpose::Title;
    assert_eq!(text_of(&all(&failing("none"), asked).await), "How do I prune an old");
    let mut asked = hello();
    let file = Attached {
        name: "a.txt".to_owned(),
        mime_type: "text/plain".to_owned(),
        content: Content::Text("plums".to_owned()),
    };
    asked.turns = vec![Turn::Message { role: Role::User, text: "See".to_owned(), files: vec![file] }];
    assert!(text_of(&all(&failing("none"), asked).await).contains("File a.txt says: \"plums\""));
}

#[tokio::test]
async fn max_output_tokens_is_respected() {
    let mut prompt = hello();
    prompt.parameters.max_output_tokens = 3;
    let got = all(&failing("none"), prompt).await;
    assert_eq!(text_of(&got), "Built-in scripted provider, ");
    let Some(Ok(StreamEvent::End(end))) = got.last() else { panic!("no end: {got:?}") };
    assert_eq!(end.finish, Finish::Length);
    assert_eq!(end.usage.map(|usage| usage.completion_tokens), Some(3));
}

#[tokio::test]
async fn words_arrive_at_the_configured_pace() {
    let settings = ScriptedSettings { words_per_second: 200, ..ScriptedSettings::default() };
    let start = Instant::now();
    let got = all(&Scripted::new(settings), hello()).await;
    let due = Duration::from_millis(5) * u32::try_from(got.len() - 2).unwrap();
    assert!(start.elapsed() >= due, "{:?} for {} words", start.elapsed(), got.len() - 1);
}

#[tokio::test]
async fn each_fault_fails_as_named() {
    let whole = all(&failing("none"), hello()).await;
    assert_eq!(all(&failing("429"), hello()).await, [Err(ProviderError::RateLimited { retry_after: None })]);
    assert_eq!(all(&failing("500"), hello()).await, [Err(ProviderError::unavailable(Some(500)))]);

    let cut = all(&failing("cut"), hello()).await;
    assert_eq!(cut, whole[..(whole.len() - 1) / 2]);

    let empty = all(&failing("empty"), hello()).await;
    assert!(
        matches!(empty.as_slice(), [Ok(StreamEvent::End(end))] if end.usage.unwrap().completion_tokens == 0)
    );

    let limits = Limits { first_byte: Duration::from_millis(20), ..Limits::default() };
    let hang = all(&LimitedProvider::new(failing("hang"), limits), hello()).await;
    assert_eq!(hang, [Err(ProviderError::Timeout(TimeoutKind::FirstByte))]);

    assert_eq!(text_of(&all(&failing("over-long"), hello()).await).len(), 1 << 20);
    let over_long = all(&LimitedProvider::new(failing("over-long"), Limits::default()), hello()).await;
    assert_eq!(text_of(&over_long).len(), Limits::default().max_text_bytes);
    assert_eq!(over_long.last(), Some(&Err(ProviderError::TooLong)));
}

#[tokio::test]
async fn fault_of_first_attempts_ends_after_them() {
    let provider = failing("500:2");
    for (attempt, fails) in [(1, true), (2, true), (3, false)] {
        let got = all(&provider, Prompt { attempt, ..hello() }).await;
        assert_eq!(got[0].is_err(), fails, "attempt {attempt}");
    }
    let always = failing("500");
    assert!(all(&always, Prompt { attempt: 1000, ..hello() }).await[0].is_err());
}

#[test]
fn plan_is_parsed_or_rejected() {
    assert_eq!("none".parse(), Ok(FaultPlan::default()));
    assert_eq!("over-long:3".parse(), Ok(FaultPlan { fault: Fault::OverLong, until: Some(3) }));
    for bad in ["", "503", "429:", "429:x", "429:-1", ":1"] {
        assert_eq!(bad.parse::<FaultPlan>(), Err(UnknownFault), "{bad}");
    }
}
