//! What microtome computes, without scripts and without pictures.
//!
//! The floors, lowest first; imports go down only. See ARCHITECTURE.md.

pub mod base;

pub mod tensor;

pub mod training;

pub mod probes;

pub mod model;

pub mod data;

pub mod sae;

pub mod intervene;

pub mod features;

pub mod circuit;
