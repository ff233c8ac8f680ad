//! The formats of this door: what its clients send and are sent.
//!
//! In requests, fields that nobody knows are passed over and optional ones may be null. In what is sent, a field
//! without a value is left out, never null; only free-form objects keep their nulls. Names are in snake case, those
//! inside widgets in camel case. What is hidden from clients has no type here, so it cannot be sent.

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
