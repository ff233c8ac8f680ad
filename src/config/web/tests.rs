use super::*;

#[test]
fn origins_are_what_a_browser_sends() {
    let list = |text| match parse_cors(text) {
        Some(Cors::Origins(origins)) => Some(origins),
        Some(Cors::Any) => Some(vec!["*".to_owned()]),
        None => None,
    };
    assert_eq!(list("*").unwrap(), ["*"]);
    assert_eq!(list("https://A.example , http://b:3000,").unwrap(), ["https://a.example", "http://b:3000"]);
    for rejected in
        ["a.example", "https://a.example/", "https://a.example/x", "*,https://a", "https://u@a", ","]
    {
        assert_eq!(list(rejected), None, "{rejected}");
    }
}

#[test]
fn hosts_are_addresses() {
    assert_eq!(parse_host("localhost"), Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    assert_eq!(parse_host("[::1]"), "::1".parse().ok());
    assert_eq!(parse_host("chat.example"), None);
}
