use super::*;

#[test]
fn server_is_parsed_from_its_url() {
    for (text, host, port, tls) in [
        ("smtps://mail.example.org", "mail.example.org", 465, MailTls::Implicit),
        ("smtps://mail.example.org:4650/", "mail.example.org", 4650, MailTls::Implicit),
        ("smtp://mail.example.org", "mail.example.org", 587, MailTls::StartTls),
        ("smtp://mail.example.org:25?tls=required", "mail.example.org", 25, MailTls::StartTls),
        ("smtp://localhost", "localhost", 25, MailTls::Off),
        ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, MailTls::Off),
        ("smtp://[::1]:2525", "::1", 2525, MailTls::Off),
        ("smtp://127.0.0.1:2525?tls=required", "127.0.0.1", 2525, MailTls::StartTls),
    ] {
        let server = parse_server(text).unwrap();
        assert_eq!((server.host.as_str(), server.port, server.tls), (host, port, tls), "{text}");
        assert_eq!(server.credentials, None);
    }
    let server = parse_server("smtps://chat%40example.org:p%40ss%3Aword@mail.example.org").unwrap();
    assert_eq!(server.credentials, Some(("chat@example.org".to_owned(), Secret::new("p@ss:word"))));
}

#[test]
fn invalid_and_unencrypted_servers_are_rejected() {
    for text in [
        "",
        "mail.example.org",
        "https://mail.example.org",
        "smtp://",
        "smtp://mail.example.org?tls=off",
        "smtp://mail.example.org?tls=opportunistic",
        "smtps://mail.example.org?tls=off",
        "smtps://user@mail.example.org",
        "smtps://:password@mail.example.org",
        "smtps://mail.example.org/path",
    ] {
        assert_eq!(parse_server(text), None, "{text}");
    }
}
