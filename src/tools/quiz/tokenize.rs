//! Splits text into words for comparison.

/// Returns the words of a text in lower case, without punctuation.
pub(super) fn tokenize(text: &str) -> Vec<String> {
    // "let's" is one word, "event-sourcing" is two.
    let text: String = text.chars().filter(|c| !matches!(c, '\'' | '’' | '`')).collect();
    text.to_lowercase()
        .replace('&', " and ")
        .split(|c: char| !c.is_alphanumeric() && !matches!(c, '+' | '#'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Joins the words of a topic's name, without a leading article.
pub(super) fn normalize<S: AsRef<str>>(words: &[S]) -> String {
    let words = match words {
        [article, rest @ ..] if !rest.is_empty() && matches!(article.as_ref(), "the" | "a" | "an") => rest,
        words => words,
    };
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ")
}
