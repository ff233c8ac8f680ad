//! `/api/models`: what may be asked for, and what it costs.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::models::Offered;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::formats::answer::Answer;

/// The routes.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().api_route(
        "/api/models",
        get_with(models, |op| {
            op.id("models")
                .tag("models")
                .summary("The models that may be asked for")
                .description(
                    "The default comes first. A price is in millionths of a dollar for a million tokens; null where none is \
                     known.",
                )
                .response::<200, Json<Models>>()
        }),
    )
}

/// The models that may be asked for.
#[derive(Serialize, JsonSchema)]
struct Models {
    models: Vec<Model>,
}

/// A model.
#[derive(Serialize, JsonSchema)]
struct Model {
    /// What to ask for, as `model` of a message.
    name: String,
    /// It is what is asked for when a message names none.
    default: bool,
    /// Who is asked for it first.
    provider: Option<&'static str>,
    /// Who is asked for it, in this order. When all of them fail, other providers may answer with models of their own.
    providers: Vec<&'static str>,
    /// How many tokens it reads and writes in all.
    context_window: Option<u32>,
    /// How many tokens it writes at most; the service may allow less.
    max_output_tokens: Option<u32>,
    /// What is read costs so much.
    prompt_price: Option<u64>,
    /// What is written costs so much.
    completion_price: Option<u64>,
}

impl From<Offered> for Model {
    fn from(offered: Offered) -> Self {
        let Offered { name, providers, row, default } = offered;
        let row = row.as_ref();
        Self {
            name,
            default,
            provider: providers.first().copied(),
            context_window: row.and_then(|row| row.context_window),
            max_output_tokens: row.and_then(|row| row.max_output_tokens),
            prompt_price: row.and_then(|row| row.prompt_price),
            completion_price: row.and_then(|row| row.completion_price),
            providers,
        }
    }
}

async fn models(State(state): State<ApiState>, SignedIn(_): SignedIn) -> Result<Answer<Models>, ApiError> {
    Ok(Answer::ok(Models {
        models: state.services.conversations.models().into_iter().map(Model::from).collect(),
    }))
}
