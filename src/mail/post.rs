//! The mail server: a message is given to it, or is not.

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

use super::letters::Letter;
use crate::config::{MailConfig, MailTls};

/// How long each step of the conversation with the server may take, and all of it. Less than a mail is taken for.
const STEP: Duration = Duration::from_secs(15);
const WHOLE: Duration = Duration::from_secs(40);

/// How a certificate in a file begins.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Why a mail was not sent. Says nothing that the server said: it likes to repeat addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// It will not go, however often it is tried.
    #[error("the mail server refuses it ({0})")]
    Refused(u16),
    /// The address is none that mail can be sent to.
    #[error("mail cannot be sent to this address")]
    Address,
    /// The server does not take it now.
    #[error("the mail server puts it off ({0})")]
    PutOff(u16),
    /// TLS did not come about.
    #[error("the mail server's TLS cannot be used")]
    Tls,
    /// It does not offer what it would take, which is no fault of the mail's: when it does, the mail goes.
    #[error("the mail server lacks what is needed (STARTTLS, a way to sign in, an extension)")]
    Lacking,
    /// The server does not answer, or not in time, or not as a mail server does.
    #[error("the mail server does not answer")]
    Unreachable,
}

impl PostError {
    /// Whether it is worth trying again.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Refused(_) | Self::Address => false,
            Self::PutOff(_) | Self::Tls | Self::Lacking | Self::Unreachable => true,
        }
    }
}

impl From<SmtpError> for PostError {
    fn from(error: SmtpError) -> Self {
        let code = error.status().map_or(0, u16::from);
        if error.is_permanent() {
            // A wrong password says nothing about the mail: when it has been put right, the mail goes.
            if matches!(code, 530 | 534 | 535 | 538) { Self::PutOff(code) } else { Self::Refused(code) }
        } else if error.is_transient() {
            Self::PutOff(code)
        } else if error.is_tls() {
            Self::Tls
        } else if error.is_client() {
            Self::Lacking
        } else {
            Self::Unreachable
        }
    }
}

/// A mail server. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    shown: String,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("server", &self.shown).finish_non_exhaustive()
    }
}

impl Post {
    /// The configured server. It is not asked whether it is there: mail can wait.
    ///
    /// # Errors
    /// One plain sentence, when a file or the server's name cannot be used.
    pub fn open(config: &MailConfig) -> anyhow::Result<Self> {
        let tls = || -> anyhow::Result<TlsParameters> {
            let mut parameters = TlsParameters::builder(config.host.clone());
            if let Some(path) = &config.ca_file {
                let pem = std::fs::read(path)
                    .with_context(|| format!("The file {} (SMTP_CA_FILE) cannot be read", path.display()))?;
                let none = || format!("The file {} (SMTP_CA_FILE) holds no certificate", path.display());
                anyhow::ensure!(pem.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE), none());
                let roots = Certificate::from_pem(&pem).map_err(|_| anyhow::anyhow!(none()))?;
                parameters = parameters.add_root_certificate(roots);
            }
            parameters
                .build_rustls()
                .map_err(|_| anyhow::anyhow!("its name or the certificates are unusable"))
                .context("TLS to the mail server (SMTP_URL) cannot be set up")
        };
        let tls = match config.tls {
            MailTls::FromTheStart => Tls::Wrapper(tls()?),
            MailTls::StartTls => Tls::Required(tls()?),
            MailTls::Off => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.clone())
            .port(config.port)
            .tls(tls)
            .hello_name(ClientId::Domain(config.from.email.domain().to_owned()))
            .timeout(Some(STEP));
        if let Some((user, password)) = &config.credentials {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let shown = format!("{}:{}", config.host, config.port);
        Ok(Self { transport: builder.build(), from: config.from.clone(), shown })
    }

    /// Where it is.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.shown
    }

    /// Sends a letter to an address; returns when the server has taken it over.
    ///
    /// # Errors
    /// See [`PostError`].
    pub async fn send(&self, mail: Uuid, to: &str, letter: Letter, now: SystemTime) -> Result<(), PostError> {
        let message = self.message(mail, to, letter, now)?;
        match tokio::time::timeout(WHOLE, self.transport.send(message)).await {
            Ok(sent) => Ok(sent.map(drop)?),
            Err(_) => Err(PostError::Unreachable),
        }
    }

    fn message(&self, mail: Uuid, to: &str, letter: Letter, now: SystemTime) -> Result<Message, PostError> {
        let to: Address = to.parse().map_err(|_| PostError::Address)?;
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .date(now)
            // The same for every attempt: a second copy is known for one.
            .message_id(Some(format!("<{mail}@{}>", self.from.email.domain())))
            // No mail robot answers this.
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(|_| PostError::Address)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Secret;
    use crate::mail::letters;

    #[test]
    fn a_message_is_what_mail_programs_expect_and_nobody_else_gets_into_its_head() {
        let config = MailConfig {
            host: "localhost".to_owned(),
            port: 25,
            tls: MailTls::Off,
            credentials: None,
            ca_file: None,
            from: "Chat <chat@example.org>".parse().unwrap(),
        };
        let post = Post::open(&config).unwrap();
        let write = |to: &str| {
            post.message(Uuid::nil(), to, letters::password_changed(), SystemTime::UNIX_EPOCH)
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
            assert_eq!(write(to), Err(PostError::Address), "{to}");
        }
    }

    /// What a server does not offer is not the mail's fault.
    #[tokio::test]
    async fn a_server_that_offers_too_little_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let serve = async || {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 tests\r\n").await.unwrap();
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer: &[u8] = if line.starts_with("EHLO") { b"250 tests\r\n" } else { b"221 bye\r\n" };
                // The client may be gone.
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
            let post = Post::open(&config).unwrap();
            let letter = letters::password_changed();
            let send = post.send(Uuid::nil(), "ada@mail.example", letter, SystemTime::UNIX_EPOCH);
            let ((), sent) = tokio::join!(serve(), send);
            assert_eq!(sent, Err(PostError::Lacking), "{tls:?}");
            assert!(PostError::Lacking.may_pass());
        }
    }

    #[test]
    fn a_file_of_roots_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roots.pem");
        let config = MailConfig {
            host: "mail.example.org".to_owned(),
            port: 465,
            tls: MailTls::FromTheStart,
            credentials: None,
            ca_file: Some(path.clone()),
            from: "chat@example.org".parse().unwrap(),
        };
        let refused = |config: &MailConfig| format!("{:#}", Post::open(config).unwrap_err());
        assert!(refused(&config).contains("SMTP_CA_FILE"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(refused(&config).contains("SMTP_CA_FILE"));
    }
}
