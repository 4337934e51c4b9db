//! The search for candidates: each panel of columns stays in the cache while the tiles of all rows are multiplied with it.

use super::candidates::{CandidateLoops, Candidates};
use super::quantised::{LANES, PANEL, PanelHead, Panels, Tiles, WordRegister};

/// The lines of a panel: the columns of one are a register of AVX-512, or two of AVX2.
pub const LINES: usize = PANEL / LANES;

/// The loops of a screen in some instructions, which are called only where the CPU has these.
pub trait ScreenLoops: CandidateLoops {
    /// Multiplies all tiles with a panel, compares the scores with the floors of their rows, and stores those that reach them.
    fn search(panel: &Panel, tiles: &Tiles, found: &mut Candidates);
}

/// The quantised columns of a panel.
pub struct Panel<'a> {
    pub first: u32,
    pub head: &'a PanelHead,
    pub words: &'a [[WordRegister; LINES]],
    /// The number of exact dimensions.
    pub exact: usize,
}

/// Finds the candidates of all rows; returns false if there are too many.
pub fn look<L: ScreenLoops>(tiles: &Tiles, panels: &Panels, found: &mut Candidates) -> bool {
    let heads = panels.heads.iter().zip(panels.words.chunks_exact(panels.inner)).enumerate();
    for (index, (head, words)) in heads {
        let panel = Panel { first: (index * PANEL) as u32, head, words, exact: panels.exact.len() };
        L::search(&panel, tiles, found);
        if found.are_too_many() {
            return false;
        }
    }
    for row in 0..tiles.rows.len() {
        found.thin::<L>(row);
    }
    !found.are_too_many()
}
