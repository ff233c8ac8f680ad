//! Tests `POST /api/chat`: the response, the context of the reply, and slow replies.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;

fn reply_of(answer: &Value) -> &str {
    answer["reply_id"].as_str().unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn message_gets_reply(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    for session in [json!({"message": "Hello there"}), json!({"message": "Hello there", "session_id": null})]
    {
        let answer = app.post("/api/chat").by(&person).json(&session).send().await.is(200);
        assert!(answer.position() > 0);
        let answer = answer.value();
        assert_eq!(
            answer["reply"],
            "Built-in scripted provider, no AI. You said: \"Hello there\" Turns seen: 1 (1 from you, 0 from me); \
             words of instructions: 5."
        );
        assert_eq!(answer["model"], "scripted-echo-1");
        let usage =
            json!({"tokens": 29, "prompt_tokens": 7, "completion_tokens": 22, "cost_micros": Value::Null});
        assert_eq!(answer["usage"], usage);
        assert_eq!((&answer["status"], &answer["finish_reason"]), (&json!("completed"), &json!("stop")));
        assert!(chrono::DateTime::parse_from_rfc3339(answer["created_at"].as_str().unwrap()).is_ok());
        for id in ["message_id", "user_message_id", "session_id", "reply_id"] {
            assert!(answer[id].as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{id}");
        }
        assert_eq!(
            app.reply_events(reply_of(&answer)).await,
            ["reply_requested", "reply_begun", "reply_completed"]
        );
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn session_context_is_kept_and_isolated(db: PgPool) {
    let app = TestApp::with(&db, &[("HISTORY_TURNS", "2")]).await;
    let person = app.person().await;
    let first = app.say(&person, None, "One").await;
    let session = first["session_id"].as_str().unwrap();
    // At most two earlier turns are sent along.
    for (text, seen) in [
        ("Two", "Turns seen: 3 (2 from you, 1 from me)"),
        ("Three", "Turns seen: 5 (3 from you, 2 from me)"),
        ("Four", "Turns seen: 5 (3 from you, 2 from me)"),
    ] {
        let answer = app.say(&person, Some(session), text).await;
        assert_eq!(answer["session_id"], session);
        assert!(answer["reply"].as_str().unwrap().contains(seen), "{answer}");
    }
    let other = app.say(&person, None, "Elsewhere").await;
    assert_ne!(other["session_id"], session);
    assert!(other["reply"].as_str().unwrap().contains("Turns seen: 1 (1 from you, 0 from me)"));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_provenance_lists_prompt_inputs(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = app.say(&person, None, "One").await;
    let second = app.say(&person, first["session_id"].as_str(), "Two").await;
    let path = format!("/api/replies/{}", reply_of(&second));
    let reply = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(reply["status"], "completed");
    for (name, value) in [
        ("reply_id", &second["reply_id"]),
        ("session_id", &second["session_id"]),
        ("message_id", &second["message_id"]),
        ("user_message_id", &second["user_message_id"]),
        ("model", &second["model"]),
        ("usage", &second["usage"]),
        ("finish_reason", &second["finish_reason"]),
        ("ended_at", &second["created_at"]),
    ] {
        assert_eq!(&reply[name], value, "{name}");
    }
    let attempts = reply["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    let plan = &attempts[0]["plan"];
    assert_eq!((&plan["provider"], &plan["model"]), (&json!("scripted"), &json!("scripted-echo-1")));
    assert_eq!(plan["parameters"]["max_output_tokens"], 500);
    assert_eq!(
        plan["input_message_ids"],
        json!([first["user_message_id"], first["message_id"], second["user_message_id"]])
    );
    assert_eq!(plan["prompt_versions"], json!(["context-3"]));
    let context = &plan["parameters"]["context"];
    assert_eq!(
        (&context["policy"], &context["budget"], &context["vocabulary"], &context["factor"]),
        (&json!("context-3"), &json!(16_000), &json!("o200k_base"), &json!(125))
    );
    assert_eq!(context["turns"], json!([first["user_message_id"], second["user_message_id"]]));
    let none = json!({"over_budget": 0, "over_limit": 0, "erased": 0, "older": false});
    assert_eq!(context["left_out"], none);
    let tokens = |name: &str| context["tokens"][name].as_u64().unwrap();
    assert!(tokens("turns") > 10 && tokens("system") > 3 && tokens("tools") == 0 && tokens("files") == 0);
    assert_eq!(tokens("all"), tokens("turns") + tokens("system"));
    assert!(plan["file_hashes"].is_array());
    assert!(reply["timings"]["total_ms"].is_u64());
    assert_eq!(reply["provider_reply_id"], format!("scripted-{}-1", reply_of(&second)));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn history_over_budget_is_dropped_and_oversized_message_fails(db: PgPool) {
    let app = TestApp::with(&db, &[("CONTEXT_TOKENS", "500")]).await;
    let person = app.person().await;
    let first = app.say(&person, None, &"one two three ".repeat(80)).await;
    let session = first["session_id"].as_str();
    let second = app.say(&person, session, &"one two three ".repeat(40)).await;
    let reply = async |answer: &Value| {
        let path = format!("/api/replies/{}", reply_of(answer));
        app.get(&path).by(&person).send().await.is(200).value()
    };
    let context = reply(&second).await["attempts"][0]["plan"]["parameters"]["context"].clone();
    assert_eq!(context["turns"], json!([second["user_message_id"]]));
    assert_eq!(context["left_out"]["over_budget"], 1);
    assert!(context["tokens"]["all"].as_u64().unwrap() <= 500);

    // Too long by itself: the reply fails with its reason, and the provider is not called.
    let body = json!({"message": "one two three ".repeat(150), "session_id": session});
    let failed = app.post("/api/chat").by(&person).json(&body).send().await.is(500).value();
    assert!(failed["detail"].as_str().unwrap().contains("(too_long)"), "{failed}");
    let path = format!("/api/history/{}", session.unwrap());
    let page = app.get(&path).by(&person).send().await.is(200).value();
    let asked = page["items"].as_array().unwrap().last().unwrap().clone();
    let ended = app.get(&format!("/api/replies/{}", asked["reply_id"].as_str().unwrap())).by(&person);
    let ended = ended.send().await.is(200).value();
    assert_eq!((&ended["status"], &ended["failure"]), (&json!("failed"), &json!("too_long")), "{ended}");
    let context = &ended["attempts"][0]["plan"]["parameters"]["context"];
    assert_eq!((&context["budget"], &context["turns"]), (&json!(500), &json!([])));
    // The conversation goes on.
    app.say(&person, session, "Short").await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn slow_reply_returns_202_with_location_to_poll(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "1"), ("SCRIPTED_WORDS_PER_SECOND", "12")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let answer = app.post("/api/chat").by(&person).json(&json!({"message": "Hi"})).send().await.is(202);
    assert!(answer.position() > 0);
    let pending = answer.value();
    assert_eq!(pending["status"], "pending");
    assert!(pending.get("reply").is_none() && pending.get("usage").is_none());
    let location = answer.header("location").to_owned();
    assert_eq!(location, format!("/api/replies/{}?wait=true", reply_of(&pending)));
    // Each poll waits as long as a request may; the client repeats it until the reply has ended.
    app.wait_until("the reply is completed", async || {
        app.get(&location).by(&person).send().await.is(200).field("status") == "completed"
    })
    .await;
    let path = format!("/api/history/{}", pending["session_id"].as_str().unwrap());
    let page = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(page["items"][1]["message_id"], pending["message_id"]);
    assert_eq!(page["items"][1]["in_reply_to"], pending["user_message_id"]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_sent_meanwhile_are_answered_in_order(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "60")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send = async |session: &Value, message: &str| {
        let body = json!({"message": message, "session_id": session});
        app.post("/api/chat").by(&person).json(&body).send().await.is(202).value()
    };
    let first = send(&Value::Null, "One").await;
    let second = send(&first["session_id"], "Two").await;
    let third = send(&first["session_id"], "Three").await;
    let path = format!("/api/history/{}", first["session_id"].as_str().unwrap());
    // All three are recorded before the first is answered.
    let texts = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(texts(&before), ["One", "Two", "Three"]);

    app.wait_until("all three are answered", async || {
        let page = app.get(&path).by(&person).send().await.is(200).value();
        page["items"].as_array().unwrap().len() == 6
    })
    .await;
    let order: Vec<(String, String)> = sqlx::query_as(
        "SELECT event_type, payload ->> 'reply_id' FROM events
         WHERE event_type IN ('reply_begun', 'reply_completed') ORDER BY position",
    )
    .fetch_all(&db)
    .await
    .unwrap();
    let expected: Vec<(String, String)> = [&first, &second, &third]
        .into_iter()
        .flat_map(|sent| {
            ["reply_begun", "reply_completed"].map(|name| (name.to_owned(), reply_of(sent).to_owned()))
        })
        .collect();
    assert_eq!(order, expected);
    // Each reply sees the answers before its message, and no later message.
    let after = app.get(&path).by(&person).send().await.is(200).value();
    for (index, seen) in [(3, "Turns seen: 1 "), (4, "Turns seen: 3 "), (5, "Turns seen: 5 ")] {
        assert!(texts(&after)[index].contains(seen), "{after}");
    }
    app.end().await;
}

/// The read model of pending replies may be ahead of the read model of messages.
#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_waits_until_previous_answer_is_projected(db: PgPool) {
    let slow = [("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_WORDS_PER_SECOND", "40")];
    let app = TestApp::with(&db, &slow).await;
    let person = app.person().await;
    let send = async |session: &Value, message: &str| {
        let body = json!({"message": message, "session_id": session});
        app.post("/api/chat").by(&person).json(&body).send().await.is(202).value()
    };
    let first = send(&Value::Null, "One").await;
    let second = send(&first["session_id"], "Two").await;
    app.wait_for_projections().await;
    let mut held = db.begin().await.unwrap();
    sqlx::query("SELECT FROM checkpoints WHERE projection = 'messages' FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    app.wait_until("a worker has leased the second reply", async || {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM reply_leases WHERE reply_id = $1::uuid)")
            .bind(reply_of(&second))
            .fetch_one(&db)
            .await
            .unwrap()
    })
    .await;
    let begun = app.wait_until("the second reply has begun", async || {
        app.reply_events(reply_of(&second)).await.len() > 1
    });
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), begun).await;
    assert!(early.is_err(), "begun without the previous answer");
    held.rollback().await.unwrap();
    let path = format!("/api/chat/stream/{}", reply_of(&second));
    let events = app.get(&path).by(&person).stream().await.rest().await;
    let answer = events.last().unwrap().text();
    assert!(answer.contains("Turns seen: 3 (2 from you, 1 from me)"), "{answer}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn ninth_pending_message_is_rejected(db: PgPool) {
    let app = TestApp::with(&db, &[("REPLY_WAIT_SECONDS", "0"), ("SCRIPTED_FAULT", "hang")]).await;
    let person = app.person().await;
    let send = async |session: &Value| {
        let body = json!({"message": "Wait", "session_id": session});
        app.post("/api/chat").by(&person).json(&body).send().await
    };
    let mut sent = vec![send(&Value::Null).await.is(202).value()];
    for _ in 1..8 {
        sent.push(send(&sent[0]["session_id"]).await.is(202).value());
    }
    app.wait_until("the first reply has begun", async || {
        app.reply_events(reply_of(&sent[0])).await == ["reply_requested", "reply_begun"]
    })
    .await;
    let events = app.events().await;
    let refused = send(&sent[0]["session_id"]).await;
    refused.assert_error(409, "too_many_pending_replies");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(app.events().await, events);
    // Another conversation is not affected, and a cancelled reply frees one place.
    let other = send(&Value::Null).await.is(202).value();
    let cancel = async |sent: &Value| {
        let path = format!("/api/replies/{}/cancel", reply_of(sent));
        app.post(&path).by(&person).send().await.is(200);
    };
    cancel(&sent[4]).await;
    sent.push(send(&sent[0]["session_id"]).await.is(202).value());
    sent.push(other);
    for (index, sent) in sent.iter().enumerate() {
        if index != 4 {
            cancel(sent).await;
        }
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_senders_lose_no_message(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let sends = (0..24).map(|number| {
        let body = json!({"message": format!("Number {number}"), "session_id": session});
        app.post("/api/chat").by(&person).json(&body).send()
    });
    let answers = futures::future::join_all(sends).await;
    let answered = answers.iter().filter(|answer| answer.status == 200).count();
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.assert_error(409, "too_many_pending_replies");
    }
    assert!(answered >= 8, "only {answered} were answered");
    let page = app.get(&format!("/api/history/{session}?limit=100")).by(&person).send().await.is(200).value();
    assert_eq!(page["items"].as_array().unwrap().len(), 2 + 2 * answered);
    app.end().await;
}
