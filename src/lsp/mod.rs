//! Floor 24: the server of the Language Server Protocol, which looks at scripts while they are written and runs none
//! of them.
//!
//! `server` takes messages (`transport`) and keeps the texts as they are in the editor (`documents`, `positions`,
//! `uris`). A text is checked as by `microtome check` (`diagnostics`, with what mends a mistake in `mending`). All
//! other answers look at a text by a `view` of it: its words with the definitions that they mean (`scopes`), and what
//! can be told of its variables (`scene`). They are `completion`, `hover`, `calls` (signatures), `navigation`
//! (definitions, uses, new names, outline) and `shapes`. A name that scripts share (`shared_names`) is looked for in
//! all texts around (`project`).

mod calls;
mod capabilities;
mod completion;
mod diagnostics;
mod documents;
mod hover;
mod markdown;
mod mending;
mod navigation;
mod positions;
mod project;
mod scene;
mod scopes;
mod server;
mod shapes;
mod shared_names;
mod transport;
mod uris;
mod view;

pub use server::{Ending, serve};
