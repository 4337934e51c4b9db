//! The engine of scripts: values and options of calls, handles and how they are shown, what the engine is told of a
//! script while it runs, and failures with their words and pictures.

pub mod binding;
pub mod callbacks;
pub mod caught_errors;
pub mod column_reads;
pub mod console;
pub mod drawing;
pub mod env;
pub mod failure;
pub mod foreign_names;
pub mod format;
pub mod function_names;
pub mod handle;
pub mod interrupt_checks;
pub mod lexical;
pub mod loaded_models;
pub mod notes;
pub mod options;
pub mod panics;
pub mod room;
pub mod show;
pub mod sources;
pub mod text_buffer;
pub mod thread;
pub mod tokens;
pub mod typed_line;
pub mod unfinished_text;
pub mod unknown_names;
pub mod value;
pub mod value_memory;
pub mod value_walks;
pub mod variable_reads;
pub mod variable_scope;
