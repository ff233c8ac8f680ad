//! The same work without the program: pgbench with the same prepared statements, the same number of connections and one
//! thread, like the load over HTTP.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::CLIENTS;
use super::machine::Database;

/// One event per call of `append`; each client writes its own stream and counts its sequence.
///
/// The values are variables, because pgbench would read colons in JSON and times as variable names.
pub(crate) const APPEND: &str = "\\set before :seq
\\set seq :seq + 1
SELECT replayed, stored_fingerprint, stored_result, positions FROM append(NULL, NULL, NULL, NULL,
    ARRAY['conversation'], ARRAY[:run::text || :client_id::text], ARRAY[:before::bigint],
    ARRAY['conversation'], ARRAY[:run::text || :client_id::text], ARRAY[:seq::bigint],
    ARRAY[:event_type::text], ARRAY['1'], ARRAY[:payload::text], :metadata::text, NULL);
";

/// Converts a statement with `$1`, `$2` … into a script with these variables.
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
    let output = command.arg(name).output().await.context("failed to run pgbench")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let tps = stdout
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse::<f64>().ok())
        .filter(|tps| output.status.success() && *tps > 0.0);
    match tps {
        Some(tps) => Ok(tps),
        None => bail!("pgbench failed: {stdout}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
