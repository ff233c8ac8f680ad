//! The built-in questions, validation of a bank, and selection of questions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn built_in() -> QuestionBank {
    QuestionBank::built_in().unwrap()
}

fn small() -> Value {
    let option = |value: &str| json!({"value": value, "label": value.to_uppercase()});
    let question = |id: &str| {
        json!({"id": id, "prompt": "Which?", "options": [option("a"), option("b")], "correct": "a",
               "hint": null, "explanation": "So."})
    };
    json!({"topics": [
        {"name": "one", "title": "The First", "aliases": ["uno"], "questions": [question("q1"), question("q2")]},
        {"name": "two", "title": "Two", "questions": [question("q3")]},
    ]})
}

#[test]
fn built_in_bank_has_three_valid_topics() {
    let bank = built_in();
    let names: Vec<&str> = bank.topics().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["rust", "events", "web"]);
    assert!(bank.topics().map(Topic::len).sum::<usize>() >= 24);
    for topic in bank.topics() {
        assert!(topic.len() >= 8 && !topic.is_empty(), "{}", topic.name);
        let mut right: BTreeMap<&str, usize> = BTreeMap::new();
        for question in &topic.questions {
            assert_eq!(question.options.len(), 4, "{}", question.id);
            assert!(question.hint.is_some() && question.explanation.is_some(), "{}", question.id);
            assert!(question.prompt.ends_with(['?', '.']), "{}", question.id);
            *right.entry(&question.correct).or_default() += 1;
        }
        assert_eq!(right.len(), 4, "{}: the right one is always in the same positions", topic.name);
    }
}

#[test]
fn topic_is_found_by_any_of_its_names() {
    let bank = built_in();
    for (named, topic) in [
        ("rust", "rust"),
        ("RUST!", "rust"),
        ("the borrow checker", "rust"),
        ("Event-Sourcing", "events"),
        (" event  sourcing ", "events"),
        ("CQRS", "events"),
        ("http", "web"),
        ("Chat protocols & HTTP", "web"),
        ("chat protocols and http", "web"),
        ("WebSockets", "web"),
    ] {
        assert_eq!(bank.topic(named).map(|topic| topic.name.as_str()), Some(topic), "{named}");
    }
    for named in ["", " ", "rus", "history", "rust and http"] {
        assert_eq!(bank.topic(named), None, "{named}");
    }
}

#[test]
fn unknown_topic_lists_the_known_ones() {
    let error = built_in().select(Some("history"), 5, 1).unwrap_err();
    assert_eq!(error.to_string(), "there is no quiz about that; the topics are rust, events, web");
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Value), expected: &str) {
    let mut bank = small();
    change(&mut bank);
    let error = QuestionBank::parse(&bank.to_string()).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}\n{expected}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn invalid_bank_error_has_the_path() {
    assert_eq!(QuestionBank::parse(&small().to_string()).unwrap().topics().count(), 2);
    let long = "x".repeat(1001);
    refused(|bank| *bank = json!(7), "at the top level: invalid type: integer");
    refused(|bank| bank["topics"] = json!([]), "at topics: the list is empty");
    refused(|bank| bank["version"] = json!(1), "at version: unknown field `version`");
    refused(|bank| bank["topics"][1]["questions"] = json!([]), "at topics[1].questions: the list is empty");
    refused(|bank| bank["topics"][0]["name"] = json!(""), "at topics[0].name: it must have 1 to 64");
    refused(|bank| bank["topics"][0]["name"] = json!("?"), "at topics[0]: a name without letters");
    refused(|bank| bank["topics"][0]["aliases"] = json!(["Two"]), "at topics[1]: another topic has one of");
    refused(|bank| bank["topics"][1]["title"] = json!("a\u{0}b"), "at topics[1].title: it must be one line");
    let questions = |bank: &mut Value, change: fn(&mut Value)| change(&mut bank["topics"][0]["questions"][1]);
    for (change, expected) in [
        (
            (|question| drop(question.as_object_mut().unwrap().remove("correct"))) as fn(&mut Value),
            "at topics[0].questions[1]: missing field `correct`",
        ),
        (
            |question| question["correct"] = json!("c"),
            "at topics[0].questions[1]: the correct value of one is not among its options",
        ),
        (
            |question| question["id"] = json!("q1"),
            "at topics[0].questions[1].id: another question has the same",
        ),
        (|question| question["id"] = json!("q 2"), "at topics[0].questions[1].id: it must have 1 to 64"),
        (
            |question| question["prompt"] = json!("  "),
            "at topics[0].questions[1].prompt: it must be one line",
        ),
        (|question| question["prompt"] = json!(7), "at topics[0].questions[1].prompt: invalid type: integer"),
        (|question| question["hint"] = json!("a\nb"), "at topics[0].questions[1].hint: it must be one line"),
        (|question| question["options"] = json!([]), "at topics[0].questions[1]: one has fewer than two"),
        (
            |question| question["options"][1] = question["options"][0].clone(),
            "at topics[0].questions[1]: one has two options with the same value",
        ),
        (
            |question| question["options"][1]["label"] = json!(""),
            "at topics[0].questions[1].options[1].label: it must be one line",
        ),
        (
            |question| {
                let option = |n: usize| json!({"value": n.to_string(), "label": "x"});
                question["options"] = (0..11).map(option).collect();
            },
            "at topics[0].questions[1].options: there are more than 10",
        ),
    ] {
        refused(|bank| questions(bank, change), expected);
    }
    refused(
        |bank| bank["topics"][1]["questions"][0]["explanation"] = json!(long),
        "at topics[1].questions[0].explanation: it must be one line of 1 to 1000",
    );
    refused(
        |bank| bank["topics"][1]["questions"][0]["id"] = json!("q2"),
        "at topics[1].questions[0].id: another question has the same",
    );
    let error = QuestionBank::parse(&format!("{} x", small())).unwrap_err().to_string();
    assert!(error.starts_with("at the end: trailing characters"), "{error}");
}

#[test]
fn file_is_read_or_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.json");
    assert!(matches!(QuestionBank::from_file(&path), Err(QuestionBankError::Unreadable(_))));
    std::fs::write(&path, small().to_string()).unwrap();
    assert_eq!(QuestionBank::from_file(&path).unwrap(), QuestionBank::parse(&small().to_string()).unwrap());
    std::fs::write(&path, vec![b' '; 1024 * 1024 + 1]).unwrap();
    assert!(matches!(QuestionBank::from_file(&path), Err(QuestionBankError::TooLarge)));
}

#[test]
fn seeds_reach_every_topic_and_question() {
    let bank = built_in();
    let (mut topics, mut first) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..500 {
        let picked = bank.select(None, 5, seed).unwrap();
        topics.insert(picked.topic);
        first.insert(picked.questions[0].id.clone());
    }
    assert_eq!(topics.len(), 3);
    assert_eq!(first.len(), bank.topics().map(Topic::len).sum::<usize>());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn same_seed_picks_the_same_distinct_questions(seed: u128, count in 0_usize..30, about in 0_usize..4) {
        let bank = built_in();
        let topic = ["rust", "events", "web"].get(about).copied();
        let picked = bank.select(topic, count, seed).unwrap();
        prop_assert_eq!(&bank.select(topic, count, seed).unwrap(), &picked);
        prop_assert!(topic.is_none_or(|topic| topic == picked.topic));
        let all = bank.topic(&picked.topic).unwrap();
        prop_assert_eq!(picked.questions.len(), count.clamp(1, all.len()));
        prop_assert!(picked.questions.iter().all(|question| all.questions.contains(question)));
        prop_assert_eq!(aggregates::quiz::check_questions(&picked.questions), Ok(()));
        // Fewer questions of the same seed are the first ones of more.
        let more = bank.select(topic, count + 1, seed).unwrap();
        prop_assert_eq!(&more.questions[..picked.questions.len()], &picked.questions[..]);
    }

    #[test]
    fn any_text_is_handled(text: String) {
        let _ = QuestionBank::parse(&text);
        let _ = built_in().topic(&text);
    }
}
