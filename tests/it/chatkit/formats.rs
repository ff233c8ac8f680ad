//! Examples of every event, update and item and of their parts, with and without optional fields.

use chrono::DateTime;
use serde_json::{Map, Value, json};
use verbatim::http::surfaces::chatkit::wire::*;
use verbatim::tools::quiz::quiz_card;
use verbatim::widgets::{IconName, WidgetUpdate};

use super::examples::Example;
use super::widget_examples::{quiz, widgets};

/// Returns examples of everything that is sent, with kind and name.
pub(super) fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    all.extend(events().iter().map(|event| Example::of("event", event_name(event), event)));
    all.extend(updates().iter().map(|(name, update)| Example::of("update", name, update)));
    all.extend(items().iter().map(|(name, item)| Example::of("item", name, item)));
    all.extend(widgets().iter().map(|(name, widget)| Example::of("widget", name, widget)));
    all.extend(attachments().iter().map(|(name, attachment)| Example::of("attachment", name, attachment)));
    let data: Vec<ThreadItem> = items().into_iter().map(|(_, item)| item).collect();
    let items = Page { data, has_more: true, after: Some("msg_9".to_owned()) };
    all.push(Example::of("page_of_items", "more", &items));
    all.push(Example::of("page_of_items", "empty", &Page::<ThreadItem>::empty()));
    let full = Thread {
        title: Some("Greeting".to_owned()),
        status: ThreadStatus::Locked { reason: Some("Under review.".to_owned()) },
        allowed_image_domains: Some(vec!["images.example".to_owned()]),
        items,
        ..thread()
    };
    let closed = |reason: Option<&str>| Thread {
        status: ThreadStatus::Closed { reason: reason.map(str::to_owned) },
        ..thread()
    };
    let locked =
        Thread { status: ThreadStatus::Locked { reason: None }, title: Some(String::new()), ..thread() };
    all.push(Example::of("thread", "full", &full));
    all.push(Example::of("thread", "new", &thread()));
    all.push(Example::of("thread", "locked", &locked));
    all.push(Example::of("thread", "closed", &closed(Some("It is over."))));
    let threads = Page { data: vec![thread(), closed(None)], has_more: false, after: None };
    all.push(Example::of("page_of_threads", "last", &threads));
    all.push(Example::of("transcription", "text", &Transcription { text: "Good morning".to_owned() }));
    let updated = UpdatedItem { updated_item: Some(Box::new(item(answer()))) };
    all.push(Example::of("updated_item", "item", &updated));
    all.push(Example::of("updated_item", "nothing", &UpdatedItem::default()));
    all
}

fn at() -> Timestamp {
    Timestamp(DateTime::from_timestamp_micros(1_767_323_045_678_901).unwrap())
}

fn thread() -> Thread {
    Thread::new("thr_1".to_owned(), at())
}

fn item(kind: ItemKind) -> ThreadItem {
    ThreadItem { id: "msg_1".to_owned(), thread_id: "thr_1".to_owned(), created_at: at(), kind }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn source() -> Source {
    Source {
        title: "A source".to_owned(),
        description: Some("What it is about".to_owned()),
        timestamp: Some("May 2026".to_owned()),
        group: Some("Books".to_owned()),
    }
}

fn url() -> UrlSource {
    UrlSource {
        source: source(),
        url: "https://example.org/a".to_owned(),
        attribution: Some("Example".to_owned()),
    }
}

fn file() -> FileSource {
    let source = Source { title: "A file".to_owned(), ..Source::default() };
    FileSource { source, filename: "a.pdf".to_owned() }
}

fn entity() -> EntitySource {
    EntitySource {
        source: source(),
        id: "e1".to_owned(),
        icon: IconName::parse("vendor:logo"),
        label: Some("Label".to_owned()),
        inline_label: Some("L".to_owned()),
        interactive: true,
        data: object(json!({"kept": null})),
    }
}

fn annotation(source: AnnotationSource, index: Option<u64>) -> Annotation {
    Annotation { source, index }
}

fn answer() -> ItemKind {
    let bare = EntitySource {
        source: Source { title: "Bare".to_owned(), ..Source::default() },
        id: "e2".to_owned(),
        icon: None,
        label: None,
        inline_label: None,
        interactive: false,
        data: Map::new(),
    };
    let annotations = vec![
        annotation(AnnotationSource::Url(url()), Some(5)),
        annotation(AnnotationSource::File(file()), None),
        annotation(AnnotationSource::Entity(entity()), Some(0)),
        annotation(AnnotationSource::Entity(bare), Some(0)),
    ];
    let content = AssistantContent { text: "Hello, *you* – 世界".to_owned(), annotations };
    ItemKind::AssistantMessage { content: vec![content, AssistantContent::plain("")] }
}

fn attachments() -> Vec<(&'static str, Attachment)> {
    let attachment = |kind| Attachment {
        id: "atc_1".to_owned(),
        name: "cat.png".to_owned(),
        mime_type: "image/png".to_owned(),
        upload_descriptor: None,
        thread_id: None,
        kind,
    };
    let image = AttachmentKind::Image { preview_url: "https://files.example/1/preview".to_owned() };
    let upload = |method| UploadDescriptor {
        url: "https://files.example/1/content".to_owned(),
        method,
        headers: [("Content-Type".to_owned(), "image/png".to_owned())].into(),
    };
    vec![
        ("file", attachment(AttachmentKind::File)),
        ("image", attachment(image.clone())),
        (
            "image_to_be_put",
            Attachment { upload_descriptor: Some(upload(UploadMethod::Put)), ..attachment(image.clone()) },
        ),
        (
            "file_to_be_posted",
            Attachment {
                upload_descriptor: Some(UploadDescriptor {
                    headers: Default::default(),
                    ..upload(UploadMethod::Post)
                }),
                ..attachment(AttachmentKind::File)
            },
        ),
        ("image_of_a_thread", Attachment { thread_id: Some("thr_1".to_owned()), ..attachment(image) }),
    ]
}

fn task(kind: TaskKind, status_indicator: Progress) -> Task {
    Task { status_indicator, kind }
}

fn tasks() -> Vec<Task> {
    let title = || Some("A step".to_owned());
    let icon = IconName::parse("search");
    vec![
        task(TaskKind::Custom { title: title(), icon, content: Some("text".to_owned()) }, Progress::Complete),
        task(TaskKind::Custom { title: None, icon: None, content: None }, Progress::None),
        task(
            TaskKind::WebSearch {
                title: title(),
                title_query: Some("cats".to_owned()),
                queries: vec!["cats".to_owned()],
                sources: vec![url()],
            },
            Progress::Loading,
        ),
        task(TaskKind::Thought { title: None, content: "Hm.".to_owned() }, Progress::None),
        task(TaskKind::File { title: title(), sources: vec![file()] }, Progress::Complete),
        task(TaskKind::Image { title: title() }, Progress::Loading),
    ]
}

fn items() -> Vec<(&'static str, ThreadItem)> {
    let tag = |group: Option<&str>, interactive| UserContent::InputTag {
        id: "t1".to_owned(),
        text: "Ada".to_owned(),
        data: object(json!({"deep": {"kept": null}})),
        group: group.map(str::to_owned),
        interactive,
    };
    let bare = ItemKind::UserMessage {
        content: vec![UserContent::InputText { text: "hi".to_owned() }],
        attachments: Vec::new(),
        quoted_text: None,
        inference_options: InferenceOptions::default(),
    };
    let full = ItemKind::UserMessage {
        content: vec![tag(Some("People"), true), tag(None, false)],
        attachments: attachments().into_iter().map(|(_, attachment)| attachment).collect(),
        quoted_text: Some("what was said".to_owned()),
        inference_options: InferenceOptions {
            tool_choice: Some(ToolChoice { id: "search".to_owned() }),
            model: Some("m".to_owned()),
        },
    };
    let call = |status, output| ItemKind::ClientToolCall {
        status,
        call_id: "call_1".to_owned(),
        name: "theme".to_owned(),
        arguments: object(json!({"to": "dark", "kept": null})),
        output,
    };
    let card = |copy_text: Option<&str>| ItemKind::Widget {
        widget: quiz_card(&quiz()),
        copy_text: copy_text.map(str::to_owned),
    };
    let image = GeneratedImage { id: "img_1".to_owned(), url: "data:image/png;base64,AA==".to_owned() };
    let input = |id: &str, answer, kind| StructuredInput {
        id: id.to_owned(),
        question: "Which?".to_owned(),
        answer,
        kind,
    };
    let options = vec![InputOption { value: "a".to_owned() }];
    let choice = StructuredInputKind::MultipleChoice { options, multiple: false };
    let words = |description: Option<&str>| StructuredInputKind::Freeform {
        description: description.map(str::to_owned),
    };
    let answered = InputAnswer { values: vec!["a".to_owned()], skipped: false };
    let skipped = InputAnswer { values: Vec::new(), skipped: true };
    let workflow = |kind, summary, expanded| ItemKind::Workflow {
        workflow: Workflow { kind, tasks: tasks(), summary, expanded },
    };
    let titled = Summary::Titled { title: "Looked around".to_owned(), icon: IconName::parse("globe") };
    let all = vec![
        ("user_message", bare),
        ("user_message_full", full),
        ("assistant_message", answer()),
        ("assistant_message_empty", ItemKind::AssistantMessage { content: Vec::new() }),
        ("client_tool_call", call(ToolCallStatus::Pending, None)),
        ("client_tool_call_completed", call(ToolCallStatus::Completed, Some(json!({"kept": null})))),
        ("widget", card(None)),
        ("widget_without_copy", card(Some(""))),
        ("generated_image", ItemKind::GeneratedImage { image: None }),
        ("generated_image_ready", ItemKind::GeneratedImage { image: Some(image) }),
        (
            "structured_input",
            ItemKind::StructuredInput {
                status: StructuredStatus::Pending,
                inputs: vec![input("q1", None, choice.clone()), input("q2", None, words(Some("In words.")))],
            },
        ),
        (
            "structured_input_answered",
            ItemKind::StructuredInput {
                status: StructuredStatus::Answered,
                inputs: vec![input("q1", Some(answered), choice), input("q2", Some(skipped), words(None))],
            },
        ),
        ("workflow", workflow(WorkflowKind::Custom, Some(titled), true)),
        (
            "workflow_reasoning",
            workflow(WorkflowKind::Reasoning, Some(Summary::Lasted { duration: 12 }), false),
        ),
        ("workflow_open", workflow(WorkflowKind::Reasoning, None, false)),
        ("task", ItemKind::Task { task: tasks().remove(0) }),
        ("end_of_turn", ItemKind::EndOfTurn),
    ];
    all.into_iter().map(|(name, kind)| (name, item(kind))).collect()
}

fn updates() -> Vec<(&'static str, ItemUpdate)> {
    let part = 0;
    let image = GeneratedImage { id: "img_1".to_owned(), url: "https://files.example/img_1".to_owned() };
    let grown =
        WidgetUpdate::Text { component_id: "body".to_owned(), delta: " more".to_owned(), done: false };
    let card = quiz_card(&quiz());
    let thought = tasks().remove(3);
    vec![
        (
            "content_part_added",
            ItemUpdate::ContentPartAdded { content_index: part, content: AssistantContent::plain("") },
        ),
        ("text_delta", ItemUpdate::TextDelta { content_index: part, delta: "Hel\nlo".to_owned() }),
        (
            "annotation_added",
            ItemUpdate::AnnotationAdded {
                content_index: part,
                annotation_index: 0,
                annotation: annotation(AnnotationSource::Url(url()), Some(3)),
            },
        ),
        (
            "content_part_done",
            ItemUpdate::ContentPartDone { content_index: part, content: AssistantContent::plain("Hello") },
        ),
        ("widget_root", WidgetUpdate::Root(card).into()),
        (
            "widget_component",
            ItemUpdate::WidgetComponent {
                component_id: "body".to_owned(),
                component: json!({"type": "Text", "id": "body", "value": "Saved"}),
            },
        ),
        ("widget_text", grown.into()),
        ("task_added", ItemUpdate::TaskAdded { task_index: 0, task: thought.clone() }),
        ("task_updated", ItemUpdate::TaskUpdated { task_index: 0, task: thought }),
        ("image", ItemUpdate::Image { image: image.clone(), progress: Some(0.25) }),
        ("image_without_progress", ItemUpdate::Image { image, progress: None }),
    ]
}

/// Returns one of every event, and another without optional fields.
pub(super) fn events() -> Vec<StreamEvent> {
    let answer = || Box::new(item(answer()));
    let delta = ItemUpdate::TextDelta { content_index: 0, delta: "Hello".to_owned() };
    vec![
        StreamEvent::ThreadCreated { thread: Box::new(thread()) },
        StreamEvent::ThreadUpdated {
            thread: Box::new(Thread { title: Some("Greeting".to_owned()), ..thread() }),
        },
        StreamEvent::ItemAdded { item: Box::new(item(ItemKind::AssistantMessage { content: Vec::new() })) },
        StreamEvent::updated("msg_1", delta),
        StreamEvent::ItemDone { item: answer() },
        StreamEvent::ItemRemoved { item_id: "msg_1".to_owned() },
        StreamEvent::ItemReplaced { item: answer() },
        StreamEvent::options(true),
        StreamEvent::Progress { text: "Looking…".to_owned(), icon: IconName::parse("lucide:search") },
        StreamEvent::ClientEffect { name: "confetti".to_owned(), data: object(json!({"kept": null})) },
        StreamEvent::Notice {
            level: NoticeLevel::Warning,
            message: "*Nearly* full.".to_owned(),
            title: Some("Space".to_owned()),
        },
        StreamEvent::Error { code: ErrorCode::Stream, message: None, allow_retry: true },
        StreamEvent::Error { code: ErrorCode::Custom, message: Some("No.".to_owned()), allow_retry: false },
    ]
}

fn event_name(event: &StreamEvent) -> &'static str {
    match event {
        StreamEvent::ThreadCreated { .. } => "thread_created",
        StreamEvent::ThreadUpdated { .. } => "thread_updated",
        StreamEvent::ItemAdded { .. } => "item_added",
        StreamEvent::ItemUpdated { .. } => "item_updated",
        StreamEvent::ItemDone { .. } => "item_done",
        StreamEvent::ItemRemoved { .. } => "item_removed",
        StreamEvent::ItemReplaced { .. } => "item_replaced",
        StreamEvent::Options { .. } => "stream_options",
        StreamEvent::Progress { .. } => "progress_update",
        StreamEvent::ClientEffect { .. } => "client_effect",
        StreamEvent::Notice { .. } => "notice",
        StreamEvent::Error { code: ErrorCode::Stream, .. } => "error",
        StreamEvent::Error { code: ErrorCode::Custom, .. } => "error_custom",
    }
}
