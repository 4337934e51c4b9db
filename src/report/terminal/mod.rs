//! stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphics {
    Kitty,
    Iterm,
    Sixel,
    Text,
}
#[derive(Debug, Clone)]
pub struct Screen {
    pub width: usize,
    pub height: usize,
    pub colour: bool,
    pub graphics: Graphics,
}
