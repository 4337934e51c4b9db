//! Tensors and hooked language models, without scripts and without pictures.
//!
//! The floors, lowest first; imports go down only. See ARCHITECTURE.md.

pub mod base;

pub mod tensor;

pub mod training;

pub mod probes;

pub mod model;
