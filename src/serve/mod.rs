//! Floor 25: the read and steer endpoints of Neuronpedia's inference server on loopback, so that its page, and whatever
//! else asks such a server, stands on this engine.
//!
//! `state` holds the model and its sources, `requests` reads the questions, `prompt` is a text as that server reads it.
//! The answers are plain functions without HTTP: `activations`, `strongest`, `steer` with the edits of `steering`,
//! `chat`, and `directions`; `room` is the memory that they may take. `refusal` is what stands in place of an answer,
//! `reply` how one travels, `routes` which address is what and who may ask, and `server` puts them behind a socket.

mod activations;
mod chat;
mod directions;
mod prompt;
mod refusal;
mod reply;
mod requests;
mod room;
mod routes;
mod server;
mod state;
mod steer;
mod steering;
mod strongest;

#[cfg(test)]
mod tests;

pub use server::serve;
pub use state::{ServeInputs, Served};
