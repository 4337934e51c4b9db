//! The pages of a dashboard: an index that opens at once, whatever the number of features, and a small file for each
//! card, loaded when it is opened. They need no server.
//!
//! ```text
//! DIR/index.html                 the page: its style and its script
//! DIR/dashboard.json             what it was made of, and whether it is complete
//! DIR/data-KEY/about.js          its title, its dictionaries, its circuits
//! DIR/data-KEY/index/0.js        lines of the index, 4,096 in each
//! DIR/data-KEY/cards/0/0/17.js   a card: dictionary, thousand, feature
//! DIR/data-KEY/words/0/0.js      the texts to search in: dictionary, block of cards
//! DIR/data-KEY/heads/3-0.js      the card of an attention head: layer, head
//! DIR/data-KEY/circuits/0.html   a circuit whose nodes lead to cards
//! ```
//!
//! KEY is a hash of what the cards are made of, so an interrupted dashboard goes on with the cards that are there, and
//! another one in the same folder never shows them.

mod data;
mod page;
mod single_page;
mod write;

#[cfg(test)]
mod tests;

pub use data::{card, heads};
pub use single_page::single_page;
pub use write::{WrittenDashboard, check_folder, write};
