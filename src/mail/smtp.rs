//! Sends mails to the SMTP server.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use uuid::Uuid;

use super::templates::MailBody;
use crate::config::{MailConfig, MailTls};

/// Timeout of each step of the SMTP dialogue.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout of sending one mail: less than the lease of a mail.
const SEND_TIMEOUT: Duration = Duration::from_secs(40);

/// First line of a certificate in PEM format.
const PEM_HEADER: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why a mail was not sent. Does not contain the server's text, which may repeat addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The server rejects the mail permanently.
    #[error("the mail server rejected the mail ({0})")]
    Rejected(u16),
    /// Mail cannot be sent to this address.
    #[error("the address cannot receive mail")]
    InvalidAddress,
    /// The server rejects the mail temporarily.
    #[error("the mail server deferred the mail ({0})")]
    Deferred(u16),
    /// The TLS handshake failed.
    #[error("TLS with the mail server failed")]
    Tls,
    /// The server lacks a required capability: transient, because the mail can be sent when the server offers it.
    #[error(
        "the mail server lacks a required capability (STARTTLS, an authentication method or an extension)"
    )]
    MissingCapability,
    /// The server does not respond in time, or not with SMTP.
    #[error("the mail server does not respond")]
    Unreachable,
}

impl SendError {
    /// Returns whether another attempt can succeed.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Rejected(_) | Self::InvalidAddress => false,
            Self::Deferred(_) | Self::Tls | Self::MissingCapability | Self::Unreachable => true,
        }
    }
}

impl From<SmtpError> for SendError {
    fn from(error: SmtpError) -> Self {
        let code = error.status().map_or(0, u16::from);
        if error.is_permanent() {
            // Rejected credentials: the mail can be sent when the operator has corrected them.
            if matches!(code, 530 | 534 | 535 | 538) { Self::Deferred(code) } else { Self::Rejected(code) }
        } else if error.is_transient() {
            Self::Deferred(code)
        } else if error.is_tls() {
            Self::Tls
        } else if error.is_client() {
            Self::MissingCapability
        } else {
            Self::Unreachable
        }
    }
}

/// Sends mails through one SMTP server. Cheap to clone.
#[derive(Clone)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    address: String,
}

impl std::fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpMailer").field("server", &self.address).finish_non_exhaustive()
    }
}

impl SmtpMailer {
    /// Sets up the configured server, without connecting to it.
    ///
    /// # Errors
    /// One plain sentence, if a file or the server's name is unusable.
    pub fn open(config: &MailConfig) -> anyhow::Result<Self> {
        let tls = || -> anyhow::Result<TlsParameters> {
            let mut parameters = TlsParameters::builder(config.host.clone());
            if let Some(path) = &config.ca_file {
                let pem = std::fs::read(path)
                    .with_context(|| format!("The file {} (SMTP_CA_FILE) cannot be read", path.display()))?;
                let none = || format!("The file {} (SMTP_CA_FILE) holds no certificate", path.display());
                anyhow::ensure!(pem.windows(PEM_HEADER.len()).any(|part| part == PEM_HEADER), none());
                let roots = Certificate::from_pem(&pem).map_err(|_| anyhow::anyhow!(none()))?;
                parameters = parameters.add_root_certificate(roots);
            }
            parameters
                .build_rustls()
                .map_err(|_| anyhow::anyhow!("its name or the certificates are unusable"))
                .context("TLS to the mail server (SMTP_URL) cannot be set up")
        };
        let tls = match config.tls {
            MailTls::Implicit => Tls::Wrapper(tls()?),
            MailTls::StartTls => Tls::Required(tls()?),
            MailTls::Off => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.clone())
            .port(config.port)
            .tls(tls)
            .hello_name(ClientId::Domain(config.from.email.domain().to_owned()))
            .timeout(Some(STEP_TIMEOUT));
        if let Some((user, password)) = &config.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let address = format!("{}:{}", config.host, config.port);
        Ok(Self { transport: builder.build(), from: config.from.clone(), address })
    }

    /// Returns the server's host and port.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.address
    }

    /// Sends a mail to an address; returns when the server has accepted it.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, mail: Uuid, to: &str, body: MailBody, now: SystemTime) -> Result<(), SendError> {
        let message = self.message(mail, to, body, now)?;
        match tokio::time::timeout(SEND_TIMEOUT, self.transport.send(message)).await {
            Ok(sent) => Ok(sent.map(drop)?),
            Err(_) => Err(SendError::Unreachable),
        }
    }

    fn message(&self, mail: Uuid, to: &str, body: MailBody, now: SystemTime) -> Result<Message, SendError> {
        let to: Address = to.parse().map_err(|_| SendError::InvalidAddress)?;
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .date(now)
            // The same for every attempt, so that mail programs recognise a duplicate.
            .message_id(Some(format!("<{mail}@{}>", self.from.email.domain())))
            // Keeps auto-responders silent.
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .subject(body.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(body.text)
            .map_err(|_| SendError::InvalidAddress)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Secret;
    use crate::mail::templates;

    #[test]
    fn message_has_expected_headers_and_no_injected_ones() {
        let config = MailConfig {
            host: "localhost".to_owned(),
            port: 25,
            tls: MailTls::Off,
            credentials: None,
            ca_file: None,
            from: "Chat <chat@example.org>".parse().unwrap(),
        };
        let mailer = SmtpMailer::open(&config).unwrap();
        let write = |to: &str| {
            mailer
                .message(Uuid::nil(), to, templates::password_changed(), SystemTime::UNIX_EPOCH)
                .map(|message| String::from_utf8(message.formatted()).unwrap())
        };
        let text = write("ada@mail.example").unwrap();
        for line in [
            "From: Chat <chat@example.org>\r\n",
            "To: ada@mail.example\r\n",
            "Subject: Your password was changed\r\n",
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n",
            "Message-ID: <00000000-0000-0000-0000-000000000000@example.org>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        for to in ["ada@mail.example\r\nBcc: eve@mail.example", "ada@mail.example, eve@mail.example", "ada"] {
            assert_eq!(write(to), Err(SendError::InvalidAddress), "{to}");
        }
    }

    /// A missing capability is not the mail's fault.
    #[tokio::test]
    async fn missing_capability_is_transient() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serve = async || {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 tests\r\n").await.unwrap();
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer: &[u8] = if line.starts_with("EHLO") { b"250 tests\r\n" } else { b"221 bye\r\n" };
                // The client may have disconnected.
                let _ = lines.get_mut().get_mut().write_all(answer).await;
            }
        };
        let credentials = Some(("chat".to_owned(), Secret::new("right")));
        for (tls, credentials) in [(MailTls::StartTls, None), (MailTls::Off, credentials)] {
            let config = MailConfig {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
                tls,
                credentials,
                ca_file: None,
                from: "chat@example.org".parse().unwrap(),
            };
            let mailer = SmtpMailer::open(&config).unwrap();
            let body = templates::password_changed();
            let send = mailer.send(Uuid::nil(), "ada@mail.example", body, SystemTime::UNIX_EPOCH);
            let ((), sent) = tokio::join!(serve(), send);
            assert_eq!(sent, Err(SendError::MissingCapability), "{tls:?}");
            assert!(SendError::MissingCapability.is_transient());
        }
    }

    #[test]
    fn unusable_ca_file_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let config = MailConfig {
            host: "mail.example.org".to_owned(),
            port: 465,
            tls: MailTls::Implicit,
            credentials: None,
            ca_file: Some(path.clone()),
            from: "chat@example.org".parse().unwrap(),
        };
        let error = |config: &MailConfig| format!("{:#}", SmtpMailer::open(config).unwrap_err());
        assert!(error(&config).contains("SMTP_CA_FILE"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(error(&config).contains("SMTP_CA_FILE"));
    }
}
