use super::*;

#[test]
fn base_url_is_https_or_loopback() {
    let good = [
        ("https://api.openai.com/v1", "https://api.openai.com/v1", "api.openai.com", false),
        (" https://example.test:8443/api/ ", "https://example.test:8443/api", "example.test:8443", false),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080", true),
        ("http://127.9.9.9/v1/", "http://127.9.9.9/v1", "127.9.9.9", true),
        ("http://[::1]:1/v1", "http://[::1]:1/v1", "[::1]:1", true),
        ("http://localhost:11434/v1", "http://localhost:11434/v1", "localhost:11434", true),
    ];
    for (text, url, host, plain) in good {
        let expected = BaseUrl { url: url.to_owned(), host: host.to_owned(), plain };
        assert_eq!(BaseUrl::parse(text, "X", false), Ok(expected), "{text}");
    }
    let insecure = Err(SettingsError::BaseUrlInsecure { variable: "X" });
    for text in
        ["http://api.openai.com/v1", "http://10.0.0.1", "http://localhost.example.test", "http://[::2]"]
    {
        assert_eq!(BaseUrl::parse(text, "X", false), insecure, "{text}");
        assert!(BaseUrl::parse(text, "X", true).unwrap().plain, "{text}");
    }
    let malformed = Err(SettingsError::BaseUrlMalformed { variable: "X" });
    for text in [
        "",
        "api.openai.com",
        "ftp://127.0.0.1",
        "https://u:p@a.test",
        "https://a.test?x",
        "https://a.test#x",
    ] {
        assert_eq!(BaseUrl::parse(text, "X", true), malformed, "{text}");
    }
}
