//! Tests that another user's resources look missing in every request, and that no request works without a token.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::http::surfaces::chatkit::wire::{ChatKitRequest, IdKind};
use verbatim::schema::MIGRATOR;

use super::examples::golden_values;
use super::sequences::{ASK, app_with_bank_and_tools, question_of};
use super::support::{Kit, done, id_of, request, text, thread_of, with_files};

/// Ids of one resource of each kind.
struct ResourceIds {
    thread: String,
    message: String,
    widget: String,
    input: String,
    call: String,
    file: String,
    question: String,
}

impl ResourceIds {
    /// Creates one resource of each kind.
    async fn of(kit: Kit<'_>) -> Self {
        let events = kit.stream("threads.create", json!({"input": text("quiz me on fruit")})).await;
        let (thread, card) = (thread_of(&events), done(&events, "widget")[0].clone());
        let asked = kit.add(&thread, ASK).await;
        let input = id_of(done(&asked, "structured_input")[0]);
        let called = kit.add(&thread, "call open_map {}").await;
        let call = id_of(done(&called, "client_tool_call")[0]);
        let parts = [("file", Some("a.txt"), Some("text/plain"), b"plums".as_slice())];
        let file = kit.app.post("/files").by(kit.person).parts(&parts).send().await.is(200).field("id");
        let message = id_of(done(&events, "user_message")[0]);
        let (widget, question) = (id_of(&card), question_of(&card["widget"]));
        Self { thread, message, widget, input, call, file, question }
    }

    /// Returns ids that do not exist.
    fn unknown() -> Self {
        let id = |kind: IdKind| kind.write(Uuid::from_u128(0x0196_0000_0000_7000_8000_0000_0000_0007));
        let message = id(IdKind::Message);
        Self {
            thread: id(IdKind::Thread),
            message: message.clone(),
            widget: message.clone(),
            input: message,
            call: id(IdKind::ToolCall),
            file: id(IdKind::Attachment),
            question: "q1".to_owned(),
        }
    }

    /// Returns every request that names a resource, for these resources in the given thread.
    fn requests(&self, thread: &str) -> Vec<(&'static str, Value)> {
        let Self { message, widget, input, call, file, question, .. } = self;
        let mut requests = Vec::new();
        let of = |more: Value| {
            let mut params = json!({"thread_id": thread});
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            params
        };
        for item in [message, input, call, widget] {
            requests.push(("threads.retry_after_item", of(json!({"item_id": item}))));
            requests.push(("threads.add_structured_input", of(json!({"item_id": item, "input": {}}))));
            requests.push(("items.feedback", of(json!({"item_ids": [item], "kind": "negative"}))));
            requests.push(("items.list", of(json!({"after": item}))));
            for name in ["mcq.submit", "mcq.clear", "unheard.of"] {
                let payload = json!({"questionId": question, "answer": "b"});
                let action = of(json!({"item_id": item, "action": {"type": name, "payload": payload}}));
                requests.push(("threads.custom_action", action.clone()));
                requests.push(("threads.sync_custom_action", action));
            }
        }
        let sent = json!({"input": with_files("See", &[file])});
        requests.push(("threads.add_user_message", of(sent.clone())));
        requests.push(("threads.create", sent));
        requests.push(("attachments.delete", json!({"attachment_id": file})));
        requests
    }

    /// Returns every request that names only a thread.
    fn of_thread(&self) -> Vec<(&'static str, Value)> {
        let thread = &self.thread;
        let of = |more: Value| {
            let mut params = json!({"thread_id": thread});
            params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            params
        };
        vec![
            ("threads.get_by_id", of(json!({}))),
            ("threads.update", of(json!({"title": "Mine"}))),
            ("threads.delete", of(json!({}))),
            ("threads.add_user_message", of(json!({"input": text("Hello")}))),
            ("threads.add_client_tool_output", of(json!({"result": 1}))),
            ("threads.custom_action", of(json!({"action": {"type": "x"}}))),
            ("threads.sync_custom_action", of(json!({"action": {"type": "x"}}))),
            ("threads.list", json!({"after": thread})),
            ("items.list", of(json!({}))),
            ("items.feedback", of(json!({"item_ids": [], "kind": "positive"}))),
        ]
    }
}

/// Returns whether a request can name another user's resource. Every new request needs an arm here, and rows above.
fn names_something(request: &ChatKitRequest) -> bool {
    use ChatKitRequest as R;
    match request {
        R::CreateThread(_)
        | R::AddUserMessage(_)
        | R::AddClientToolOutput(_)
        | R::AddStructuredInput(_)
        | R::RetryAfterItem(_)
        | R::CustomAction(_)
        | R::GetThread(_)
        | R::ListThreads(_)
        | R::UpdateThread(_)
        | R::DeleteThread(_)
        | R::ListItems(_)
        | R::Feedback(_)
        | R::DeleteAttachment(_)
        | R::SyncCustomAction(_) => true,
        R::CreateAttachment(_) | R::Transcribe(_) => false,
    }
}

/// Returns the types of all requests, or of those that can name a resource.
fn kinds(naming: bool) -> BTreeSet<String> {
    let golden = golden_values();
    let requests: Vec<ChatKitRequest> = golden
        .iter()
        .filter(|(kind, _, _)| kind == "request")
        .map(|(_, _, value)| ChatKitRequest::parse(value.to_string().as_bytes()).unwrap())
        .collect();
    let schema = schemars::schema_for!(ChatKitRequest);
    let described = schema.as_value()["oneOf"].as_array().unwrap().iter();
    let all: BTreeSet<String> =
        described.map(|kind| kind["properties"]["type"]["const"].as_str().unwrap().to_owned()).collect();
    assert_eq!(requests.iter().map(|request| request.name().to_owned()).collect::<BTreeSet<_>>(), all);
    let wanted = requests.iter().filter(|request| !naming || names_something(request));
    wanted.map(|request| request.name().to_owned()).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn other_users_resources_look_missing(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let (owner, other) = (app.person().await, app.person().await);
    let (theirs, kit) = (Kit::new(&app, &owner), Kit::new(&app, &other));
    let had = ResourceIds::of(theirs).await;
    let (own, _) = kit.create("My own").await;
    let deleted = {
        let named = ResourceIds::of(kit).await;
        kit.get("threads.delete", json!({"thread_id": named.thread})).await;
        named
    };
    app.wait_for_projections().await;
    let nothing = ResourceIds::unknown();
    let before = (app.events().await, theirs.items(&had.thread).await);

    let unknown = kit.ask("threads.get_by_id", json!({"thread_id": nothing.thread})).await;
    unknown.assert_error(404, "not_found");
    // The other user's resources in their thread, in one's own, and in an unknown one; and deleted resources. The
    // file was never sent, so it outlives the thread.
    let (mut asked, mut of_kinds) = (0, BTreeSet::new());
    for (named, thread) in [
        (&had, &had.thread),
        (&had, &own),
        (&had, &nothing.thread),
        (&deleted, &deleted.thread),
        (&nothing, &had.thread),
        (&nothing, &own),
        (&nothing, &nothing.thread),
    ] {
        let own_file = std::ptr::eq(named, &deleted);
        for (kind, params) in named.requests(thread) {
            if own_file && params.to_string().contains(&deleted.file) && kind != "threads.add_user_message" {
                continue;
            }
            let answer = kit.ask(kind, params.clone()).await;
            assert_eq!(answer.status, 404, "{kind} {params}: {}", answer.text);
            assert_eq!(answer.without_request_id(), unknown.without_request_id(), "{kind} {params}");
            of_kinds.insert(kind.to_owned());
            asked += 1;
        }
    }
    for named in [&had, &deleted, &nothing] {
        for (kind, params) in named.of_thread() {
            let answer = kit.ask(kind, params.clone()).await;
            // Repeating one's own deletion is allowed.
            if kind == "threads.delete" && std::ptr::eq(named, &deleted) {
                answer.is(200);
                continue;
            }
            assert_eq!(answer.status, 404, "{kind} {params}: {}", answer.text);
            assert_eq!(answer.without_request_id(), unknown.without_request_id(), "{kind} {params}");
            of_kinds.insert(kind.to_owned());
            asked += 1;
        }
    }
    assert!(asked > 250, "{asked}");
    assert_eq!(of_kinds, kinds(true), "every request that names a resource has a row");
    // Ids of the wrong kind, and malformed ids.
    for id in
        ["", "thr_", "x", "msg_01960000000070008000000000000007", &had.message, &format!("{}0", had.thread)]
    {
        let answer = kit.ask("threads.get_by_id", json!({"thread_id": id})).await;
        assert_eq!((answer.status, answer.without_request_id()), (404, unknown.without_request_id()), "{id}");
    }
    let list = kit.get("threads.list", json!({})).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1, "only the user's own threads: {list}");

    // Nothing has changed.
    app.wait_for_projections().await;
    assert_eq!((app.events().await, theirs.items(&had.thread).await), before);
    assert!(theirs.ask("attachments.delete", json!({"attachment_id": had.file})).await.status == 200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn requests_without_token_are_rejected(db: PgPool) {
    let folder = tempfile::tempdir().unwrap();
    let app = app_with_bank_and_tools(&db, folder.path(), &[]).await;
    let (person, gone) = (app.person().await, app.person().await);
    let had = ResourceIds::of(Kit::new(&app, &person)).await;
    app.post("/api/auth/logout").by(&gone).send().await.is(204);
    let events = app.events().await;
    let mut requests = had.requests(&had.thread);
    requests.extend(had.of_thread());
    requests.push(("attachments.create", json!({"name": "a.txt", "size": 3, "mime_type": "text/plain"})));
    requests.push(("input.transcribe", json!({"audio_base64": "AAAA", "mime_type": "audio/webm"})));
    requests.push(("threads.list", json!({})));
    let of_kinds: BTreeSet<String> = requests.iter().map(|(kind, _)| (*kind).to_owned()).collect();
    assert_eq!(of_kinds, kinds(false), "every request has a row");
    let refused = app.post("/chatkit").json(&json!({})).send().await;
    refused.assert_error(401, "invalid_token");
    for (kind, params) in &requests {
        let body = request(kind, params);
        let bare = app.post("/chatkit").json(&body);
        let strange = app.post("/chatkit").json(&body).bearer("x.y.z");
        let ended = app.post("/chatkit").json(&body).by(&gone);
        let refresh = app.post("/chatkit").json(&body).bearer(&person.refresh);
        for call in [bare, strange, ended, refresh] {
            let answer = call.send().await;
            assert_eq!(answer.status, 401, "{kind}: {}", answer.text);
            assert_eq!(answer.without_request_id(), refused.without_request_id());
        }
    }
    assert_eq!(app.events().await, events);
    // A preflight from another origin is answered with the allowed headers.
    let preflight = app
        .call(reqwest::Method::OPTIONS, "/chatkit")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,accept-language")
        .send()
        .await;
    assert_eq!(preflight.status, 200);
    app.end().await;
}
