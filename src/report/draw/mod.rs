//! Drawing on a sheet: its lettering and layout, and the pictures of graphs.

pub mod canvas;
pub mod graph;
pub mod layout;
pub mod lettering;
