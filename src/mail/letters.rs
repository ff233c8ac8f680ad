//! The texts of mails. Plain text, lines of 72 characters at most, nothing of what anybody wrote.

use crate::auth::ResetToken;
use crate::auth::resets::LIFETIME;

/// A mail's text.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its subject.
    pub subject: &'static str,
    /// Its text.
    pub text: String,
}

/// Shows no text: it may hold a token.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Where a forgotten password is replaced, with a token. `public_url` is the configured one: what a request says of
/// itself never gets into a mail.
#[must_use]
pub fn reset_link(public_url: &str, token: &ResetToken) -> String {
    format!("{}/password-reset?token={}", public_url.trim_end_matches('/'), token.expose())
}

/// How to replace a forgotten password.
#[must_use]
pub fn password_reset(token: &ResetToken, public_url: Option<&str>) -> Letter {
    let minutes = LIFETIME.as_secs() / 60;
    let how = match public_url {
        Some(public_url) => {
            format!("To choose a new password, open this address:\n\n{}", reset_link(public_url, token))
        }
        None => format!(
            "To choose a new password, give this code to the program that you\nasked with:\n\n{}",
            token.expose()
        ),
    };
    Letter {
        subject: "A new password",
        text: format!(
            "Somebody asked for a new password for the account with this address.\n\n\
             {how}\n\n\
             It works once, and for {minutes} minutes. Every device is then signed out.\n\n\
             If it was not you, there is nothing to do: the password stays as it is.\n"
        ),
    }
}

/// That the password was replaced.
#[must_use]
pub fn password_changed() -> Letter {
    Letter {
        subject: "Your password was changed",
        text: "The password of the account with this address was changed.\n\n\
               If it was not you, ask for a new password at once, and look through\n\
               your devices afterwards.\n"
            .to_owned(),
    }
}

/// That the account goes by another address now.
#[must_use]
pub fn email_changed() -> Letter {
    Letter {
        subject: "Your e-mail address was changed",
        text: "The account that had this address goes by another one now. Mail about\n\
               it will not come here any more.\n\n\
               If it was not you, tell whoever runs the service at once: somebody\n\
               knows your password.\n"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_carries_the_token_and_with_a_public_address_a_link_there() {
        let token = ResetToken::from_random([7; 32]);
        let bare = password_reset(&token, None).text;
        assert!(bare.contains(&format!("\n{}\n", token.expose())) && !bare.contains("http"), "{bare}");
        for public in ["https://chat.example.org", "https://chat.example.org/"] {
            let text = password_reset(&token, Some(public)).text;
            let link = format!("\nhttps://chat.example.org/password-reset?token={}\n", token.expose());
            assert!(text.contains(&link), "{text}");
        }
    }

    #[test]
    fn a_letter_does_not_show_its_text() {
        let token = ResetToken::from_random([7; 32]);
        let shown = format!("{:?}", password_reset(&token, None));
        assert!(!shown.contains("vpr_"), "{shown}");
    }

    #[test]
    fn lines_are_short_but_for_links() {
        let token = ResetToken::from_random([7; 32]);
        for letter in [password_reset(&token, None), password_changed(), email_changed()] {
            assert!(letter.text.lines().all(|line| line.len() <= 72), "{}", letter.text);
            assert!(letter.text.is_ascii() && letter.subject.is_ascii());
        }
    }
}
