//! Tests branches over the API: regenerated replies, edited messages, switching, and the messages of each branch.
//! Pending replies, idempotency keys, limits and rejections are in `branch_commands`.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{Person, TestApp};

/// A user and one of their conversations.
pub(super) struct Talk<'a> {
    app: &'a TestApp,
    person: &'a Person,
    pub(super) session: String,
}

impl<'a> Talk<'a> {
    /// Creates a conversation with these messages, each answered; returns the response bodies too.
    pub(super) async fn with(app: &'a TestApp, person: &'a Person, messages: &[&str]) -> (Self, Vec<Value>) {
        let mut answers: Vec<Value> = Vec::new();
        for message in messages {
            let session = answers.first().map(|first| text(first, "session_id"));
            answers.push(app.say(person, session.as_deref(), message).await);
        }
        let session = text(&answers[0], "session_id");
        (Self { app, person, session }, answers)
    }

    pub(super) fn path(&self, rest: &str) -> String {
        format!("/api/history/{}{rest}", self.session)
    }

    /// Returns the active branch's texts, or those that `query` selects; replies are shortened by [`brief`].
    async fn shown(&self, query: &str) -> Vec<String> {
        let page = self.app.get(&self.path(query)).by(self.person).send().await.is(200).value();
        assert_eq!(page["session_id"], self.session);
        page["items"].as_array().unwrap().iter().map(|item| brief(item["text"].as_str().unwrap())).collect()
    }

    pub(super) async fn branches(&self) -> Value {
        self.app.get(&self.path("/branches")).by(self.person).send().await.is(200).value()
    }

    pub(super) async fn activate(&self, branch: u32) -> Value {
        let path = self.path(&format!("/branches/{branch}/activate"));
        self.app.post(&path).by(self.person).send().await.is(200).value()
    }

    async fn regenerate(&self, message: &Value) -> Value {
        let path = self.path(&format!("/messages/{}/regenerate", message.as_str().unwrap()));
        self.app.post(&path).by(self.person).send().await.is(200).value()
    }

    pub(super) async fn edit(&self, message: &Value, to: &str) -> Value {
        let path = self.path(&format!("/messages/{}/edit", message.as_str().unwrap()));
        self.app.post(&path).by(self.person).json(&json!({"message": to})).send().await.is(200).value()
    }

    async fn say(&self, message: &str) -> Value {
        self.app.say(self.person, Some(&self.session), message).await
    }
}

pub(super) fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

/// Returns a message's text, or `re:` and the echoed message for a scripted reply.
fn brief(text: &str) -> String {
    match text.split_once("You said: \"") {
        Some((_, said)) => format!("re:{}", said.split_once('"').unwrap().0),
        None => text.to_owned(),
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn regenerate_starts_branch_and_keeps_history(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    let list = talk.branches().await;
    assert_eq!((&list["active"], list["items"].as_array().unwrap().len()), (&json!(0), 1));
    let first = &list["items"][0];
    assert_eq!(
        (&first["message_count"], &first["first_message_id"]),
        (&json!(4), &said[0]["user_message_id"])
    );

    let again = talk.regenerate(&said[0]["user_message_id"]).await;
    assert_eq!(again["user_message_id"], said[0]["user_message_id"]);
    assert_ne!(again["message_id"], said[0]["message_id"]);
    assert_eq!(again["status"], "completed");
    assert!(text(&again, "reply").contains("Turns seen: 1 (1 from you, 0 from me)"), "{again}");
    assert_eq!(talk.shown("").await, ["one", "re:one"]);
    assert_eq!(talk.shown("?branch=0").await, ["one", "re:one", "two", "re:two"]);
    assert_eq!(talk.shown("?branch=1").await, ["one", "re:one"]);
    // The context is the active path only.
    let on = talk.say("three").await;
    assert!(text(&on, "reply").contains("Turns seen: 3 (2 from you, 1 from me)"), "{on}");

    let list = talk.branches().await;
    assert_eq!(list["active"], 1);
    let [old, new] = list["items"].as_array().unwrap().as_slice() else { panic!("{list}") };
    for (branch, expected) in [
        (old, json!([0, null, null, null, 4, false])),
        (new, json!([1, 0, said[0]["user_message_id"], null, 4, true])),
    ] {
        let names = ["branch", "parent", "forked_after", "replaces", "message_count", "active"];
        assert_eq!(Value::from(names.map(|name| branch[name].clone()).to_vec()), expected, "{branch}");
        assert!(chrono::DateTime::parse_from_rfc3339(branch["created_at"].as_str().unwrap()).is_ok());
    }
    assert_eq!((&new["first_message_id"], &new["first_role"]), (&again["message_id"], &json!("assistant")));
    assert_eq!(new["first_reply_id"], again["reply_id"]);
    assert_eq!(old["first_reply_id"], said[0]["reply_id"]);
    assert!(new["last_message"].as_str().unwrap().contains("three"));
    assert!(old["last_message"].as_str().unwrap().contains("two"));

    // Switch back and continue there; the list of conversations follows.
    let back = talk.activate(0).await;
    assert_eq!((&back["branch"], &back["active"]), (&json!(0), &json!(true)));
    assert_eq!(talk.shown("").await, ["one", "re:one", "two", "re:two"]);
    let listed =
        async || app.get("/api/history").by(&person).send().await.is(200).value()["items"][0].clone();
    assert_eq!(listed().await["message_count"], 4);
    assert!(listed().await["last_message"].as_str().unwrap().contains("two"));
    let on = talk.say("four").await;
    assert!(text(&on, "reply").contains("Turns seen: 5 (3 from you, 2 from me)"), "{on}");
    assert_eq!(listed().await["message_count"], 6);
    assert_eq!(talk.activate(0).await["message_count"], 6, "again: nothing changes");
    talk.activate(1).await;
    assert_eq!(talk.shown("").await, ["one", "re:one", "three", "re:three"]);
    assert_eq!(talk.shown("?branch=0&limit=2").await, ["four", "re:four"]);
    // The reply's id works as well as the message's.
    let by_answer = talk.regenerate(&again["message_id"]).await;
    assert_eq!(by_answer["user_message_id"], said[0]["user_message_id"]);
    assert_eq!(talk.branches().await["items"][2]["parent"], 0, "a sibling of the others");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn regenerate_without_output_starts_no_branch(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "empty"), ("REPLY_MAX_ATTEMPTS", "1")]).await;
    let person = app.person().await;
    let failed = app.post("/api/chat").by(&person).json(&json!({"message": "one"})).send().await;
    assert_eq!(failed.status, 500, "{failed:?}");
    let listed = app.get("/api/history").by(&person).send().await.is(200).value();
    let session = text(&listed["items"][0], "session_id");
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let message = page["items"][0]["message_id"].as_str().unwrap();
    let path = format!("/api/history/{session}/messages/{message}/regenerate");
    assert_eq!(app.post(&path).by(&person).send().await.status, 500, "it fails again");
    let list = app.get(&format!("/api/history/{session}/branches")).by(&person).send().await.is(200).value();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn edited_message_replaces_original_on_new_branch(db: PgPool) {
    let app = TestApp::with(&db, &[("AI_MODELS", "other-model")]).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one", "two", "three"]).await;
    let path = talk.path(&format!("/messages/{}/edit", said[1]["user_message_id"].as_str().unwrap()));
    let body = json!({"message": "zwei", "model": "other-model"});
    let answer = app.post(&path).by(&person).json(&body).key("edit-1").send().await.is(200);
    assert!(answer.position() > 0);
    let edited = answer.value();
    assert_ne!(edited["user_message_id"], said[1]["user_message_id"]);
    assert!(text(&edited, "reply").contains("Turns seen: 3 (2 from you, 1 from me)"), "{edited}");
    let reply = format!("/api/replies/{}", text(&edited, "reply_id"));
    let reply = app.get(&reply).by(&person).send().await.is(200).value();
    assert_eq!(reply["requested_model"], "other-model");
    // Repeated with its key: the first result, and no third branch.
    let repeated = app.post(&path).by(&person).json(&body).key("edit-1").send().await.is(200).value();
    assert_eq!(repeated, edited);
    assert_eq!(talk.shown("").await, ["one", "re:one", "zwei", "re:zwei"]);
    assert_eq!(talk.shown("?branch=0").await, ["one", "re:one", "two", "re:two", "three", "re:three"]);
    let list = talk.branches().await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let new = &list["items"][1];
    assert_eq!(
        (&new["replaces"], &new["forked_after"]),
        (&said[1]["user_message_id"], &said[0]["message_id"])
    );
    assert_eq!(new["first_message_id"], edited["user_message_id"]);

    // Editing the edited message adds a sibling, not a child. Editing the first message forks before everything.
    talk.edit(&edited["user_message_id"], "dos").await;
    talk.edit(&said[0]["user_message_id"], "eins").await;
    let list = talk.branches().await;
    let forks: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|branch| (&branch["parent"], &branch["forked_after"]))
        .collect();
    let (none, zero) = (Value::Null, json!(0));
    let after = &said[0]["message_id"];
    assert_eq!(forks, [(&none, &none), (&zero, after), (&zero, after), (&zero, &none)]);
    for (branch, expected) in [
        (1, vec!["one", "re:one", "zwei", "re:zwei"]),
        (2, vec!["one", "re:one", "dos", "re:dos"]),
        (3, vec!["eins", "re:eins"]),
    ] {
        talk.activate(branch).await;
        assert_eq!(talk.shown("").await, expected);
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn edited_message_keeps_attachments_and_quote(db: PgPool) {
    let app = TestApp::with(&db, &[("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    let parts = [("file", Some("note.txt"), Some("text/plain"), b"plums".as_slice())];
    let file = app.post("/files").by(&person).parts(&parts).send().await.is(200).field("id");
    let input = json!({
        "content": [{"type": "input_text", "text": "Read it"}], "attachments": [file], "quoted_text": "as said before",
        "inference_options": {},
    });
    let body = json!({"type": "threads.create", "params": {"input": input}});
    app.post("/chatkit").by(&person).json(&body).download().await.0.is(200);
    let listed = app.get("/api/history").by(&person).send().await.is(200).value();
    let session = text(&listed["items"][0], "session_id");
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let talk = Talk { app: &app, person: &person, session };
    let edited = talk.edit(&page["items"][0]["message_id"], "Read it again").await;
    let reply = text(&edited, "reply");
    for part in ["plums", "<quoted>\nas said before\n</quoted>\nRead it again"] {
        assert!(reply.contains(part), "{part}: {reply}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn regenerate_and_edit_stream_when_accepted(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one"]).await;
    let message = said[0]["user_message_id"].as_str().unwrap();
    for (what, body) in [("regenerate", json!({})), ("edit", json!({"message": "eins"}))] {
        let path = talk.path(&format!("/messages/{message}/{what}"));
        let call = app.post(&path).by(&person).header("accept", "text/event-stream").json(&body);
        let mut stream = call.stream().await;
        let mut names = Vec::new();
        while let Some(event) = stream.next().await {
            names.push(event.name);
        }
        assert_eq!(
            (names.first().unwrap().as_str(), names.last().unwrap().as_str()),
            ("message", "reply.done")
        );
        assert!(names.iter().any(|name| name == "reply.delta"), "{names:?}");
    }
    assert_eq!(talk.shown("").await, ["eins", "re:eins"]);
    app.end().await;
}
