//! The one table of all variables: name, default, meaning. `docs/configuration.md` and `.env.example` are generated from it
//! (`UPDATE_DOCS=1 cargo test -p verbatim --lib config::variables`), and a test compares all of them with what
//! [`Config`](super::Config) reads.

/// A variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Name in the environment.
    pub name: &'static str,
    /// Default as one would write it; empty: not set.
    pub default: &'static str,
    /// What it sets, in Markdown.
    pub meaning: &'static str,
}

/// Variables of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Heading.
    pub title: &'static str,
    /// Variables, in the order in which they are documented.
    pub variables: &'static [Variable],
}

macro_rules! sections {
    ($($title:literal { $($name:ident = $default:literal, $meaning:literal;)+ })+) => {
        /// Every variable, by subject.
        pub const SECTIONS: &[Section] = &[$(
            Section {
                title: $title,
                variables: &[$(
                    Variable { name: stringify!($name), default: $default, meaning: $meaning },
                )+],
            },
        )+];
    };
}

sections! {
    "Address" {
        HOST = "0.0.0.0",
            "address to listen on; `127.0.0.1` accepts connections from this machine only";
        PORT = "8000",
            "port to listen on; 0 picks a free one";
        METRICS_ADDR = "127.0.0.1:9464",
            "address that serves `/metrics` to Prometheus; `off` disables it";
        CORS_ORIGINS = "http://localhost:3000,http://127.0.0.1:3000",
            "comma-separated origins whose pages may call the API; `*` allows all";
        DEBUG = "off",
            "development mode: allows all origins and logs more, unless `CORS_ORIGINS` or `LOG_LEVEL` is set";
    }
    "Storage" {
        DATABASE_URL = "",
            "URL of a Postgres server; if unset, Verbatim runs a private server in `DATA_DIR`";
        PROJECTOR_DATABASE_URL = "",
            "URL of the same server with the projector's role; default: `DATABASE_URL`";
        MIGRATE_DATABASE_URL = "",
            "URL of the same server as owner of the tables, for `verbatim migrate`; default: `DATABASE_URL`";
        DATABASE_POOL_SIZE = "16",
            "database connections for commands and queries of one process";
        DATA_DIR = "./data",
            "folder of the private server: database, log, keys";
        POSTGRES_BIN = "",
            "folder of `postgres` and `initdb`, if they are not found automatically";
    }
    "Files" {
        FILES_URL = "",
            "file store: `file:///FOLDER` or `s3://BUCKET/PREFIX`; if unset, `files` in `DATA_DIR`";
        AWS_REGION = "us-east-1",
            "region of the bucket";
        AWS_ENDPOINT_URL = "",
            "endpoint of an S3-compatible service other than Amazon's";
        AWS_ACCESS_KEY_ID = "",
            "access key for the bucket; without key and secret, the machine's own credentials are used";
        AWS_SECRET_ACCESS_KEY = "",
            "secret of `AWS_ACCESS_KEY_ID`";
        AWS_SESSION_TOKEN = "",
            "session token, for temporary credentials";
        MAX_FILE_BYTES = "20971520",
            "maximum size of one file";
        MAX_FILES_PER_USER = "500",
            "maximum number of files per user";
        MAX_FILE_BYTES_PER_USER = "209715200",
            "maximum total size of the files of one user";
        PUBLIC_URL = "",
            "base of links to files and in mails; if unset, links to files use `http://` and the request's \
             `Host`, and mails contain no links. With `https`, responses carry `Strict-Transport-Security`";
    }
    "Processes and NATS" {
        ROLES = "api,worker,relay,project",
            "work of this process: serve the API, make replies, publish to NATS, update the read models; without \
             `DATABASE_URL` always all";
        NATS_URL = "",
            "comma-separated NATS servers of one cluster; if unset, there is no relay";
        NATS_CREDENTIALS_FILE = "",
            "`.creds` file for NATS";
        NATS_CA_FILE = "",
            "additional root certificates for the NATS servers";
        NATS_TLS = "",
            "`required` rejects connections without TLS, `off` does not request TLS; if unset, TLS is required \
             unless NATS runs on this machine";
        NATS_PREFIX = "verbatim",
            "prefix of every subject, stream and consumer in NATS";
        NATS_REPLICAS = "1",
            "replicas of the stream of public events in a cluster";
        NATS_MAX_IN_HAND = "1000",
            "maximum number of replies that all workers together make at once";
        NATS_MAX_AGE_HOURS = "0",
            "retention of the stream in hours; `0`: unlimited";
        NATS_MAX_MEGABYTES = "0",
            "maximum size of the stream; `0`: unlimited";
    }
    "Keys and logins" {
        SECURITY__JWT_SECRET = "",
            "secret that signs access tokens: at least 32 random characters; typed or repetitive values are \
             rejected";
        JWT_SECRET_KEY = "",
            "alias of `SECURITY__JWT_SECRET`; the first one set is used";
        SECRET_KEY = "",
            "alias of `SECURITY__JWT_SECRET`; the first one set is used";
        JWT_KID = "",
            "key id in the tokens; default: derived from the secret";
        JWT_PREVIOUS_SECRETS = "",
            "earlier secrets that still verify tokens: `KID:SECRET`, comma-separated";
        ALGORITHM = "HS256",
            "signature algorithm; no other value is supported";
        SECURITY__JWT_EXPIRES_IN = "",
            "lifetime of an access token in seconds; default: `ACCESS_TOKEN_EXPIRE_MINUTES`";
        ACCESS_TOKEN_EXPIRE_MINUTES = "25",
            "lifetime of an access token in minutes";
        REFRESH_TOKEN_EXPIRE_DAYS = "7",
            "days after which an unused refresh token expires";
        LOGIN_MAX_DAYS = "30",
            "maximum lifetime of a login, however often it is refreshed";
        MASTER_KEY = "",
            "key that wraps the users' keys: 32 bytes in hexadecimal or base64";
        LOCKOUT_FAILURES = "10",
            "failed sign-ins for one address or user name, within `LOCKOUT_WINDOW_MINUTES`, that trigger a \
             lockout";
        LOCKOUT_WINDOW_MINUTES = "15",
            "window in which failed sign-ins are counted";
        LOCKOUT_SECONDS = "60",
            "duration of the first lockout; each further failure doubles it";
        LOCKOUT_MAX_SECONDS = "900",
            "maximum duration of a lockout";
    }
    "Mail" {
        SMTP_URL = "",
            "mail server: `smtps://USER:PASSWORD@HOST` (TLS) or `smtp://USER:PASSWORD@HOST` (STARTTLS); if unset, \
             password-reset emails are not sent";
        SMTP_CA_FILE = "",
            "additional root certificates for the mail server";
        MAIL_FROM = "",
            "sender address of mails; required with `SMTP_URL`";
        EMAIL__GMAIL_FROM_EMAIL = "",
            "Gmail account to use instead of `SMTP_URL`";
        EMAIL__GMAIL_APP_PASSWORD = "",
            "app password of that account";
    }
    "Limits" {
        RATE_LIMITS = "on",
            "whether the rate limits from `RATE_LIMIT_USER_PER_MINUTE` to `COMMAND_LIMIT_USER_PER_MINUTE` are \
             enforced";
        RATE_LIMIT_USER_PER_MINUTE = "30",
            "messages per user and minute";
        RATE_LIMIT_SESSION_PER_MINUTE = "10",
            "messages per conversation and minute";
        RATE_LIMIT_CHANNEL_PER_MINUTE = "20",
            "messages per user, API surface and minute";
        SIGN_IN_LIMIT_ADDRESS_PER_MINUTE = "30",
            "sign-ins per client address and minute";
        REGISTER_LIMIT_ADDRESS_PER_HOUR = "5",
            "registrations per client address and hour; also changes of e-mail address and user name per user and \
             hour";
        REFRESH_LIMIT_ADDRESS_PER_MINUTE = "120",
            "token refreshes per client address and minute";
        REFRESH_LIMIT_USER_PER_MINUTE = "60",
            "token refreshes per user and minute, from any address";
        RESET_LIMIT_ADDRESS_PER_HOUR = "10",
            "password resets per client address and hour";
        READ_LIMIT_USER_PER_MINUTE = "600",
            "queries per user and minute, counted by each process";
        COMMAND_LIMIT_USER_PER_MINUTE = "600",
            "all other requests per user and minute, including messages, counted by each process; `0`: unlimited";
        QUOTA_MESSAGES_PER_DAY = "1000",
            "messages per user and day (UTC); `0`: unlimited";
        QUOTA_TOKENS_PER_DAY = "1000000",
            "tokens per user and day (UTC); `0`: unlimited";
        QUOTA_RESERVED_TOKENS = "2000",
            "tokens reserved for a reply until it ends; at most `QUOTA_TOKENS_PER_DAY`";
        REPLIES_AT_ONCE_PER_USER = "3",
            "conversations of one user with pending replies at once; `0`: unlimited";
        TRUSTED_PROXIES = "",
            "comma-separated addresses or networks of proxies whose client-address header is trusted";
        TRUSTED_PROXY_HEADER = "x-forwarded-for",
            "header with the client's address: `x-forwarded-for` or `forwarded`";
        MAX_BODY_BYTES = "262144",
            "maximum size of a request body";
        MAX_CONNECTIONS = "16384",
            "maximum connections of one process; it raises its limit of open files as far as the system allows";
        MAX_SOCKETS_PER_USER = "20",
            "maximum WebSockets per user and process";
        MAX_STREAMS_PER_USER = "20",
            "maximum event streams per user and process";
        SOCKET_PING_SECONDS = "25",
            "interval of WebSocket pings; three unanswered pings close the connection";
        SLOW_CLIENT_SECONDS = "30",
            "how long a client may leave its send buffer full before it is disconnected";
        REQUEST_TIMEOUT_SECONDS = "30",
            "timeout of a request that is not a stream";
    }
    "Replies" {
        REPLY_WAIT_SECONDS = "25",
            "how long a request waits for its reply before it returns 202";
        REPLY_DEADLINE_SECONDS = "180",
            "maximum time from a request to the end of its reply";
        REPLY_CONCURRENCY = "32",
            "replies that one process makes at once";
        SYSTEM_PROMPT = "",
            "system prompt sent to the provider; default: \"You are a helpful assistant.\"";
        MAX_OUTPUT_TOKENS = "500",
            "maximum length of a reply in tokens";
        HISTORY_TURNS = "20",
            "maximum number of earlier turns (a message with its reply) sent to the provider";
        CONTEXT_TOKENS = "16000",
            "maximum tokens sent to the provider in all; lower for models with a smaller context window";
        CONTEXT_FILES_PERCENT = "50",
            "share of `CONTEXT_TOKENS` that files may use, 0 to 90";
        CHAT_TITLES = "true",
            "whether the provider is asked for titles of ChatKit threads without one";
        CLIENT_TOOLS_FILE = "",
            "JSON file with an array of `{name, description, parameters}`: tools of the page that replies may \
             call";
    }
    "Quizzes" {
        QUIZ_FILE = "",
            "JSON file with your own questions, in the form of `src/tools/quiz/questions.json`; default: the \
             built-in questions";
        QUIZ_LENGTH = "5",
            "questions per quiz, 1 to 20, limited by the size of the topic";
    }
    "Providers" {
        AI_PROVIDERS = "",
            "providers in the order in which they are asked: `openai`, `openrouter`, `groq`, `gemini`, or \
             `scripted` alone; if unset, all that have a key";
        OPENAI_API_KEY = "",
            "API key for OpenAI";
        OPENAI_BASE_URL = "",
            "base URL of a server that speaks one of OpenAI's protocols; default: OpenAI's own";
        AI_PLAIN_HTTP = "false",
            "whether a provider's base URL may be plain http to another machine; only for private networks, such \
             as one of containers";
        OPENAI_MODEL = "gpt-4o-mini",
            "default model there";
        OPENAI_API = "responses",
            "protocol of `OPENAI_BASE_URL`: `responses` or `chat_completions`";
        AI_SERVICES__OPEN_ROUTER_API_KEY_1 = "",
            "API key for OpenRouter";
        AI_SERVICES__OPEN_ROUTER_API_KEY_2 = "",
            "second key: replies alternate between the two, and each is the other's fallback";
        AI_SERVICES__OPEN_ROUTER_BASE_URL = "",
            "base URL of OpenRouter, if not the usual one";
        AI_SERVICES__OPEN_ROUTER_MODEL = "openai/gpt-4o-mini",
            "default model there";
        AI_SERVICES__GROQ_API_KEY = "",
            "API key for Groq";
        AI_SERVICES__GROQ_BASE_URL = "",
            "base URL of Groq, if not the usual one";
        AI_SERVICES__GROQ_MODEL = "llama-3.3-70b-versatile",
            "default model there";
        AI_SERVICES__GEMINI_API_KEY = "",
            "API key for Gemini";
        AI_SERVICES__GEMINI_BASE_URL = "",
            "base URL of Gemini, if not the usual one";
        AI_SERVICES__GEMINI_MODEL = "gemini-2.5-flash-lite",
            "default model there";
        MODELS_FILE = "",
            "[JSON file](operations/providers.md#models-and-prices) with models, prices and sizes; default: the \
             built-in table";
        AI_MODELS = "",
            "comma-separated models that a request may name besides the providers' defaults; if unset, those of \
             `MODELS_FILE`";
        PROVIDER_CONNECT_SECONDS = "5",
            "timeout to connect to a provider";
        PROVIDER_FIRST_BYTE_SECONDS = "12",
            "timeout until the provider's first byte";
        PROVIDER_IDLE_SECONDS = "18",
            "maximum silence within a provider's response";
        PROVIDER_TOTAL_SECONDS = "150",
            "timeout of one attempt; must be less than `REPLY_DEADLINE_SECONDS`";
        REPLY_MAX_ATTEMPTS = "4",
            "attempts of one reply at the same provider";
        PROVIDER_BACKOFF_MILLISECONDS = "1000",
            "first back-off between two attempts; it doubles each time, with jitter";
        PROVIDER_WAIT_SECONDS = "20",
            "maximum back-off, whatever `Retry-After` a provider sends";
        PROVIDER_WAITS_SECONDS = "60",
            "maximum total back-off of one reply";
        CIRCUIT_FAILURES = "20",
            "consecutive failures that open the circuit breaker of a provider's key";
        CIRCUIT_PROBE_SECONDS = "5",
            "interval of probes while a circuit is open";
        SCRIPTED_WORDS_PER_SECOND = "40",
            "speed of the built-in script; 0: everything at once";
        SCRIPTED_FAULT = "none",
            "failure that the script simulates: `429`, `500`, `hang`, `cut`, `empty`, `over-long`; `cut:2` fails \
             the first two attempts only";
    }
    "Running" {
        LOG_FORMAT = "human",
            "`human` or `json`; the default is `json` if `DATABASE_URL` is set";
        LOG_LEVEL = "",
            "level, or a filter such as `info,verbatim=debug`; default: `RUST_LOG`, else `info`";
        RUST_LOG = "",
            "log filter that is used if `LOG_LEVEL` is not set";
        SHUTDOWN_SECONDS = "10",
            "maximum duration of a graceful shutdown";
    }
    "Traces" {
        OTEL_EXPORTER_OTLP_ENDPOINT = "",
            "collector that accepts OTLP over HTTP; if unset, no [traces](operations/traces.md) are made";
        OTEL_EXPORTER_OTLP_HEADERS = "",
            "headers for the collector: `NAME=VALUE`, comma-separated";
        OTEL_SERVICE_NAME = "verbatim",
            "service name in traces";
        OTEL_RESOURCE_ATTRIBUTES = "",
            "resource attributes of this process in traces: `NAME=VALUE`, comma-separated";
        OTEL_TRACES_SAMPLER = "parentbased_always_on",
            "sampler: `always_on`, `always_off`, `traceidratio`, or one of these after `parentbased_`";
        OTEL_TRACES_SAMPLER_ARG = "1",
            "ratio for `traceidratio`, 0 to 1";
        PROVIDER_TRACEPARENT = "off",
            "whether calls of the AI provider carry a `traceparent` header";
    }
    "Variables of similar programs that have no effect" {
        SECURITY__BCRYPT_ROUNDS = "",
            "no effect: passwords are hashed with argon2id";
        MONGODB_URL = "",
            "no effect: data is stored in Postgres";
        DATABASE_NAME = "",
            "no effect: the name is part of `DATABASE_URL`";
        MONGO_URI = "",
            "no effect: data is stored in Postgres";
    }
}

/// Renders the tables of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!(
            "### {}\n\n| variable | default | meaning |\n| --- | --- | --- |\n",
            section.title
        ));
        for Variable { name, default, meaning } in section.variables {
            let default = if default.is_empty() { "not set".to_owned() } else { format!("`{default}`") };
            text.push_str(&format!("| `{name}` | {default} | {} |\n", meaning.replace('|', "\\|")));
        }
        text.push('\n');
    }
    text
}

/// Renders `.env.example`: every variable with its default, commented out.
pub fn env_example() -> String {
    let mut text = "# Every variable of Verbatim with its default. Copy this file to `.env` and remove the # from a line to change it.\n\
                    # The environment wins over this file; an empty value counts as not set. Put a value that holds spaces, # or $ in\n\
                    # single quotes. `verbatim config` prints the effective values. Generated from src/config/variables.rs.\n"
        .to_owned();
    for section in SECTIONS {
        text.push_str(&format!("\n# ---- {} ----\n", section.title));
        for Variable { name, default, meaning } in section.variables {
            for line in wrapped(meaning) {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("#{name}={default}\n"));
        }
    }
    text
}

/// Splits a text into lines of at most 116 characters.
fn wrapped(text: &str) -> Vec<String> {
    const MAX_CHARS: usize = 116;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= MAX_CHARS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests;
