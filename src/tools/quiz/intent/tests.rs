//! Which messages request a quiz.

use proptest::prelude::*;

use super::*;

fn bank() -> QuestionBank {
    QuestionBank::built_in().unwrap()
}

/// Requests, with the topic that they name.
const REQUESTS: &[(&str, Option<&str>)] = &[
    ("quiz", None),
    ("Quiz me", None),
    ("QUIZ ME!!!", None),
    ("  quiz?  ", None),
    ("/quiz", None),
    ("a quiz, please", None),
    ("another quiz", None),
    ("one more quiz", None),
    ("start a quiz please", None),
    ("Start quiz", None),
    ("Let's do a quiz!", None),
    ("let’s play another quick quiz", None),
    ("Can you give me a quiz?", None),
    ("could you please quiz me", None),
    ("I'd like a quiz", None),
    ("I want to take a quiz now", None),
    ("Hi! Please start a new quiz for me, thank you", None),
    ("quiz me again", None),
    ("quiz me on rust", Some("rust")),
    ("Quiz me on Rust, please.", Some("rust")),
    ("quiz rust", Some("rust")),
    ("/quiz web", Some("web")),
    ("rust quiz", Some("rust")),
    ("a quick Rust quiz please", Some("rust")),
    ("give me a quiz about http", Some("web")),
    ("give us an HTTP quiz", Some("web")),
    ("start an event-sourcing quiz", Some("events")),
    ("quiz me about event sourcing", Some("events")),
    ("Quiz on the borrow checker", Some("rust")),
    ("I would like a quiz on chat protocols & HTTP", Some("web")),
    ("a quiz in Rust", Some("rust")),
    // Unknown topics, in the user's own words.
    ("quiz me on history", Some("history")),
    ("Give me a Latin quiz", Some("latin")),
    ("give me a quiz about the Roman Empire!", Some("roman empire")),
    ("quiz me on C++", Some("c++")),
];

/// Messages that are not requests.
const OTHERS: &[&str] = &[
    "",
    " ",
    "?!",
    "hello",
    "rust",
    "what is a quiz?",
    "What's a quiz",
    "what a quiz",
    "how do I write a quiz in Rust?",
    "who won the quiz",
    "the quiz was fun",
    "quiz night",
    "quiz night is on friday",
    "quizzes",
    "quizzical",
    "don't quiz me",
    "no quiz please",
    "stop the quiz",
    "give me a quiz about",
    "give me the answer of the quiz",
    "give me a rust quiz about http",
    "a history quiz",
    "a quiz of my own",
    "quiz me on what I told you about my holiday in Rome",
    "Yesterday my teacher surprised us with a quiz on rust and nobody had learnt a thing",
    "quiz quiz",
    "please please",
];

#[test]
fn requests_are_recognized_with_their_topic() {
    for (text, topic) in REQUESTS {
        let expected = QuizRequest { topic: topic.map(str::to_owned) };
        assert_eq!(parse_request(text, &bank()), Some(expected), "{text}");
    }
}

#[test]
fn mention_of_the_word_is_not_a_request() {
    for text in OTHERS {
        assert_eq!(parse_request(text, &bank()), None, "{text}");
    }
}

#[test]
fn long_text_is_not_a_request() {
    for (text, more) in [("quiz me on rust", " please"), ("quiz me on ", "x"), ("quiz", " "), ("quiz", "!")] {
        let mut text = text.to_owned();
        while text.len() <= MAX_BYTES {
            text.push_str(more);
        }
        assert_eq!(parse_request(&text, &bank()), None, "{text}");
    }
    assert_eq!(parse_request(&format!("quiz me on {}", "word ".repeat(6)), &bank()), None);
}

/// Changes each letter to upper or lower case.
fn in_any_case(text: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<bool>(), text.chars().count()).prop_map(|upper| {
        let letter = |(letter, upper): (char, bool)| {
            if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
        };
        text.chars().zip(upper).map(letter).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn case_blanks_and_punctuation_make_no_difference(
        (text, topic) in prop::sample::select(REQUESTS)
            .prop_flat_map(|(text, topic)| (in_any_case(text), Just(topic))),
        around in "[ .!?,;:\"()\t\n]{0,6}",
        gap in "[ ,\t]{1,3}",
    ) {
        let text = format!("{around}{}{around}", text.replace(' ', &gap));
        let expected = QuizRequest { topic: topic.map(str::to_owned) };
        prop_assert_eq!(parse_request(&text, &bank()), Some(expected), "{}", text);
    }

    #[test]
    fn text_without_the_word_is_not_a_request(text: String) {
        let expected = tokenize(&text).iter().any(|word| word == "quiz");
        prop_assert!(expected || parse_request(&text, &bank()).is_none());
    }

    #[test]
    fn request_inside_a_sentence_is_not_a_request(
        (text, _) in prop::sample::select(REQUESTS),
        word in "(because|why|never|yesterday|she|says|tell)",
    ) {
        prop_assert_eq!(parse_request(&format!("{word} {text}"), &bank()), None);
    }
}
