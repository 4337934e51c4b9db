//! Tests of edges.

mod atp_star;
mod limits;
mod plain;
mod reference;
mod selection;
