//! Which files are taken: a list of types, and that name, declared type and bytes agree.
//!
//! Nothing that a browser would run is on the list, and text that looks like it (HTML, SVG and other XML, scripts) is
//! refused whatever it is called.

use std::fmt;

/// A type of file that is taken.
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

/// Why a file is not taken. The messages may be answered: they repeat nothing of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// The declared type is not on the list.
    #[error("files of this type are not taken")]
    Type,
    /// The name ends as names of other types do.
    #[error("files whose name ends like this are not taken")]
    Extension,
    /// Name and declared type contradict each other.
    #[error("the name and the declared type of the file contradict each other")]
    Disagree,
    /// Neither says what it is.
    #[error("neither the name nor the declared type says what the file is")]
    Unknown,
    /// The bytes are not of the type that they should be.
    #[error("the content of the file is not of its type")]
    Content,
    /// Text that a browser would take for a page, a drawing or a script.
    #[error("text that is HTML, XML or a script is not taken")]
    Active,
}

impl FileKind {
    /// Every type.
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

    /// The media type.
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

    /// The type with this media type, as it stands in the log.
    pub fn of_mime(mime: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.mime() == mime)
    }

    /// How names of this type end.
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

    /// Whether it is an image.
    pub const fn is_image(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Gif | Self::Webp)
    }

    /// Whether it is text.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Plain | Self::Markdown | Self::Csv | Self::Json)
    }

    /// The type that a name and a declared media type promise. A type that says nothing (none, or
    /// `application/octet-stream`) leaves it to the name; `text/plain` leaves the kind of text to the name.
    ///
    /// # Errors
    /// Either is not on the list, they contradict each other, or neither says anything.
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
            // What browsers call it on machines with a spreadsheet program.
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

    /// Whether the bytes are of this type.
    ///
    /// # Errors
    /// They are not, or they are text that a browser would run.
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
        // A form feed parts pages, in old texts.
        if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{c}')) {
            return Err(KindError::Content);
        }
        // Markdown often begins with a harmless tag, as pages do as well.
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

/// A media type without its parameters, in lower case.
fn essence(declared: &str) -> String {
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What stands behind the last dot of a name, in lower case; none when the name has none, or when that cannot be the
/// mark of a type (`v1.2 of the plan`).
fn extension(name: &str) -> Option<String> {
    let (before, after) = name.rsplit_once('.')?;
    let is_mark = !before.is_empty() && !after.is_empty() && after.bytes().all(|b| b.is_ascii_alphanumeric());
    is_mark.then(|| after.to_ascii_lowercase())
}

/// Whether text begins as a page, a drawing or a script does, or asks a browser to run something right away.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn a_name_and_a_type_that_agree_promise_a_kind() {
        for (name, declared, kind) in [
            ("a.png", Some("image/png"), FileKind::Png),
            ("A.JPEG", Some("image/jpeg"), FileKind::Jpeg),
            ("a.jpg", Some("image/jpg"), FileKind::Jpeg),
            ("a.pdf", None, FileKind::Pdf),
            ("notes.md", Some("application/octet-stream"), FileKind::Markdown),
            ("notes.md", Some("text/plain; charset=utf-8"), FileKind::Markdown),
            ("notes.md", Some("text/x-markdown"), FileKind::Markdown),
            ("table.csv", Some("application/vnd.ms-excel"), FileKind::Csv),
            ("README", Some("Text/Plain"), FileKind::Plain),
            ("v1.2 of the plan", Some("application/json"), FileKind::Json),
            ("data.json", Some(""), FileKind::Json),
        ] {
            assert_eq!(FileKind::promised(name, declared), Ok(kind), "{name} {declared:?}");
        }
    }

    #[test]
    fn what_is_not_on_the_list_or_contradicts_itself_is_refused() {
        for (name, declared, error) in [
            ("a.png", Some("image/jpeg"), KindError::Disagree),
            ("a.txt", Some("image/png"), KindError::Disagree),
            ("a.txt", Some("text/markdown"), KindError::Disagree),
            ("a.png", Some("text/plain"), KindError::Disagree),
            ("a.html", Some("text/plain"), KindError::Extension),
            ("a.svg", Some("image/svg+xml"), KindError::Extension),
            ("a.png.exe", Some("image/png"), KindError::Extension),
            ("a.tar.gz", None, KindError::Extension),
            ("a", Some("image/svg+xml"), KindError::Type),
            ("a", Some("text/html"), KindError::Type),
            ("a.xls", Some("application/vnd.ms-excel"), KindError::Extension),
            ("a", Some("application/vnd.ms-excel"), KindError::Type),
            ("a", None, KindError::Unknown),
            ("a", Some("application/octet-stream"), KindError::Unknown),
        ] {
            assert_eq!(FileKind::promised(name, declared), Err(error), "{name} {declared:?}");
        }
    }

    #[test]
    fn bytes_are_of_their_kind() {
        let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
        let webp = b"RIFF\x24\0\0\0WEBPVP8 ";
        for (kind, bytes) in [
            (FileKind::Png, PNG),
            (FileKind::Jpeg, &jpeg[..]),
            (FileKind::Gif, b"GIF89a\x01\0\x01\0"),
            (FileKind::Webp, webp),
            (FileKind::Pdf, b"%PDF-1.7\n"),
            (FileKind::Plain, "BMW drives at sea. Grüße.\r\n\tMZ".as_bytes()),
            (FileKind::Plain, "\u{feff}with a mark".as_bytes()),
            (FileKind::Markdown, b"# Title\n\n<b>bold</b> and <script> in the middle"),
            (FileKind::Csv, b"a;b\n1;2\n"),
            (FileKind::Json, b" {\"a\": [1, 2.5e3, null]} "),
        ] {
            assert_eq!(kind.check(bytes), Ok(()), "{kind}");
            for other in FileKind::ALL.into_iter().filter(|other| *other != kind) {
                if !(kind.is_text() && other.is_text()) {
                    assert_eq!(other.check(bytes), Err(KindError::Content), "{kind} as {other}");
                }
            }
        }
    }

    #[test]
    fn bytes_of_other_kinds_are_refused_whatever_they_are_called() {
        let zip = b"PK\x03\x04\x14\0\0\0\x08\0";
        let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";
        let elf = b"\x7fELF\x02\x01\x01\0";
        let exe = b"MZ\x90\0\x03\0\0\0";
        for bytes in [&zip[..], gzip, elf, exe, b"\xff\xfet\0e\0x\0t\0", b"a\0b", b"bell \x07", b"\xc3\x28"] {
            for kind in FileKind::ALL {
                assert_eq!(kind.check(bytes), Err(KindError::Content), "{kind} {bytes:?}");
            }
        }
        assert_eq!(FileKind::Json.check(b"{\"a\": }"), Err(KindError::Content));
        assert_eq!(FileKind::Json.check(b"[".repeat(10_000).as_slice()), Err(KindError::Content));
    }

    #[test]
    fn text_that_a_browser_would_run_is_refused() {
        for text in [
            "<!DOCTYPE html><p>x",
            "  \n<html>",
            "\u{feff}<HTML lang=de>",
            "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "<?xml version='1.0'?><svg/>",
            "<script>alert(1)</script>",
            "<ScRiPt src=x>",
            "<iframe src=x>",
            "<?php echo 1;",
            "#!/bin/sh\nrm -rf /",
        ] {
            for kind in [FileKind::Plain, FileKind::Markdown, FileKind::Csv] {
                assert_eq!(kind.check(text.as_bytes()), Err(KindError::Active), "{text:?}");
            }
        }
    }

    #[test]
    fn markdown_may_begin_with_a_tag_and_plain_text_may_not() {
        for text in ["<p align=\"center\">A title</p>", "<!-- a remark --> and text"] {
            assert_eq!(FileKind::Markdown.check(text.as_bytes()), Ok(()), "{text:?}");
            assert_eq!(FileKind::Plain.check(text.as_bytes()), Err(KindError::Active), "{text:?}");
        }
    }

    #[test]
    fn every_kind_is_found_by_its_media_type_and_no_other_is() {
        for kind in FileKind::ALL {
            assert_eq!(FileKind::of_mime(kind.mime()), Some(kind));
            assert_eq!(
                FileKind::promised(&format!("x.{}", kind.extensions()[0]), Some(kind.mime())),
                Ok(kind)
            );
            assert!(!(kind.is_image() && kind.is_text()));
        }
        for other in ["image/svg+xml", "text/html", "IMAGE/PNG", ""] {
            assert_eq!(FileKind::of_mime(other), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bytes_at_random_are_taken_as_text_only_when_they_are_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for kind in FileKind::ALL.into_iter().filter(|kind| kind.is_text()) {
                if kind.check(&bytes).is_ok() {
                    let text = std::str::from_utf8(&bytes).unwrap();
                    prop_assert!(!text.contains('\0') && !text.trim_start().starts_with("<script"));
                }
            }
        }

        #[test]
        fn any_name_and_type_give_an_answer(name in any::<String>(), declared in any::<Option<String>>()) {
            let _ = FileKind::promised(&name, declared.as_deref());
        }
    }
}
