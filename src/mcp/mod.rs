//! Floor 23: the server of the Model Context Protocol, sessions of the prompt behind tools that agents call.
//!
//! `server` is what clients see, whatever carries their messages: `stdio` over standard input and output, `http` over loopback,
//! with a page on which a person sees the calls (`call_log`). `tools` says what each tool takes and does, `asked` how its
//! answer is waited for, `resources` what can be read, `prompts` what work is proposed. Sessions stand side by side
//! (`sessions`), each on a thread of its own (`session_thread`, with the state that others see in `session_state`), where
//! `desk` answers: a session of the prompt with what it printed and showed (`output`) and all of its results (`results`).
//! `reply` makes an answer of at most 10 kB, and `install` tells clients of this server.

mod asked;
mod call_log;
mod desk;
mod front;
#[cfg(feature = "explorer")]
mod http;
mod install;
mod output;
mod prompts;
mod reply;
mod resources;
mod results;
mod server;
mod session_state;
mod session_thread;
mod sessions;
mod stdio;
mod tools;

pub use front::{EnvMaker, FrontEnd, Limits};
#[cfg(feature = "explorer")]
pub use http::{Addresses, serve_http};
pub use install::{Client, install};
pub use server::Server;
pub use stdio::serve;
