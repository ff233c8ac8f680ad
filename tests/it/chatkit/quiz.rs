//! Tests a quiz taken through its card: from the first question to the score, over reloads and restarts, in several
//! tabs, and as the chat API shows it.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;
use verbatim::tools::quiz::QuestionBank;

use super::sequences::count_events;
use super::support::{
    Kit, acting, answer_of, assert_well_formed, done, id_of, kinds, parse, session_of, text, thread_of,
};
use crate::support::app::{Person, TestApp};

/// A question's answers and texts in the bank.
struct BankQuestion {
    correct: String,
    wrong: Vec<String>,
    hint: Option<String>,
    explanation: Option<String>,
}

/// Returns every Rust question by id.
fn bank() -> BTreeMap<String, BankQuestion> {
    let all = QuestionBank::built_in().unwrap().select(Some("rust"), usize::MAX, 0).unwrap();
    all.questions
        .into_iter()
        .map(|question| {
            let values = question.options.into_iter().map(|option| option.value);
            let wrong = values.filter(|value| *value != question.correct).collect();
            let (hint, explanation) = (question.hint, question.explanation);
            (question.id, BankQuestion { correct: question.correct, wrong, hint, explanation })
        })
        .collect()
}

/// Returns every component of a widget, outermost first.
fn components(widget: &Value) -> Vec<&Value> {
    let mut found = vec![widget];
    for child in widget["children"].as_array().into_iter().flatten() {
        found.extend(components(child));
    }
    found
}

/// A card as a user sees it.
#[derive(Clone, Debug)]
struct Card(Value);

impl Card {
    fn component(&self, of: impl Fn(&Value) -> bool) -> &Value {
        components(&self.0).into_iter().find(|component| of(component)).unwrap_or(&Value::Null)
    }

    fn radio(&self) -> &Value {
        self.component(|component| component["type"] == "RadioGroup")
    }

    fn form(&self) -> &Value {
        self.component(|component| component["type"] == "Form")
    }

    fn button(&self, label: &str) -> &Value {
        self.component(|component| component["type"] == "Button" && component["label"] == label)
    }

    /// Returns whether the card contains this text.
    fn contains_text(&self, text: &str) -> bool {
        components(&self.0).iter().any(|component| component["value"] == text)
    }

    fn question(&self) -> &str {
        self.form()["onSubmitAction"]["payload"]["questionId"].as_str().unwrap()
    }

    /// Returns the action as a browser sends it, with the form's values.
    fn with_answer(action: &Value, answer: &str) -> (String, Value) {
        let mut payload = action["payload"].clone();
        payload["answer"] = json!(answer);
        (action["type"].as_str().unwrap().to_owned(), payload)
    }

    fn submit(&self, answer: &str) -> (String, Value) {
        Self::with_answer(&self.form()["onSubmitAction"], answer)
    }

    fn mark(&self, answer: &str) -> (String, Value) {
        Self::with_answer(&self.radio()["onChangeAction"], answer)
    }

    fn press(&self, label: &str) -> (String, Value) {
        let selected = self.radio()["defaultValue"].as_str().unwrap();
        Self::with_answer(&self.button(label)["onClickAction"], selected)
    }
}

/// A quiz that a user is taking.
struct Quiz<'a> {
    kit: Kit<'a>,
    thread: String,
    item: String,
    card: Card,
    /// Everything the server has sent so far, verbatim.
    sent: String,
}

impl<'a> Quiz<'a> {
    async fn begin(kit: Kit<'a>) -> Self {
        let events = kit.stream("threads.create", json!({"input": text("Quiz me on Rust, please.")})).await;
        assert_eq!(answer_of(&events), "Here is a quiz about rust.");
        let item = done(&events, "widget")[0];
        assert_eq!(item["copy_text"], "");
        let card = Card(item["widget"].clone());
        Self { kit, thread: thread_of(&events), item: id_of(item), card, sent: json!(events).to_string() }
    }

    /// Loads the same quiz again, as a newly opened page does.
    async fn reloaded(kit: Kit<'a>, thread: &str, item: &str) -> Self {
        let items = kit.items(thread).await;
        let found = items.iter().find(|shown| shown["id"] == item).unwrap();
        let card = Card(found["widget"].clone());
        let (thread, item) = (thread.to_owned(), item.to_owned());
        Self { kit, thread, item, card, sent: String::new() }
    }

    /// Sends the action and replaces the card; returns whether the card was stale.
    async fn act(&mut self, (name, payload): (String, Value)) -> bool {
        let params = acting(&self.thread, &self.item, &name, payload);
        let (answer, bytes) = self.kit.call("threads.custom_action", &params).download().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let events = parse(&bytes);
        assert_well_formed(&events);
        self.sent.push_str(&answer.text);
        let update = events.last().unwrap();
        assert_eq!(
            (&update["item_id"], &update["update"]["type"]),
            (&json!(self.item), &json!("widget.root.updated"))
        );
        self.card = Card(update["update"]["widget"].clone());
        kinds(&events).contains(&"notice")
    }

    /// Checks that reloading shows the same card, in both ways of reloading.
    async fn assert_reload_shows_same_card(&mut self) {
        let of = json!({"thread_id": self.thread});
        let list = self.kit.ask("items.list", of.clone()).await.is(200);
        let by_id = self.kit.ask("threads.get_by_id", of).await.is(200);
        for items in [&list.value()["data"], &by_id.value()["items"]["data"]] {
            let item = items.as_array().unwrap().iter().find(|item| item["id"] == self.item).unwrap();
            assert_eq!(item["widget"], self.card.0);
        }
        self.sent.push_str(&list.text);
        self.sent.push_str(&by_id.text);
    }

    fn was_sent(&self, text: Option<&String>) -> bool {
        let written = json!(text.expect("the built-in questions have both")).to_string();
        self.sent.contains(written.trim_matches('"'))
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn quiz_card_runs_from_first_question_to_score(db: PgPool) {
    let variables = [("QUIZ_LENGTH", "3"), ("CHAT_TITLES", "off")];
    let mut app = TestApp::with(&db, &variables).await;
    let person = app.person().await;
    let bank = bank();
    let (mut thread, mut item) = (String::new(), String::new());
    for number in 1..=3 {
        // A new process serves each question.
        if number > 1 {
            app.end().await;
            app = TestApp::with(&db, &variables).await;
        }
        let kit = Kit::new(&app, &person);
        let mut quiz = match number {
            1 => Quiz::begin(kit).await,
            _ => Quiz::reloaded(kit, &thread, &item).await,
        };
        thread.clone_from(&quiz.thread);
        item.clone_from(&quiz.item);
        let known = &bank[quiz.card.question()];
        assert!(quiz.card.contains_text(&format!("Question {number} of 3")));
        assert_eq!(
            (&quiz.card.radio()["defaultValue"], &quiz.card.radio()["disabled"]),
            (&json!(""), &json!(false))
        );
        let forward = if number == 3 { "Finish" } else { "Next" };
        assert_eq!(quiz.card.button(forward)["disabled"], true);

        // Selected, cleared, selected again.
        assert!(!quiz.act(quiz.card.mark(&known.wrong[0])).await);
        assert_eq!(quiz.card.radio()["defaultValue"], known.wrong[0]);
        quiz.assert_reload_shows_same_card().await;
        assert!(!quiz.act(quiz.card.press("Clear")).await);
        assert_eq!(quiz.card.radio()["defaultValue"], "");
        quiz.assert_reload_shows_same_card().await;

        // Two questions are answered at once, the second on the third try.
        let missed: &[String] = if number == 2 { &known.wrong[..2] } else { &[] };
        for (tries, wrong) in missed.iter().enumerate() {
            assert_eq!(quiz.was_sent(known.hint.as_ref()), tries > 0, "a hint before its time");
            assert!(!quiz.act(quiz.card.submit(wrong)).await);
            assert!(quiz.card.contains_text(known.hint.as_ref().unwrap()));
            assert!(quiz.card.button("Submit answer").is_null() && quiz.card.button("Try again").is_object());
            quiz.assert_reload_shows_same_card().await;
        }
        let early = quiz.card.0.clone();
        assert!(!quiz.act(quiz.card.press(forward)).await);
        assert_eq!(quiz.card.0, early, "too early");
        assert!(!quiz.was_sent(known.explanation.as_ref()), "the explanation reveals the correct answer");
        assert!(!quiz.sent.contains("\"correct"), "the correct answer is never sent");
        assert!(!quiz.act(quiz.card.submit(&known.correct)).await);
        assert!(quiz.card.contains_text(known.explanation.as_ref().unwrap()));
        assert_eq!(
            (&quiz.card.radio()["disabled"], &quiz.card.button(forward)["disabled"]),
            (&json!(true), &json!(false))
        );
        quiz.assert_reload_shows_same_card().await;

        let before = quiz.card.press(forward);
        assert!(!quiz.act(before.clone()).await);
        quiz.assert_reload_shows_same_card().await;
        // A double click advances once.
        let next = quiz.card.0.clone();
        quiz.act(before).await;
        assert_eq!(quiz.card.0, next);
        // Later questions have not been sent.
        let asked: Vec<&str> =
            bank.keys().map(String::as_str).filter(|id| quiz.sent.contains(&format!("\"{id}\""))).collect();
        assert!(asked.len() <= 2, "{asked:?}");
    }
    let kit = Kit::new(&app, &person);
    let score = Quiz::reloaded(kit, &thread, &item).await;
    for line in ["Quiz finished", "2 of 3 right at the first try.", "3 tries"] {
        assert!(score.card.contains_text(line), "{line}: {:#}", score.card.0);
    }
    assert!(score.card.form().is_null());
    assert_eq!(count_events(&app, "quiz_finished").await, 1);
    // The model gets the result as context.
    kit.add(&thread, "How did I do?").await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_tabs_converge_on_one_quiz_state(db: PgPool) {
    let app = TestApp::with(&db, &[("QUIZ_LENGTH", "2"), ("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    // The same user, signed in twice.
    let login = json!({"username": person.email, "password": crate::support::app::PASSWORD});
    let again = app.post("/api/auth/login").json(&login).send().await.is(200);
    let elsewhere = Person { access: again.field("access_token"), ..person.clone() };
    let bank = bank();
    let mut one = Quiz::begin(Kit::new(&app, &person)).await;
    let mut two = Quiz::reloaded(Kit::new(&app, &elsewhere), &one.thread, &one.item).await;
    assert_eq!(one.card.0, two.card.0);
    let known = &bank[one.card.question()];

    // Both tabs answer from the same card: one answer counts, the other gets the current card.
    assert!(!one.act(one.card.submit(&known.wrong[0])).await);
    assert!(two.act(two.card.submit(&known.wrong[1])).await);
    assert_eq!(one.card.0, two.card.0);
    // The second tab continues with that card, and the first is stale now.
    assert!(!two.act(two.card.submit(&known.correct)).await);
    assert!(!two.act(two.card.press("Next")).await);
    let events = app.events().await;
    assert!(one.act(one.card.submit(&known.correct)).await);
    assert_eq!(one.card.0, two.card.0);
    assert_eq!(app.events().await, events);
    one.assert_reload_shows_same_card().await;
    two.assert_reload_shows_same_card().await;
    // The same answer from both tabs counts once.
    let known = &bank[one.card.question()];
    assert!(!one.act(one.card.submit(&known.correct)).await);
    assert!(!two.act(two.card.submit(&known.correct)).await);
    assert_eq!((one.card.0.clone(), app.events().await), (two.card.0.clone(), events + 1));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn fifty_concurrent_answers_count_once(db: PgPool) {
    let app = TestApp::with(&db, &[("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let quiz = Quiz::begin(kit).await;
    let known = &bank()[quiz.card.question()];
    let mut choices = known.wrong.clone();
    choices.push(known.correct.clone());
    let submits = (0..50).map(async |n: usize| {
        let (name, payload) = quiz.card.submit(&choices[n % choices.len()]);
        let params = acting(&quiz.thread, &quiz.item, &name, payload);
        if n.is_multiple_of(5) {
            let answer = kit.get("threads.sync_custom_action", params).await;
            return answer["updated_item"]["widget"].clone();
        }
        let events = kit.stream("threads.custom_action", params).await;
        events.last().unwrap()["update"]["widget"].clone()
    });
    let cards = join_all(submits).await;
    assert_eq!(count_events(&app, "quiz_answer_submitted").await, 1);
    let shown = Quiz::reloaded(kit, &quiz.thread, &quiz.item).await.card;
    assert!(cards.iter().all(|card| *card == shown.0), "all responses show the outcome");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn chatkit_and_chat_api_show_same_conversation_and_quiz(db: PgPool) {
    let app = TestApp::with(&db, &[("QUIZ_LENGTH", "2"), ("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let bank = bank();

    // Started through the chat API, taken here.
    let said = app.say(&person, None, "Quiz me on Rust").await;
    assert_eq!(said["reply"], "Here is a quiz about rust.");
    let session = said["session_id"].as_str().unwrap();
    let thread = format!("thr_{}", session.replace('-', ""));
    // A reply's items follow it in the log, and the chat API does not wait for them.
    app.wait_for_projections().await;
    let items = kit.items(&thread).await;
    let types: Vec<&str> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["user_message", "assistant_message", "widget"]);
    let mut quiz = Quiz::reloaded(kit, &thread, &id_of(&items[2])).await;
    let known = &bank[quiz.card.question()];
    quiz.act(quiz.card.submit(&known.wrong[0])).await;
    let id = uuid::Uuid::parse_str(quiz.item.strip_prefix("msg_").unwrap()).unwrap();
    let path = format!("/api/quizzes/{id}");
    let view = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(
        (&view["question"]["status"], &view["question"]["attempts"]),
        (&json!("incorrect"), &json!(1))
    );
    assert_eq!(view["session_id"], session);

    // Answered through the chat API, shown here.
    let submit = json!({"type": "mcq.submit", "question_id": quiz.card.question(), "answer": known.correct});
    app.post(&format!("{path}/actions")).by(&person).json(&submit).send().await.is(200);
    assert!(quiz.act(quiz.card.submit(&known.wrong[1])).await, "the card is out of date");
    assert!(quiz.card.contains_text(known.explanation.as_ref().unwrap()));
    quiz.assert_reload_shows_same_card().await;

    // The other way round: a quiz started here is shown by the chat API.
    let here = Quiz::begin(kit).await;
    let path = format!("/api/history/{}", session_of(&here.thread));
    let history = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(history["items"][1]["text"], "Here is a quiz about rust.");

    // Threads are sessions, and items are messages.
    let (other, events) = kit.create("Written here").await;
    app.say(&person, Some(&session_of(&other)), "Written there").await;
    let items = kit.items(&other).await;
    let shown: Vec<&Value> = items.iter().map(|item| &item["content"][0]["text"]).collect();
    let history =
        app.get(&format!("/api/history/{}", session_of(&other))).by(&person).send().await.is(200).value();
    let kept: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|item| &item["text"]).collect();
    assert_eq!(shown, kept);
    assert_eq!((shown.len(), shown[2]), (4, &json!("Written there")));
    let ids: Vec<String> = items.iter().map(id_of).collect();
    for (item, message) in ids.iter().zip(history["items"].as_array().unwrap()) {
        let id = message["message_id"].as_str().unwrap();
        assert_eq!(*item, format!("msg_{}", id.replace('-', "")));
    }
    assert_eq!(ids[0], id_of(done(&events, "user_message")[0]));
    kit.get("threads.update", json!({"thread_id": other, "title": "Named here"})).await;
    let list = app.get("/api/history").by(&person).send().await.is(200).value();
    assert_eq!(list["items"][0]["title"], "Named here");
    let renamed = json!({"title": "Named there"});
    app.patch(&format!("/api/history/{}", session_of(&other)))
        .by(&person)
        .json(&renamed)
        .send()
        .await
        .is(200);
    let by_id = kit.get("threads.get_by_id", json!({"thread_id": other})).await;
    assert_eq!(by_id["title"], "Named there");
    // Feedback is stored and never shown.
    let feedback = json!({"thread_id": other, "item_ids": [ids[1], ids[3]], "kind": "positive"});
    assert_eq!(kit.get("items.feedback", feedback).await, json!({}));
    assert_eq!(count_events(&app, "feedback_given").await, 1);
    assert_eq!(kit.items(&other).await, items);
    assert_eq!(kit.get("threads.delete", json!({"thread_id": other})).await, json!({}));
    app.get(&format!("/api/history/{}", session_of(&other))).by(&person).send().await.is(404);
    app.end().await;
}
