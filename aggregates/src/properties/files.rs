//! Random commands of files.

use proptest::prelude::*;
use uuid::Uuid;

use super::strategies::{at, message, personal, user};
use crate::file::{FileCommand, ImageSize};
use crate::ids::{ConversationId, FileId};
use crate::values::FileName;

/// Any command of a file.
pub(super) fn file_command() -> impl Strategy<Value = FileCommand> {
    use FileCommand as C;
    let id = || prop_oneof![9 => Just(7_u128), 1 => Just(8)].prop_map(|n| FileId::new(Uuid::from_u128(n)));
    let name = || personal("\\PC{1,20}".prop_filter_map("not a name", |text| FileName::of(&text).ok()));
    let talk =
        prop_oneof![4 => Just(3_u128), 1 => Just(4)].prop_map(|n| ConversationId::new(Uuid::from_u128(n)));
    let kind = || prop::sample::select(&["image/png", "text/plain"][..]).prop_map(str::to_owned);
    let size = || prop_oneof![4 => Just(9_u64), 1 => 1_u64..99];
    let sha256 = prop::sample::select(&["ab", "cd"][..]).prop_map(str::to_owned);
    let image = any::<Option<(u32, u32)>>()
        .prop_map(|measures| measures.map(|(width, height)| ImageSize { width, height }));
    prop_oneof![
        2 => (id(), user(), name(), kind(), size(), at())
            .prop_map(|(id, by, name, mime_type, size, at)| C::Announce { id, by, name, mime_type, size, at }),
        2 => (id(), user(), name(), kind(), size(), sha256, image, at()).prop_map(
            |(id, by, name, mime_type, size, sha256, image, at)| C::Store {
                id,
                by,
                name,
                mime_type,
                size,
                sha256,
                image,
                at,
            }
        ),
        4 => (user(), talk, message(), at()).prop_map(|(by, conversation_id, message_id, at)| C::Attach {
            by,
            conversation_id,
            message_id,
            at,
        }),
        1 => (user(), at()).prop_map(|(by, at)| C::Delete { by, at }),
    ]
}
