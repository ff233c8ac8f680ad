//! Allowed file types: name, declared type and content must agree on one.
//!
//! No type that a browser would execute is allowed, and text that looks like one (HTML, SVG and other XML, scripts) is
//! rejected under any name.

use std::fmt;

/// An allowed file type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `image/png`.
    Png,
    /// `image/jpeg`.
    Jpeg,
    /// `image/gif`.
    Gif,
    /// `image/webp`.
    Webp,
    /// `application/pdf`.
    Pdf,
    /// `text/plain`.
    Plain,
    /// `text/markdown`.
    Markdown,
    /// `text/csv`.
    Csv,
    /// `application/json`.
    Json,
}

/// Why a file is rejected. The messages repeat nothing of the file, so they may be sent to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// The declared type is not allowed.
    #[error("files of this type are not allowed")]
    Type,
    /// The file name has the extension of another type.
    #[error("files with this extension are not allowed")]
    Extension,
    /// Name and declared type contradict each other.
    #[error("the name and the declared type of the file contradict each other")]
    Disagree,
    /// Neither name nor declared type identifies the type.
    #[error("neither the name nor the declared type identifies the type of the file")]
    Unknown,
    /// The content is of another type.
    #[error("the content of the file does not match its type")]
    Content,
    /// A browser would take the text for HTML, an image or a script.
    #[error("text that is HTML, XML or a script is not allowed")]
    Active,
}

impl FileKind {
    /// All types.
    pub const ALL: [Self; 9] = [
        Self::Png,
        Self::Jpeg,
        Self::Gif,
        Self::Webp,
        Self::Pdf,
        Self::Plain,
        Self::Markdown,
        Self::Csv,
        Self::Json,
    ];

    /// Returns the media type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Pdf => "application/pdf",
            Self::Plain => "text/plain",
            Self::Markdown => "text/markdown",
            Self::Csv => "text/csv",
            Self::Json => "application/json",
        }
    }

    /// Returns the type with this media type, as stored in events.
    pub fn of_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mime() == mime)
    }

    /// Returns the file name extensions of this type.
    const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png"],
            Self::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Self::Gif => &["gif"],
            Self::Webp => &["webp"],
            Self::Pdf => &["pdf"],
            Self::Plain => &["txt", "text", "log"],
            Self::Markdown => &["md", "markdown"],
            Self::Csv => &["csv"],
            Self::Json => &["json"],
        }
    }

    /// Returns whether this is an image type.
    pub const fn is_image(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Gif | Self::Webp)
    }

    /// Returns whether this is a text type.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Plain | Self::Markdown | Self::Csv | Self::Json)
    }

    /// Returns the type that name and declared media type agree on. Without a specific media type (absent, or
    /// `application/octet-stream`) the name decides; for `text/plain` the name decides which kind of text.
    ///
    /// # Errors
    /// If either is not allowed, they contradict each other, or neither identifies a type.
    pub fn promised(name: &str, declared: Option<&str>) -> Result<Self, KindError> {
        let by_name = match extension(name) {
            Some(extension) => Some(Self::of_extension(&extension).ok_or(KindError::Extension)?),
            None => None,
        };
        let declared = declared.map(essence);
        let by_type = match declared.as_deref() {
            None | Some("" | "application/octet-stream") => None,
            Some("image/jpg") => Some(Self::Jpeg),
            Some("text/x-markdown") => Some(Self::Markdown),
            // Browsers declare this on machines with a spreadsheet program.
            Some("application/vnd.ms-excel") if by_name == Some(Self::Csv) => Some(Self::Csv),
            Some(mime) => Some(Self::of_mime(mime).ok_or(KindError::Type)?),
        };
        match (by_name, by_type) {
            (None, None) => Err(KindError::Unknown),
            (Some(kind), None) | (None, Some(kind)) => Ok(kind),
            (Some(name), Some(declared)) if name == declared => Ok(name),
            (Some(name), Some(Self::Plain)) if name.is_text() => Ok(name),
            (Some(_), Some(_)) => Err(KindError::Disagree),
        }
    }

    /// Checks that the content is of this type.
    ///
    /// # Errors
    /// If it is not, or if it is text that a browser would execute.
    pub fn check(self, bytes: &[u8]) -> Result<(), KindError> {
        let found = infer::get(bytes).and_then(|found| Self::of_mime(found.mime_type()));
        if !self.is_text() {
            return if found == Some(self) { Ok(()) } else { Err(KindError::Content) };
        }
        if found.is_some_and(|found| !found.is_text()) {
            return Err(KindError::Content);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KindError::Content)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // Old texts separate pages with form feeds.
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}')) {
            return Err(KindError::Content);
        }
        // Markdown may start with a harmless tag, as HTML does.
        if is_active(text) || (self != Self::Markdown && infer::text::is_html(text.as_bytes())) {
            return Err(KindError::Active);
        }
        if self == Self::Json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
            return Err(KindError::Content);
        }
        Ok(())
    }

    fn of_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.extensions().contains(&extension))
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mime())
    }
}

/// Returns a media type without its parameters, in lower case.
fn essence(declared: &str) -> String {
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns the part after the last dot of a name, in lower case; `None` without a dot, or if the part cannot be an
/// extension (`v1.2 of the plan`).
fn extension(name: &str) -> Option<String> {
    let (before, after) = name.rsplit_once('.')?;
    let is_mark = !before.is_empty() && !after.is_empty() && after.bytes().all(|b| b.is_ascii_alphanumeric());
    is_mark.then(|| after.to_ascii_lowercase())
}

/// Returns whether text starts like HTML, SVG or a script, or contains something that a browser executes at once.
fn is_active(text: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "<!doctype",
        "<html",
        "<head",
        "<body",
        "<script",
        "<style",
        "<iframe",
        "<svg",
        "<object",
        "<embed",
        "<link",
        "<meta",
        "<?xml",
        "<?php",
    ];
    let text = text.trim_start();
    let begins = |beginning: &&str| {
        text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    text.starts_with("#!") || BEGINNINGS.iter().any(begins)
}

#[cfg(test)]
mod tests;
