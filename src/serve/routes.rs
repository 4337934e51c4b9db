//! Routes: the endpoint of each address, and who may ask.
//!
//! The paths of the protocol leave no place for a token in the address, so who asks must know the key, where there is
//! one, and pages of other sites are refused by what their browser says of them.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::refusal::{Answered, Refusal, as_json, detail};
use super::reply::{self, Frames};
use super::requests::KeyCase;
use super::room::AT_ONCE;
use super::state::Served;
use super::{activations, chat, directions, requests, steer, strongest};
use crate::base::task::{Silent, spawned};
use crate::common::*;
use crate::explorer::{Hosts, body, same, sends_json};

/// The header that has the key.
const KEY: &str = "x-secret-key";

/// The path that is answered without a key.
const OPEN: &str = "/health";

/// An endpoint: a function of the model, its sources and a request.
type Endpoint = fn(&Served, Map<String, Value>, &Frames, &Task) -> Answered;

/// The endpoints that compute, by their names in the list of capabilities and their paths.
const ENDPOINTS: [(&str, &str, Endpoint); 12] = [
    ("tokenize", "/v1/tokenize", activations::tokenize),
    ("activation_single", "/v1/activation/single", activations::single),
    ("activation_single_batch", "/v1/activation/single-batch", |served, request, frames, task| {
        each(activations::single, served, request, frames, task)
    }),
    ("activation_all", "/v1/activation/all", strongest::all),
    ("activation_all_batch", "/v1/activation/all-batch", |served, request, frames, task| {
        each(strongest::all, served, request, frames, task)
    }),
    ("activation_topk_by_token", "/v1/activation/topk-by-token", strongest::by_token),
    ("activation_topk_by_token_batch", "/v1/activation/topk-by-token-batch", |served, request, frames, task| {
        each(strongest::by_token, served, request, frames, task)
    }),
    ("activation_source", "/v1/activation/source", activations::source),
    ("steer_completion", "/v1/steer/completion", steer::completion),
    ("steer_completion_chat", "/v1/steer/completion-chat", chat::completion_chat),
    ("sae_vector", "/v1/util/sae-vector", directions::vector),
    ("sae_topk_by_decoder_cossim", "/v1/util/sae-topk-by-decoder-cossim", directions::nearest),
];

/// Rules by which a request is judged before it is read.
#[derive(Clone)]
pub struct Door {
    pub hosts: Hosts,
    /// The key that a request must have, if there is one.
    pub key: Option<String>,
}

/// State that all connections share.
#[derive(Clone)]
struct Service {
    served: Arc<Served>,
    /// Turns to compute.
    turns: Arc<Semaphore>,
}

/// Builds the router of all endpoints, behind the door.
pub fn router(served: Arc<Served>, door: Door) -> Router {
    let service = Service { served, turns: Arc::new(Semaphore::new(AT_ONCE)) };
    let mut router: Router<Service> = Router::new()
        .route("/health", get(async || as_json(StatusCode::OK, &json!({ "status": "healthy" }))))
        .route("/initialize", post(initialize))
        .route("/v1/capabilities", get(capabilities));
    for (_, path, endpoint) in ENDPOINTS {
        let asked = move |State(service): State<Service>, request: Request| async move {
            service.answer(endpoint, request).await
        };
        router = router.route(path, post(asked));
    }
    router
        .fallback(nowhere)
        .method_not_allowed_fallback(async || detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
        .with_state(service)
        .layer(from_fn_with_state(door, watch))
}

/// Stands before all endpoints.
async fn watch(State(door): State<Door>, request: Request, next: Next) -> Response {
    let is_open = request.uri().path() == OPEN;
    let key = request.headers().get(KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    let mut answer = if !door.hosts.admit(request.uri(), request.headers()) {
        detail(StatusCode::FORBIDDEN, "expected a request to this server by its name, and from no page of another site")
    } else if !is_open && door.key.as_ref().is_some_and(|known| !same(known, key)) {
        let message = "expected the key of this server in the header X-SECRET-KEY, found none or another one";
        as_json(StatusCode::UNAUTHORIZED, &json!({ "error": message }))
    } else {
        next.run(request).await
    };
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Answers where there is no endpoint.
async fn nowhere(request: Request) -> Response {
    let path = request.uri().path();
    detail(StatusCode::NOT_FOUND, &format!("no endpoint {path} here; GET /v1/capabilities lists those that there are"))
}

/// Says that the model is loaded, as it is from the beginning. Refuses to load another one.
async fn initialize(request: Request) -> Response {
    match request.uri().query().filter(|query| !query.is_empty()) {
        None => as_json(StatusCode::OK, &Value::Null),
        Some(_) => Refusal::from(
            err!(Argument, "expected no other model: this server has loaded its own")
                .hint("start another server with --model"),
        )
        .into_response(),
    }
}

/// Lists what the server has and answers.
async fn capabilities(State(service): State<Service>) -> Response {
    let served = service.served;
    let config = served.model.decoder.config();
    let mut sets: Vec<&str> = served.sources.iter().map(|source| source.set.as_str()).collect();
    sets.sort_unstable();
    sets.dedup();
    let endpoints: Map<String, Value> = ENDPOINTS.iter().map(|(name, ..)| (name.to_string(), true.into())).collect();
    let told = json!({
        "model": served.model.name().to_string(),
        "backend": "microtome",
        "max_concurrent_requests": AT_ONCE,
        "max_tokens": config.context,
        "token_limit": served.limit,
        "activation_token_limit": served.limit,
        "max_num_results": strongest::MOST,
        "num_layers": config.layers,
        "sae_sets": sets,
        "sources": served.sources.iter().map(|source| &source.id).collect::<Vec<_>>(),
        "hooks_available": true,
        "generation_only": false,
        "endpoints": endpoints,
    });
    as_json(StatusCode::OK, &told)
}

/// Answers a request with several prompts by an endpoint of one, prompt by prompt.
fn each(
    endpoint: Endpoint,
    served: &Served,
    mut request: Map<String, Value>,
    frames: &Frames,
    task: &Task,
) -> Answered {
    let mut results = Vec::new();
    for prompt in requests::prompts(&mut request)? {
        let mut one = request.clone();
        one.insert("prompt".into(), prompt.into());
        results.extend(endpoint(served, one, frames, task)?);
    }
    Ok(Some(json!({ "results": results })))
}

impl Service {
    /// Answers a request when it has its turn.
    async fn answer(&self, endpoint: Endpoint, request: Request) -> Response {
        if !sends_json(request.headers()) {
            return detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected a request in JSON, with this content type");
        }
        let keys = KeyCase::read_by(request.headers());
        let body = match body(request.into_body()).await {
            Ok(body) => body,
            Err(status) => return detail(status, "expected a request of at most 1 MiB within 10 seconds"),
        };
        match self.ask(endpoint, body, keys).await {
            Ok(reply) => reply.response().await,
            Err(error) => Refusal::from(error).into_response(),
        }
    }

    /// Begins to answer, on a thread of its own. A client that leaves before its turn has cost nothing.
    async fn ask(&self, endpoint: Endpoint, body: Bytes, keys: KeyCase) -> Result<reply::Reply> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|e| err!(Bug, "no turn to compute: {e}"))?;
        let flag = Arc::new(AtomicBool::new(false));
        let (frames, reply) = reply::channel(&flag, keys);
        let served = self.served.clone();
        spawned("request", move || {
            let task = Task::new(flag, Arc::new(Silent));
            let answered = std::panic::catch_unwind(AssertUnwindSafe(|| {
                task.check()?;
                endpoint(&served, requests::object(&body)?, &frames, &task)
            }));
            frames.end(answered.unwrap_or_else(|_| {
                Err(err!(Bug, "internal error: the terminal of the server shows where")
                    .hint("this is a mistake in microtome; please report it with the request that shows it")
                    .into())
            }));
            drop(turn);
        })?;
        Ok(reply)
    }
}
