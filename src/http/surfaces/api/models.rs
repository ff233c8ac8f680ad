//! `/api/models`: the available models and their prices.

use aide::axum::ApiRouter;
use aide::axum::routing::get_with;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::models::AvailableModel;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::formats::answer::Answer;

/// Returns the route.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().api_route(
        "/api/models",
        get_with(models, |op| {
            op.id("models")
                .tag("models")
                .summary("List the available models")
                .description(
                    "The default comes first. Prices are in millionths of a dollar per million tokens; null if unknown.",
                )
                .response::<200, Json<Models>>()
        }),
    )
}

/// The available models.
#[derive(Serialize, JsonSchema)]
struct Models {
    models: Vec<Model>,
}

/// A model.
#[derive(Serialize, JsonSchema)]
struct Model {
    /// Name of the model, as `model` of a message.
    name: String,
    /// Whether this model is used if a message names none.
    default: bool,
    /// First provider that is asked for the model.
    provider: Option<&'static str>,
    /// Providers of the model, in order. If all of them fail, other providers may answer with models of their own.
    providers: Vec<&'static str>,
    /// Maximum tokens of prompt and completion.
    context_window: Option<u32>,
    /// Maximum tokens of a completion; the server may allow less.
    max_output_tokens: Option<u32>,
    /// Price of prompt tokens.
    prompt_price: Option<u64>,
    /// Price of completion tokens.
    completion_price: Option<u64>,
}

impl From<AvailableModel> for Model {
    fn from(offered: AvailableModel) -> Self {
        let AvailableModel { name, providers, row, default } = offered;
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
