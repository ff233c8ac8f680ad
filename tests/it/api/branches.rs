//! Branches over the API: other replies, edited messages, going from one to another, and what stands on each.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::server::database::MIGRATOR;

use crate::support::app::{Person, TestApp};

/// Somebody and a conversation of theirs.
struct Talk<'a> {
    app: &'a TestApp,
    person: &'a Person,
    session: String,
}

impl<'a> Talk<'a> {
    /// A conversation with these messages, each answered; and the answers' bodies.
    async fn with(app: &'a TestApp, person: &'a Person, messages: &[&str]) -> (Self, Vec<Value>) {
        let mut answers: Vec<Value> = Vec::new();
        for message in messages {
            let session = answers.first().map(|first| text(first, "session_id"));
            answers.push(app.say(person, session.as_deref(), message).await);
        }
        let session = text(&answers[0], "session_id");
        (Self { app, person, session }, answers)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/history/{}{rest}", self.session)
    }

    /// The texts that are shown, or those on a branch: a person's as they are, of answers the echo of what was asked.
    async fn shown(&self, query: &str) -> Vec<String> {
        let page = self.app.get(&self.path(query)).by(self.person).send().await.is(200).value();
        assert_eq!(page["session_id"], self.session);
        page["items"].as_array().unwrap().iter().map(|item| brief(item["text"].as_str().unwrap())).collect()
    }

    async fn branches(&self) -> Value {
        self.app.get(&self.path("/branches")).by(self.person).send().await.is(200).value()
    }

    async fn activate(&self, branch: u32) -> Value {
        let path = self.path(&format!("/branches/{branch}/activate"));
        self.app.post(&path).by(self.person).send().await.is(200).value()
    }

    async fn regenerate(&self, message: &Value) -> Value {
        let path = self.path(&format!("/messages/{}/regenerate", message.as_str().unwrap()));
        self.app.post(&path).by(self.person).send().await.is(200).value()
    }

    async fn edit(&self, message: &Value, to: &str) -> Value {
        let path = self.path(&format!("/messages/{}/edit", message.as_str().unwrap()));
        self.app.post(&path).by(self.person).json(&json!({"message": to})).send().await.is(200).value()
    }

    async fn say(&self, message: &str) -> Value {
        self.app.say(self.person, Some(&self.session), message).await
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

/// What a message says, or `re:` and what an answer answers.
fn brief(text: &str) -> String {
    match text.split_once("You said: \"") {
        Some((_, said)) => format!("re:{}", said.split_once('"').unwrap().0),
        None => text.to_owned(),
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn another_answer_begins_a_branch_and_nothing_is_lost(db: PgPool) {
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
    // The context is the active path and nothing else.
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

    // Back, and on from there; the list of conversations follows.
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
    // By its answer as well.
    let by_answer = talk.regenerate(&again["message_id"]).await;
    assert_eq!(by_answer["user_message_id"], said[0]["user_message_id"]);
    assert_eq!(talk.branches().await["items"][2]["parent"], 0, "beside the others");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn no_branch_begins_when_nothing_stands_behind_the_message(db: PgPool) {
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
async fn an_edited_message_takes_the_place_of_the_old_one(db: PgPool) {
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
    // The same with its key: the first outcome, and no third branch.
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

    // Edited again: beside the other, not behind it. The first message of all: before everything.
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
async fn an_edited_message_keeps_what_was_sent_with_it(db: PgPool) {
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
    for told in ["plums", "<quoted>\nas said before\n</quoted>\nRead it again"] {
        assert!(reply.contains(told), "{told}: {reply}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn answers_are_streamed_to_whoever_accepts_that(db: PgPool) {
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

#[sqlx::test(migrator = "MIGRATOR")]
async fn nobody_goes_to_another_branch_while_replies_are_owed_and_asking_again_cancels_them(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send =
        async |path: &str, body: Value| app.post(path).by(&person).json(&body).send().await.is(202).value();
    let first = send("/api/chat", json!({"message": "one"})).await;
    let session = text(&first, "session_id");
    let cancel = async |reply: &Value| {
        let path = format!("/api/replies/{}/cancel", reply["reply_id"].as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    };
    let message = first["user_message_id"].as_str().unwrap();
    // Something of it has to be there, so that a branch begins.
    let mut stream =
        app.get(&format!("/api/chat/stream/{}", text(&first, "reply_id"))).by(&person).stream().await;
    while stream.next().await.unwrap().name != "reply.delta" {}
    cancel(&first).await;
    let again = send(&format!("/api/history/{session}/messages/{message}/regenerate"), json!({})).await;
    let activate = format!("/api/history/{session}/branches/0/activate");
    app.post(&activate).by(&person).send().await.refused(409, "replies_owed");
    // Asked once more, or edited: what is owed is not waited for.
    let edited =
        send(&format!("/api/history/{session}/messages/{message}/edit"), json!({"message": "eins"})).await;
    let ended =
        app.get(&format!("/api/replies/{}", text(&again, "reply_id"))).by(&person).send().await.is(200);
    assert_eq!(ended.value()["status"], "cancelled");
    app.post(&activate).by(&person).send().await.refused(409, "replies_owed");
    cancel(&edited).await;
    app.post(&activate).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_was_read_of_an_answer_is_kept_when_something_else_is_asked_for(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send =
        async |path: &str, body: Value| app.post(path).by(&person).json(&body).send().await.is(202).value();
    let first = send("/api/chat", json!({"message": "one"})).await;
    let (session, message) = (text(&first, "session_id"), text(&first, "user_message_id"));
    // What somebody has read of a reply that is being written.
    let read = async |asked: &Value| {
        let path = format!("/api/chat/stream/{}", text(asked, "reply_id"));
        let mut stream = app.get(&path).by(&person).stream().await;
        loop {
            let event = stream.next().await.unwrap();
            if event.name == "reply.delta" {
                return event.text().to_owned();
            }
        }
    };
    let stands = async |branch: u32| {
        let path = format!("/api/history/{session}?branch={branch}");
        app.get(&path).by(&person).send().await.is(200).value()["items"].as_array().unwrap().clone()
    };
    let words = read(&first).await;
    let again = send(&format!("/api/history/{session}/messages/{message}/regenerate"), json!({})).await;
    let more_words = read(&again).await;
    let edited =
        send(&format!("/api/history/{session}/messages/{message}/edit"), json!({"message": "eins"})).await;
    for (branch, asked, words) in [(0, &first, words), (1, &again, more_words)] {
        let items = stands(branch).await;
        assert_eq!(items.len(), 2, "{items:?}");
        assert_eq!((&items[1]["status"], &items[1]["reply_id"]), (&json!("cancelled"), &asked["reply_id"]));
        let kept = items[1]["text"].as_str().unwrap();
        assert!(!words.is_empty() && kept.starts_with(&words), "{kept:?} is what was read: {words:?}");
    }
    let path = format!("/api/replies/{}/cancel", text(&edited, "reply_id"));
    app.post(&path).by(&person).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_wrong_is_refused_and_nothing_happens(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    talk.edit(&said[1]["user_message_id"], "zwei").await;
    let (one, two) =
        (said[0]["user_message_id"].as_str().unwrap(), said[1]["user_message_id"].as_str().unwrap());
    app.caught_up().await;
    let before = app.events().await;
    let nobody = "01960000-0000-7000-8000-000000000001";
    let session = &talk.session;
    let text = json!({"message": "eins"});
    for (path, body, status, code) in [
        // On the branch that is not active.
        (format!("{session}/messages/{two}/regenerate"), json!({}), 409, "branch_not_active"),
        (format!("{session}/messages/{two}/edit"), text.clone(), 409, "branch_not_active"),
        // Nothing that is there.
        (format!("{session}/messages/{nobody}/regenerate"), json!({}), 404, "not_found"),
        (format!("{session}/messages/nonsense/edit"), text.clone(), 404, "not_found"),
        (format!("{nobody}/messages/{one}/regenerate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/2/activate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/-1/activate"), json!({}), 404, "not_found"),
        (format!("{session}/branches/4294967296/activate"), json!({}), 404, "not_found"),
        (format!("{nobody}/branches/0/activate"), json!({}), 404, "not_found"),
        // Not as it has to be.
        (format!("{session}/messages/{one}/edit"), json!({"message": ""}), 400, "invalid_value"),
        (format!("{session}/messages/{one}/edit"), json!({}), 422, "malformed_request"),
        (
            format!("{session}/messages/{one}/edit"),
            json!({"message": "x", "model": "unheard-of"}),
            400,
            "unknown_model",
        ),
        (
            format!("{session}/messages/{one}/regenerate"),
            json!({"model": "unheard-of"}),
            400,
            "unknown_model",
        ),
        (format!("{session}/messages/{one}/regenerate"), json!({"model": 5}), 422, "malformed_request"),
    ] {
        let refused = app.post(&format!("/api/history/{path}")).by(&person).json(&body).send().await;
        assert_eq!(refused.status, status, "{path}: {refused:?}");
        let told = refused.value();
        assert_eq!(told["code"], code, "{path}: {told}");
    }
    let answer = said[0]["message_id"].as_str().unwrap();
    let of_answer = app.post(&talk.path(&format!("/messages/{answer}/edit"))).by(&person).json(&text);
    of_answer.send().await.refused(400, "not_a_message");
    app.get(&talk.path("?branch=2")).by(&person).send().await.refused(404, "not_found");
    app.get(&talk.path("?branch=x")).by(&person).send().await.is(422);
    // To somebody else it is not there at all.
    for path in ["/branches".to_owned(), "?branch=1".to_owned(), "?branch=0".to_owned()] {
        app.get(&talk.path(&path)).by(&other).send().await.refused(404, "not_found");
    }
    for path in [
        format!("/messages/{one}/regenerate"),
        format!("/messages/{one}/edit"),
        format!("/messages/{two}/edit"),
        "/branches/0/activate".to_owned(),
        "/branches/7/activate".to_owned(),
    ] {
        app.post(&talk.path(&path)).by(&other).json(&text).send().await.refused(404, "not_found");
        app.post(&talk.path(&path)).json(&text).send().await.is(401);
    }
    assert_eq!(app.events().await, before);
    // A body that is no JSON.
    let plain = app.post(&talk.path(&format!("/messages/{one}/regenerate"))).by(&person);
    plain.body("text/plain", b"{}".to_vec()).send().await.is(422);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_with_a_key_happen_once_and_reads_see_them(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one", "two"]).await;
    let path = talk.path(&format!("/messages/{}/regenerate", said[0]["message_id"].as_str().unwrap()));
    let first = app.post(&path).by(&person).key("again").send().await.is(200).value();
    // The answer that was named is on another branch by now; what came of the key is told all the same.
    let second = app.post(&path).by(&person).key("again").send().await.is(200).value();
    assert_eq!(first, second);
    let other = app.post(&path).by(&person).key("again").json(&json!({"model": null})).send().await;
    other.refused(422, "idempotency_key_reused");
    let activate = talk.path("/branches/0/activate");
    let there = app.post(&activate).by(&person).key("go").send().await.is(200);
    let position = there.position().to_string();
    let list =
        app.get(&talk.path("/branches")).by(&person).header("verbatim-position", &position).send().await;
    assert_eq!(list.is(200).value()["active"], 0);
    talk.activate(1).await;
    // The key was used: it is not gone to a second time, and the answer tells how it stands.
    let repeated = app.post(&activate).by(&person).key("go").send().await.is(200).value();
    assert_eq!((&repeated["branch"], &repeated["active"]), (&json!(0), &json!(false)));
    assert_eq!(talk.branches().await["active"], 1);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn going_to_branches_counts_like_messages_and_a_repetition_costs_nothing(db: PgPool) {
    let limits = [
        ("RATE_LIMITS", "on"),
        ("RATE_LIMIT_USER_PER_MINUTE", "6"),
        ("RATE_LIMIT_SESSION_PER_MINUTE", "3"),
        ("QUOTA_MESSAGES_PER_DAY", "20"),
    ];
    let app = TestApp::with(&db, &limits).await;
    let person = app.person().await;
    let (talk, said) = Talk::with(&app, &person, &["one"]).await; // 1
    talk.edit(&said[0]["user_message_id"], "two").await; // 2
    let go = async |branch: u32, key: &str| {
        let path = talk.path(&format!("/branches/{branch}/activate"));
        app.post(&path).by(&person).key(key).send().await
    };
    let first = go(0, "k1").await; // 3
    assert_eq!(first.header("ratelimit-policy"), "\"user\";q=6;w=60");
    for _ in 0..5 {
        go(0, "k1").await.is(200);
    }
    // More than the conversation's messages may be: they are none.
    go(1, "k2").await.is(200); // 4
    go(0, "k3").await.is(200); // 5
    go(1, "k4").await.is(200); // 6
    for _ in 0..2 {
        let refused = go(0, "k5").await;
        refused.refused(429, "rate_limited");
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    }
    go(0, "k1").await.is(200);
    assert_eq!(talk.branches().await["active"], 1, "what was refused did not happen");
    let usage = app.get("/api/usage").by(&person).send().await.is(200).value();
    assert_eq!(usage["messages"]["remaining"], 18, "two of today's messages: {usage}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_key_that_added_nothing_goes_on_telling_what_it_told(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "2")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send = async |body: Value| app.post("/api/chat").by(&person).json(&body).send().await.is(202).value();
    let busy = send(json!({"message": "one"})).await;
    let session = text(&busy, "session_id");
    // Behind it in the same conversation: its turn has not come.
    let waiting = send(json!({"message": "two", "session_id": session})).await;
    let path = format!("/api/history/{session}/messages/{}/regenerate", text(&waiting, "user_message_id"));
    let again = async |key: &str| {
        app.post(&path).by(&person).key(key).send().await.is(202).value()["reply_id"].clone()
    };
    let cancel = async |reply: &Value| {
        let path = format!("/api/replies/{}/cancel", reply.as_str().unwrap());
        app.post(&path).by(&person).send().await.is(200);
    };
    assert_eq!(again("k1").await, waiting["reply_id"], "it has not begun: nothing is added");
    cancel(&waiting["reply_id"]).await;
    let other = again("k2").await;
    assert_ne!(other, waiting["reply_id"]);
    let repeated = app.post(&path).by(&person).key("k1").send().await.value();
    // It has ended since; who asks late enough is told so, of the same reply.
    let told = if repeated["code"] == "reply_cancelled" { &repeated["kept"] } else { &repeated };
    assert_eq!(told["reply_id"], waiting["reply_id"], "as it was told: {repeated}");
    assert_eq!(again("k2").await, other);
    for reply in [&other, &busy["reply_id"]] {
        cancel(reply).await;
    }
    app.end().await;
}
