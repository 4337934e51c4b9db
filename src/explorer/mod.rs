//! Floor 18: the explorer, one page that answers while a person looks at features: on loopback, or exported with the engine
//! inside.
//!
//! `answers` is what it knows: plain functions of a model and dictionaries, without HTTP. `state` holds these, `last_read` what
//! is known of the text that one types at, `shared_value` what several answers need, `reply` is how an answer is told line by
//! line, and `page` has the files of the page, whose script `bundle` makes of its modules.
//!
//! A server is that behind a socket: `slots` decides what runs, `answer_stream` sends lines, `gate` says who may ask, `routes`
//! which address is what. An export has no server: `parcel` packs what the explorer holds into files and makes an explorer of
//! them again, in the page, with the parts of answers that `kept_part` reads; `export` writes the folder.

#[cfg(feature = "explorer")]
mod answer_stream;
pub mod answers;
mod bundle;
pub mod export;
#[cfg(feature = "explorer")]
mod gate;
mod kept_part;
mod last_read;
mod page;
mod parcel;
pub mod reply;
#[cfg(feature = "explorer")]
mod routes;
#[cfg(feature = "explorer")]
mod server;
#[cfg_attr(not(feature = "threads"), path = "no_shared_value.rs")]
mod shared_value;
#[cfg(feature = "explorer")]
mod slots;
mod state;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

#[cfg(feature = "explorer")]
pub use answer_stream::refusal;
#[cfg(feature = "explorer")]
pub use gate::{Gate, Hosts, body, same, sends_json, watch};
pub use parcel::FOLDER;
#[cfg(feature = "explorer")]
pub use server::{serve, serve_connections};
pub use state::{Explorer, ExplorerInputs};
