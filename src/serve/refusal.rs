//! Refusals, in the forms of the protocol: `detail` for a request that is not of its form, `error` for one that cannot
//! be answered.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::base::{Error, Kind};

/// The reason why a request has no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// A body that is no request of this endpoint: the field that is wrong, where it is known, and what is wrong.
    Form { field: Option<&'static str>, message: String },
    /// A request that cannot be answered.
    Request(Error),
}

/// An answer, or none where its frames have been sent, or a refusal.
pub type Answered = std::result::Result<Option<Value>, Refusal>;

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Request(error)
    }
}

impl Refusal {
    /// Makes the refusal of a body as a whole.
    pub fn of_form(message: impl Into<String>) -> Self {
        Self::Form { field: None, message: message.into() }
    }

    /// Makes the refusal of a field of a body.
    pub fn of_field(field: &'static str, message: impl Into<String>) -> Self {
        Self::Form { field: Some(field), message: message.into() }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Form { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Request(error) => match error.kind {
                Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
                // Another try may find more memory, or a server that is not about to end.
                Kind::Memory | Kind::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            },
        }
    }

    pub fn body(&self) -> Value {
        match self {
            Self::Form { field, message } => {
                let place: Vec<&str> = ["body"].into_iter().chain(*field).collect();
                json!({ "detail": [{ "loc": place, "msg": message, "type": "value_error" }] })
            }
            Self::Request(error) => json!({ "error": error.to_string() }),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        as_json(self.status(), &self.body())
    }
}

/// Returns the response with this value.
pub fn as_json(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Returns the response to a request that no endpoint takes.
pub fn detail(status: StatusCode, message: &str) -> Response {
    as_json(status, &json!({ "detail": message }))
}
