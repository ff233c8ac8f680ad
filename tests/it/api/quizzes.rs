//! Tests `/api/quizzes`: from the first question to the score, and actions of stale cards.

use std::collections::BTreeMap;

use futures::future::join_all;
use projections::widget_state;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;
use verbatim::tools::quiz::QuestionBank;

use crate::support::app::{Person, TestApp};
use crate::support::client::Answer;

/// Returns the correct choice of every Rust question.
fn answers() -> BTreeMap<String, String> {
    let all = QuestionBank::built_in().unwrap().select(Some("rust"), usize::MAX, 0).unwrap();
    all.questions.into_iter().map(|question| (question.id, question.correct)).collect()
}

fn question_id(quiz: &Value) -> String {
    quiz["question"]["id"].as_str().unwrap().to_owned()
}

fn correct_choice(quiz: &Value) -> String {
    answers()[&question_id(quiz)].clone()
}

fn wrong_choice(quiz: &Value) -> String {
    ["a", "b"].into_iter().find(|choice| *choice != correct_choice(quiz)).unwrap().to_owned()
}

fn path(quiz: &Value) -> String {
    format!("/api/quizzes/{}", quiz["quiz_id"].as_str().unwrap())
}

async fn start(app: &TestApp, person: &Person, body: Value) -> Value {
    app.post("/api/quizzes").by(person).json(&body).send().await.is(201).value()
}

async fn start_rust_quiz(app: &TestApp, person: &Person) -> Value {
    start(app, person, json!({"topic": "rust"})).await
}

async fn show(app: &TestApp, person: &Person, quiz: &Value) -> Value {
    app.get(&path(quiz)).by(person).send().await.is(200).value()
}

async fn send(app: &TestApp, person: &Person, quiz: &Value, body: Value) -> Answer {
    app.post(&format!("{}/actions", path(quiz))).by(person).json(&body).send().await
}

/// Sends an action about the open question of `quiz`; returns the quiz, whether the action was stale, and whether it
/// changed anything.
async fn act(app: &TestApp, person: &Person, quiz: &Value, mut body: Value) -> (Value, bool, bool) {
    body["question_id"] = json!(question_id(quiz));
    let answer = send(app, person, quiz, body).await.is(200);
    let value = answer.value();
    let (stale, changed) = (value["stale"].as_bool().unwrap(), value["changed"].as_bool().unwrap());
    assert_eq!(answer.header("verbatim-position").is_empty(), !changed);
    (value["quiz"].clone(), stale, changed)
}

/// Sends an action that must change the quiz; returns the quiz.
async fn act_and_change(app: &TestApp, person: &Person, quiz: &Value, body: Value) -> Value {
    let (next, stale, changed) = act(app, person, quiz, body.clone()).await;
    assert!(changed && !stale, "{body}");
    next
}

/// Sends an action that must change nothing; returns whether it was stale.
async fn act_without_change(app: &TestApp, person: &Person, quiz: &Value, body: Value) -> bool {
    let before = (show(app, person, quiz).await, app.events().await);
    let (after, stale, changed) = act(app, person, quiz, body.clone()).await;
    assert!(!changed, "{body}");
    assert_eq!((after, app.events().await), before, "{body}");
    stale
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn quiz_runs_from_first_question_to_score(db: PgPool) {
    let app = TestApp::with(&db, &[("QUIZ_LENGTH", "3")]).await;
    let person = app.person().await;
    let begun = app.post("/api/quizzes").by(&person).json(&json!({"topic": "Rust!"})).send().await.is(201);
    let mut quiz = begun.value();
    assert_eq!(begun.header("location"), path(&quiz));
    assert!(begun.position() > 0);
    assert_eq!(
        (&quiz["topic"], &quiz["index"], &quiz["total"], &quiz["score"], &quiz["finished"]),
        (&json!("rust"), &json!(1), &json!(3), &json!(0), &json!(false))
    );
    assert_eq!(show(&app, &person, &quiz).await, quiz);
    // The conversation created for the quiz is in the list.
    let sessions = app.get("/api/history").by(&person).send().await.is(200).value();
    assert_eq!(sessions["items"][0]["session_id"], quiz["session_id"]);

    // The first question is answered correctly on the second try.
    let marked =
        act_and_change(&app, &person, &quiz, json!({"type": "mcq.select", "answer": correct_choice(&quiz)}))
            .await;
    assert_eq!(
        (&marked["question"]["selected"], &marked["question"]["status"]),
        (&json!(correct_choice(&quiz)), &json!("idle"))
    );
    let cleared = act_and_change(&app, &person, &quiz, json!({"type": "mcq.clear"})).await;
    assert_eq!(cleared["question"]["selected"], Value::Null);
    let submit = json!({"type": "mcq.submit", "answer": wrong_choice(&quiz), "attempt": 1});
    let missed = act_and_change(&app, &person, &quiz, submit).await;
    let asked = &missed["question"];
    assert_eq!((&asked["status"], &asked["attempts"]), (&json!("incorrect"), &json!(1)));
    assert!(asked["hint"].is_string() && asked["explanation"].is_null());
    assert!(
        !act_without_change(&app, &person, &quiz, json!({"type": "mcq.next"})).await,
        "too early, but not stale"
    );
    for number in 1..=3 {
        quiz = act_and_change(
            &app,
            &person,
            &quiz,
            json!({"type": "mcq.submit", "answer": correct_choice(&quiz)}),
        )
        .await;
        let asked = &quiz["question"];
        assert_eq!(asked["status"], "correct");
        assert!(asked["hint"].is_null() && asked["explanation"].is_string());
        assert_eq!(quiz["answered"].as_array().unwrap().len(), number);
        if number < 3 {
            assert!(!act_without_change(&app, &person, &quiz, json!({"type": "mcq.finish"})).await);
            let next = act_and_change(&app, &person, &quiz, json!({"type": "mcq.next"})).await;
            assert_eq!((&next["index"], &next["question"]["status"]), (&json!(number + 1), &json!("idle")));
            quiz = next;
        }
    }
    let finished = act_and_change(&app, &person, &quiz, json!({"type": "mcq.finish"})).await;
    assert_eq!(
        (&finished["finished"], &finished["score"], &finished["index"]),
        (&json!(true), &json!(2), &json!(3))
    );
    let tries: Vec<_> =
        finished["answered"].as_array().unwrap().iter().map(|answered| &answered["attempts"]).collect();
    assert_eq!(tries, [&json!(2), &json!(1), &json!(1)]);
    for body in [json!({"type": "mcq.finish"}), json!({"type": "mcq.next"}), json!({"type": "mcq.clear"})] {
        assert!(!act_without_change(&app, &person, &finished, body).await);
    }

    // The read model shows the same.
    app.wait_for_projections().await;
    let id = finished["quiz_id"].as_str().unwrap().parse().unwrap();
    let row = widget_state::query::by_id(&db, person.id, id).await.unwrap().unwrap();
    let view = serde_json::to_value(row.view().unwrap()).unwrap();
    for name in ["quiz_id", "topic", "finished", "index", "total", "score", "question", "answered"] {
        assert_eq!(view[name], finished[name], "{name}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn quiz_requires_own_conversation_and_known_topic(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let session = app.session(&person).await;
    let quiz = start(&app, &person, json!({"session_id": session, "topic": null})).await;
    assert_eq!((&quiz["session_id"], &quiz["total"]), (&json!(session), &json!(5)));
    start(&app, &person, json!({"session_id": session, "topic": "event sourcing"})).await;
    start(&app, &person, json!({})).await;

    let events = app.events().await;
    let refused = app.post("/api/quizzes").by(&person).json(&json!({"topic": "history"})).send().await;
    refused.assert_error(400, "unknown_topic");
    assert_eq!(refused.field("detail"), "Unknown quiz topic. Available topics: rust, events, web.");
    for (who, named) in
        [(&other, session.as_str()), (&person, "01960000-0000-7000-8000-000000000001"), (&person, "no id")]
    {
        let body = json!({"session_id": named});
        app.post("/api/quizzes").by(who).json(&body).send().await.assert_error(404, "not_found");
    }
    app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
    let deleted = app.events().await;
    let body = json!({"session_id": session});
    app.post("/api/quizzes").by(&person).json(&body).send().await.assert_error(404, "not_found");
    assert_eq!((events + 1, app.events().await), (deleted, deleted));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn foreign_and_deleted_quizzes_are_not_found(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let quiz = start_rust_quiz(&app, &person).await;
    let submit =
        json!({"type": "mcq.submit", "question_id": question_id(&quiz), "answer": correct_choice(&quiz)});
    let unknown = json!({"type": "mcq.next", "question_id": "unheard-of"});
    let events = app.events().await;
    app.get(&path(&quiz)).by(&other).send().await.assert_error(404, "not_found");
    for body in [&submit, &unknown] {
        send(&app, &other, &quiz, body.clone()).await.assert_error(404, "not_found");
    }
    for id in ["01960000-0000-7000-8000-000000000001", "no-id"] {
        let nowhere = json!({"quiz_id": id});
        app.get(&path(&nowhere)).by(&person).send().await.assert_error(404, "not_found");
        send(&app, &person, &nowhere, submit.clone()).await.assert_error(404, "not_found");
    }
    assert_eq!(app.events().await, events);

    let session = quiz["session_id"].as_str().unwrap();
    app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
    let events = app.events().await;
    app.get(&path(&quiz)).by(&person).send().await.assert_error(404, "not_found");
    for body in [submit, unknown] {
        send(&app, &person, &quiz, body).await.assert_error(404, "not_found");
    }
    assert_eq!(app.events().await, events);
    app.wait_for_projections().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM widget_state").fetch_one(&db).await.unwrap();
    assert_eq!(left, 0);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stale_card_changes_nothing_and_is_reported(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = start_rust_quiz(&app, &person).await;
    let submit =
        |choice: String, attempt: Value| json!({"type": "mcq.submit", "answer": choice, "attempt": attempt});
    assert!(act_without_change(&app, &person, &first, submit(correct_choice(&first), json!(2))).await);
    act_and_change(&app, &person, &first, submit(wrong_choice(&first), json!(1))).await;
    // The same answer again is a repetition; another answer from the earlier card is stale.
    assert!(!act_without_change(&app, &person, &first, submit(wrong_choice(&first), json!(1))).await);
    assert!(!act_without_change(&app, &person, &first, submit(wrong_choice(&first), Value::Null)).await);
    assert!(act_without_change(&app, &person, &first, submit(correct_choice(&first), json!(1))).await);
    act_and_change(&app, &person, &first, submit(correct_choice(&first), json!(2))).await;
    assert!(act_without_change(&app, &person, &first, submit(wrong_choice(&first), json!(3))).await);
    act_and_change(&app, &person, &first, json!({"type": "mcq.next"})).await;
    // A double click, and then actions on the card of the previous question.
    assert!(!act_without_change(&app, &person, &first, json!({"type": "mcq.next"})).await);
    for body in [
        submit(correct_choice(&first), Value::Null),
        json!({"type": "mcq.select", "answer": "a"}),
        json!({"type": "mcq.clear"}),
        json!({"type": "mcq.finish"}),
    ] {
        assert!(act_without_change(&app, &person, &first, body).await);
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_quiz_action_is_rejected_with_field(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let quiz = start_rust_quiz(&app, &person).await;
    let asked = question_id(&quiz);
    let events = app.events().await;
    for (body, status, code) in [
        (json!({"type": "mcq.next", "question_id": "unheard-of"}), 400, "unknown_question"),
        (json!({"type": "mcq.submit", "question_id": asked, "answer": "e"}), 400, "unknown_choice"),
        (json!({"type": "mcq.select", "question_id": asked, "answer": ""}), 400, "unknown_choice"),
        (json!({"type": "mcq.submit", "question_id": asked}), 422, "malformed_request"),
        (json!({"type": "mcq.select", "question_id": asked, "answer": null}), 422, "malformed_request"),
        (json!({"type": "mcq.jump", "question_id": asked}), 422, "malformed_request"),
        (json!({"type": "mcq.next"}), 422, "malformed_request"),
        (json!({"question_id": asked}), 422, "malformed_request"),
        (json!({"type": "mcq.submit", "question_id": asked, "answer": 1}), 422, "malformed_request"),
        (
            json!({"type": "mcq.submit", "question_id": asked, "answer": "a", "attempt": -1}),
            422,
            "malformed_request",
        ),
        (json!({"type": "mcq.next", "question_id": "a\u{0}"}), 400, "invalid_character"),
        (json!([]), 422, "malformed_request"),
    ] {
        let answer = send(&app, &person, &quiz, body.clone()).await;
        answer.assert_error(status, code);
        assert!(!answer.text.contains("mcq.jump"), "{}", answer.text);
    }
    let named = send(&app, &person, &quiz, json!({"type": "mcq.submit", "question_id": asked})).await;
    assert_eq!(named.value()["errors"][0]["field"], "answer");
    for body in [json!({"topic": 7}), json!({"session_id": 7}), json!([])] {
        app.post("/api/quizzes").by(&person).json(&body).send().await.assert_error(422, "malformed_request");
    }
    assert_eq!((show(&app, &person, &quiz).await, app.events().await), (quiz, events));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn repeated_key_returns_current_quiz_unchanged(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let begin = async || {
        let body = json!({"topic": "rust"});
        app.post("/api/quizzes").by(&person).key("begin").json(&body).send().await
    };
    let first = begin().await.is(201);
    let quiz = first.value();
    let events = app.events().await;
    let again = begin().await.is(201);
    assert_eq!(
        (again.value(), again.position(), app.events().await),
        (quiz.clone(), first.position(), events)
    );

    let submit = async |choice: String| {
        let body = json!({"type": "mcq.submit", "question_id": question_id(&quiz), "answer": choice});
        app.post(&format!("{}/actions", path(&quiz))).by(&person).key("submit").json(&body).send().await
    };
    let done = submit(wrong_choice(&quiz)).await.is(200);
    act_and_change(&app, &person, &quiz, json!({"type": "mcq.submit", "answer": correct_choice(&quiz)}))
        .await;
    let events = app.events().await;
    let again = submit(wrong_choice(&quiz)).await.is(200);
    assert_eq!((again.position(), app.events().await), (done.position(), events));
    let value = again.value();
    assert_eq!((&value["changed"], &value["stale"]), (&json!(true), &json!(false)));
    assert_eq!(value["quiz"], show(&app, &person, &quiz).await);
    submit(correct_choice(&quiz)).await.assert_error(422, "idempotency_key_reused");

    let session = quiz["session_id"].as_str().unwrap();
    app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
    begin().await.assert_error(409, "conversation_deleted");
    submit(wrong_choice(&quiz)).await.assert_error(409, "conversation_deleted");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn quiz_continues_after_restart(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = start_rust_quiz(&app, &person).await;
    act_and_change(&app, &person, &first, json!({"type": "mcq.submit", "answer": correct_choice(&first)}))
        .await;
    let second = act_and_change(&app, &person, &first, json!({"type": "mcq.next"})).await;
    let missed = act_and_change(
        &app,
        &person,
        &second,
        json!({"type": "mcq.submit", "answer": wrong_choice(&second)}),
    )
    .await;
    app.end().await;

    // New settings do not affect a quiz in progress.
    let app = TestApp::with(&db, &[("QUIZ_LENGTH", "1")]).await;
    assert_eq!(show(&app, &person, &first).await, missed);
    assert!(
        act_without_change(
            &app,
            &person,
            &missed,
            json!({"type": "mcq.submit", "answer": correct_choice(&second), "attempt": 1})
        )
        .await
    );
    let submit = json!({"type": "mcq.submit", "answer": correct_choice(&second), "attempt": 2});
    let found = act_and_change(&app, &person, &missed, submit).await;
    assert_eq!((&found["score"], &found["index"], &found["total"]), (&json!(1), &json!(2), &json!(5)));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_answers_to_one_try_count_once(db: PgPool) {
    let (here, there) = (TestApp::start(&db).await, TestApp::start(&db).await);
    let person = here.person().await;
    let quiz = start_rust_quiz(&here, &person).await;
    let answers = (0..50).map(|n| {
        let choice = ["a", "b", "c", "d"][n % 4];
        let body = json!({
            "type": "mcq.submit", "question_id": question_id(&quiz), "answer": choice, "attempt": 1,
        });
        let (app, quiz, person) = (if n % 2 == 0 { &here } else { &there }, &quiz, &person);
        // A late duplicate of the winning answer is a repetition; any other late answer is stale.
        async move { send(app, person, quiz, body).await.is(200).value() }
    });
    let answers = join_all(answers).await;
    let changed: Vec<&Value> = answers.iter().filter(|answer| answer["changed"] == true).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    let winner = &changed[0]["quiz"];
    assert_eq!(changed[0]["stale"], false);
    assert!(answers.iter().all(|answer| answer["quiz"] == *winner));
    let repeated = answers.iter().filter(|answer| answer["stale"] == false).count();
    assert!((12..=13).contains(&repeated), "{repeated}");
    let submitted: i64 =
        sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'quiz_answer_submitted'")
            .fetch_one(&db)
            .await
            .unwrap();
    assert_eq!(submitted, 1);
    assert_eq!(show(&there, &person, &quiz).await, *winner);
    there.end().await;
    here.end().await;
}
