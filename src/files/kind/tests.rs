use proptest::prelude::*;

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

#[test]
fn matching_name_and_type_give_a_kind() {
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
fn unlisted_or_contradicting_name_and_type_are_rejected() {
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
fn content_matches_its_own_kind_only() {
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
fn content_of_other_kinds_is_rejected() {
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
fn text_that_a_browser_would_execute_is_rejected() {
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
fn kinds_are_found_by_their_media_type_only() {
    for kind in FileKind::ALL {
        assert_eq!(FileKind::of_mime(kind.mime()), Some(kind));
        assert_eq!(FileKind::promised(&format!("x.{}", kind.extensions()[0]), Some(kind.mime())), Ok(kind));
        assert!(!(kind.is_image() && kind.is_text()));
    }
    for other in ["image/svg+xml", "text/html", "IMAGE/PNG", ""] {
        assert_eq!(FileKind::of_mime(other), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_pass_as_text_only_if_they_are_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for kind in FileKind::ALL.into_iter().filter(|kind| kind.is_text()) {
            if kind.check(&bytes).is_ok() {
                let text = std::str::from_utf8(&bytes).unwrap();
                prop_assert!(!text.contains('\0') && !text.trim_start().starts_with("<script"));
            }
        }
    }

    #[test]
    fn any_name_and_type_are_handled(name in any::<String>(), declared in any::<Option<String>>()) {
        let _ = FileKind::promised(&name, declared.as_deref());
    }
}
