//! Pictures in the terminal itself: the protocols of kitty and iTerm2, and sixel.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::codes::code;
use super::screen::{Graphics, Screen};
use super::sixel::sixel;
use crate::base::Result;
use crate::report::draw::canvas::Drawing;
use crate::report::picture::{self, Picture};

/// Maximum number of characters in one command of kitty.
const CHUNK: usize = 4096;

/// The usual width of a character, in CSS pixels.
const CHARACTER: f64 = 8.0;

/// Returns the picture itself, if this terminal can show one.
pub fn picture(picture: &dyn Picture, screen: &Screen) -> Result<Option<String>> {
    let sent = match screen.graphics {
        Graphics::Text => None,
        Graphics::Sixel => Some(sixel(&picture.draw(true)?)?),
        Graphics::Kitty | Graphics::Iterm => {
            let drawing = picture.draw(true)?;
            let png = picture::encoded(&drawing)?;
            let columns = columns(&drawing, screen);
            Some(if screen.graphics == Graphics::Kitty { kitty(&png, columns) } else { iterm(&png, columns) })
        }
    };
    Ok(sent.map(|sequence| code(sequence.trim_end_matches('\n')) + "\n"))
}

/// Returns the number of columns that a picture is to take: about its own size, as far as the screen is wide enough.
fn columns(drawing: &Drawing, screen: &Screen) -> usize {
    ((drawing.width / CHARACTER) as usize).clamp(1, screen.width.max(1))
}

/// Writes the codes of kitty that transmit and display (a=T) a PNG (f=100) on so many columns (c), asking for no answer
/// (q=2), in pieces that say whether more follow (m).
fn kitty(png: &[u8], columns: usize) -> String {
    let encoded = BASE64.encode(png);
    let pieces: Vec<&str> = encoded.as_bytes().chunks(CHUNK).filter_map(|c| std::str::from_utf8(c).ok()).collect();
    let mut out = String::new();
    for (i, piece) in pieces.iter().enumerate() {
        let more = usize::from(i + 1 < pieces.len());
        let keys = if i == 0 { format!("a=T,f=100,q=2,c={columns},m={more}") } else { format!("m={more}") };
        out.push_str(&format!("\x1b_G{keys};{piece}\x1b\\"));
    }
    out.push('\n');
    out
}

fn iterm(png: &[u8], columns: usize) -> String {
    let keys = format!("inline=1;size={};width={columns};preserveAspectRatio=1", png.len());
    format!("\x1b]1337;File={keys}:{}\x07\n", BASE64.encode(png))
}

#[cfg(test)]
mod tests {
    use super::super::codes::plain;
    use super::*;

    #[test]
    fn kitty_gets_chunks_that_join_to_the_picture() {
        let png: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
        let sent = kitty(&png, 80);
        let mut joined = String::new();
        let commands: Vec<&str> = sent.trim_end().split_terminator("\x1b\\").collect();
        for (i, command) in commands.iter().enumerate() {
            let (keys, payload) = command.strip_prefix("\x1b_G").unwrap().split_once(';').unwrap();
            assert!(payload.len() <= CHUNK && (i + 1 == commands.len() || payload.len() % 4 == 0));
            assert_eq!(keys.ends_with("m=0"), i + 1 == commands.len());
            joined.push_str(payload);
        }
        assert_eq!(BASE64.decode(joined).unwrap(), png);
    }

    #[test]
    fn every_protocol_carries_the_picture() {
        let (_, chart) = crate::report::samples::all().remove(0);
        let screen = |graphics| Screen { graphics, ..Screen::default() };
        assert_eq!(picture(&chart, &Screen::default()).unwrap(), None);
        let sent = |graphics| plain(&picture(&chart, &screen(graphics)).unwrap().unwrap()).into_owned();
        let iterm = sent(Graphics::Iterm);
        let png = BASE64.decode(iterm.trim_end_matches("\x07\n").rsplit_once(':').unwrap().1).unwrap();
        assert_eq!(png, picture::png(&chart).unwrap());
    }
}
