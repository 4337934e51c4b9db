//! Answers that need no session.

use serde_json::{Value, json};

use super::message::VERSION;
use crate::base::Error;

/// Returns what this kernel is.
pub fn kernel_info() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "status": "ok",
        "protocol_version": VERSION,
        "implementation": "microtome",
        "implementation_version": version,
        "language_info": {
            "name": "rhai",
            "version": version,
            "mimetype": "text/x-rhai",
            "file_extension": ".rhai",
            // Rhai's syntax is close to Rust's, and editors know that one.
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
        },
        "banner": format!("microtome {version} (?name explains a name, :help lists the commands)"),
        "debugger": false,
        "help_links": [{ "text": "microtome", "url": env!("CARGO_PKG_REPOSITORY") }],
    })
}

/// Returns the answer to a request that is refused.
pub fn refusal(error: &Error) -> Value {
    let hint = error.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
    json!({
        "status": "error",
        "ename": error.kind.name(),
        "evalue": error.message,
        "traceback": [format!("error: {}{hint}", error.message)],
    })
}
