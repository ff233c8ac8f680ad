//! Ids of this protocol: a prefix for the kind, `_`, and the 32 hex digits of the UUID.

use uuid::Uuid;

/// Kind of id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// A thread: a conversation.
    Thread,
    /// A message, or another item without a kind of its own (widgets, images, structured inputs).
    Message,
    /// A call of a client tool.
    ToolCall,
    /// A workflow.
    Workflow,
    /// A task.
    Task,
    /// An attachment: a file.
    Attachment,
}

impl IdKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Thread, Self::Message, Self::ToolCall, Self::Workflow, Self::Task, Self::Attachment];

    /// Returns the prefix before the `_`.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Thread => "thr",
            Self::Message => "msg",
            Self::ToolCall => "tc",
            Self::Workflow => "wf",
            Self::Task => "tsk",
            Self::Attachment => "atc",
        }
    }

    /// Writes an id for clients.
    #[must_use]
    pub fn write(self, id: Uuid) -> String {
        format!("{}_{}", self.prefix(), id.simple())
    }

    /// Adds the pattern of such ids to a schema.
    pub fn describe(self, schema: &mut schemars::Schema) {
        let (prefix, digit) = (self.prefix(), "[0-9a-f]");
        let uuid = format!("{digit}{{8}}(-{digit}{{4}}){{3}}-{digit}{{12}}");
        schema.insert("pattern".to_owned(), format!("^({prefix}_{digit}{{32}}|{uuid})$").into());
    }

    /// Parses a client's id: as [`IdKind::write`] wrote it, or a hyphenated UUID. Returns `None` for anything else.
    #[must_use]
    pub fn read(self, text: &str) -> Option<Uuid> {
        if let Some(digits) = text.strip_prefix(self.prefix()).and_then(|rest| rest.strip_prefix('_')) {
            let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let is_ours = digits.len() == 32 && digits.bytes().all(is_digit);
            return is_ours.then(|| Uuid::try_parse(digits).ok()).flatten();
        }
        // The parser also accepts other forms (braces, no hyphens); only this one has 36 characters.
        (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_prefixed_ids_and_hyphenated_uuids_parse() {
        let id = Uuid::from_u128(0x0196_0000_0000_7000_8000_0000_0000_00af);
        let hex = "019600000000700080000000000000af";
        assert_eq!(IdKind::Thread.write(id), format!("thr_{hex}"));
        assert_eq!(IdKind::Thread.read(&id.to_string()), Some(id));
        assert_eq!(IdKind::Thread.read(&id.to_string().to_uppercase()), Some(id));
        let upper = format!("thr_{}", hex.to_uppercase());
        let short = format!("thr_{}", &hex[1..]);
        let long = format!("thr_{hex}0");
        let hyphens = format!("thr_{id}");
        let other = format!("msg_{hex}");
        let bare = format!("thr{hex}");
        let braces = format!("{{{id}}}");
        let urn = format!("urn:uuid:{id}");
        for text in [
            &upper,
            &short,
            &long,
            &hyphens,
            &other,
            &bare,
            &braces,
            &urn,
            hex,
            "",
            "thr_",
            "thr",
            "__fake_id__",
        ] {
            assert_eq!(IdKind::Thread.read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ids_parse_only_as_their_own_kind(id: u128) {
            let id = Uuid::from_u128(id);
            for kind in IdKind::ALL {
                for reader in IdKind::ALL {
                    prop_assert_eq!(reader.read(&kind.write(id)), (reader == kind).then_some(id));
                }
            }
        }

        #[test]
        fn arbitrary_text_does_not_break_id_parsing(text in "(thr_)?.{0,40}") {
            if let Some(id) = IdKind::Thread.read(&text) {
                prop_assert!(IdKind::Thread.write(id) == text || id.to_string() == text.to_lowercase());
            }
        }
    }
}
