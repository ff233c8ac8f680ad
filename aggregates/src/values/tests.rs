//! Every value: what is accepted, what is rejected and why, at the limits.

use proptest::prelude::*;

use super::*;

#[test]
fn everyday_addresses_are_accepted_as_typed() {
    for text in [
        "ada@example.org",
        "Ada.Lovelace+notes@Mail.Example.ORG",
        "o'brien_99@a-b.example",
        "josé@español.example",
        "用户@例子.公司",
        "x@123.example",
    ] {
        assert_eq!(EmailAddress::parse(text).map(EmailAddress::into_string).as_deref(), Ok(text));
    }
}

#[test]
fn malformed_addresses_are_rejected() {
    for text in [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "ada@@example.org",
        "a@b@example.org",
        ".ada@example.org",
        "ada.@example.org",
        "a..b@example.org",
        "ada@.example.org",
        "ada@example.org.",
        "ada@-example.org",
        "ada@example-.org",
        "ada@exa_mple.org",
        "ada@192.168.0.1",
        " ada@example.org",
        "ada@example.org ",
        "ada lovelace@example.org",
        "ada@exam\tple.org",
        "ada@example.org\n",
        "ada\0@example.org",
        "ada\u{a0}@example.org",
        "ada\u{200b}@example.org",
        "\"ada\"@example.org",
        "ada@[127.0.0.1]",
        "<ada@example.org>",
    ] {
        assert_eq!(EmailAddress::parse(text), Err(ValueError::EmailMalformed), "{text:?}");
    }
}

#[test]
fn address_broken_by_normalisation_is_rejected() {
    // Full-width at-sign and full stop: harmless as typed, an at-sign and a dot when normalised.
    for text in ["a\u{ff20}b@example.org", "a\u{ff0e}@example.org", "ada@example\u{ff0e}.org"] {
        assert_eq!(EmailAddress::parse(text), Err(ValueError::EmailMalformed), "{text:?}");
    }
}

#[test]
fn address_has_at_most_254_bytes() {
    let label = "d".repeat(61);
    let domain = format!("{label}.{label}.{label}");
    let address = |local: usize| format!("{}@{domain}.org", "a".repeat(local));
    let longest = EmailAddress::MAX_BYTES - address(0).len();
    assert!(longest <= 64);
    assert!(EmailAddress::parse(&address(longest)).is_ok());
    assert_eq!(
        EmailAddress::parse(&address(longest + 1)),
        Err(ValueError::EmailTooLong { limit: EmailAddress::MAX_BYTES })
    );
}

#[test]
fn address_parts_have_their_own_limits() {
    let local = |n: usize| format!("{}@example.org", "a".repeat(n));
    assert!(EmailAddress::parse(&local(64)).is_ok());
    assert_eq!(EmailAddress::parse(&local(65)), Err(ValueError::EmailMalformed));
    let label = |n: usize| format!("ada@{}.org", "d".repeat(n));
    assert!(EmailAddress::parse(&label(63)).is_ok());
    assert_eq!(EmailAddress::parse(&label(64)), Err(ValueError::EmailMalformed));
}

#[test]
fn address_too_long_after_normalisation_is_rejected() {
    // One character of three bytes that normalises to eight characters of two bytes.
    let text = format!("{}@example.org", "\u{fdfb}".repeat(20));
    assert!(text.len() <= EmailAddress::MAX_BYTES);
    assert_eq!(EmailAddress::parse(&text), Err(ValueError::EmailTooLong { limit: EmailAddress::MAX_BYTES }));
}

#[test]
fn equivalent_addresses_and_names_normalise_alike() {
    let address = |text: &str| EmailAddress::parse(text).unwrap().normalised();
    assert_eq!(address("ADA@Example.Org"), "ada@example.org");
    assert_eq!(address("ａｄａ@example.org"), "ada@example.org");
    let name = |text: &str| Username::parse(text).unwrap().normalised();
    assert_eq!(name("Ada_99"), "ada_99");
    assert_eq!(name("jose\u{301}"), name("JOSÉ"));
    assert_eq!(name("ΑΣΑΣ"), "ασασ");
}

#[test]
fn user_names_of_any_script_are_accepted_as_typed() {
    for text in ["ada", "Ada.Lovelace-1815_", "żółw", "数学者", "a".repeat(32).as_str()] {
        assert_eq!(Username::parse(text).map(Username::into_string).as_deref(), Ok(text));
    }
}

#[test]
fn user_names_have_3_to_32_characters() {
    let rejected = Err(ValueError::UsernameLength { min: 3, max: 32 });
    for text in ["", "ab", "żó", "a".repeat(33).as_str()] {
        assert_eq!(Username::parse(text), rejected, "{text:?}");
    }
    // Fits as typed, but not when normalised: each character becomes two.
    assert_eq!(Username::parse(&"\u{fb01}".repeat(17)), rejected);
}

#[test]
fn user_names_reject_other_characters() {
    for text in
        ["ada@home", "ada lovelace", "ada\0", "ada\u{200d}", "ada/..", "ada\u{ff20}home", "ada!", "ada\n"]
    {
        assert_eq!(Username::parse(text), Err(ValueError::UsernameCharacters), "{text:?}");
    }
}

#[test]
fn message_has_1_to_32000_characters() {
    assert!(MessageText::parse("x").is_ok());
    assert!(MessageText::parse(&"é".repeat(32_000)).is_ok());
    let rejected = Err(ValueError::MessageTooLong { limit: 32_000 });
    assert_eq!(MessageText::parse(&"é".repeat(32_001)), rejected);
    assert_eq!(MessageText::parse(""), Err(ValueError::MessageEmpty));
}

#[test]
fn message_keeps_white_space_but_needs_other_text() {
    assert_eq!(MessageText::parse("  hi \n\t").unwrap().as_str(), "  hi \n\t");
    assert_eq!(MessageText::parse(" \n\t\u{a0}\u{3000}"), Err(ValueError::MessageEmpty));
}

#[test]
fn text_with_nul_is_rejected() {
    assert_eq!(MessageText::parse("a\0b"), Err(ValueError::MessageNul));
    assert_eq!(Title::parse("a\0b"), Err(ValueError::TitleControl));
    assert_eq!(ReplyText::parse("a\0b"), Err(ValueError::ReplyNul));
}

#[test]
fn title_has_1_to_200_characters_without_control_characters() {
    assert!(Title::parse("Plans for the garden").is_ok());
    assert!(Title::parse(&"é".repeat(200)).is_ok());
    assert_eq!(Title::parse(&"é".repeat(201)), Err(ValueError::TitleTooLong { limit: 200 }));
    assert_eq!(Title::parse(""), Err(ValueError::TitleEmpty));
    for text in ["a\nb", "a\tb", "a\u{7f}b", "a\u{85}b"] {
        assert_eq!(Title::parse(text), Err(ValueError::TitleControl));
    }
}

#[test]
fn reply_has_at_most_65536_bytes_and_may_be_empty() {
    assert!(ReplyText::parse("").is_ok());
    assert!(ReplyText::parse(&"é".repeat(32_768)).is_ok());
    assert_eq!(ReplyText::parse(&"a".repeat(65_537)), Err(ValueError::ReplyTooLong { limit: 65_536 }));
}

#[test]
fn stored_value_is_decoded_without_validation() {
    let stored: Username = serde_json::from_str("\"a name of older rules\"").unwrap();
    assert_eq!(serde_json::to_string(&stored).unwrap(), "\"a name of older rules\"");
}

#[test]
fn debug_formatting_shows_no_content() {
    assert_eq!(format!("{:?}", EmailAddress::parse("ada@example.org").unwrap()), "EmailAddress(..)");
    assert_eq!(format!("{:?}", MessageText::parse("secret").unwrap()), "MessageText(..)");
}

#[test]
fn file_name_is_cleaned_for_display_and_saving() {
    for (sent, kept) in [
        ("tide table.png", "tide table.png"),
        ("../x", "x"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\ada\\notes.txt", "notes.txt"),
        ("..%2fx", "%2fx"),
        (".bashrc", "bashrc"),
        ("a\0b.txt", "ab.txt"),
        ("a\r\nSet-Cookie: x.txt", "aSet-Cookie: x.txt"),
        ("photo\u{202e}gnp.exe", "photognp.exe"),
        ("  . notes.txt  ", "notes.txt"),
        ("Grüße \"1\".pdf", "Grüße \"1\".pdf"),
    ] {
        assert_eq!(FileName::of(sent).map(FileName::into_string).as_deref(), Ok(kept), "{sent:?}");
    }
}

#[test]
fn empty_or_too_long_file_name_is_rejected() {
    for sent in ["", " ", "..", "../..", "x/", "\0", "\u{200b}\u{202e}", "..."] {
        assert_eq!(FileName::of(sent), Err(ValueError::FileNameEmpty), "{sent:?}");
    }
    let limit = FileName::MAX_CHARS;
    assert!(FileName::of(&"ä".repeat(limit)).is_ok());
    assert_eq!(FileName::of(&"ä".repeat(limit + 1)), Err(ValueError::FileNameTooLong { limit }));
    assert_eq!(FileName::of(&"x".repeat(4096)), Err(ValueError::FileNameTooLong { limit }));
}

proptest! {
    #[test]
    fn parsing_any_text_neither_panics_nor_changes_it(text in any::<String>()) {
        for accepted in [
            EmailAddress::parse(&text).map(EmailAddress::into_string),
            Username::parse(&text).map(Username::into_string),
            MessageText::parse(&text).map(MessageText::into_string),
            Title::parse(&text).map(Title::into_string),
            ReplyText::parse(&text).map(ReplyText::into_string),
        ].into_iter().flatten() {
            prop_assert_eq!(&accepted, &text);
        }
    }

    #[test]
    fn normalised_value_is_valid_and_stable(local in "\\PC{1,8}", name in "\\w{3,12}") {
        if let Ok(address) = EmailAddress::parse(&format!("{local}@example.org")) {
            let once = address.normalised();
            let again = EmailAddress::parse(&once);
            prop_assert_eq!(again.map(|address| address.normalised()), Ok(once));
        }
        if let Ok(name) = Username::parse(&name) {
            let once = name.normalised();
            let again = Username::parse(&once);
            prop_assert_eq!(again.map(|name| name.normalised()), Ok(once));
        }
    }

    #[test]
    fn cleaned_file_name_is_stable(sent in any::<String>()) {
        if let Ok(name) = FileName::of(&sent) {
            let name = name.into_string();
            prop_assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']));
            prop_assert!(!name.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(FileName::of(&name).map(FileName::into_string), Ok(name));
        }
    }
}
