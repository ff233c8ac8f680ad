//! Token counts and context windows of models.
//!
//! OpenAI models count with their own vocabulary: `o200k` from gpt-4o on, `cl100k` before. Other families have vocabularies
//! that are not built in; for those, `o200k` counts plus a quarter (`FACTOR_OTHERS`), because a smaller vocabulary needs more
//! tokens. A vocabulary is loaded once per process, when the first prompt needs it.

use std::time::Instant;

use tiktoken::CoreBpe;
use tiktoken::pricing;
use tokio::sync::OnceCell;

/// A model whose vocabulary yields the fewest tokens.
pub const FEWEST: &str = "gpt-4o";
/// Factor on the count for models without a built-in vocabulary, in percent.
const FACTOR_OTHERS: usize = 125;

/// A built-in vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vocabulary {
    O200k,
    Cl100k,
}

impl Vocabulary {
    const fn name(self) -> &'static str {
        match self {
            Self::O200k => "o200k_base",
            Self::Cl100k => "cl100k_base",
        }
    }

    /// Returns the vocabulary of a model, and the factor in percent.
    fn of(model: &str) -> (Self, usize) {
        match tiktoken::model_to_encoding(bare(model)) {
            // Both vocabularies share their words; they differ in special tokens, which no text contains.
            Some("o200k_base" | "o200k_harmony") => (Self::O200k, 100),
            Some("cl100k_base") => (Self::Cl100k, 100),
            _ => (Self::O200k, FACTOR_OTHERS),
        }
    }

    /// Loads the vocabulary on a blocking thread, the first time; that takes about ten milliseconds.
    async fn load(self) {
        static LOADED: [OnceCell<()>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
        let cell = match self {
            Self::O200k => &LOADED[0],
            Self::Cl100k => &LOADED[1],
        };
        cell.get_or_init(|| async {
            let started = Instant::now();
            // If this fails, the first count loads it.
            let loaded = tokio::task::spawn_blocking(move || tiktoken::get_encoding(self.name())).await;
            let elapsed_ms = started.elapsed().as_millis();
            tracing::debug!(
                vocabulary = self.name(),
                elapsed_ms,
                found = loaded.is_ok(),
                "vocabulary loaded"
            );
        })
        .await;
    }
}

/// Counts tokens for one model. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Counter {
    vocabulary: Vocabulary,
    factor: usize,
    words: Option<&'static CoreBpe>,
}

impl std::fmt::Debug for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Counter").field(&self.vocabulary).field(&self.factor).finish()
    }
}

impl Counter {
    /// Creates the counter for a model; loads its vocabulary on a blocking thread.
    pub async fn load(model: &str) -> Self {
        Vocabulary::of(model).0.load().await;
        Self::of(model)
    }

    /// Creates the counter; loads the vocabulary on the calling thread.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let (vocabulary, factor) = Vocabulary::of(model);
        Self { vocabulary, factor, words: tiktoken::get_encoding(vocabulary.name()) }
    }

    /// Returns the vocabulary's name.
    #[must_use]
    pub const fn vocabulary(&self) -> &'static str {
        self.vocabulary.name()
    }

    /// Returns the factor on the counts, in percent.
    #[must_use]
    pub const fn factor(&self) -> usize {
        self.factor
    }

    /// Returns the number of tokens of a text.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        // A token has at least one byte: without the vocabulary, that is an upper bound.
        let words = self.words.map_or(text.len(), |words| words.count(text));
        (words * self.factor).div_ceil(100)
    }

    /// Returns the beginning of a text with at most `most` tokens, cut at the end of a character.
    #[must_use]
    pub fn beginning<'a>(&self, text: &'a str, most: usize) -> &'a str {
        let mut words = most * 100 / self.factor;
        let Some(vocabulary) = self.words else { return &text[..text.floor_char_boundary(words)] };
        let all = vocabulary.encode(text);
        if all.len() <= words {
            return text;
        }
        loop {
            let end = vocabulary.decode(&all[..words]).len();
            let beginning = &text[..text.floor_char_boundary(end)];
            // A cut can split one token into several.
            if words == 0 || self.count(beginning) <= most {
                return beginning;
            }
            words -= 1;
        }
    }
}

/// Returns the context window of a model in tokens, if known.
pub(super) fn window(model: &str) -> Option<usize> {
    let known = pricing::resolve_model(bare(model))?;
    usize::try_from(known.model.context_window).ok()
}

/// Returns a model's name without the maker's prefix that some services add.
fn bare(model: &str) -> &str {
    model.rsplit('/').next().unwrap_or(model)
}

/// Returns the tokens of an image by OpenAI's rule for gpt-4o: scaled to at most 2,048 pixels each way, then to 768 on the
/// shorter side; 170 for each tile of 512 pixels, plus 85. An image of unknown size counts as the largest.
pub(super) fn image(pixels: Option<(u32, u32)>) -> usize {
    const TILE: u64 = 512;
    let (width, height) =
        pixels.map_or((2_048, 768), |(width, height)| (u64::from(width), u64::from(height)));
    let (long, short) = (width.max(height).max(1), width.min(height).max(1));
    let (long, short) = if long > 2_048 { (2_048, (short * 2_048).div_ceil(long)) } else { (long, short) };
    let (long, short) = if short > 768 { ((long * 768).div_ceil(short), 768) } else { (long, short) };
    let tiles = long.div_ceil(TILE) * short.div_ceil(TILE);
    usize::try_from(85 + 170 * tiles).unwrap_or(usize::MAX)
}

/// Returns the estimated tokens of a PDF: 1,500 for every 100 KiB begun.
pub(super) fn pdf(size: u64) -> usize {
    usize::try_from(size.div_ceil(100 * 1024).saturating_mul(1_500)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_model_family_has_a_vocabulary() {
        for (model, vocabulary, factor) in [
            ("gpt-4o-mini", "o200k_base", 100),
            ("openai/gpt-4o-2024-08-06", "o200k_base", 100),
            ("gpt-5.1", "o200k_base", 100),
            ("ft:gpt-4.1:shop::1", "o200k_base", 100),
            ("openai/gpt-oss-120b", "o200k_base", 100),
            ("o3-mini", "o200k_base", 100),
            ("gpt-4-turbo", "cl100k_base", 100),
            ("gpt-3.5-turbo-0125", "cl100k_base", 100),
            ("scripted-echo-1", "o200k_base", 125),
            ("meta-llama/llama-3.3-70b", "o200k_base", 125),
            ("gemini-2.5-flash", "o200k_base", 125),
            ("", "o200k_base", 125),
        ] {
            let counter = Counter::of(model);
            assert_eq!((counter.vocabulary(), counter.factor()), (vocabulary, factor), "{model}");
        }
    }

    #[test]
    fn counts_match_the_published_vocabularies() {
        // Counts of the reference implementation.
        for (text, o200k, cl100k) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            ("tiktoken is great!", 6, 6),
            ("antidisestablishmentarianism", 6, 6),
            ("お誕生日おめでとう", 8, 9),
        ] {
            assert_eq!(Counter::of("gpt-4o").count(text), o200k, "{text}");
            assert_eq!(Counter::of("gpt-4").count(text), cl100k, "{text}");
        }
        assert_eq!(Counter::of("other").count("hello world"), 3, "a quarter more, upwards");
    }

    #[test]
    fn known_models_have_context_windows() {
        assert_eq!(window("gpt-4o-mini"), Some(128_000));
        assert_eq!(window("openai/gpt-4o-2024-08-06"), Some(128_000));
        assert_eq!(window("gpt-4"), Some(8_192));
        assert_eq!(window("scripted-echo-1"), None);
    }

    #[test]
    fn images_count_by_tiles() {
        for (pixels, tokens) in [
            (Some((1, 1)), 255),
            (Some((512, 512)), 255),
            (Some((1_024, 1_024)), 765),
            (Some((2_048, 4_096)), 1_105),
            (Some((20_000, 20)), 765),
            (None, 1_445),
        ] {
            assert_eq!(image(pixels), tokens, "{pixels:?}");
        }
        assert_eq!((pdf(1), pdf(100 * 1024), pdf(100 * 1024 + 1)), (1_500, 1_500, 3_000));
    }

    proptest! {
        #[test]
        fn prefix_has_at_most_the_requested_tokens(
            text in "\\PC{0,200}|[a-c \n🦀é語]{0,200}", most in 0_usize..80, model in prop::sample::select(vec!["gpt-4o", "gpt-4", "other"]),
        ) {
            let counter = Counter::of(model);
            let beginning = counter.beginning(&text, most);
            prop_assert!(text.starts_with(beginning));
            prop_assert!(counter.count(beginning) <= most);
            if counter.count(&text) <= most {
                prop_assert_eq!(beginning, &text);
            }
        }
    }
}
