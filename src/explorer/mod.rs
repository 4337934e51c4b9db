//! Floor 18: the explorer, one page on loopback that answers while a person looks at features.
//!
//! `answers` is what it knows: plain functions of a model and dictionaries, without HTTP. `state` holds these,
//! `last_read` what is known of the text that one types at, `slots` and `shared_value` decide what runs, `answer_stream`
//! is how an answer is sent line by line, `gate` who may ask, `routes` which address is what, `page` has the files of the
//! page, and `server` puts them behind a socket.

mod answer_stream;
pub mod answers;
mod gate;
mod last_read;
mod page;
mod routes;
mod server;
mod shared_value;
mod slots;
mod state;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use answer_stream::refusal;
pub use gate::{Gate, Hosts, body, same, sends_json, watch};
pub use server::{serve, serve_connections};
pub use state::{Explorer, ExplorerInputs};
