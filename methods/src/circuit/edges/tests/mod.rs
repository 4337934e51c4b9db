//! Tests of edges.

mod limits;
mod plain;
mod reference;
mod star;
