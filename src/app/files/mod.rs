//! Files: announcing, uploading, downloading, deleting, with_attachments.
//!
//! The bytes are stored before the event. A file is uploaded in one step ([`FileService::store_file`]), or is announced first and filled through
//! a signed link ([`FileService::announce_file`], [`FileService::fill_file`]).

pub mod uploads;

use std::sync::Arc;

use aggregates::Personal;
use aggregates::file::{File, FileCommand};
use aggregates::ids::{ConversationId, FileId, MessageId, UserId};
use aggregates::values::FileName;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use projections::files::query::{self, FileRow};
use projections::registry;
use serde_json::json;

use self::uploads::{InspectedFile, Upload, Uploads};
use super::core::stored_id;
use super::quotas::QuotaService;
use super::{Actor, AppError, Core, Kind, RequestContext};
use crate::auth::UrlSigningKey;
use crate::auth::signed_urls::{Purpose, Signature};
use crate::files::picture::preview_mime;
use crate::files::{FileKind, FileStore, Key, KindError, StoreError, UploadError};
use event_store::{CommandBatch, CommandKey};

/// Attaches files to a message: each must be this user's, stored, and not attached in another conversation.
#[must_use]
pub fn with_attachments(
    batch: CommandBatch,
    files: &[FileId],
    by: UserId,
    conversation: ConversationId,
    message: MessageId,
    at: DateTime<Utc>,
) -> CommandBatch {
    files.iter().fold(batch, |batch, file| {
        let command = FileCommand::Attach { by, conversation_id: conversation, message_id: message, at };
        batch.command::<File>(file, command)
    })
}

/// A small copy of an image.
#[derive(Debug)]
pub struct Preview {
    /// Media type of the copy.
    pub mime_type: &'static str,
    /// Bytes of the copy.
    pub image: Bytes,
}

/// Returns the media types of the files that are accepted.
pub fn accepted_types() -> impl Iterator<Item = &'static str> {
    FileKind::ALL.into_iter().map(FileKind::mime)
}

/// Uploads, downloads and previews.
pub struct FileService {
    /// The log, the read models, time and ids.
    pub core: Core,
    /// Charges uploads as messages.
    pub quotas: Arc<QuotaService>,
    /// Stores the bytes.
    pub store: FileStore,
    /// Signs links to files.
    pub links: UrlSigningKey,
    /// Uploads that are in progress.
    pub uploads: Uploads,
}

impl FileService {
    /// Announces a file, whose bytes follow through a signed upload link.
    ///
    /// # Errors
    /// `Invalid` name or size, `UnsupportedType`, `TooLarge` (also over the user's storage limit), and those of the log.
    pub async fn announce_file(
        &self,
        request: &RequestContext,
        actor: Actor,
        name: &str,
        declared: Option<&str>,
        size: u64,
    ) -> Result<(FileRow, Option<i64>), AppError> {
        let limit = self.uploads.limits.file_bytes;
        let name = FileName::of(name)?;
        let kind = FileKind::promised(name.as_str(), declared)?;
        if size == 0 {
            return Err(AppError::new(Kind::Invalid, "file_empty", "The file is empty."));
        }
        if size > limit {
            return Err(UploadError::TooLarge { limit }.into());
        }
        let key = request.key_of(actor.user);
        let mut slot = self.uploads.reserve(actor.user)?;
        slot.set_size(size);
        // A repetition must not be rejected because of the first upload.
        if self.core.repeated(key.as_ref()).await?.is_none() {
            self.quotas.count_work(actor).await?;
            slot.check_limit(&self.core.pool, None).await?;
        }
        let (id, at) = (FileId::new(self.core.clock.id()), self.core.clock.now());
        let command = FileCommand::Announce {
            id,
            by: actor.user,
            name: Personal::Known(name),
            mime_type: kind.mime().to_owned(),
            size,
            at,
        };
        self.run_file_command(request, actor.user, id, command, key).await
    }

    /// Stores a file that was uploaded in one step.
    ///
    /// # Errors
    /// `Invalid` name or no content, `UnsupportedType`, `TooLarge`, `StorageFull`, and those of the log and the store.
    pub async fn store_file(
        &self,
        request: &RequestContext,
        actor: Actor,
        name: &str,
        declared: Option<&str>,
        upload: Upload,
    ) -> Result<(FileRow, Option<i64>), AppError> {
        let name = FileName::of(name)?;
        let kind = FileKind::promised(name.as_str(), declared)?;
        let inspected = self.inspect(self.receive(upload).await?, kind).await?;
        let key = self.key_of_file(request, actor.user, &name, &inspected);
        let id = FileId::new(self.core.clock.id());
        if self.core.repeated(key.as_ref()).await?.is_none() {
            self.quotas.count_work(actor).await?;
            inspected.slot.check_limit(&self.core.pool, None).await?;
            self.store_bytes(id, &inspected).await?;
        }
        let command = self.store_command(id, actor.user, Personal::Known(name), &inspected);
        let stored = self.run_file_command(request, actor.user, id, command, key).await?;
        metrics::counter!("verbatim_files_stored_total").increment(1);
        Ok(stored)
    }

    /// Checks the user's storage limit before the body is read. A request with a key passes: it may be a repetition.
    ///
    /// # Errors
    /// `TooLarge` with the code `file_quota`, or the database's.
    pub async fn may_store(&self, request: &RequestContext, upload: &Upload) -> Result<(), AppError> {
        if request.key.is_some() { Ok(()) } else { self.check_storage_limit(upload, None).await }
    }

    /// Returns the file of an upload link.
    ///
    /// # Errors
    /// `Forbidden` for an invalid link, `NotFound` for a deleted file.
    pub async fn announced_file(&self, file: FileId, link: &Signature) -> Result<FileRow, AppError> {
        self.check_link(file, Purpose::Upload, link)?;
        let row = query::by_id(&self.core.pool, file.uuid()).await?;
        row.filter(|row| !row.is_deleted()).ok_or_else(AppError::not_found)
    }

    /// Stores the bytes of an announced file. The same bytes again change nothing.
    ///
    /// # Errors
    /// As [`FileService::store_file`]; `Conflict` if it already has other bytes.
    pub async fn fill_file(
        &self,
        request: &RequestContext,
        file: &FileRow,
        declared: Option<&str>,
        upload: Upload,
    ) -> Result<(FileRow, Option<i64>), AppError> {
        let (id, owner) = (FileId::new(file.file_id), UserId::new(file.owner));
        let kind = FileKind::of_mime(&file.mime_type)
            .ok_or_else(|| AppError::internal(anyhow::anyhow!("a file of an unknown type was announced")))?;
        let name = file.name.as_deref().map(FileName::of).transpose()?;
        // An unknown media type contradicts nothing.
        let said = declared
            .map(|declared| FileKind::promised(name.as_ref().map_or("", FileName::as_str), Some(declared)));
        if said.is_some_and(|said| !matches!(said, Err(KindError::Unknown)) && said != Ok(kind)) {
            return Err(KindError::Disagree.into());
        }
        let received = self.receive(upload).await?;
        let state: File = self.core.executor.state(&id.to_string()).await?;
        // Check before decoding: a link can be used for repeated uploads.
        let inspected = match state.sha256() {
            Some(stored) if stored == received.arrived.sha256 => received.inspected_before(kind),
            Some(_) => return Err(AppError::file_already_uploaded()),
            None => {
                let inspected = self.inspect(received, kind).await?;
                inspected.slot.check_limit(&self.core.pool, Some(id)).await?;
                self.store_bytes(id, &inspected).await?;
                inspected
            }
        };
        let name = name.map_or(Personal::Erased, Personal::Known);
        let command = self.store_command(id, owner, name, &inspected);
        let stored = self.run_file_command(request, owner, id, command, None).await?;
        metrics::counter!("verbatim_files_stored_total").increment(1);
        Ok(stored)
    }

    /// Returns a file of the actor.
    ///
    /// # Errors
    /// `NotFound`, or the database's.
    pub async fn file(&self, actor: Actor, file: FileId) -> Result<FileRow, AppError> {
        self.files(actor, &[file]).await?.pop().ok_or_else(AppError::not_found)
    }

    /// Returns those of the files that are the actor's, in the given order.
    ///
    /// # Errors
    /// The database's.
    pub async fn files(&self, actor: Actor, files: &[FileId]) -> Result<Vec<FileRow>, AppError> {
        let ids: Vec<uuid::Uuid> = files.iter().map(|file| file.uuid()).collect();
        Ok(query::owned(&self.core.pool, actor.user.uuid(), &ids).await?)
    }

    /// Streams the bytes of a stored file.
    ///
    /// # Errors
    /// `NotFound` before the upload, `Unavailable`.
    pub async fn file_bytes(
        &self,
        file: &FileRow,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, AppError> {
        let sha256 = file.sha256.as_deref().filter(|_| file.is_stored()).ok_or_else(AppError::not_found)?;
        Ok(self.store.stream(&Key::bytes(FileId::new(file.file_id), sha256)).await?)
    }

    /// Returns the preview of an image, for a signed link.
    ///
    /// # Errors
    /// `Forbidden` when the link is not good, `NotFound` when there is no such image (any more).
    pub async fn file_preview(&self, file: FileId, link: &Signature) -> Result<Preview, AppError> {
        self.check_link(file, Purpose::Preview, link)?;
        let row = query::by_id(&self.core.pool, file.uuid()).await?.ok_or_else(AppError::not_found)?;
        let is_image = FileKind::of_mime(&row.mime_type).is_some_and(FileKind::is_image);
        let sha256 = row.sha256.as_deref().filter(|_| row.is_stored() && is_image);
        let sha256 = sha256.ok_or_else(AppError::not_found)?;
        let image = self.store.get(&Key::preview(file, sha256)).await?;
        Ok(Preview { mime_type: preview_mime(&image), image })
    }

    /// Signs a link to a file.
    pub fn file_link(&self, file: FileId, purpose: Purpose) -> Signature {
        self.links.sign(file, purpose, self.core.clock.now())
    }

    /// Deletes a file that is not attached to a message.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` if it is attached, and those of the log.
    pub async fn delete_file(
        &self,
        request: &RequestContext,
        actor: Actor,
        file: FileId,
    ) -> Result<Option<i64>, AppError> {
        let command = FileCommand::Delete { by: actor.user, at: self.core.clock.now() };
        let batch = self
            .core
            .batch(request, actor.user)
            .command::<File>(file, command)
            .with_key(request.key_of(actor.user), json!({"file_id": file}));
        // The sweep removes the bytes.
        let outcome = self.core.executor.run(batch).await?;
        self.core.catch_up(registry::FILE_MODELS, outcome.position).await;
        Ok(outcome.position)
    }

    fn check_link(&self, file: FileId, purpose: Purpose, link: &Signature) -> Result<(), AppError> {
        if self.links.is_valid(file, purpose, link, self.core.clock.now()) {
            return Ok(());
        }
        Err(AppError::new(Kind::Forbidden, "invalid_link", "The link is invalid or has expired."))
    }

    /// Returns the idempotency key, whose fingerprint covers the uploaded file as well as the request.
    fn key_of_file(
        &self,
        request: &RequestContext,
        owner: UserId,
        name: &FileName,
        inspected: &InspectedFile,
    ) -> Option<CommandKey> {
        let mut key = request.key_of(owner)?;
        let mut message = key.fingerprint.to_vec();
        for part in [inspected.arrived.sha256.as_str(), inspected.kind.mime(), name.as_str()] {
            message.extend_from_slice(part.as_bytes());
            message.push(0);
        }
        key.fingerprint = self.core.fingerprint(&message);
        Some(key)
    }

    fn store_command(
        &self,
        id: FileId,
        by: UserId,
        name: Personal<FileName>,
        inspected: &InspectedFile,
    ) -> FileCommand {
        FileCommand::Store {
            id,
            by,
            name,
            mime_type: inspected.kind.mime().to_owned(),
            size: inspected.size(),
            sha256: inspected.arrived.sha256.clone(),
            image: inspected.image,
            at: self.core.clock.now(),
        }
    }

    /// Runs a command about the file `id`; a repeated key returns the file of the first command.
    async fn run_file_command(
        &self,
        request: &RequestContext,
        owner: UserId,
        id: FileId,
        command: FileCommand,
        key: Option<CommandKey>,
    ) -> Result<(FileRow, Option<i64>), AppError> {
        let batch = self
            .core
            .batch(request, owner)
            .command::<File>(id, command)
            .with_key(key, json!({"file_id": id}));
        let outcome = self.core.executor.run(batch).await?;
        let id = match &outcome.replayed {
            Some(stored) => FileId::new(stored_id(stored, "file_id")?),
            None => id,
        };
        self.core.catch_up(registry::FILE_MODELS, outcome.position).await;
        let row = query::owned(&self.core.pool, owner.uuid(), &[id.uuid()]).await?.pop();
        match row {
            Some(row) => Ok((row, outcome.position)),
            None => Err(self.core.unseen(AppError::not_found(), outcome.position)),
        }
    }
}
