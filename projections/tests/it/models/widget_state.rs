//! The `widget_state` projection: the state of quizzes.

use aggregates::Event;
use aggregates::ids::{ConversationId, QuizId};
use aggregates::quiz::{AnswerStatus, QuizEvent, QuizView};
use projections::widget_state::query::{by_id, of_conversation};
use sqlx::PgPool;
use uuid::Uuid;

use super::{project_all, reset_projection};
use crate::events::{ADA, TALK, deleted, minute, quiz_question, started};
use crate::support::{Log, rows_of};

const OTHER: ConversationId = ConversationId::new(Uuid::from_u128(77));

fn quiz(n: u128) -> QuizId {
    QuizId::new(Uuid::from_u128(0x9_0000 + n))
}

fn begun(n: u128, conversation: ConversationId) -> Event {
    QuizEvent::QuizStarted {
        quiz_id: quiz(n),
        conversation_id: conversation,
        owner: ADA,
        topic: "letters".to_owned(),
        questions: ["one", "two"].map(quiz_question).to_vec(),
        at: minute(0),
    }
    .into()
}

fn submitted(n: u128, question: &str, choice: &str, attempt: u32) -> Event {
    QuizEvent::QuizAnswerSubmitted {
        quiz_id: quiz(n),
        conversation_id: TALK,
        owner: ADA,
        question_id: question.to_owned(),
        choice: choice.to_owned(),
        attempt,
        correct: choice == "b",
        at: minute(1),
    }
    .into()
}

fn moved_on(n: u128, question: &str) -> Event {
    QuizEvent::QuizMovedOn {
        quiz_id: quiz(n),
        conversation_id: TALK,
        owner: ADA,
        question_id: question.to_owned(),
        at: minute(2),
    }
    .into()
}

async fn view(pool: &PgPool, n: u128) -> QuizView {
    by_id(pool, ADA.uuid(), quiz(n).uuid()).await.unwrap().unwrap().view().unwrap()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn quiz_view_follows_its_events(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), begun(1, TALK)]).await; // 1, 2
    project_all(&log).await;
    let row = by_id(&pool, ADA.uuid(), quiz(1).uuid()).await.unwrap().unwrap();
    assert_eq!((row.conversation_id, row.owner), (TALK.uuid(), ADA.uuid()));
    assert_eq!((row.started, row.position), (2, 2));
    let fresh = row.view().unwrap();
    assert_eq!((fresh.index, fresh.total, fresh.question.status), (1, 2, AnswerStatus::Idle));

    // Events in several batches and in one.
    log.append(&[submitted(1, "one", "a", 1)]).await; // 3
    project_all(&log).await;
    let wrong = view(&pool, 1).await;
    assert_eq!(
        (wrong.question.status, wrong.question.hint.as_deref(), wrong.question.attempts),
        (AnswerStatus::Incorrect, Some("not the first"), 1)
    );
    log.append(&[submitted(1, "one", "b", 2), moved_on(1, "two"), submitted(1, "two", "b", 1)]).await; // 4, 5, 6
    project_all(&log).await;
    let row = by_id(&pool, ADA.uuid(), quiz(1).uuid()).await.unwrap().unwrap();
    assert_eq!((row.started, row.position), (2, 6));
    let last = row.view().unwrap();
    assert_eq!((last.index, last.score, last.question.status), (2, 1, AnswerStatus::Correct));
    assert_eq!(last.answered.iter().map(|answered| answered.attempts).collect::<Vec<_>>(), [2, 1]);

    let live = rows_of(&pool, "widget_state").await;
    reset_projection(&log, "widget_state").await;
    project_all(&log).await;
    assert_eq!(rows_of(&pool, "widget_state").await, live);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn quizzes_are_found_by_owner_in_starting_order(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), started(OTHER, None, 0)]).await;
    log.append(&[begun(3, TALK)]).await;
    log.append(&[begun(2, OTHER)]).await;
    log.append(&[begun(1, TALK), submitted(3, "one", "b", 1)]).await;
    project_all(&log).await;
    let found = async |owner, conversation: ConversationId| -> Vec<Uuid> {
        let rows = of_conversation(&pool, owner, conversation.uuid()).await.unwrap();
        rows.into_iter().map(|row| row.quiz_id).collect()
    };
    let stranger = Uuid::from_u128(0xE7E);
    assert_eq!(found(ADA.uuid(), TALK).await, [quiz(3).uuid(), quiz(1).uuid()]);
    assert_eq!(found(ADA.uuid(), OTHER).await, [quiz(2).uuid()]);
    assert_eq!(found(stranger, TALK).await, [] as [Uuid; 0]);
    assert_eq!(by_id(&pool, stranger, quiz(1).uuid()).await.unwrap(), None);
    assert_eq!(by_id(&pool, ADA.uuid(), quiz(9).uuid()).await.unwrap(), None);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn deleting_conversation_removes_its_quizzes(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), begun(1, TALK), started(OTHER, None, 0), begun(2, OTHER)]).await;
    project_all(&log).await;
    let left = async || rows_of(&pool, "widget_state").await.len();
    assert_eq!(left().await, 2);

    // A click in flight when the conversation was deleted, in the same batch and in a later one.
    log.append(&[submitted(1, "one", "a", 1), deleted(TALK, 5), submitted(1, "one", "b", 2)]).await;
    project_all(&log).await;
    assert_eq!(left().await, 1);
    log.append(&[moved_on(1, "two")]).await;
    project_all(&log).await;
    assert_eq!(left().await, 1);
    // A quiz that was being started.
    log.append(&[begun(3, TALK), submitted(3, "one", "b", 1)]).await;
    project_all(&log).await;
    assert_eq!(left().await, 1);
    assert!(by_id(&pool, ADA.uuid(), quiz(2).uuid()).await.unwrap().is_some());
}
