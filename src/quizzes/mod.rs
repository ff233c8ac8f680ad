//! What quizzes are made of: the [`bank`] of questions, and the recogniser of messages that ask for one ([`asked`]).
//!
//! Nothing here reads a clock or makes a random number: the id of a quiz, which its maker mints, is what chooses its
//! questions. What a quiz does once it has begun is the business of its aggregate.

pub mod asked;
pub mod bank;
mod words;

use std::sync::Arc;

use aggregates::ids::{ConversationId, QuizId, UserId};
use aggregates::quiz::{Quiz, QuizCommand};
use anyhow::Context as _;
use chrono::{DateTime, Utc};

use crate::config::QuizConfig;
use event_store::CommandBatch;

pub use asked::{Asked, asked_for};
pub use bank::{Bank, BankError, Topic, UnknownTopic};

/// Starts quizzes from a bank. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Quizzes {
    bank: Arc<Bank>,
    length: usize,
}

/// A quiz that is to begin.
#[derive(Debug, Clone, Copy)]
pub struct NewQuiz<'a> {
    /// Its id; the questions follow from it.
    pub quiz: QuizId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// Whose.
    pub by: UserId,
    /// What it is to be about, by whatever name; none: something.
    pub topic: Option<&'a str>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Quizzes {
    /// Quizzes of `length` questions, as far as the topic has so many.
    pub fn new(bank: Bank, length: usize) -> Self {
        Self { bank: Arc::new(bank), length }
    }

    /// As configured.
    ///
    /// # Errors
    /// The bank's file is not taken: one sentence that says where and why.
    pub fn of(config: &QuizConfig) -> anyhow::Result<Self> {
        let bank = match &config.file {
            Some(path) => Bank::from_file(path).map_err(|error| {
                anyhow::anyhow!("QUIZ_FILE ({}) holds no usable questions: {error}", path.display())
            })?,
            None => Bank::built_in().context("The built-in questions cannot be read")?,
        };
        Ok(Self::new(bank, config.length))
    }

    /// The bank.
    pub fn bank(&self) -> &Bank {
        &self.bank
    }

    /// Whether a message asks for a quiz, and what about.
    pub fn asked_for(&self, text: &str) -> Option<Asked> {
        asked_for(text, &self.bank)
    }

    /// The command that begins a quiz.
    ///
    /// # Errors
    /// There are no questions about that.
    pub fn start(&self, new: &NewQuiz<'_>) -> Result<QuizCommand, UnknownTopic> {
        let picked = self.bank.pick(new.topic, self.length, new.quiz.uuid().as_u128())?;
        Ok(QuizCommand::Start {
            quiz_id: new.quiz,
            conversation_id: new.conversation,
            by: new.by,
            topic: picked.topic,
            questions: picked.questions,
            at: new.at,
        })
    }

    /// Adds the beginning of a quiz to an batch, so that it stands in the log together with what else that does.
    ///
    /// # Errors
    /// There are no questions about that.
    pub fn then_start(&self, batch: CommandBatch, new: &NewQuiz<'_>) -> Result<CommandBatch, UnknownTopic> {
        Ok(batch.command::<Quiz>(new.quiz, self.start(new)?))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn of(file: Option<&std::path::Path>, length: usize) -> anyhow::Result<Quizzes> {
        Quizzes::of(&QuizConfig { file: file.map(std::path::Path::to_path_buf), length })
    }

    #[test]
    fn a_bad_file_stops_the_start_with_a_sentence_that_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.json");
        let refused = || format!("{:#}", of(Some(&path), 5).unwrap_err());
        let begin = format!("QUIZ_FILE ({}) holds no usable questions: ", path.display());
        assert!(refused().starts_with(&format!("{begin}it cannot be read (")), "{}", refused());
        std::fs::write(&path, r#"{"topics": [{"name": "x", "title": "X", "questions": []}]}"#).unwrap();
        assert_eq!(refused(), format!("{begin}at topics[0].questions: there is none"));
    }

    #[test]
    fn a_quiz_begins_with_as_many_questions_as_configured_chosen_by_its_id() {
        let quizzes = of(None, 3).unwrap();
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
        assert_eq!(quizzes.asked_for("quiz me on http").unwrap().topic.as_deref(), Some("web"));
        assert_eq!(quizzes.bank().topics().count(), 3);
    }
}
