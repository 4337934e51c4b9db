//! Feature circuits are the reference's on its models, and what the formulas say in every shape of model.

mod fixtures;
mod judged;
mod plain;
