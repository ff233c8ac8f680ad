//! Texts of mails: plain text, lines of at most 72 characters, no text written by users.

use crate::auth::ResetToken;
use crate::auth::password_resets::RESET_TOKEN_TTL;

/// Subject and text of a mail.
#[derive(Clone, PartialEq, Eq)]
pub struct MailBody {
    /// Subject line.
    pub subject: &'static str,
    /// Plain text.
    pub text: String,
}

/// Hides the text, which may contain a token.
impl std::fmt::Debug for MailBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailBody").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Returns the link to the password-reset page. `public_url` is the configured one: values of a request never get into a
/// mail.
#[must_use]
pub fn reset_link(public_url: &str, token: &ResetToken) -> String {
    format!("{}/password-reset?token={}", public_url.trim_end_matches('/'), token.expose())
}

/// Tells how to choose a new password.
#[must_use]
pub fn password_reset(token: &ResetToken, public_url: Option<&str>) -> MailBody {
    let minutes = RESET_TOKEN_TTL.as_secs() / 60;
    let how = match public_url {
        Some(public_url) => {
            format!("To choose a new password, open this link:\n\n{}", reset_link(public_url, token))
        }
        None => format!(
            "To choose a new password, enter this code in the app in which you\nrequested it:\n\n{}",
            token.expose()
        ),
    };
    MailBody {
        subject: "Reset your password",
        text: format!(
            "We received a request to reset the password of the account with this\ne-mail address.\n\n\
             {how}\n\n\
             It can be used once, within {minutes} minutes. All your devices will then\nbe signed out.\n\n\
             If you did not request this, ignore this mail: your password stays\nthe same.\n"
        ),
    }
}

/// Tells that the password was changed.
#[must_use]
pub fn password_changed() -> MailBody {
    MailBody {
        subject: "Your password was changed",
        text: "The password of the account with this e-mail address was changed.\n\n\
               If this was not you, reset your password now and check which devices\n\
               are signed in to your account.\n"
            .to_owned(),
    }
}

/// Tells that the e-mail address was changed.
#[must_use]
pub fn email_changed() -> MailBody {
    MailBody {
        subject: "Your e-mail address was changed",
        text: "The e-mail address of your account was changed. You will get no further\n\
               mail about the account at this address.\n\n\
               If this was not you, contact the operator of this service at once:\n\
               someone else knows your password.\n"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_mail_has_the_token_or_a_link_with_a_public_url() {
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
    fn debug_hides_the_text() {
        let token = ResetToken::from_random([7; 32]);
        let shown = format!("{:?}", password_reset(&token, None));
        assert!(!shown.contains("vpr_"), "{shown}");
    }

    #[test]
    fn lines_have_at_most_72_characters() {
        let token = ResetToken::from_random([7; 32]);
        for mail in [password_reset(&token, None), password_changed(), email_changed()] {
            assert!(mail.text.lines().all(|line| line.len() <= 72), "{}", mail.text);
            assert!(mail.text.is_ascii() && mail.subject.is_ascii());
        }
    }
}
