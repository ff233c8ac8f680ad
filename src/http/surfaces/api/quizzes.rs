//! `/api/quizzes`: multiple-choice questions, one at a time.

use aggregates::ids::{ConversationId, QuizId};
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with};
use axum::Json;
use axum::extract::State;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::app::AppError;
use crate::app::quizzes::{AnswerStatus, QuizAction, QuizView};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::extract::{Command, PathId, unprocessable};
use crate::http::formats::answer::Answer;
use crate::http::openapi::failures::may_fail_with;

const TAG: &str = "quizzes";

/// Returns the routes of quizzes.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/api/quizzes",
            post_with(start, |op| {
                op.id("start_quiz")
                    .tag(TAG)
                    .summary("Start a quiz")
                    .description(
                        "In the given conversation, or in a new one. `Location` is the quiz. The error for an unknown topic lists the \
                         known ones.",
                    )
                    .with(may_fail_with(&[404, 409, 429]))
                    .response::<201, Json<QuizAnswer>>()
            }),
        )
        .api_route(
            "/api/quizzes/{id}",
            get_with(quiz, |op| {
                op.id("quiz")
                    .tag(TAG)
                    .summary("Get a quiz")
                    .description("Right answers are shown only for questions that were answered correctly.")
                    .response::<200, Json<QuizAnswer>>()
            }),
        )
        .api_route(
            "/api/quizzes/{id}/actions",
            post_with(act, |op| {
                op.id("act_on_quiz")
                    .tag(TAG)
                    .summary("Select, submit or clear an answer, continue, or finish")
                    .description(
                        "A question can be tried until the answer is right; only then the next one opens. The score counts questions \
                         answered correctly at the first try. An action on a question that is not open, or a try that was already made, \
                         changes nothing and is answered with `stale`.",
                    )
                    .with(may_fail_with(&[409]))
                    .response::<200, Json<ActionAnswer>>()
            }),
        )
}

/// A new quiz.
#[derive(Deserialize, JsonSchema)]
struct StartRequest {
    /// Topic: its name, title or an alias, in any spelling. If absent, the server picks one.
    topic: Option<String>,
    /// Conversation of the quiz. If absent, a new one starts.
    #[schemars(extend("format" = "uuid"))]
    session_id: Option<String>,
}

/// An action on a quiz.
#[derive(Deserialize, JsonSchema)]
#[schemars(transform = answers_need_an_answer)]
struct ActionRequest {
    /// Type of the action.
    #[schemars(extend("enum" = KINDS))]
    r#type: String,
    /// Id of the question that the card shows.
    question_id: String,
    /// The value of the choice, for `mcq.select` and `mcq.submit`.
    answer: Option<String>,
    /// For `mcq.submit`: number of the try, from 1 (`attempts` of the question plus one). Detects outdated cards; if
    /// absent, the next try is assumed.
    #[schemars(range(max = u32::MAX))]
    attempt: Option<u32>,
}

/// Requires an answer for the two actions that need one.
fn answers_need_an_answer(schema: &mut Schema) {
    let answer = json!({"required": ["answer"], "properties": {
        "type": {"enum": ["mcq.select", "mcq.submit"]}, "answer": {"type": "string"},
    }});
    let other = json!({"properties": {"type": {"enum": ["mcq.clear", "mcq.next", "mcq.finish"]}}});
    schema.insert("anyOf".to_owned(), json!([answer, other]));
}

const KINDS: [&str; 5] = ["mcq.select", "mcq.submit", "mcq.clear", "mcq.next", "mcq.finish"];

impl TryFrom<ActionRequest> for QuizAction {
    type Error = ApiError;

    fn try_from(request: ActionRequest) -> Result<Self, ApiError> {
        let ActionRequest { r#type, question_id, answer, attempt } = request;
        let choice = || answer.ok_or_else(|| unprocessable("answer", "missing field `answer`"));
        Ok(match r#type.as_str() {
            "mcq.select" => Self::Select { question_id, choice: choice()? },
            "mcq.submit" => Self::Submit { question_id, choice: choice()?, attempt },
            "mcq.clear" => Self::Clear { question_id },
            "mcq.next" => Self::Next { question_id },
            "mcq.finish" => Self::Finish { question_id },
            _ => return Err(unprocessable("type", &format!("`type` must be one of {}", KINDS.join(", ")))),
        })
    }
}

/// State of a quiz.
#[derive(Serialize, JsonSchema)]
struct QuizAnswer {
    quiz_id: Uuid,
    session_id: Uuid,
    topic: String,
    finished: bool,
    /// Number of the open question, from 1; of the last question once the quiz has finished.
    index: u32,
    /// Number of questions.
    total: u32,
    /// Questions answered correctly at the first try so far.
    score: u32,
    /// The open question; the last one once the quiz has finished.
    question: QuestionItem,
    /// Correctly answered questions, in order.
    answered: Vec<AnsweredItem>,
}

/// The open question.
#[derive(Serialize, JsonSchema)]
struct QuestionItem {
    id: String,
    prompt: String,
    options: Vec<OptionItem>,
    /// Value of the choice that is selected or was submitted last.
    selected: Option<String>,
    status: StatusItem,
    /// Number of tries so far.
    attempts: u32,
    /// Hint after a wrong answer.
    hint: Option<String>,
    /// Explanation after the right answer.
    explanation: Option<String>,
}

/// A choice.
#[derive(Serialize, JsonSchema)]
struct OptionItem {
    value: String,
    label: String,
}

/// State of the open question.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StatusItem {
    /// Not answered, or cleared.
    Idle,
    /// The last answer was wrong.
    Incorrect,
    /// Answered correctly.
    Correct,
}

/// A correctly answered question.
#[derive(Serialize, JsonSchema)]
struct AnsweredItem {
    question_id: String,
    prompt: String,
    /// Label of the right choice.
    answer: String,
    /// Number of tries.
    attempts: u32,
}

/// Result of an action.
#[derive(Serialize, JsonSchema)]
struct ActionAnswer {
    /// State of the quiz after the action.
    quiz: QuizAnswer,
    /// Whether the action came from an outdated card.
    stale: bool,
    /// Whether the action changed the quiz.
    changed: bool,
}

impl From<QuizView> for QuizAnswer {
    fn from(view: QuizView) -> Self {
        let question = view.question;
        let options = question.options.into_iter();
        Self {
            quiz_id: view.quiz_id.uuid(),
            session_id: view.conversation_id.uuid(),
            topic: view.topic,
            finished: view.finished,
            index: view.index,
            total: view.total,
            score: view.score,
            question: QuestionItem {
                id: question.id,
                prompt: question.prompt,
                options: options
                    .map(|option| OptionItem { value: option.value, label: option.label })
                    .collect(),
                selected: question.selected,
                status: match question.status {
                    AnswerStatus::Idle => StatusItem::Idle,
                    AnswerStatus::Incorrect => StatusItem::Incorrect,
                    AnswerStatus::Correct => StatusItem::Correct,
                },
                attempts: question.attempts,
                hint: question.hint,
                explanation: question.explanation,
            },
            answered: view
                .answered
                .into_iter()
                .map(|answered| AnsweredItem {
                    question_id: answered.question_id,
                    prompt: answered.prompt,
                    answer: answered.answer,
                    attempts: answered.attempts,
                })
                .collect(),
        }
    }
}

async fn start(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    command: Command<StartRequest>,
) -> Result<Answer<QuizAnswer>, ApiError> {
    let StartRequest { topic, session_id } = command.body;
    let conversation = match session_id {
        // Treat an unparsable id like an unknown conversation.
        Some(id) => Some(id.parse::<ConversationId>().map_err(|_| AppError::not_found())?),
        None => None,
    };
    let started =
        state.services.quizzes.start_quiz(&command.context, actor, conversation, topic.as_deref()).await?;
    let location = format!("/api/quizzes/{}", started.quiz);
    Ok(Answer::created(started.view.into()).with_location(location).with_position(started.position))
}

async fn quiz(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
) -> Result<Answer<QuizAnswer>, ApiError> {
    Ok(Answer::ok(state.services.quizzes.quiz(actor, QuizId::new(id)).await?.into()))
}

async fn act(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathId(id): PathId,
    command: Command<ActionRequest>,
) -> Result<Answer<ActionAnswer>, ApiError> {
    let action = command.body.try_into()?;
    let acted = state.services.quizzes.act_on_quiz(&command.context, actor, QuizId::new(id), action).await?;
    let answer = ActionAnswer { quiz: acted.view.into(), stale: acted.stale, changed: acted.changed };
    Ok(Answer::ok(answer).with_position(acted.position))
}
