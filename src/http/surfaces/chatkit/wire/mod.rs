//! Wire formats of this surface.
//!
//! In requests, unknown fields are ignored and optional ones may be null. In responses, a field without a value is left
//! out, never null; only free-form objects keep their nulls. Names are in snake case, inside widgets in camel case.
//! Hidden data has no type here, so it cannot be sent.

pub mod event;
pub mod ids;
pub mod item;
pub mod request;
pub mod schema;
pub mod sse;
pub mod task;
pub mod text;
pub mod thread;
pub mod time;
pub mod update;

pub use event::{ErrorCode, NoticeLevel, StreamEvent, StreamOptions};
pub use ids::IdKind;
pub use item::{
    Annotation, AnnotationSource, AssistantContent, Attachment, AttachmentKind, GeneratedImage,
    InferenceOptions, InputAnswer, InputOption, ItemKind, StructuredInput, StructuredInputKind,
    StructuredStatus, ThreadItem, ToolCallStatus, ToolChoice, UpdatedItem, UploadDescriptor, UploadMethod,
    UserContent,
};
pub use request::ChatKitRequest;
pub use sse::frame;
pub use task::{
    EntitySource, FileSource, Progress, Source, Summary, Task, TaskKind, UrlSource, Workflow, WorkflowKind,
};
pub use text::TextStream;
pub use thread::{NoMetadata, Page, Thread, ThreadStatus, Transcription};
pub use time::Timestamp;
pub use update::ItemUpdate;
