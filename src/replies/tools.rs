//! Tools that a model may call when the client is interactive, and the items that the calls produce.
//!
//! Three are built in: `ask_user` asks the user, `show_widget` shows a widget, `start_quiz` starts a quiz. The others are the
//! page's own ([`ReplySettings::client_tools`]). A model's call is trusted no more than a client's request: an invalid call
//! produces nothing.

use aggregates::Personal;
use aggregates::conversation::{Brought, InputForm, InputQuestion};
use aggregates::ids::MessageId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::ReplySettings;
use crate::ai::{Tool, ToolCall};
use crate::widgets;

/// Name of the tool that asks the user.
const ASK_USER: &str = "ask_user";
/// Name of the tool that shows a widget.
const SHOW_WIDGET: &str = "show_widget";
/// Name of the tool that starts a quiz.
pub(super) const START_QUIZ: &str = "start_quiz";
/// Most questions of one call, and most options of one question.
const MAX_QUESTIONS: usize = 10;
const MAX_OPTIONS: usize = 20;
/// Deepest nesting of a call's arguments, and most characters of a call's id.
const MAX_DEPTH: usize = 64;
const MAX_CALL_ID: usize = 200;
/// Most characters of a question or option.
const MAX_CHARS: usize = 2_000;

/// What a tool call produces.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ToolOutcome {
    /// An item of the conversation.
    Item(Brought),
    /// A quiz, with the requested topic.
    Quiz(Option<String>),
}

/// Returns every available tool; a page cannot replace the built-in ones.
pub fn available_tools(settings: &ReplySettings) -> Vec<Tool> {
    let mut tools = vec![
        Tool {
            name: ASK_USER.to_owned(),
            description: "Ask the person one or more questions, to choose from or to answer freely."
                .to_owned(),
            parameters: json!({
                "type": "object", "required": ["questions"],
                "properties": {"questions": {"type": "array", "items": {
                    "type": "object", "required": ["question"],
                    "properties": {
                        "id": {"type": "string"},
                        "question": {"type": "string"},
                        "options": {"type": "array", "items": {"type": "string"}},
                        "multiple": {"type": "boolean"},
                        "description": {"type": "string"},
                    },
                }}},
            }),
        },
        Tool {
            name: SHOW_WIDGET.to_owned(),
            description:
                "Show the person a ChatKit widget, given as JSON with a Card, ListView or Basic root."
                    .to_owned(),
            parameters: json!({
                "type": "object", "required": ["widget"],
                "properties": {"widget": {"type": "object"}, "copy_text": {"type": "string"}},
            }),
        },
        Tool {
            name: START_QUIZ.to_owned(),
            description: "Start a multiple-choice quiz with the person.".to_owned(),
            parameters: json!({"type": "object", "properties": {"topic": {"type": "string"}}}),
        },
    ];
    let own = |tool: &&Tool| ![ASK_USER, SHOW_WIDGET, START_QUIZ].contains(&tool.name.as_str());
    tools.extend(settings.client_tools.iter().filter(own).cloned());
    tools
}

/// Converts a call into its outcome; the item gets the id `item_id`. `None`: the tool is not available, or the arguments are
/// invalid.
pub(super) fn parse_tool_call(
    settings: &ReplySettings,
    call: ToolCall,
    item_id: MessageId,
) -> Option<ToolOutcome> {
    let ToolCall { call_id, name, arguments } = call;
    if depth(&arguments) > MAX_DEPTH || call_id.chars().count() > MAX_CALL_ID {
        return None;
    }
    match name.as_str() {
        ASK_USER => {
            let asked: AskUser = serde_json::from_value(arguments).ok()?;
            let questions = asked.questions()?;
            Some(ToolOutcome::Item(Brought::InputRequest { item_id, questions: Personal::Known(questions) }))
        }
        SHOW_WIDGET => {
            let shown: ShowWidget = serde_json::from_value(arguments).ok()?;
            let widget = widgets::validate(&shown.widget).ok()?;
            Some(ToolOutcome::Item(Brought::Widget {
                item_id,
                widget: Personal::Known(widget.into_value()),
                copy_text: shown.copy_text.map(Personal::Known),
            }))
        }
        START_QUIZ => Some(ToolOutcome::Quiz(
            arguments.get("topic").and_then(|topic| topic.as_str()).map(str::to_owned),
        )),
        _ => {
            let known = settings.client_tools.iter().any(|tool| tool.name == name);
            (known && arguments.is_object()).then(|| {
                let arguments = Personal::Known(arguments);
                ToolOutcome::Item(Brought::ClientToolCall { item_id, call_id, name, arguments })
            })
        }
    }
}

/// Returns the nesting depth of a value; a scalar has 1.
fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[derive(Deserialize)]
struct ShowWidget {
    widget: Value,
    #[serde(default)]
    copy_text: Option<String>,
}

#[derive(Deserialize)]
struct AskUser {
    questions: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    id: Option<String>,
    question: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    multiple: bool,
    #[serde(default)]
    description: Option<String>,
}

impl AskUser {
    /// Returns the questions, each with a unique id; `None` when there are too many, or one is too long.
    fn questions(self) -> Option<Vec<InputQuestion>> {
        let fits = |text: &str| !text.trim().is_empty() && text.chars().count() <= MAX_CHARS;
        if self.questions.is_empty() || self.questions.len() > MAX_QUESTIONS {
            return None;
        }
        let mut questions: Vec<InputQuestion> = Vec::with_capacity(self.questions.len());
        for (n, asked) in self.questions.into_iter().enumerate() {
            let good = fits(&asked.question)
                && asked.options.len() <= MAX_OPTIONS
                && asked.options.iter().all(|option| fits(option))
                && asked.description.as_deref().is_none_or(fits);
            if !good {
                return None;
            }
            let given = asked.id.filter(|id| fits(id) && questions.iter().all(|other| other.id != *id));
            let form = if asked.options.is_empty() {
                InputForm::Freeform { description: asked.description }
            } else {
                InputForm::Choice { options: asked.options, multiple: asked.multiple }
            };
            // An id that the model gave to one question must not be generated for another.
            let is_free = |id: &String| questions.iter().all(|other| other.id != *id);
            let id = given.or_else(|| (n + 1..).map(|n| format!("question-{n}")).find(is_free))?;
            questions.push(InputQuestion { id, question: asked.question, form });
        }
        Some(questions)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn settings() -> ReplySettings {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: "Of the page.".to_owned(),
            parameters: json!({"type": "object"}),
        };
        ReplySettings { client_tools: vec![tool("open_map"), tool("ask_user")], ..ReplySettings::default() }
    }

    fn call(name: &str, arguments: Value) -> Option<ToolOutcome> {
        let call = ToolCall { call_id: "c1".to_owned(), name: name.to_owned(), arguments };
        parse_tool_call(&settings(), call, MessageId::new(Uuid::from_u128(1)))
    }

    #[test]
    fn built_in_tools_cannot_be_replaced_by_those_of_a_page() {
        let names: Vec<String> = available_tools(&settings()).into_iter().map(|tool| tool.name).collect();
        assert_eq!(names, ["ask_user", "show_widget", "start_quiz", "open_map"]);
    }

    #[test]
    fn a_tool_of_the_page_is_called_only_when_it_is_offered_and_with_an_object() {
        assert!(matches!(
            call("open_map", json!({"at": 1})),
            Some(ToolOutcome::Item(Brought::ClientToolCall { .. }))
        ));
        assert_eq!(call("open_map", json!([1])), None);
        assert_eq!(call("close_map", json!({})), None);
    }

    #[test]
    fn what_is_nested_too_deep_brings_nothing() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        assert!(call("open_map", nested(MAX_DEPTH - 1)).is_some());
        assert_eq!(call("open_map", nested(MAX_DEPTH)), None);
    }

    #[test]
    fn questions_get_names_and_forms() {
        let asked = json!({"questions": [
            {"id": "a", "question": "Which?", "options": ["x", "y"], "multiple": true},
            {"id": "a", "question": "Why?", "description": "In short"},
        ]});
        let Some(ToolOutcome::Item(Brought::InputRequest { questions: Personal::Known(questions), .. })) =
            call("ask_user", asked)
        else {
            panic!("no questions")
        };
        assert_eq!(questions.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "question-2"]);
        assert!(matches!(&questions[0].form, InputForm::Choice { multiple: true, .. }));
        assert!(matches!(&questions[1].form, InputForm::Freeform { description: Some(_) }));
    }

    #[test]
    fn no_two_questions_have_one_name() {
        let ask = |ids: &[Option<&str>]| {
            let question = |id: &Option<&str>| json!({"id": id, "question": "Which?"});
            let asked = json!({"questions": ids.iter().map(question).collect::<Vec<_>>()});
            let Some(ToolOutcome::Item(Brought::InputRequest {
                questions: Personal::Known(questions), ..
            })) = call("ask_user", asked)
            else {
                panic!("no questions")
            };
            questions.into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        assert_eq!(ask(&[Some("question-2"), None]), ["question-2", "question-3"]);
        assert_eq!(ask(&[None, Some("question-1"), None]), ["question-1", "question-2", "question-3"]);
        assert_eq!(ask(&[Some("question-3"), None, None]), ["question-3", "question-2", "question-4"]);
    }

    #[test]
    fn what_is_asked_or_shown_wrongly_brings_nothing() {
        for (name, arguments) in [
            ("ask_user", json!({})),
            ("ask_user", json!({"questions": []})),
            ("ask_user", json!({"questions": [{"question": " "}]})),
            ("ask_user", json!({"questions": vec![json!({"question": "?"}); 11]})),
            ("ask_user", json!({"questions": [{"question": "x".repeat(2_001)}]})),
            ("show_widget", json!({"widget": {"type": "Teapot"}})),
            ("show_widget", json!({"widget": "Card"})),
            ("show_widget", json!({})),
        ] {
            assert_eq!(call(name, arguments.clone()), None, "{name} {arguments}");
        }
        let card = json!({"widget": {"type": "Card", "children": [{"type": "Text", "value": "Saved"}]}});
        assert!(matches!(call("show_widget", card), Some(ToolOutcome::Item(Brought::Widget { .. }))));
        assert_eq!(
            call("start_quiz", json!({"topic": "rust"})),
            Some(ToolOutcome::Quiz(Some("rust".to_owned())))
        );
    }
}
