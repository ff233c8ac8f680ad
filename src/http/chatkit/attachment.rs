//! A file as the ChatKit protocol shows it. What is not there is left out, never null.

use std::collections::BTreeMap;

use aggregates::ids::FileId;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use projections::files::query::FileRow;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::auth::links::Purpose;
use crate::http::Doors;

/// What ids of attachments begin with.
const ATTACHMENT: &str = "atc_";
/// What ids of threads begin with.
const THREAD: &str = "thr_";
/// The name of a file whose name was erased.
const NAMELESS: &str = "file";

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Attachment {
    /// `image` when a preview can be shown, else `file`.
    #[serde(rename = "type")]
    kind: AttachmentKind,
    /// Its id: `atc_` and 32 hexadecimal digits.
    id: String,
    /// Its name.
    name: String,
    /// Its type.
    mime_type: String,
    /// Where its bytes are to be brought, while they have not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload_descriptor: Option<UploadDescriptor>,
    /// The thread that it was sent in.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<String>,
    /// Where an image's preview is, for a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview_url: Option<String>,
}

/// What is shown of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum AttachmentKind {
    File,
    Image,
}

/// Where the bytes of an announced file are to be brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct UploadDescriptor {
    /// The address; good for ten minutes.
    url: String,
    /// The method to use.
    method: &'static str,
    /// Headers to send.
    headers: BTreeMap<String, String>,
}

impl Attachment {
    /// The file as it is shown to somebody whose links begin with `base`.
    pub fn of(doors: &Doors, base: &Base, file: &FileRow) -> Self {
        let is_image = file.mime_type.starts_with("image/");
        let id = FileId::new(file.file_id);
        let link = |purpose, place| {
            let link = doors.app.file_link(id, purpose);
            format!("{}/files/{id}/{place}?expires={}&signature={}", base.0, link.expires, link.signature)
        };
        Self {
            kind: if is_image { AttachmentKind::Image } else { AttachmentKind::File },
            id: id_of(file.file_id),
            name: file.name.clone().unwrap_or_else(|| NAMELESS.to_owned()),
            mime_type: file.mime_type.clone(),
            upload_descriptor: (!file.is_stored()).then(|| UploadDescriptor {
                url: link(Purpose::Upload, "content"),
                method: "POST",
                headers: BTreeMap::new(),
            }),
            thread_id: file.conversation_id.map(|thread| format!("{THREAD}{}", thread.simple())),
            preview_url: is_image.then(|| link(Purpose::Preview, "preview")),
        }
    }
}

/// The id of an attachment.
pub fn id_of(file: Uuid) -> String {
    format!("{ATTACHMENT}{}", file.simple())
}

/// The file that an id names, in this protocol's form or as a UUID; none: it cannot be one.
pub fn parse_id(id: &str) -> Option<FileId> {
    Uuid::parse_str(id.strip_prefix(ATTACHMENT).unwrap_or(id)).ok().map(FileId::new)
}

/// What links for a client begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// The configured address, else the one that the request was sent to. A request with a false `Host` gets false links,
    /// and nobody else does.
    pub fn of(doors: &Doors, headers: &HeaderMap) -> Self {
        if let Some(base) = &doors.settings.public_url {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_in_both_forms() {
        let file = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        assert_eq!(id_of(file), "atc_01900000000070008000000000000001");
        assert_eq!(parse_id(&id_of(file)), Some(FileId::new(file)));
        assert_eq!(parse_id(&file.to_string()), Some(FileId::new(file)));
        for other in ["", "atc_", "thr_01900000000070008000000000000001", "atc_atc_0190", "../x"] {
            assert_eq!(parse_id(other), None, "{other}");
        }
    }
}
