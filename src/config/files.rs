//! Uploaded files: where bytes are stored, and the limits per user.

use std::fmt;
use std::path::{Path, PathBuf};

use axum::http::Uri;

use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;

/// The file store and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// `FILES_URL`: location of the store.
    pub location: FileStoreLocation,
    /// `MAX_FILE_BYTES`: largest file.
    pub max_file_bytes: u64,
    /// `MAX_FILES_PER_USER`: most files of one user.
    pub max_files: u64,
    /// `MAX_FILE_BYTES_PER_USER`: most bytes of all files of one user.
    pub max_bytes: u64,
    /// `PUBLIC_URL`: base of links sent to clients; `None` for the `Host` of the request.
    pub public_url: Option<String>,
}

/// Location of the file store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileStoreLocation {
    /// A folder that all processes share.
    Folder {
        /// Path of the folder.
        path: PathBuf,
        /// Whether `FILES_URL` names the folder; otherwise it is created with the first file.
        is_configured: bool,
    },
    /// A bucket of an S3-compatible service.
    S3(S3Config),
}

/// An S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Prefix of all object keys.
    pub prefix: Option<String>,
    /// `AWS_REGION`: region of the bucket.
    pub region: String,
    /// `AWS_ENDPOINT_URL`: address of a service other than Amazon's.
    pub endpoint: Option<String>,
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; `None` for the machine's own credentials.
    pub credentials: Option<(Secret, Secret)>,
    /// `AWS_SESSION_TOKEN`, for temporary credentials.
    pub session_token: Option<Secret>,
}

impl fmt::Display for FileStoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, .. } => write!(f, "file://{}", path.display()),
            Self::S3(S3Config { bucket, prefix, .. }) => {
                write!(f, "s3://{bucket}/{}", prefix.as_deref().unwrap_or_default())
            }
        }
    }
}

impl FilesConfig {
    /// Reads the settings. Without `FILES_URL`, files are stored in `data_dir`.
    pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Result<Self, ConfigError> {
        const EXPECTED: &str = "file:///FOLDER with an absolute path, or s3://BUCKET or s3://BUCKET/PREFIX";
        let location =
            reader.optional("FILES_URL", EXPECTED, FileStoreLocation::to_string, parse_location)?;
        let any = |text: &str| Some(text.to_owned());
        let region = reader.parsed("AWS_REGION", "us-east-1".to_owned(), "a region", String::clone, any)?;
        let endpoint = reader.optional(
            "AWS_ENDPOINT_URL",
            "an address such as https://s3.example.org",
            String::clone,
            parse_base,
        )?;
        let id = reader.secret("AWS_ACCESS_KEY_ID");
        let secret = reader.secret("AWS_SECRET_ACCESS_KEY");
        let session_token = reader.secret("AWS_SESSION_TOKEN");
        let location = match location {
            None => FileStoreLocation::Folder { path: data_dir.join("files"), is_configured: false },
            Some(FileStoreLocation::S3(bucket)) => {
                let credentials = match (id, secret) {
                    (Some(id), Some(secret)) => Some((id, secret)),
                    (None, None) => None,
                    (given, _) => {
                        let (name, expected) = match given {
                            Some(_) => ("AWS_SECRET_ACCESS_KEY", "the secret of that key"),
                            None => ("AWS_ACCESS_KEY_ID", "the id of that secret's key"),
                        };
                        return Err(ConfigError::Missing { name, when: "beside its other half", expected });
                    }
                };
                FileStoreLocation::S3(S3Config { region, endpoint, credentials, session_token, ..bucket })
            }
            Some(folder) => folder,
        };
        let max_file_bytes = reader.number("MAX_FILE_BYTES", 20 * 1024 * 1024, 1024..=100 * 1024 * 1024)?;
        let max_files = reader.number("MAX_FILES_PER_USER", 500, 1..=1_000_000)?;
        let max_bytes =
            reader.number("MAX_FILE_BYTES_PER_USER", 200 * 1024 * 1024, 1024..=1024 * 1024 * 1024 * 1024)?;
        if max_file_bytes > max_bytes {
            return Err(ConfigError::Order {
                name: "MAX_FILE_BYTES",
                value: max_file_bytes,
                relation: "at most",
                other: "MAX_FILE_BYTES_PER_USER",
                limit: max_bytes,
            });
        }
        let public_url = reader.optional(
            "PUBLIC_URL",
            "the address that clients reach this service at, such as https://chat.example.org",
            String::clone,
            parse_base,
        )?;
        Ok(Self { location, max_file_bytes, max_files, max_bytes, public_url })
    }
}

fn parse_location(text: &str) -> Option<FileStoreLocation> {
    if let Some(path) = text.strip_prefix("file://") {
        let path = PathBuf::from(path);
        return path.is_absolute().then_some(FileStoreLocation::Folder { path, is_configured: true });
    }
    let (bucket, prefix) = match text.strip_prefix("s3://")?.split_once('/') {
        Some((bucket, prefix)) => (bucket, prefix.strip_suffix('/').unwrap_or(prefix)),
        None => (text.strip_prefix("s3://")?, ""),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_bucket = !bucket.is_empty() && bucket.chars().all(allowed);
    let is_prefix = prefix.is_empty()
        || prefix
            .split('/')
            .all(|part| !part.is_empty() && part.chars().all(allowed) && !part.starts_with('.'));
    (is_bucket && is_prefix).then(|| {
        FileStoreLocation::S3(S3Config {
            bucket: bucket.to_owned(),
            prefix: (!prefix.is_empty()).then(|| prefix.to_owned()),
            region: String::new(),
            endpoint: None,
            credentials: None,
            session_token: None,
        })
    })
}

/// Parses a base URL: no query or fragment, and no trailing slash in the result.
fn parse_base(text: &str) -> Option<String> {
    let base = text.trim_end_matches('/');
    let uri: Uri = base.parse().ok()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (is_web && plain && !base.contains(['?', '#'])).then(|| base.to_owned())
}

#[cfg(test)]
mod tests;
