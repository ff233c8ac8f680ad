//! The budget of a context.

use proptest::prelude::*;

use super::*;

fn counter() -> Counter {
    Counter::of("gpt-4o")
}

fn settings(context_tokens: usize) -> ReplySettings {
    ReplySettings { context_tokens, system_prompt: String::new(), ..ReplySettings::default() }
}

#[test]
fn old_turns_are_dropped_whole_when_budget_is_spent() {
    let rows = [
        said(10, 1, Some("one two three")),
        answered(11, 2, "four five six", 10),
        said(20, 3, Some("one two")),
        answered(21, 4, "three", 20),
        said(30, 5, Some("four")),
    ];
    let inputs = inputs(&rows, &[]);
    let all = built(&settings(16_000), 30, &inputs).unwrap();
    assert_eq!(texts(&all), ["one two three", "four five six", "one two", "three", "four"]);
    let tight = built(&settings(all.report.total() - 1), 30, &inputs).unwrap();
    assert_eq!(texts(&tight), ["one two", "three", "four"]);
    assert_eq!(tight.report.left_out.over_budget, 1);
    let exact = built(&settings(all.report.total()), 30, &inputs).unwrap();
    assert_eq!(exact.turns, all.turns);
}

#[test]
fn turn_that_fits_behind_one_that_does_not_is_left_out() {
    let long = "long ".repeat(500);
    let mut rows = [
        said(10, 1, Some("short")),
        said(20, 2, Some("and then")),
        answered(21, 3, &long, 20),
        said(30, 4, Some("asked")),
    ];
    let context = built(&settings(200), 30, &inputs(&rows, &[])).unwrap();
    assert_eq!(texts(&context), ["asked"]);
    assert_eq!(context.report.left_out.over_budget, 2);
    // Also for a turn without an answer that would fit by itself.
    rows[1] = said(20, 2, Some(&"long ".repeat(180)));
    rows[2] = answered(21, 3, "", 10);
    let asked = "asked ".repeat(30);
    rows[3] = said(30, 4, Some(&asked));
    let context = built(&settings(200), 30, &inputs(&rows, &[])).unwrap();
    assert_eq!(texts(&context), [asked.as_str()]);
}

#[test]
fn message_too_long_to_answer_does_not_hide_earlier_turns() {
    let long = "long ".repeat(500);
    let rows = [
        said(10, 1, Some("short")),
        answered(11, 2, "yes", 10),
        said(20, 3, Some(&long)),
        said(30, 4, Some("asked")),
    ];
    let context = built(&settings(200), 30, &inputs(&rows, &[])).unwrap();
    assert_eq!(texts(&context), ["short", "yes", "asked"]);
    assert_eq!(context.report.left_out.over_budget, 1);
}

#[test]
fn turns_beyond_history_turns_are_left_out() {
    let rows: Vec<ThreadRow> =
        (1..=6).map(|n| said(n * 10, i64::try_from(n).unwrap(), Some("said"))).collect();
    let settings = ReplySettings { history_turns: 2, ..settings(16_000) };
    let context = built(&settings, 60, &inputs(&rows, &[])).unwrap();
    let sent: Vec<Uuid> = context.report.turns.iter().map(|id| id.uuid()).collect();
    assert_eq!(sent, [40, 50, 60].map(Uuid::from_u128));
    assert_eq!((context.report.left_out.over_limit, context.report.left_out.over_budget), (3, 0));
}

#[test]
fn question_that_does_not_fit_is_neither_cut_nor_sent() {
    let long = "word ".repeat(1_000);
    let rows = [said(10, 1, Some(&long))];
    let Err(ContextError::TooLong(report)) = built(&settings(500), 10, &inputs(&rows, &[])) else {
        panic!("it was sent")
    };
    assert_eq!((report.budget, report.turns.len()), (500, 0));
    let instructed = ReplySettings { system_prompt: long, ..settings(500) };
    let rows = [said(10, 1, Some("short"))];
    assert!(matches!(built(&instructed, 10, &inputs(&rows, &[])), Err(ContextError::TooLong(_))));
}

#[test]
fn tool_output_and_quote_are_cut_at_a_quarter_of_the_budget() {
    let long = "word ".repeat(1_000);
    let rows = [said(10, 1, Some("look up")), tool_call(12, 3, 10, Some(json!(long)))];
    let context = built(&settings(800), 12, &inputs(&rows, &[])).unwrap();
    let Some(Turn::ToolCall { output: Value::String(output), .. }) = context.turns.last() else {
        panic!("{context:?}")
    };
    assert!(output.ends_with("word (the output goes on)"), "{output}");
    assert!(counter().count(output) <= 210, "{}", counter().count(output));
    assert_eq!(context.report.cut, 1);
    assert_eq!(texts(&context), ["look up", ""], "with the message that it came of");

    let mut quoting = said(10, 1, Some("this?"));
    if let Entry::Message { composed, .. } = &mut quoting.entry {
        *composed = Some(Composed { parts: Vec::new(), quoted: Some(long) });
    }
    let context = built(&settings(800), 10, &inputs(&[quoting], &[])).unwrap();
    assert!(context.turns[0].text().ends_with("(the quote goes on)\n</quoted>\nthis?"));
    assert_eq!(context.report.cut, 1);
}

#[test]
fn files_stay_within_their_share_newest_first() {
    let text = "word ".repeat(400);
    let rows = [
        with_files(said(10, 1, Some("old")), &[71]),
        answered(11, 2, "yes", 10),
        with_files(said(20, 3, Some("new")), &[72]),
        said(30, 4, Some("asked")),
    ];
    let files = [text_file(71, &text), text_file(72, &text)];
    let context = built(&settings(1_200), 30, &inputs(&rows, &files)).unwrap();
    assert_eq!(texts(&context), ["old", "yes", "new", "asked"]);
    assert_eq!((context.report.files.whole, context.report.files.cut), (1, 1));
    assert!(context.report.tokens.files <= 600, "{:?}", context.report);
    assert_eq!(context.file_hashes, ["hash-71", "hash-72"]);
    let Turn::Message { files: newest, .. } = &context.turns[2] else { panic!("{context:?}") };
    assert_eq!(
        newest[0].content,
        Content::Text(format!("<file name=\"notes.txt\" type=\"text/plain\">\n{text}\n</file>"))
    );

    let none = ReplySettings { files_percent: 0, ..settings(1_200) };
    let context = built(&none, 30, &inputs(&rows, &files)).unwrap();
    assert_eq!((context.report.files.named, context.file_hashes.len()), (2, 0));
}

#[test]
fn small_context_window_shrinks_the_budget() {
    let settings = ReplySettings { max_output_tokens: 192, ..ReplySettings::default() };
    let budget = |model: &str| Policy::new(&settings, Counter::of(model), model, &[]).budget;
    assert_eq!(budget("gpt-4"), 8_000);
    assert_eq!(budget("gpt-4o"), 16_000);
    assert_eq!(budget("unheard-of"), 16_000);
    let policy = Policy::new(&settings, Counter::of("unheard-of"), "unheard-of", &[]);
    let within = |window| policy.within(window).budget;
    assert_eq!(
        [within(None), within(Some(4_192)), within(Some(1_000_000)), within(Some(1))],
        [16_000, 4_000, 16_000, 0]
    );
}

/// Counts a prompt again from its content, independently of the policy's report.
fn counted(context: &Context, tools: &[Tool]) -> usize {
    let count = |text: &str| counter().count(text);
    let frame = |texts: &[&str]| 4 + texts.iter().map(|text| count(text)).sum::<usize>();
    let turns = context.turns.iter().map(|turn| match turn {
        Turn::Message { text, files, .. } => {
            let files = files.iter().map(|file| match &file.content {
                Content::Text(text) => count(text),
                Content::Bytes(_) => 0,
            });
            frame(&[text]) + files.sum::<usize>()
        }
        Turn::ToolCall { call_id, name, arguments, output } => {
            4 + frame(&[call_id, name, &arguments.to_string(), &output.to_string()])
        }
    });
    let images: usize = context
        .unread
        .iter()
        .map(|unread| match &unread.file.content {
            crate::files::Content::Image { pixels } => tokens::image(*pixels),
            _ => tokens::pdf(unread.file.size).min(context.report.budget / 2),
        })
        .sum();
    let system = if context.system.is_empty() { 0 } else { frame(&[&context.system]) };
    let tools: usize =
        tools.iter().map(|tool| frame(&[&tool.name, &tool.description, &tool.parameters.to_string()])).sum();
    3 + system + tools + images + turns.sum::<usize>()
}

/// The rows of a generated conversation, in order.
#[derive(Debug, Clone)]
enum GeneratedRow {
    Message { text: String, quoted: Option<String>, files: Vec<FileKind> },
    Answer(String),
    Call(String),
    Questions(bool),
    Note(String),
    Erased,
}

#[derive(Debug, Clone)]
enum FileKind {
    Text(String),
    Image(u32),
    Pdf(u64),
}

fn generated_row() -> impl Strategy<Value = GeneratedRow> {
    let text = || "[a-z <>/é語\n]{0,120}|(word ){0,80}|</file>|<note>";
    let file = prop_oneof![
        text().prop_map(FileKind::Text),
        (1_u32..4_000).prop_map(FileKind::Image),
        (1_u64..400_000).prop_map(FileKind::Pdf),
    ];
    prop_oneof![
        4 => (text(), proptest::option::of(text()), proptest::collection::vec(file, 0..3))
            .prop_map(|(text, quoted, files)| GeneratedRow::Message { text, quoted, files }),
        4 => text().prop_map(GeneratedRow::Answer),
        1 => text().prop_map(GeneratedRow::Call),
        1 => any::<bool>().prop_map(GeneratedRow::Questions),
        1 => text().prop_map(GeneratedRow::Note),
        1 => Just(GeneratedRow::Erased),
    ]
}

/// Returns rows and files, and the ids of the messages, oldest first.
fn conversation(things: &[GeneratedRow]) -> (ContextInputs, Vec<u128>) {
    let (mut rows, mut files, mut messages) = (Vec::new(), Vec::new(), Vec::new());
    for (index, thing) in things.iter().enumerate() {
        let id = (index as u128 + 1) * 10;
        let position = i64::try_from(index).unwrap() * 2;
        let newest = messages.last().copied().unwrap_or(0);
        rows.push(match thing {
            GeneratedRow::Message { text, quoted, files: attached } => {
                messages.push(id);
                let mut row = said(id, position, Some(text));
                for (place, kind) in attached.iter().enumerate() {
                    let file = text_file(100_000 + id * 10 + place as u128, "");
                    let (content, size) = match kind {
                        FileKind::Text(text) => {
                            (crate::files::Content::Text { text: text.clone(), cut: false }, 1)
                        }
                        FileKind::Image(side) => {
                            (crate::files::Content::Image { pixels: Some((*side, 600)) }, 1)
                        }
                        FileKind::Pdf(size) => (crate::files::Content::Pdf, *size),
                    };
                    row = with_files(row, &[file.file_id.uuid().as_u128()]);
                    files.push(FileContent { content, size, ..file });
                }
                if let (Entry::Message { composed, .. }, Some(quoted)) = (&mut row.entry, quoted) {
                    *composed = Some(Composed { parts: Vec::new(), quoted: Some(quoted.clone()) });
                }
                row
            }
            GeneratedRow::Erased => {
                messages.push(id);
                said(id, position, None)
            }
            GeneratedRow::Answer(text) => answered(id, position, text, newest),
            GeneratedRow::Call(output) => tool_call(id, position, newest, Some(json!(output))),
            GeneratedRow::Questions(pending) => {
                let entry = Entry::StructuredInput {
                    status: if *pending { "pending" } else { "answered" }.to_owned(),
                    questions: vec![InputQuestion {
                        id: "q".to_owned(),
                        question: "Which?".to_owned(),
                        form: InputForm::Freeform { description: None },
                    }],
                    answers: vec![InputAnswer {
                        id: "q".to_owned(),
                        values: vec!["</answers>".to_owned()],
                        skipped: false,
                    }],
                };
                ThreadRow { reply_id: Some(Uuid::from_u128(1_000 + newest)), ..row(id, position, entry) }
            }
            GeneratedRow::Note(text) => row(id, position, Entry::Note(Some(text.clone()))),
        });
    }
    (inputs(&rows, &files), messages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn context_obeys_the_policy(
        things in proptest::collection::vec(generated_row(), 1..24), budget in 20_usize..3_000, turns in 0_usize..8,
        percent in 0_usize..90, asked in any::<prop::sample::Index>(), turn_by in any::<prop::sample::Index>(),
    ) {
        let (inputs, messages) = conversation(&things);
        prop_assume!(!messages.is_empty());
        let asked = messages[asked.index(messages.len())];
        let settings = ReplySettings { history_turns: turns, files_percent: percent, ..settings(budget) };
        let tools = [Tool { name: "look".to_owned(), description: "Looks.".to_owned(), parameters: json!({}) }];
        let policy = Policy::new(&settings, counter(), "gpt-4o", &tools);
        let built = policy.build(Uuid::from_u128(asked), &inputs);

        // The order of the loaded rows does not matter, and the result is deterministic.
        let mut shuffled = inputs.clone();
        shuffled.rows.rotate_left(turn_by.index(inputs.rows.len()));
        prop_assert_eq!(&policy.build(Uuid::from_u128(asked), &shuffled), &built);

        let asker = inputs.rows.iter().find(|row| row.id == Uuid::from_u128(asked)).unwrap();
        let context = match built {
            Ok(context) => context,
            Err(ContextError::Nothing) => {
                prop_assert!(is_erased(asker));
                return Ok(());
            }
            Err(ContextError::TooLong(_)) => {
                // The question does not fit even without anything else.
                let alone = ContextInputs { rows: vec![asker.clone()], ..inputs.clone() };
                prop_assert!(policy.build(Uuid::from_u128(asked), &alone).is_err());
                return Ok(());
            }
        };

        // The budget is kept, and the report is right. (A document takes half of the budget in `counted`.)
        if percent == 50 || context.unread.iter().all(|unread| unread.file.content != crate::files::Content::Pdf) {
            prop_assert_eq!(counted(&context, &tools), context.report.total());
        }
        prop_assert!(context.report.total() <= budget, "{:?}", context.report);
        prop_assert!(context.report.tokens.files <= budget, "{:?}", context.report);

        // The asked message is last, later messages are left out, and the order is kept.
        prop_assert_eq!(context.inputs.last().map(|id| id.uuid()), Some(asker.id));
        let row = |id: &MessageId| inputs.rows.iter().find(|row| row.id == id.uuid()).unwrap();
        let roots: Vec<&ThreadRow> = context.report.turns.iter().map(row).collect();
        prop_assert!(roots.windows(2).all(|two| two[0].position < two[1].position));
        prop_assert!(roots.iter().all(|root| root.position <= asker.position && !is_erased(root)));
        let said: Vec<Uuid> = context.inputs.iter().map(|id| id.uuid()).collect();
        let sent = |row: &&ThreadRow| is_message(row) && said.contains(&row.id);
        prop_assert!(inputs.rows.iter().filter(sent).all(|row| row.position <= asker.position));

        // Whole turns: each included turn has all of its rows.
        let ordered: Vec<&ThreadRow> = inputs.rows.iter().collect();
        let of = history::roots(&ordered);
        for row in &inputs.rows {
            let Some(root) = of.get(&row.id) else { continue };
            let goes = context.report.turns.iter().any(|id| id.uuid() == *root);
            let says = !history::said(counter(), row, budget).turns.is_empty();
            let of_asked = *root == asker.id && row.id != asker.id;
            prop_assert_eq!(said.contains(&row.id), goes && says && !of_asked, "{:?}", row);
        }

        // No gaps, except for messages too long to be answered.
        let answered = |row: &&ThreadRow| inputs.rows.iter().any(|other| {
            matches!(other.entry, Entry::Answer { text: Some(_), .. }) && of.get(&other.id) == Some(&row.id)
        });
        let oldest = roots[0].position;
        for row in ordered.iter().filter(|row| is_message(row) && row.position > oldest && row.position < asker.position) {
            if !is_erased(row) && answered(row) {
                prop_assert!(roots.iter().any(|root| root.id == row.id), "{:?}", row);
            }
        }

        // As many turns as permitted, and the report lists each of them.
        let earlier = inputs.rows.iter().filter(|row| is_message(row) && row.position < asker.position).count();
        let left = context.report.left_out;
        prop_assert!(roots.len() <= turns + 1);
        prop_assert_eq!(roots.len() - 1 + left.over_budget + left.over_limit + left.erased, earlier);
    }
}
