use std::collections::BTreeMap;

use super::super::Config;
use super::*;

fn read(pairs: &[(&str, &str)]) -> Config {
    let map: BTreeMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::from_map(&map).unwrap()
}

#[test]
fn endpoint_enables_traces() {
    let rest = [("OTEL_SERVICE_NAME", "chat"), ("OTEL_TRACES_SAMPLER", "always_on")];
    assert_eq!(read(&rest).traces, None);
    let traces = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")]).traces.unwrap();
    assert_eq!(traces.endpoint, "http://127.0.0.1:4318/v1/traces");
    assert_eq!((traces.service.as_str(), traces.send_to_provider), ("verbatim", false));
    assert_eq!(traces.sampling, Sampling { parent_decides: true, millionths: ALL_TRACES });
    let below = endpoint("https://collector.example/otlp").unwrap();
    assert_eq!(below, "https://collector.example/otlp/v1/traces");
    for rejected in
        ["collector:4318", "grpc://a", "http://u:p@a", "http://u@a", "http://a?key=1", "http://a#x"]
    {
        assert_eq!(endpoint(rejected), None, "{rejected}");
    }
}

#[test]
fn samplers_are_those_of_the_specification() {
    let sampling = |sampler, argument| {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ];
        let Sampling { parent_decides, millionths } = read(&variables).traces.unwrap().sampling;
        (parent_decides, millionths)
    };
    assert_eq!(sampling("always_on", "0.5"), (false, ALL_TRACES));
    assert_eq!(sampling("always_off", "0.5"), (false, 0));
    assert_eq!(sampling("traceidratio", "0.25"), (false, 250_000));
    assert_eq!(sampling("parentbased_always_on", ""), (true, ALL_TRACES));
    assert_eq!(sampling("parentbased_always_off", ""), (true, 0));
    assert_eq!(sampling("parentbased_traceidratio", "0.000001"), (true, 1));
    assert_eq!(sampling("parentbased_traceidratio", ""), (true, ALL_TRACES));
    for rejected in ["1.1", "-0.1", "half", "NaN"] {
        assert_eq!(millionths(rejected), None, "{rejected}");
    }
}

#[test]
fn headers_are_secret_and_warned_about_without_tls() {
    let canary = "canary-of-the-collector";
    let given = format!("authorization=Bearer%20{canary}, x-tenant = a ");
    let config = read(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", &given),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,k=a%2Cb"),
    ]);
    assert!(!format!("{config:?} {:?}", config.effective()).contains(canary));
    assert!(config.notes.iter().any(|note| note.contains("without TLS")), "{:?}", config.notes);
    let traces = config.traces.unwrap();
    let names: Vec<&str> = traces.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["authorization", "x-tenant"]);
    assert_eq!(traces.resource[1], ("k".to_owned(), "a,b".to_owned()));
    for rejected in ["authorization", "a b=c", "=c", "a=%00", "a=%ff", ","] {
        assert!(headers(rejected).is_none(), "{rejected}");
    }
}
