//! Mail server settings. Without a server no mail is sent; everything that needs no mail works.

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
/// Gmail's mail server.
const GMAIL: (&str, u16) = ("smtp.gmail.com", 465);

/// A mail server and its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Protection of the connection.
    pub tls: MailTls,
    /// User name and password.
    pub credentials: Option<(String, Secret)>,
    /// `SMTP_CA_FILE`: additional root certificates.
    pub ca_file: Option<PathBuf>,
    /// `MAIL_FROM`: sender of all mails.
    pub from: Mailbox,
}

/// Protection of the connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte on.
    Implicit,
    /// STARTTLS before anything else; the connection fails without it.
    StartTls,
    /// No protection; only on this machine.
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
        // Ignore the placeholder of a sample file that was not filled in.
        let sample = password.as_ref().is_some_and(|password| {
            is_placeholder(password.expose()) || password.expose().to_ascii_lowercase().contains("your")
        });
        if sample {
            reader.note(
                "EMAIL__GMAIL_APP_PASSWORD still holds the placeholder of a sample file: no mail is sent."
                    .to_owned(),
            );
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
                // Gmail shows the password in groups of four letters; people copy the spaces too.
                let password = Secret::new(password.expose().replace(' ', ""));
                Ok(Some(Self {
                    host: GMAIL.0.to_owned(),
                    port: GMAIL.1,
                    tls: MailTls::Implicit,
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

/// Returns a server with the defaults of the other variables.
fn parse_server(text: &str) -> Option<MailConfig> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return None;
    }
    let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (tls, port) = match (url.scheme(), url.query()) {
        ("smtps", None) => (MailTls::Implicit, 465),
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
        from: Mailbox::from_str("unset@localhost.invalid").ok()?,
    })
}

#[cfg(test)]
mod tests;
