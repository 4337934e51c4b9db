//! Tests of Lorsas.
