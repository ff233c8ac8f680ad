//! The figures of one run, as a table and as JSON.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

/// Goal of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    /// Measured figure.
    value: f64,
    unit: &'static str,
    goal: String,
    met: bool,
    /// Figures it is computed from.
    raw: Value,
    #[serde(skip)]
    detail: String,
}

/// Everything measured in a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Adds a figure; `detail` explains it in a few words, `raw` has its source values for the JSON file.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        (value, unit): (f64, &'static str),
        goal: Goal,
        detail: String,
        raw: Value,
    ) {
        let (met, words) = match goal {
            Goal::AtLeast(least) => (value >= least, format!(">= {least:.2}")),
            Goal::AtMost(most) => (value <= most, format!("<= {most:.2}")),
        };
        let goal = format!("{words} {unit}").trim_end().to_owned();
        self.lines.push(Line { name, value, unit, goal, met, raw, detail });
    }

    /// Prints the table and writes the JSON file.
    pub(crate) fn finish(&self, machine: &Value, file: &Path) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{:<34} {:>12}  {:<14} {:<7} from", "figure", "measured", "goal", "")?;
        for line in &self.lines {
            let value = format!("{:.2} {}", line.value, line.unit);
            let met = if line.met { "met" } else { "MISSED" };
            writeln!(
                out,
                "{:<34} {:>12}  {:<14} {met:<7} {}",
                line.name,
                value.trim_end(),
                line.goal,
                line.detail
            )?;
        }
        let document = json!({"machine": machine, "figures": self.lines});
        std::fs::write(file, format!("{document:#}\n"))?;
        writeln!(out, "\nwritten to {}", file.display())?;
        Ok(())
    }
}
