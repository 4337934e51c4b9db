//! The files of the page, which are in the binary.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The page itself.
pub static INDEX: &str = include_str!("page/index.html");

/// The page's other files: the name, the kind and the content of each.
static FILES: [(&str, &str, &str); 2] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("main.js", "text/javascript; charset=utf-8", include_str!("page/main.js")),
];

/// Answers with a file of the page.
pub async fn answer(Path((_, name)): Path<(String, String)>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => ([(CONTENT_TYPE, *kind)], *content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
