//! Floor 8: drawing. Charts, heat maps and heat text as pictures, in the terminal, and on self-contained pages.

pub mod terminal;
