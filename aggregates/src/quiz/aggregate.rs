//! State of a quiz, and how events change it.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::decide::{Judgement, decide, judge};
use super::{
    AnswerStatus, Answered, Choice, Question, QuestionView, QuizCommand, QuizError, QuizEvent, QuizView,
};
use crate::ids::{ConversationId, QuizId, UserId};

/// One quiz.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiz {
    begun: Option<Begun>,
}

/// A quiz that has been started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) quiz_id: QuizId,
    pub(super) conversation_id: ConversationId,
    pub(super) owner: UserId,
    pub(super) topic: String,
    pub(super) questions: Vec<Question>,
    /// Index of the open question; of the last one if the quiz is finished.
    pub(super) open: usize,
    /// The choice that is selected, or was submitted last.
    pub(super) selected: Option<String>,
    pub(super) status: AnswerStatus,
    /// Number of answers to the open question.
    pub(super) attempts: u32,
    /// Last answer to the open question, unless cleared.
    pub(super) last: Option<String>,
    /// Number of tries for each correctly answered question, in order.
    pub(super) tries: Vec<u32>,
    pub(super) finished: bool,
}

impl Begun {
    /// Returns the open question.
    pub(super) fn question(&self) -> Option<&Question> {
        self.questions.get(self.open)
    }

    /// Returns the index of a question.
    pub(super) fn index_of(&self, question_id: &str) -> Option<usize> {
        self.questions.iter().position(|question| question.id == question_id)
    }

    /// Whether the open question is the last one.
    pub(super) fn is_last(&self) -> bool {
        self.open + 1 >= self.questions.len()
    }

    /// Questions answered correctly on the first try.
    pub(super) fn score(&self) -> u32 {
        number(self.tries.iter().filter(|tries| **tries == 1).count())
    }

    /// Number of questions.
    pub(super) fn total(&self) -> u32 {
        number(self.questions.len())
    }

    fn view(&self) -> Option<QuizView> {
        let open = self.question()?;
        let shown = |text: &Option<String>, status| text.clone().filter(|_| self.status == status);
        let answered = self.questions.iter().zip(&self.tries).map(|(question, tries)| Answered {
            question_id: question.id.clone(),
            prompt: question.prompt.clone(),
            answer: label(question).to_owned(),
            attempts: *tries,
        });
        Some(QuizView {
            quiz_id: self.quiz_id,
            conversation_id: self.conversation_id,
            topic: self.topic.clone(),
            finished: self.finished,
            index: number(self.open + 1),
            total: self.total(),
            score: self.score(),
            question: QuestionView {
                id: open.id.clone(),
                prompt: open.prompt.clone(),
                options: open.options.clone(),
                selected: self.selected.clone(),
                status: self.status,
                attempts: self.attempts,
                hint: shown(&open.hint, AnswerStatus::Incorrect),
                explanation: shown(&open.explanation, AnswerStatus::Correct),
            },
            answered: answered.collect(),
        })
    }
}

/// Returns the label of the correct choice.
fn label(question: &Question) -> &str {
    let right = question.options.iter().find(|option| option.value == question.correct);
    right.map_or(question.correct.as_str(), |option| option.label.as_str())
}

/// Converts a count to its type in events.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Quiz {
    /// Returns the quiz as its owner may see it, once started.
    #[must_use]
    pub fn view(&self) -> Option<QuizView> {
        self.begun.as_ref().and_then(Begun::view)
    }

    /// Returns the id, once started.
    #[must_use]
    pub fn id(&self) -> Option<QuizId> {
        self.begun.as_ref().map(|begun| begun.quiz_id)
    }

    /// Returns its conversation, once started.
    #[must_use]
    pub fn conversation_id(&self) -> Option<ConversationId> {
        self.begun.as_ref().map(|begun| begun.conversation_id)
    }

    /// Returns the owner, once started.
    #[must_use]
    pub fn owner(&self) -> Option<UserId> {
        self.begun.as_ref().map(|begun| begun.owner)
    }

    /// Whether `command` comes from an outdated card: it names a question that is not open, or a try
    /// that is not the next one, and is no exact repetition. A stale command adds no event.
    #[must_use]
    pub fn is_stale(&self, command: &QuizCommand) -> bool {
        matches!(judge(self, command), Ok(Judgement::Stale))
    }

    /// Returns the approximate size of the state in memory, for a cache bounded by bytes.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        let option = |option: &Choice| size_of::<Choice>() + option.value.len() + option.label.len();
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let question = |question: &Question| {
            size_of::<Question>()
                + question.id.len()
                + question.prompt.len()
                + question.correct.len()
                + text(&question.hint)
                + text(&question.explanation)
                + question.options.iter().map(option).sum::<usize>()
        };
        let begun = |begun: &Begun| {
            begun.topic.len()
                + text(&begun.selected)
                + text(&begun.last)
                + begun.tries.len() * size_of::<u32>()
                + begun.questions.iter().map(question).sum::<usize>()
        };
        size_of::<Self>() + self.begun.as_ref().map_or(0, begun)
    }

    pub(super) fn begun(&self) -> Option<&Begun> {
        self.begun.as_ref()
    }
}

impl Aggregate for Quiz {
    const TYPE: &'static str = "quiz";
    type Command = QuizCommand;
    type Event = QuizEvent;
    type Error = QuizError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in decide(self, command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        if let QuizEvent::QuizStarted { quiz_id, conversation_id, owner, topic, questions, at: _ } = event {
            self.begun = Some(Begun {
                quiz_id,
                conversation_id,
                owner,
                topic,
                questions,
                open: 0,
                selected: None,
                status: AnswerStatus::Idle,
                attempts: 0,
                last: None,
                tries: Vec::new(),
                finished: false,
            });
            return;
        }
        let Some(begun) = &mut self.begun else { return };
        match event {
            // Applied above.
            QuizEvent::QuizStarted { .. } => {}
            QuizEvent::QuizChoiceSelected { choice, .. } => begun.selected = Some(choice),
            QuizEvent::QuizChoiceCleared { .. } => {
                begun.selected = None;
                begun.last = None;
                begun.status = AnswerStatus::Idle;
            }
            QuizEvent::QuizAnswerSubmitted { choice, attempt, correct, .. } => {
                begun.selected = Some(choice.clone());
                begun.last = Some(choice);
                begun.attempts = attempt;
                begun.status = if correct { AnswerStatus::Correct } else { AnswerStatus::Incorrect };
                if correct {
                    begun.tries.push(attempt);
                }
            }
            QuizEvent::QuizMovedOn { question_id, .. } => {
                if let Some(index) = begun.index_of(&question_id) {
                    begun.open = index;
                }
                begun.selected = None;
                begun.last = None;
                begun.attempts = 0;
                begun.status = AnswerStatus::Idle;
            }
            QuizEvent::QuizFinished { .. } => begun.finished = true,
        }
    }
}
