//! How mail is sent. Without a server there is none: everything works but what needs mail.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::auth::is_placeholder;
use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;

const EXPECTED: &str = "smtps://USER:PASSWORD@HOST for TLS from the start, or smtp://USER:PASSWORD@HOST for STARTTLS (to this \
                        machine also without: ?tls=off), user and password percent-encoded";
const EXPECTED_FROM: &str = "an address such as chat@example.org, or with a name: Chat <chat@example.org>";
/// Where Gmail takes mail.
const GMAIL: (&str, u16) = ("smtp.gmail.com", 465);

/// A mail server, and as whom it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
    /// `SMTP_CA_FILE`: roots of its certificate, besides the usual ones.
    pub ca_file: Option<PathBuf>,
    /// `MAIL_FROM`: whom mails come from.
    pub from: Mailbox,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte on.
    FromTheStart,
    /// TLS is asked for before anything else is said; without it nothing is.
    StartTls,
    /// Not at all: on this machine only.
    Off,
}

impl MailConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let url = reader.secret("SMTP_URL");
        let ca_file = reader.optional(
            "SMTP_CA_FILE",
            "a file",
            |path: &PathBuf| path.display().to_string(),
            |text| Some(PathBuf::from(text)),
        )?;
        let mailbox = |text: &str| Mailbox::from_str(text).ok();
        let from = reader.optional("MAIL_FROM", EXPECTED_FROM, Mailbox::to_string, mailbox)?;
        let gmail = reader.optional(
            "EMAIL__GMAIL_FROM_EMAIL",
            "the address of a Gmail account",
            Mailbox::to_string,
            mailbox,
        )?;
        let password = reader.secret("EMAIL__GMAIL_APP_PASSWORD");
        if let Some(url) = url {
            if gmail.is_some() || password.is_some() {
                reader.note("EMAIL__GMAIL_FROM_EMAIL and EMAIL__GMAIL_APP_PASSWORD have no effect, since SMTP_URL is set.".to_owned());
            }
            let server = parse_server(url.expose()).ok_or_else(|| ConfigError::InvalidSecret {
                name: "SMTP_URL",
                expected: EXPECTED.to_owned(),
            })?;
            let from = from.ok_or(ConfigError::Missing {
                name: "MAIL_FROM",
                when: "beside SMTP_URL",
                expected: EXPECTED_FROM,
            })?;
            return Ok(Some(Self { ca_file, from, ..server }));
        }
        // A sample file that was copied and not filled in is no account.
        let sample = password.as_ref().is_some_and(|password| {
            is_placeholder(password.expose()) || password.expose().to_ascii_lowercase().contains("your")
        });
        if sample {
            reader.note("EMAIL__GMAIL_APP_PASSWORD is still the sample's: no mail is sent.".to_owned());
            return Ok(None);
        }
        match (gmail, password) {
            (None, None) => {
                if from.is_some() {
                    reader.note(
                        "MAIL_FROM has no effect, since there is no mail server (SMTP_URL).".to_owned(),
                    );
                }
                Ok(None)
            }
            (Some(gmail), Some(password)) => {
                // It is shown in groups of four letters, and copied so.
                let password = Secret::new(password.expose().replace(' ', ""));
                Ok(Some(Self {
                    host: GMAIL.0.to_owned(),
                    port: GMAIL.1,
                    tls: MailTls::FromTheStart,
                    credentials: Some((gmail.email.to_string(), password)),
                    ca_file,
                    from: from.unwrap_or(gmail),
                }))
            }
            (Some(_), None) => Err(ConfigError::Missing {
                name: "EMAIL__GMAIL_APP_PASSWORD",
                when: "beside EMAIL__GMAIL_FROM_EMAIL",
                expected: "the app password of that account",
            }),
            (None, Some(_)) => Err(ConfigError::Missing {
                name: "EMAIL__GMAIL_FROM_EMAIL",
                when: "beside EMAIL__GMAIL_APP_PASSWORD",
                expected: "the address of that account",
            }),
        }
    }
}

/// A server without what other variables say.
fn parse_server(text: &str) -> Option<MailConfig> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return None;
    }
    let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (tls, port) = match (url.scheme(), url.query()) {
        ("smtps", None) => (MailTls::FromTheStart, 465),
        ("smtp", None) if near => (MailTls::Off, 25),
        ("smtp", None | Some("tls=required")) => (MailTls::StartTls, 587),
        ("smtp", Some("tls=off")) if near => (MailTls::Off, 25),
        _ => return None,
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, Some(password)) if !user.is_empty() => Some((decoded(user)?, Secret::new(decoded(password)?))),
        _ => return None,
    };
    Some(MailConfig {
        host,
        port: url.port().unwrap_or(port),
        tls,
        credentials,
        ca_file: None,
        from: Mailbox::from_str("nobody@localhost.invalid").ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_from_its_address() {
        for (text, host, port, tls) in [
            ("smtps://mail.example.org", "mail.example.org", 465, MailTls::FromTheStart),
            ("smtps://mail.example.org:4650/", "mail.example.org", 4650, MailTls::FromTheStart),
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
    fn what_is_no_server_and_what_would_send_mail_in_clear_is_refused() {
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
}
