//! A quiz taken by what its card offers: from the first question to the score, over reloads and restarts, in several tabs, and
//! seen from the chat API.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;
use verbatim::tools::quiz::QuestionBank;

use super::sequences::count;
use super::support::{
    Kit, acting, answer_of, done, id_of, kinds, parse, session_of, text, thread_of, well_formed,
};
use crate::support::app::{Person, TestApp};

/// What the bank says of one question.
struct Known {
    correct: String,
    wrong: Vec<String>,
    hint: Option<String>,
    explanation: Option<String>,
}

/// Every question about Rust, by its id.
fn bank() -> BTreeMap<String, Known> {
    let all = QuestionBank::built_in().unwrap().select(Some("rust"), usize::MAX, 0).unwrap();
    all.questions
        .into_iter()
        .map(|question| {
            let values = question.options.into_iter().map(|option| option.value);
            let wrong = values.filter(|value| *value != question.correct).collect();
            let (hint, explanation) = (question.hint, question.explanation);
            (question.id, Known { correct: question.correct, wrong, hint, explanation })
        })
        .collect()
}

/// Every component of a widget, outermost first.
fn components(widget: &Value) -> Vec<&Value> {
    let mut found = vec![widget];
    for child in widget["children"].as_array().into_iter().flatten() {
        found.extend(components(child));
    }
    found
}

/// A card as somebody sees it.
#[derive(Clone, Debug)]
struct Shown(Value);

impl Shown {
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

    /// Whether it says this somewhere.
    fn says(&self, text: &str) -> bool {
        components(&self.0).iter().any(|component| component["value"] == text)
    }

    fn question(&self) -> &str {
        self.form()["onSubmitAction"]["payload"]["questionId"].as_str().unwrap()
    }

    /// The action as a browser sends it, with what the form adds.
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

/// A quiz in front of somebody.
struct Quiz<'a> {
    kit: Kit<'a>,
    thread: String,
    item: String,
    card: Shown,
    /// Everything that was sent so far, as it was sent.
    sent: String,
}

impl<'a> Quiz<'a> {
    async fn begin(kit: Kit<'a>) -> Self {
        let events = kit.stream("threads.create", json!({"input": text("Quiz me on Rust, please.")})).await;
        assert_eq!(answer_of(&events), "Here is a quiz about rust.");
        let item = done(&events, "widget")[0];
        assert_eq!(item["copy_text"], "");
        let card = Shown(item["widget"].clone());
        Self { kit, thread: thread_of(&events), item: id_of(item), card, sent: json!(events).to_string() }
    }

    /// The same quiz, as whoever opens it now sees it.
    async fn reloaded(kit: Kit<'a>, thread: &str, item: &str) -> Self {
        let items = kit.items(thread).await;
        let found = items.iter().find(|shown| shown["id"] == item).unwrap();
        let card = Shown(found["widget"].clone());
        let (thread, item) = (thread.to_owned(), item.to_owned());
        Self { kit, thread, item, card, sent: String::new() }
    }

    /// Does it, and looks at the card that comes back; whether the card was out of date.
    async fn does(&mut self, (name, payload): (String, Value)) -> bool {
        let params = acting(&self.thread, &self.item, &name, payload);
        let (answer, bytes) = self.kit.call("threads.custom_action", &params).download().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let events = parse(&bytes);
        well_formed(&events);
        self.sent.push_str(&answer.text);
        let update = events.last().unwrap();
        assert_eq!(
            (&update["item_id"], &update["update"]["type"]),
            (&json!(self.item), &json!("widget.root.updated"))
        );
        self.card = Shown(update["update"]["widget"].clone());
        kinds(&events).contains(&"notice")
    }

    /// That whoever reloads sees the same card, by each way of reloading.
    async fn is_kept(&mut self) {
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

    fn has_been_told(&self, text: Option<&String>) -> bool {
        let written = json!(text.expect("the built-in questions have both")).to_string();
        self.sent.contains(written.trim_matches('"'))
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_quiz_is_taken_by_its_card_from_the_first_question_to_the_score(db: PgPool) {
    let variables = [("QUIZ_LENGTH", "3"), ("CHAT_TITLES", "off")];
    let mut app = TestApp::with(&db, &variables).await;
    let person = app.person().await;
    let bank = bank();
    let (mut thread, mut item) = (String::new(), String::new());
    for number in 1..=3 {
        // Each question is answered by another process.
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
        assert!(quiz.card.says(&format!("Question {number} of 3")));
        assert_eq!(
            (&quiz.card.radio()["defaultValue"], &quiz.card.radio()["disabled"]),
            (&json!(""), &json!(false))
        );
        let forward = if number == 3 { "Finish" } else { "Next" };
        assert_eq!(quiz.card.button(forward)["disabled"], true);

        // Marked, taken back, marked again.
        assert!(!quiz.does(quiz.card.mark(&known.wrong[0])).await);
        assert_eq!(quiz.card.radio()["defaultValue"], known.wrong[0]);
        quiz.is_kept().await;
        assert!(!quiz.does(quiz.card.press("Clear")).await);
        assert_eq!(quiz.card.radio()["defaultValue"], "");
        quiz.is_kept().await;

        // Two are found at once, the second one at the third try.
        let missed: &[String] = if number == 2 { &known.wrong[..2] } else { &[] };
        for (tries, wrong) in missed.iter().enumerate() {
            assert_eq!(quiz.has_been_told(known.hint.as_ref()), tries > 0, "a hint before its time");
            assert!(!quiz.does(quiz.card.submit(wrong)).await);
            assert!(quiz.card.says(known.hint.as_ref().unwrap()));
            assert!(quiz.card.button("Submit answer").is_null() && quiz.card.button("Try again").is_object());
            quiz.is_kept().await;
        }
        let early = quiz.card.0.clone();
        assert!(!quiz.does(quiz.card.press(forward)).await);
        assert_eq!(quiz.card.0, early, "too early");
        assert!(!quiz.has_been_told(known.explanation.as_ref()), "the explanation tells which one is right");
        assert!(!quiz.sent.contains("\"correct"), "what is right is said nowhere");
        assert!(!quiz.does(quiz.card.submit(&known.correct)).await);
        assert!(quiz.card.says(known.explanation.as_ref().unwrap()));
        assert_eq!(
            (&quiz.card.radio()["disabled"], &quiz.card.button(forward)["disabled"]),
            (&json!(true), &json!(false))
        );
        quiz.is_kept().await;

        let before = quiz.card.press(forward);
        assert!(!quiz.does(before.clone()).await);
        quiz.is_kept().await;
        // A double click steps once.
        let next = quiz.card.0.clone();
        quiz.does(before).await;
        assert_eq!(quiz.card.0, next);
        // Of questions that have not come yet nothing is known.
        let asked: Vec<&str> =
            bank.keys().map(String::as_str).filter(|id| quiz.sent.contains(&format!("\"{id}\""))).collect();
        assert!(asked.len() <= 2, "{asked:?}");
    }
    let kit = Kit::new(&app, &person);
    let score = Quiz::reloaded(kit, &thread, &item).await;
    for line in ["Quiz finished", "2 of 3 right at the first try.", "3 tries"] {
        assert!(score.card.says(line), "{line}: {:#}", score.card.0);
    }
    assert!(score.card.form().is_null());
    assert_eq!(count(&app, "quiz_finished").await, 1);
    // The model knows of it when it is asked.
    kit.add(&thread, "How did I do?").await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_tabs_agree_whatever_each_of_them_shows(db: PgPool) {
    let app = TestApp::with(&db, &[("QUIZ_LENGTH", "2"), ("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    // The same person, signed in twice.
    let login = json!({"username": person.email, "password": crate::support::app::PASSWORD});
    let again = app.post("/api/auth/login").json(&login).send().await.is(200);
    let elsewhere = Person { access: again.field("access_token"), ..person.clone() };
    let bank = bank();
    let mut one = Quiz::begin(Kit::new(&app, &person)).await;
    let mut two = Quiz::reloaded(Kit::new(&app, &elsewhere), &one.thread, &one.item).await;
    assert_eq!(one.card.0, two.card.0);
    let known = &bank[one.card.question()];

    // Both answer from the same card: one counts, the other is told.
    assert!(!one.does(one.card.submit(&known.wrong[0])).await);
    assert!(two.does(two.card.submit(&known.wrong[1])).await);
    assert_eq!(one.card.0, two.card.0);
    // By the card that came with it the second one goes on, and the first one is behind now.
    assert!(!two.does(two.card.submit(&known.correct)).await);
    assert!(!two.does(two.card.press("Next")).await);
    let events = app.events().await;
    assert!(one.does(one.card.submit(&known.correct)).await);
    assert_eq!(one.card.0, two.card.0);
    assert_eq!(app.events().await, events);
    one.is_kept().await;
    two.is_kept().await;
    // The same answer from both is one answer.
    let known = &bank[one.card.question()];
    assert!(!one.does(one.card.submit(&known.correct)).await);
    assert!(!two.does(two.card.submit(&known.correct)).await);
    assert_eq!((one.card.0.clone(), app.events().await), (two.card.0.clone(), events + 1));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn of_fifty_answers_to_one_card_one_counts(db: PgPool) {
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
    assert_eq!(count(&app, "quiz_answer_submitted").await, 1);
    let shown = Quiz::reloaded(kit, &quiz.thread, &quiz.item).await.card;
    assert!(cards.iter().all(|card| *card == shown.0), "all are told what came of it");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn both_doors_show_one_conversation_and_one_quiz(db: PgPool) {
    let app = TestApp::with(&db, &[("QUIZ_LENGTH", "2"), ("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let bank = bank();

    // Asked for at the chat API, taken here.
    let said = app.say(&person, None, "Quiz me on Rust").await;
    assert_eq!(said["reply"], "Here is a quiz about rust.");
    let session = said["session_id"].as_str().unwrap();
    let thread = format!("thr_{}", session.replace('-', ""));
    // What an answer brings stands right behind it in the log, and that door does not wait for it.
    app.wait_for_projections().await;
    let items = kit.items(&thread).await;
    let types: Vec<&str> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["user_message", "assistant_message", "widget"]);
    let mut quiz = Quiz::reloaded(kit, &thread, &id_of(&items[2])).await;
    let known = &bank[quiz.card.question()];
    quiz.does(quiz.card.submit(&known.wrong[0])).await;
    let id = uuid::Uuid::parse_str(quiz.item.strip_prefix("msg_").unwrap()).unwrap();
    let path = format!("/api/quizzes/{id}");
    let view = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(
        (&view["question"]["status"], &view["question"]["attempts"]),
        (&json!("incorrect"), &json!(1))
    );
    assert_eq!(view["session_id"], session);

    // Answered there, shown here.
    let submit = json!({"type": "mcq.submit", "question_id": quiz.card.question(), "answer": known.correct});
    app.post(&format!("{path}/actions")).by(&person).json(&submit).send().await.is(200);
    assert!(quiz.does(quiz.card.submit(&known.wrong[1])).await, "the card is out of date");
    assert!(quiz.card.says(known.explanation.as_ref().unwrap()));
    quiz.is_kept().await;

    // The other way round: what was asked for here is told there.
    let here = Quiz::begin(kit).await;
    let path = format!("/api/history/{}", session_of(&here.thread));
    let history = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(history["items"][1]["text"], "Here is a quiz about rust.");

    // Threads and sessions, messages and items are the same.
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
    // Feedback is kept, and shown to nobody.
    let feedback = json!({"thread_id": other, "item_ids": [ids[1], ids[3]], "kind": "positive"});
    assert_eq!(kit.get("items.feedback", feedback).await, json!({}));
    assert_eq!(count(&app, "feedback_given").await, 1);
    assert_eq!(kit.items(&other).await, items);
    assert_eq!(kit.get("threads.delete", json!({"thread_id": other})).await, json!({}));
    app.get(&format!("/api/history/{}", session_of(&other))).by(&person).send().await.is(404);
    app.end().await;
}
