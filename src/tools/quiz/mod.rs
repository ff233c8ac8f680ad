//! Quizzes: the [`question_bank`], the recognition of messages that ask for a quiz ([`intent`]), and the quiz's widget
//! ([`card`]).
//!
//! Nothing here reads a clock or generates random numbers: the id of a quiz, which its creator mints, selects the questions.
//! What happens in a quiz once it has started is decided by its aggregate.

pub mod card;
pub mod intent;
pub mod question_bank;
mod tokenize;

use std::sync::Arc;

use aggregates::conversation::ReplyItem;
use aggregates::ids::{ConversationId, QuizId, UserId};
use aggregates::quiz::{ANSWERS_AS, Quiz, QuizCommand};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{CallContext, CallOutcome, DirectAnswer, ReplyTool, ToolOutput};
use crate::ai::{Tool, ToolCall};
use crate::config::QuizConfig;

pub use card::quiz_card;
pub use intent::QuizRequest;
pub use question_bank::{QuestionBank, QuestionBankError, Topic, UnknownTopic};

/// Name of the tool.
const START_QUIZ: &str = "start_quiz";

/// Starts quizzes from a question bank. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quizzes {
    bank: Arc<QuestionBank>,
    length: usize,
}

/// A quiz to start.
#[derive(Debug, Clone, Copy)]
pub struct NewQuiz<'a> {
    /// Id of the quiz; it selects the questions.
    pub quiz: QuizId,
    /// Conversation that shows the quiz.
    pub conversation: ConversationId,
    /// User who takes the quiz.
    pub by: UserId,
    /// Name of the topic, in any spelling; `None` lets the id select one.
    pub topic: Option<&'a str>,
    /// Time of the start.
    pub at: DateTime<Utc>,
}

impl Quizzes {
    /// Creates quizzes of `length` questions, or fewer when the topic has fewer.
    pub fn new(bank: QuestionBank, length: usize) -> Self {
        Self { bank: Arc::new(bank), length }
    }

    /// Loads the configured question bank.
    ///
    /// # Errors
    /// The file is invalid: one sentence that says where and why.
    pub fn load(config: &QuizConfig) -> anyhow::Result<Self> {
        let bank = match &config.file {
            Some(path) => QuestionBank::from_file(path).map_err(|error| {
                anyhow::anyhow!("QUIZ_FILE ({}) holds no usable questions: {error}", path.display())
            })?,
            None => QuestionBank::built_in().context("The built-in questions cannot be read")?,
        };
        Ok(Self::new(bank, config.length))
    }

    /// Returns the question bank.
    pub fn bank(&self) -> &QuestionBank {
        &self.bank
    }

    /// Returns the command that starts a quiz.
    ///
    /// # Errors
    /// The question bank has no such topic.
    pub fn start(&self, new: &NewQuiz<'_>) -> Result<QuizCommand, UnknownTopic> {
        let selected = self.bank.select(new.topic, self.length, new.quiz.uuid().as_u128())?;
        Ok(QuizCommand::Start {
            quiz_id: new.quiz,
            conversation_id: new.conversation,
            by: new.by,
            topic: selected.topic,
            questions: selected.questions,
            at: new.at,
        })
    }

    /// Returns the text of the answer to a request, and the call that starts the quiz; no call for an unknown topic.
    fn answer(&self, request: &QuizRequest) -> (String, Vec<ToolCall>) {
        let topic = match &request.topic {
            None => None,
            Some(name) => match self.bank.topic(name) {
                Some(topic) => Some(topic),
                None => {
                    let topics: Vec<&str> = self.bank.topics().map(|topic| topic.name.as_str()).collect();
                    let text = format!(
                        "I have no questions about that. I can ask about these topics: {}.",
                        topics.join(", ")
                    );
                    return (text, Vec::new());
                }
            },
        };
        let text = match topic {
            Some(topic) => format!("Here is a quiz about {}.", topic.name),
            None => "Here is a quiz.".to_owned(),
        };
        let arguments = topic.map_or_else(|| json!({}), |topic| json!({"topic": topic.name}));
        (text, vec![ToolCall { call_id: ANSWERS_AS.to_owned(), name: START_QUIZ.to_owned(), arguments }])
    }
}

impl ReplyTool for Quizzes {
    fn definition(&self) -> Tool {
        Tool {
            name: START_QUIZ.to_owned(),
            description: "Start a multiple-choice quiz with the person.".to_owned(),
            parameters: json!({"type": "object", "properties": {"topic": {"type": "string"}}}),
        }
    }

    fn call(&self, call: ToolCall, context: &CallContext) -> CallOutcome {
        let new = NewQuiz {
            quiz: QuizId::new(context.item_id.uuid()),
            conversation: context.conversation,
            by: context.user,
            topic: call.arguments.get("topic").and_then(|topic| topic.as_str()),
            at: context.at,
        };
        // Without questions about the topic, no quiz starts; the model's text says why.
        let Ok(command) = self.start(&new) else { return CallOutcome::Nothing };
        let quiz = new.quiz;
        CallOutcome::Produced(Box::new(ToolOutput {
            item: ReplyItem::Quiz { item_id: context.item_id },
            commands: Some(Arc::new(move |batch| batch.command::<Quiz>(quiz, command.clone()))),
        }))
    }

    /// A user takes one quiz at a time.
    fn exclusive_group(&self) -> Option<&'static str> {
        Some("quiz")
    }

    fn direct_answer(&self, message: &str) -> Option<DirectAnswer> {
        let request = intent::parse_request(message, &self.bank)?;
        let (text, calls) = self.answer(&request);
        Some(DirectAnswer { model: ANSWERS_AS, text, calls })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn load(file: Option<&std::path::Path>, length: usize) -> anyhow::Result<Quizzes> {
        Quizzes::load(&QuizConfig { file: file.map(std::path::Path::to_path_buf), length })
    }

    #[test]
    fn invalid_quiz_file_error_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.json");
        let error = || format!("{:#}", load(Some(&path), 5).unwrap_err());
        let begin = format!("QUIZ_FILE ({}) holds no usable questions: ", path.display());
        assert!(error().starts_with(&format!("{begin}it cannot be read (")), "{}", error());
        std::fs::write(&path, r#"{"topics": [{"name": "x", "title": "X", "questions": []}]}"#).unwrap();
        assert_eq!(error(), format!("{begin}at topics[0].questions: the list is empty"));
    }

    #[test]
    fn quiz_id_selects_the_configured_number_of_questions() {
        let quizzes = load(None, 3).unwrap();
        let new = |n| NewQuiz {
            quiz: QuizId::new(Uuid::from_u128(n)),
            conversation: ConversationId::new(Uuid::from_u128(2)),
            by: UserId::new(Uuid::from_u128(3)),
            topic: Some("http"),
            at: DateTime::from_timestamp(1_750_000_000, 0).unwrap(),
        };
        let command = quizzes.start(&new(1)).unwrap();
        let QuizCommand::Start { topic, questions, quiz_id, .. } = &command else { panic!("{command:?}") };
        assert_eq!((topic.as_str(), questions.len(), *quiz_id), ("web", 3, new(1).quiz));
        assert_eq!(quizzes.start(&new(1)).unwrap(), command);
        assert!((2..9).any(|n| {
            let other = quizzes.start(&new(n)).unwrap();
            matches!(&other, QuizCommand::Start { questions: others, .. } if others != questions)
        }));
        assert!(quizzes.start(&NewQuiz { topic: Some("history"), ..new(1) }).is_err());
        let request = intent::parse_request("quiz me on http", quizzes.bank()).unwrap();
        assert_eq!(request.topic.as_deref(), Some("web"));
        assert_eq!(quizzes.bank().topics().count(), 3);
    }
}
