//! The tours: commands that a document shows, run one after the other in one shell.

use super::calls::Recorded;
use super::program::Program;
use super::read;

/// What separates the outputs of two blocks.
const CUT: &str = "=8<= end of block =8<=";

/// One step of a tour: commands, and what they print.
pub(super) struct Step {
    /// The chapter of the step.
    pub(super) folder: String,
    commands: String,
    expected: String,
}

/// Returns the steps between the tour's marks, at least `least`: each `sh` block with the `text` block after it.
pub(super) fn tour(document: &str, least: usize) -> Vec<Step> {
    let text = read(document);
    let (_, rest) = text.split_once("<!-- tour -->\n").expect("no tour");
    let (tour, _) = rest.split_once("<!-- end of tour -->").expect("the tour has no end");
    let mut steps: Vec<Step> = Vec::new();
    let mut folder = "";
    for (index, block) in tour.split("\n```").enumerate() {
        if index % 2 == 0 {
            folder = block.lines().filter_map(|line| line.strip_prefix("## ")).next_back().unwrap_or(folder);
            continue;
        }
        let (language, content) = block.split_once('\n').unwrap();
        match language {
            "sh" => steps.push(Step {
                folder: folder.to_owned(),
                commands: content.to_owned(),
                expected: String::new(),
            }),
            "text" => content.clone_into(&mut steps.last_mut().unwrap().expected),
            other => panic!("{document}: a block of {other} in the tour"),
        }
    }
    assert!(steps.iter().all(|step| !step.expected.is_empty()), "{document}: a step shows no output");
    assert!(steps.len() >= least, "{document}: the tour has {} steps only", steps.len());
    steps
}

/// Returns whether `text` matches `shown`, where `…` matches any text, including none.
fn is_as_shown(shown: &str, text: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Runs the commands of a document, at least `least` steps, and compares their output with what it shows. Returns what
/// the commands did.
pub(super) fn take_tour(program: &Program, document: &str, least: usize) -> Vec<Recorded> {
    let steps = tour(document, least);
    let script: String = steps
        .iter()
        .enumerate()
        .map(|(index, step)| format!("export STEP={index}\n{}\nprintf '%s' '{CUT}'\n", step.commands))
        .collect();
    let (output, done) = program.recorded(&script);
    let outputs: Vec<&str> = output.split(CUT).collect();
    assert_eq!(outputs.len(), steps.len() + 1);
    for (step, output) in steps.iter().zip(outputs) {
        assert!(
            is_as_shown(step.expected.trim_end(), output.trim_end()),
            "{document}:\n{}\nshows\n{}\nbut prints\n{output}",
            step.commands,
            step.expected
        );
    }
    done
}

#[test]
fn ellipsis_matches_any_text() {
    assert!(is_as_shown("a…b…c", "a12b34c"));
    assert!(is_as_shown("a…", "a"));
    assert!(is_as_shown("…c", "abc"));
    for (shown, text) in [("abc", "abcd"), ("a…c", "ab"), ("a…b…c", "ac"), ("…x…", "abc"), ("b…", "abc")]
    {
        assert!(!is_as_shown(shown, text), "{shown} {text}");
    }
}
