//! What the same work costs without us: pgbench, with the same statements, prepared, over the same number of
//! connections and one thread, as the load over HTTP is.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::CLIENTS;
use super::machine::Database;

/// One event per call through `append`, each client to a stream of its own, whose sequence it counts itself.
///
/// The values come in through variables: pgbench takes a colon before a word, as JSON and times have it, for one.
pub(crate) const APPEND: &str = "\\set before :seq
\\set seq :seq + 1
SELECT replayed, stored_fingerprint, stored_result, positions FROM append(NULL, NULL, NULL, NULL,
    ARRAY['conversation'], ARRAY[:run::text || :client_id::text], ARRAY[:before::bigint],
    ARRAY['conversation'], ARRAY[:run::text || :client_id::text], ARRAY[:seq::bigint],
    ARRAY[:event_type::text], ARRAY['1'], ARRAY[:payload::text], :metadata::text, NULL);
";

/// A statement with `$1`, `$2` … as a script with these variables in their place.
pub(crate) fn script(statement: &str, variables: &[&str]) -> String {
    let mut script = statement.to_owned();
    for (index, name) in variables.iter().enumerate() {
        script = script.replace(&format!("${}", index + 1), &format!(":{name}"));
    }
    format!("{script};\n")
}

/// Runs a script for about `time`; returns transactions per second.
pub(crate) async fn run(
    database: &Database,
    name: &str,
    script: &str,
    variables: &[(&str, &str)],
    time: Duration,
) -> anyhow::Result<f64> {
    let file = database.folder().join("script.sql");
    std::fs::write(&file, script)?;
    let mut command = database.program("pgbench");
    command
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=1"])
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--time={}", time.as_secs()))
        .arg("--file")
        .arg(&file);
    for (variable, value) in variables {
        command.arg("--define").arg(format!("{variable}={value}"));
    }
    let output = command.arg(name).output().await.context("pgbench cannot be run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let tps = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok())
        .filter(|tps| output.status.success() && *tps > 0.0);
    match tps {
        Some(tps) => Ok(tps),
        None => bail!("pgbench failed: {said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
