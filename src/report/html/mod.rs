//! Pages: escaping, simple markdown, and the frame around the items of a report.

pub mod escape;
