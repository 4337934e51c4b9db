//! Drawing on a sheet: its lettering and layout, and the pictures of graphs.

pub mod canvas;
pub mod face;
#[cfg_attr(not(feature = "pictures"), path = "no_faces.rs")]
mod faces;
pub mod graph;
pub mod layout;
pub mod lettering;
