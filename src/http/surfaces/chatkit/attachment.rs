//! Attachments: files as the ChatKit protocol shows them. Absent values are left out, never null.

use std::collections::BTreeMap;

use aggregates::ids::FileId;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use projections::files::query::FileRow;

use super::wire::{Attachment, AttachmentKind, IdKind, UploadDescriptor, UploadMethod};
use crate::auth::signed_urls::Purpose;
use crate::http::ApiState;

/// Shown instead of a file name that was erased.
const NAMELESS: &str = "file";

/// Returns a file as an attachment, with links that start with `base`.
pub fn attachment(state: &ApiState, base: &Base, file: &FileRow) -> Attachment {
    let id = FileId::new(file.file_id);
    let link = |purpose, place| {
        let link = state.services.files.file_link(id, purpose);
        format!("{}/files/{id}/{place}?expires={}&signature={}", base.0, link.expires, link.signature)
    };
    Attachment {
        id: IdKind::Attachment.write(file.file_id),
        name: file.name.clone().unwrap_or_else(|| NAMELESS.to_owned()),
        mime_type: file.mime_type.clone(),
        // The link expires after ten minutes.
        upload_descriptor: (!file.is_stored()).then(|| UploadDescriptor {
            url: link(Purpose::Upload, "content"),
            method: UploadMethod::Post,
            headers: BTreeMap::new(),
        }),
        thread_id: file.conversation_id.map(|thread| IdKind::Thread.write(thread)),
        kind: if file.mime_type.starts_with("image/") {
            AttachmentKind::Image { preview_url: link(Purpose::Preview, "preview") }
        } else {
            AttachmentKind::File
        },
    }
}

/// Parses the id of a file, in this protocol's form or as a UUID.
pub fn parse_id(id: &str) -> Option<FileId> {
    IdKind::Attachment.read(id).map(FileId::new)
}

/// Base URL of the links for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// Returns the configured base URL, else the address that the request was sent to. A forged `Host` only affects the
    /// links in its own response.
    pub fn of(state: &ApiState, headers: &HeaderMap) -> Self {
        if let Some(base) = &state.settings.public_url {
            return Self(base.clone());
        }
        let is_plain = |host: &&str| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
        };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(is_plain);
        Self(host.map(|host| format!("http://{host}")).unwrap_or_default())
    }
}
