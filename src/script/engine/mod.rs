//! The engine of scripts: values and options of calls, handles and how they are shown, what the engine is told of a
//! script while it runs, and failures with their words and pictures.

pub mod binding;
pub mod calls;
pub mod caught;
pub mod console;
pub mod drawing;
pub mod env;
pub mod failure;
pub mod foreign;
pub mod format;
pub mod handle;
pub mod lexical;
pub mod loaded;
pub mod marks;
pub mod options;
pub mod panics;
pub mod paper;
pub mod pointers;
pub mod room;
pub mod show;
pub mod sources;
pub mod steps;
pub mod thread;
pub mod tokens;
pub mod typed;
pub mod unfinished;
pub mod unknown;
pub mod value;
pub mod walk;
