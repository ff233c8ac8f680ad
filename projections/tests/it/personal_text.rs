//! The log never contains personal text in plain.

use aggregates::conversation::{ConversationEvent, EventBody, MessageEvent};
use aggregates::{Event, Personal};
use sqlx::PgPool;

use crate::events::{
    ADA, TALK, begun, cancelled, completed, failed, registered, renamed, requested, sent, started,
};
use crate::support::Log;

const SECRETS: [&str; 9] = [
    "ada@secret.example",
    "secretname",
    "secret title",
    "second title",
    "secret question",
    "secret answer",
    "secret half",
    "secret rest",
    "another question",
];

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn only_read_models_contain_plain_text(pool: PgPool) {
    let log = Log::new(&pool);
    let given = [
        registered(ADA, SECRETS[0], Some(SECRETS[1]), 0),
        started(TALK, Some(SECRETS[2]), 1),
        renamed(SECRETS[3], 2),
        sent(TALK, 1, SECRETS[4], 3),
        requested(1, None, 3),
        begun(1, 1, 3),
        completed(1, 1, SECRETS[5], 4),
        sent(TALK, 2, SECRETS[8], 5),
        requested(2, None, 5),
        begun(2, 1, 5),
        cancelled(2, Some(SECRETS[6]), 6),
        failed(3, Some(SECRETS[7]), 7),
    ];
    log.append(&given).await;

    let everything: Vec<String> = sqlx::query_scalar(
        "SELECT e::text FROM events e UNION ALL SELECT k::text FROM command_keys k
         UNION ALL SELECT d::text FROM data_keys d UNION ALL SELECT u::text FROM user_keys u",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert!(everything.len() > given.len());
    for row in &everything {
        assert!(!row.contains("$personal"), "{row}");
        for secret in SECRETS {
            assert!(!row.contains(secret), "{secret} in {row}");
        }
    }

    // A reader with the key sees all of it.
    let read = log.reader.read_after(0, 100).await.unwrap();
    assert_eq!(read.iter().map(|recorded| recorded.event.clone()).collect::<Vec<_>>(), given);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn log_without_key_reads_with_erased_text(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[
        registered(ADA, "ada@example.org", None, 0),
        started(TALK, None, 1),
        sent(TALK, 1, "words", 2),
    ])
    .await;
    log.erase(ADA.uuid()).await;
    let read = log.reader.read_after(0, 100).await.unwrap();
    assert_eq!(read.len(), 3);
    let Event::Conversation(ConversationEvent {
        body: EventBody::Message(MessageEvent::MessageSent { text, .. }),
        ..
    }) = &read[2].event
    else {
        panic!("the third event is the message");
    };
    assert_eq!(*text, Personal::Erased);
    assert_eq!(log.reader.stream("conversation", &TALK.to_string(), 1).await.unwrap(), read[2..]);
}
