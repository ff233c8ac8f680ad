//! Builds the services that the API surfaces call.

use std::sync::Arc;

use super::foundation::Foundation;
use crate::ai::Chain;
use crate::app::accounts::AccountService;
use crate::app::audit::AuditService;
use crate::app::connection_limits::ConnectionLimits;
use crate::app::connections::ConnectionService;
use crate::app::conversations::ConversationService;
use crate::app::files::FileService;
use crate::app::files::uploads::{FileLimits, Uploads};
use crate::app::health::HealthService;
use crate::app::models::ModelCatalogue;
use crate::app::quizzes::QuizService;
use crate::app::quotas::{MessageLimits, QuotaService};
use crate::app::rate_limits::RateLimits;
use crate::app::replies::ReplyService;
use crate::app::sign_in::SignInService;
use crate::app::{Core, Services};
use crate::auth::passwords::PasswordLimits;
use crate::auth::{
    Credentials, Lockout, LoginMonitor, LoginPolicy, Logins, PasswordResets, Passwords, Tickets, TokenKeys,
    UrlSigningKey,
};
use crate::config::Config;
use crate::files::FileStore;
use crate::lifecycle::Lifecycle;
use crate::mail::{Outbox, SmtpMailer};
use crate::relay::RelayState;
use crate::tools::Tools;
use crate::tools::quiz::Quizzes;
use projections::conversations::query::ConversationLoader;

/// Tables of accounts outside the log, which services and workers share.
pub(super) struct AccountStores {
    /// Refresh-token families.
    pub(super) logins: Logins,
    /// Logins behind open streams and sockets.
    pub(super) login_monitor: LoginMonitor,
    /// Tickets for sockets.
    pub(super) tickets: Tickets,
    /// Failed sign-ins.
    pub(super) lockout: Lockout,
    /// Password-reset tokens.
    pub(super) resets: PasswordResets,
    /// Mails to be sent.
    pub(super) outbox: Outbox,
    /// The mail server, when one is configured.
    pub(super) smtp: Option<SmtpMailer>,
}

impl AccountStores {
    /// Opens the tables and starts watching the logins behind open connections.
    ///
    /// # Errors
    /// One plain sentence about the mail server's settings.
    pub(super) fn new(
        foundation: &Foundation,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Self> {
        let pool = &foundation.pool;
        let policy = LoginPolicy { idle: config.auth.refresh_lifetime, total: config.auth.login_max };
        let logins = Logins::new(pool.clone(), policy);
        let login_monitor = LoginMonitor::default();
        lifecycle.service(login_monitor.clone().run(logins.clone(), lifecycle.stop_services.clone()));
        Ok(Self {
            logins,
            login_monitor,
            tickets: Tickets::new(pool.clone()),
            lockout: Lockout::new(pool.clone(), config.auth.lockout),
            resets: PasswordResets::new(pool.clone()),
            outbox: Outbox::new(pool.clone()),
            smtp: config.mail.as_ref().map(SmtpMailer::open).transpose()?,
        })
    }

    /// Describes the mail server in one line.
    pub(super) fn describe_mail(&self) -> String {
        match &self.smtp {
            Some(smtp) => format!("mail: through {}", smtp.describe()),
            None => "mail: SMTP_URL is not set, so password-reset mails are not sent; `verbatim accounts reset` issues a \
                     token instead"
                .to_owned(),
        }
    }
}

/// Parts that services take besides the foundation and the account tables.
pub(super) struct Shared {
    /// The AI providers.
    pub(super) chain: Arc<Chain>,
    /// Starts quizzes.
    pub(super) quizzes: Quizzes,
    /// Tools that models can call.
    pub(super) tools: Tools,
    /// Stores the bytes of files.
    pub(super) files: FileStore,
    /// Signs links to files.
    pub(super) links: UrlSigningKey,
    /// Signs and verifies access tokens.
    pub(super) tokens: TokenKeys,
    /// State of this process's relay.
    pub(super) relay: Option<RelayState>,
}

/// Builds every service.
///
/// # Errors
/// Password hashing cannot be set up.
pub(super) fn services(
    foundation: Foundation,
    stores: AccountStores,
    shared: Shared,
    config: &Config,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Services> {
    let core = &foundation.core;
    let (rates, message_quotas) = foundation.limits;
    let limits = MessageLimits::new(rates, message_quotas);
    let quotas =
        Arc::new(QuotaService { core: core.clone(), limits, rejections: foundation.rejections.clone() });
    let rate_limits = Arc::new(RateLimits::new(core.clone(), config.attempts));
    let (sign_in, accounts) = account_services(&foundation, &stores, shared.tokens, &rate_limits, config)?;
    let models = ModelCatalogue {
        chain: Arc::clone(&shared.chain),
        tools: shared.tools.definitions().into_iter().map(|tool| tool.name).collect(),
        context_tokens: config.replies.context_tokens,
    };
    Ok(Services {
        sign_in,
        accounts,
        conversations: conversations(&foundation, models, &quotas, config, lifecycle),
        replies: ReplyService {
            core: core.clone(),
            live_replies: foundation.live_replies.clone(),
            read_models: foundation.read_models.clone(),
            reply_wait: config.web.reply_wait,
        },
        files: FileService {
            core: core.clone(),
            quotas: Arc::clone(&quotas),
            store: shared.files,
            links: shared.links,
            uploads: Uploads::new(FileLimits::of(&config.files)),
        },
        quizzes: QuizService { core: core.clone(), quotas: Arc::clone(&quotas), quizzes: shared.quizzes },
        connections: ConnectionService {
            core: core.clone(),
            limits: ConnectionLimits::new(config.sockets.per_user, config.sockets.streams_per_user),
            login_monitor: stores.login_monitor,
            user_channels: foundation.user_channels.clone(),
        },
        quotas,
        rate_limits,
        audit: AuditService { reader: core.reader.clone() },
        health: health(core, &foundation, shared.chain, shared.relay),
        tasks: lifecycle.work.clone(),
        stopping: lifecycle.stop_accepting.clone(),
        core: core.clone(),
    })
}

fn account_services(
    foundation: &Foundation,
    stores: &AccountStores,
    access_tokens: TokenKeys,
    rate_limits: &Arc<RateLimits>,
    config: &Config,
) -> anyhow::Result<(SignInService, AccountService)> {
    let core = &foundation.core;
    let passwords = Passwords::new(PasswordLimits::default())?;
    let credentials = Credentials::new(foundation.pool.clone());
    let accounts = AccountService {
        core: core.clone(),
        passwords: passwords.clone(),
        credentials: credentials.clone(),
        lockout: stores.lockout.clone(),
        logins: stores.logins.clone(),
        resets: stores.resets.clone(),
        outbox: stores.smtp.is_some().then(|| stores.outbox.clone()),
        rate_limits: Arc::clone(rate_limits),
    };
    let sign_in = SignInService {
        core: core.clone(),
        passwords,
        credentials,
        lockout: stores.lockout.clone(),
        logins: stores.logins.clone(),
        tickets: stores.tickets.clone(),
        access_tokens,
        access_lifetime: config.auth.access_lifetime,
        rate_limits: Arc::clone(rate_limits),
    };
    Ok((sign_in, accounts))
}

fn conversations(
    foundation: &Foundation,
    models: ModelCatalogue,
    quotas: &Arc<QuotaService>,
    config: &Config,
    lifecycle: &Lifecycle,
) -> ConversationService {
    let core = foundation.core.clone();
    ConversationService {
        loader: ConversationLoader::new(core.pool.clone(), lifecycle.work.clone()),
        core,
        quotas: Arc::clone(quotas),
        models,
        live_replies: foundation.live_replies.clone(),
        user_channels: foundation.user_channels.clone(),
        reply_deadline: config.replies.deadline,
        titles: config.replies.titles,
    }
}

fn health(
    core: &Core,
    foundation: &Foundation,
    chain: Arc<Chain>,
    relay: Option<RelayState>,
) -> HealthService {
    HealthService {
        reader: core.reader.clone(),
        progress: core.progress.clone(),
        nats: foundation.nats.clone(),
        relay,
        chain,
    }
}
