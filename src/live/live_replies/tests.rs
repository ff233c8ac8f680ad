use uuid::Uuid;

use super::*;

fn delta(attempt: u32, offset: usize, text: &str) -> TextDelta {
    TextDelta { attempt, offset, text: text.to_owned() }
}

/// Returns a collection with one reply, and a follower of it.
fn followed() -> (LiveReplies, ReplyId, watch::Receiver<LiveReply>) {
    let (live_replies, reply) = (LiveReplies::new(), ReplyId::new(Uuid::from_u128(1)));
    let live = live_replies.follow(reply);
    (live_replies, reply, live)
}

fn seen(live: &mut watch::Receiver<LiveReply>) -> (u32, String) {
    let live = live.borrow_and_update();
    (live.attempt, live.text.clone())
}

#[test]
fn text_from_the_middle_wakes_no_follower_and_is_requested_again() {
    let (live_replies, reply, mut live) = followed();
    assert!(!live_replies.merge(reply, &delta(1, 4, "two ")), "the missing text must be requested");
    assert!(!live.has_changed().unwrap(), "woken with {:?}", seen(&mut live));
    assert!(live_replies.merge(reply, &delta(1, 0, "one two ")));
    assert_eq!(seen(&mut live), (1, "one two ".to_owned()));
    assert!(live_replies.merge(reply, &delta(1, 4, "two three")), "known text is skipped");
    assert_eq!(seen(&mut live), (1, "one two three".to_owned()));
    assert!(!live_replies.merge(reply, &delta(1, 20, "six")));
    assert!(!live.has_changed().unwrap());
}

#[test]
fn newer_attempt_replaces_older_once_its_beginning_arrives() {
    let (live_replies, reply, mut live) = followed();
    live_replies.begin(reply, 1);
    live_replies.push(reply, 1, "wrong");
    assert_eq!(seen(&mut live), (1, "wrong".to_owned()));
    for offset in [3, 5, 8] {
        assert!(!live_replies.merge(reply, &delta(2, offset, "two")), "from {offset} on");
        assert!(!live.has_changed().unwrap(), "woken with {:?}", seen(&mut live));
    }
    assert!(live_replies.merge(reply, &delta(2, 0, "one two")));
    live_replies.push(reply, 1, " still");
    assert_eq!(seen(&mut live), (2, "one two".to_owned()));
    assert!(!live.borrow().here);
    assert!(live_replies.merge(reply, &delta(3, 0, "")), "an attempt without text yet");
    assert_eq!(seen(&mut live), (3, String::new()));
    assert!(live_replies.merge(reply, &delta(2, 7, " late")));
    assert!(!live.has_changed().unwrap());
}
