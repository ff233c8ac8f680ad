//! The dashboard and the alerts in docs/operations, checked against the metrics of a running program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};
use crate::nats::server::NatsServer;
use crate::sockets::client;
use crate::support::openai_server::{Act, KEY, OpenAiServer};

/// Labels of each metric, with the observed values.
type ObservedMetrics = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/operations").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Parses `/metrics`.
fn parse_metrics(text: &str) -> ObservedMetrics {
    let mut observed = ObservedMetrics::new();
    for line in text.lines().filter(|line| line.starts_with("verbatim_")) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let metric = observed.entry(name.to_owned()).or_default();
        // Label values contain no quotes or commas.
        for (label, value) in labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='))
        {
            metric.entry(label.to_owned()).or_default().insert(value.trim_matches('"').to_owned());
        }
    }
    observed
}

/// A metric in an expression, with its label matchers: name, comparison, value.
#[derive(Debug)]
struct Selector {
    metric: String,
    labels: Vec<(String, String, String)>,
}

/// Returns the metrics in an expression, and the labels it groups by.
fn parse_expression(expression: &str) -> (Vec<Selector>, BTreeSet<String>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("verbatim_") {
        rest = &rest[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let metric = rest[..end].to_owned();
        rest = &rest[end..];
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let labels = inside
            .split(',')
            .filter(|matcher| !matcher.trim().is_empty())
            .map(|matcher| {
                let (label, value) = matcher.trim().split_once('"').unwrap();
                let name = label.trim_end_matches(['=', '!', '~']);
                let comparison = &label[name.len()..];
                (name.to_owned(), comparison.to_owned(), value.trim_end_matches('"').to_owned())
            })
            .collect();
        found.push(Selector { metric, labels });
    }
    let mut grouped = BTreeSet::new();
    for list in expression.split("by (").skip(1) {
        let names = list.split(')').next().unwrap().split(',').map(str::trim);
        grouped.extend(names.map(str::to_owned));
    }
    (found, grouped)
}

/// Labels that Prometheus adds, and the label of histograms.
const STANDARD_LABELS: [&str; 3] = ["instance", "job", "le"];

/// Returns the errors of an expression, given the observed metrics.
fn errors_of(expression: &str, observed: &ObservedMetrics) -> Vec<String> {
    let (metrics, grouped) = parse_expression(expression);
    let mut errors = Vec::new();
    if metrics.is_empty() {
        errors.push(format!("no metric in {expression}"));
    }
    for Selector { metric, labels } in &metrics {
        let Some(known) = observed.get(metric) else {
            errors.push(format!("unknown metric {metric}"));
            continue;
        };
        for (label, comparison, value) in labels {
            if STANDARD_LABELS.contains(&label.as_str()) {
                continue;
            }
            match known.get(label) {
                None => errors.push(format!("{metric} has no label {label}")),
                Some(values) if comparison == "=" && !values.contains(value) => {
                    errors.push(format!("{metric} has no {label} {value}: {values:?}"));
                }
                Some(_) => {}
            }
        }
        for label in grouped.iter().filter(|label| !STANDARD_LABELS.contains(&label.as_str())) {
            if !known.contains_key(label) {
                errors.push(format!("{metric} has no label {label}"));
            }
        }
    }
    errors
}

/// Returns every expression of the dashboard with its panel title.
fn dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            expressions.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    expressions
}

/// Returns name, expression and runbook of every alert rule.
fn alerts() -> Vec<(String, String, String)> {
    let text = read("alerts.yaml");
    let field = |rule: &str, name: &str| {
        let line = rule.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {rule}")).trim().to_owned()
    };
    text.split("- alert:")
        .skip(1)
        .map(|rule| {
            let name = rule.lines().next().unwrap().trim().to_owned();
            assert!(
                ["page", "ticket"].iter().any(|word| rule.contains(&format!("severity: {word}"))),
                "{name}"
            );
            (name, field(rule, "expr:"), field(rule, "runbook:"))
        })
        .collect()
}

/// Runs a program that exercises most features; returns its metrics.
async fn metrics_of_running_program() -> String {
    let nats = NatsServer::start().await;
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("NATS_URL", nats.url());
    // The provider fails once and then succeeds; the mail server is unreachable.
    let provider =
        OpenAiServer::start([Act::error(500, "server_error"), Act::reply(&["Good", " morning"])]).await;
    for (name, value) in [
        ("OPENAI_API_KEY", KEY.to_owned()),
        ("OPENAI_BASE_URL", provider.base_url()),
        ("SMTP_URL", "smtp://127.0.0.1:1".to_owned()),
        ("MAIL_FROM", "chat@verbatim.example".to_owned()),
    ] {
        place.set(name, value);
    }
    place.set("METRICS_ADDR", "127.0.0.1:0".to_owned());
    place.set("REPLY_WAIT_SECONDS", "20".to_owned());
    let http = http();
    let (node, base, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let metrics = place
        .log_lines()
        .iter()
        .find_map(|line| Some(line.split_once("metrics: ")?.1.split('"').next().unwrap().to_owned()))
        .unwrap();
    let post = async |path: &str, token: &str, body: Value| {
        let call = http.post(format!("{base}{path}")).bearer_auth(token).body(body.to_string());
        let answer = call.header("content-type", "application/json").send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.unwrap()
    };
    let account = json!({"email": "ada@mail.example", "username": "ada", "password": "correct horse 7"});
    let signed_up: Value = serde_json::from_str(&post("/api/auth/register", "", account).await).unwrap();
    let token = signed_up["access_token"].as_str().unwrap();
    let wrong = json!({"email": "ada@mail.example", "password": "wrong horse 7"}).to_string();
    let call = http.post(format!("{base}/api/auth/login")).header("content-type", "application/json");
    assert_eq!(call.body(wrong).send().await.unwrap().status(), 401);
    post("/api/chat", token, json!({"message": "Good morning"})).await;
    post("/api/chat/stream", token, json!({"message": "Good morning"})).await;
    let bearer = format!("Bearer {token}");
    let address = base.strip_prefix("http://").unwrap();
    let socket = client::open(address, "", &[("authorization", &bearer)]).await.unwrap();
    // Wait for the metrics that are updated every few seconds.
    let mut text = String::new();
    let whole = within(STEP_TIMEOUT, async || {
        text = http.get(&metrics).send().await.unwrap().text().await.unwrap();
        [
            "verbatim_oldest_open_append_seconds",
            "verbatim_dead_letters",
            "verbatim_pending_replies_oldest_seconds",
        ]
        .iter()
        .all(|name| text.contains(name))
            && text.contains("verbatim_relay_position")
    });
    assert!(whole.await, "{text}");
    drop(socket);
    assert!(node.stop().await.success());
    place.remove().await;
    text
}

#[tokio::test]
async fn dashboard_and_alerts_use_existing_metrics() {
    let text = metrics_of_running_program().await;
    let observed = parse_metrics(&text);
    let (dashboard, alerts) = (dashboard(), alerts());
    assert!(dashboard.len() > 40 && alerts.len() > 15, "{} panels, {} rules", dashboard.len(), alerts.len());
    let mut faults = Vec::new();
    for (place, expression) in &dashboard {
        faults.extend(
            errors_of(expression, &observed).into_iter().map(|fault| format!("panel {place:?}: {fault}")),
        );
    }
    for (place, expression, _) in &alerts {
        faults.extend(
            errors_of(expression, &observed).into_iter().map(|fault| format!("alert {place}: {fault}")),
        );
    }
    assert!(faults.is_empty(), "{faults:#?}");
    // Every observed metric is documented.
    let documented = read("README.md");
    for name in observed.keys() {
        let bare =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(
            documented.contains(&format!("| `{bare}` |")) || documented.contains(&format!("| `{name}` |")),
            "{name} is not documented"
        );
    }
}

#[test]
fn alerts_link_to_runbook_sections() {
    let anchor = |heading: &str| {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    let mut names = BTreeSet::new();
    for (name, _, runbook) in alerts() {
        let (file, heading) = runbook.split_once('#').unwrap_or_else(|| panic!("{name}: {runbook}"));
        let text = read(file);
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
        assert!(anchors.any(|anchor| anchor == heading), "{name}: {runbook} does not exist");
        assert!(names.insert(name.clone()), "{name} is defined twice");
    }
}

#[test]
fn expression_with_unknown_metric_is_detected() {
    let observed = parse_metrics(
        "verbatim_a_total{reason=\"full\"} 1\nverbatim_b_bucket{route=\"/\",le=\"0.1\"} 2\nverbatim_c 0\n",
    );
    for good in [
        "sum(rate(verbatim_a_total{reason=\"full\"}[5m])) > 0",
        "histogram_quantile(0.9, sum by (le, route) (rate(verbatim_b_bucket{instance=~\"$instance\"}[5m])))",
        "max(verbatim_c) - max(verbatim_a_total{reason!=\"x\"})",
    ] {
        assert_eq!(errors_of(good, &observed), Vec::<String>::new(), "{good}");
    }
    for bad in [
        "up == 0",
        "verbatim_d > 0",
        "verbatim_a_total{cause=\"full\"}",
        "verbatim_a_total{reason=\"empty\"}",
        "sum by (reason) (verbatim_c)",
        "verbatim_b > 0",
    ] {
        assert_eq!(errors_of(bad, &observed).len(), 1, "{bad}");
    }
}
