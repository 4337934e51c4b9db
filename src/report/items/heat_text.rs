//! Heat text: tokens on a ground whose colour says how large their value is.

use serde_json::Value;

use super::Item;
use crate::base::results::is_missing;
use crate::base::{HeatText, Result};
use crate::report::html::escape;
use crate::report::json::{json, numbers};
use crate::report::number;
use crate::report::palette::{self, BLACK, Rgb, WHITE};
use crate::report::terminal::screen::{self, Screen};
use crate::report::visible_text::visible;

/// The grounds of values above and below zero.
const ABOVE: Rgb = palette::SERIES[1];
const BELOW: Rgb = palette::SERIES[0];

/// The strongest ground, of which the ink must still stand out in light and in dark.
const STRONGEST: f64 = 0.62;

/// Values weaker than this share of the strongest are left without colour.
const FAINTEST: f64 = 0.03;

crate::options! {
    pub struct HeatTextOptions {
        /// The line above the text.
        title: Option<String> = None;
        /// Quantity of the numbers, with its unit.
        quantity: Option<String> = None;
    }
}

impl Item for HeatText {
    fn kind(&self) -> &'static str {
        "heat text"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        self.check()?;
        let mut out = String::new();
        for line in screen::wrapped(&visible(&self.title), screen.width) {
            out.push_str(&format!("{}\n", screen.bold(&line)));
        }
        out.push_str(&woven(self, self.strongest(), true, screen));
        out.push_str(&format!("{}\n", screen.dim(&key(self, screen.colour))));
        Ok(out)
    }

    fn html(&self) -> Result<String> {
        self.check()?;
        let mut out = String::from("<figure class=\"tokens\">");
        if !self.title.is_empty() {
            out.push_str(&format!("<figcaption>{}</figcaption>", escape::text(&self.title)));
        }
        out.push_str("<p>");
        out.push_str(&spans(self, self.strongest(), true));
        out.push_str(&format!("</p>\n<small>{}</small></figure>\n", escape::text(&key(self, true))));
        Ok(out)
    }

    fn data(&self) -> Result<Value> {
        self.check()?;
        let mut data = json(self)?;
        data["values"] = numbers(&self.values);
        Ok(data)
    }
}

/// Returns every value as a share of the strongest, from -1 to 1; 0 for what is not finite.
fn shares(heat: &HeatText, strongest: f64) -> impl Iterator<Item = f64> {
    let share = move |v: &f64| if v.is_finite() && strongest > 0.0 { (v / strongest).clamp(-1.0, 1.0) } else { 0.0 };
    heat.values.iter().map(share)
}

/// Writes the tokens in lines that fit the screen, values as shares of `strongest`; line ends in the text are followed
/// if it `breaks`.
pub(super) fn woven(heat: &HeatText, strongest: f64, breaks: bool, screen: &Screen) -> String {
    let mut out = String::new();
    let mut used = 0;
    for (token, share) in heat.tokens.iter().zip(shares(heat, strongest)) {
        let text = marked(&visible(token), share, screen.colour);
        let wide = screen::width(&text);
        if used > 0 && used + wide > screen.width {
            out.push('\n');
            used = 0;
        }
        out.push_str(&grounded(&text, share, screen));
        used += wide;
        if breaks && token.ends_with('\n') {
            out.push('\n');
            used = 0;
        }
    }
    if used > 0 {
        out.push('\n');
    }
    out
}

/// Writes the tokens as HTML, as [`woven`] writes them for the terminal. A value of 0, or none, leaves its token bare.
pub(super) fn spans(heat: &HeatText, strongest: f64, breaks: bool) -> String {
    let mut out = String::new();
    for ((token, value), share) in heat.tokens.iter().zip(&heat.values).zip(shares(heat, strongest)) {
        let text = escape::text(token);
        if *value == 0.0 || is_missing(*value) {
            out.push_str(&text);
        } else {
            let title = number::digits(*value, 4);
            out.push_str(&format!("<span title=\"{title}\"{}>{text}</span>", ground(share)));
        }
        if breaks && token.ends_with('\n') {
            out.push_str("<br>\n");
        }
    }
    out
}

/// Tells how heat text is read.
fn key(heat: &HeatText, colour: bool) -> String {
    let strongest = number::digits(heat.strongest(), 3);
    let quantity = if heat.quantity.is_empty() { "value" } else { &heat.quantity };
    let negative = heat.values.iter().any(|v| *v < 0.0);
    let lost = heat.values.iter().filter(|v| !v.is_finite() && !is_missing(**v)).count();
    let mut key = match (colour, negative) {
        (true, false) => format!("{quantity}: strongest orange is {strongest}"),
        (true, true) => format!("{quantity}: strongest orange is {strongest}, strongest blue -{strongest}"),
        (false, false) => format!("{quantity}: up to {strongest}; [a third of it], [[two thirds]]"),
        (false, true) => format!("{quantity}: up to ±{strongest}; [a third of it], [[two thirds]], {{negative}}"),
    };
    if lost > 0 {
        key.push_str(&format!("; {} without a finite value", crate::report::visible_text::count(lost, "token")));
    }
    visible(&key)
}

/// Returns the style of a token's ground on a page.
pub(super) fn ground(share: f64) -> String {
    if share.abs() < FAINTEST {
        return String::new();
    }
    let Rgb(r, g, b) = if share > 0.0 { ABOVE } else { BELOW };
    format!(" style=\"background:rgba({r},{g},{b},{:.3})\"", share.abs() * STRONGEST)
}

/// Puts strong values in brackets, where there is no colour to show them.
fn marked(text: &str, share: f64, colour: bool) -> String {
    match (share * 3.0).abs() {
        strength if colour || strength < 1.0 => text.into(),
        strength if strength < 2.0 => {
            if share > 0.0 {
                format!("[{text}]")
            } else {
                format!("{{{text}}}")
            }
        }
        _ => {
            if share > 0.0 {
                format!("[[{text}]]")
            } else {
                format!("{{{{{text}}}}}")
            }
        }
    }
}

fn grounded(text: &str, share: f64, screen: &Screen) -> String {
    if share.abs() < FAINTEST {
        return text.into();
    }
    // The screen's own ground is unknown, so both colours are set.
    let ground = palette::mixed(WHITE, if share > 0.0 { ABOVE } else { BELOW }, share.abs() * 0.8);
    let ink = if palette::contrast(BLACK, ground) > 4.5 { BLACK } else { palette::ink_on(ground) };
    screen.ink_on(text, ink, ground)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::results::MISSING;

    fn sample() -> HeatText {
        HeatText {
            title: "feature 3".into(),
            tokens: [" the", " (", "1999", ")", "\n", "</script>", "\x1b[2J"].map(String::from).to_vec(),
            values: vec![0.0, 0.4, 1.0, -0.9, f64::NAN, 0.1, MISSING],
            quantity: "activation".into(),
        }
    }

    #[test]
    fn without_colour_strong_tokens_stand_in_brackets_and_no_code_is_sent() {
        let expected = "\
feature 3
 the[ (][[1999]]{{)}}↵
</script>␛[2J
activation: up to ±1; [a third of it], [[two thirds]], {negative}; 1 token without a finite value
";
        assert_eq!(sample().terminal(&Screen::default()).unwrap(), expected);
    }

    #[test]
    fn with_colour_only_our_own_codes_are_sent() {
        let text = sample().terminal(&Screen { colour: true, ..Screen::default() }).unwrap();
        let text = crate::report::terminal::codes::plain(&text);
        assert!(text.contains("\x1b[38;2;0;0;0;48;2;") && !text.contains("\x1b[2J"));
    }

    #[test]
    fn html_is_escaped_and_counts_must_agree() {
        let html = sample().html().unwrap();
        assert!(html.contains("&lt;/script&gt;") && !html.contains("</script>") && html.contains("↵</span><br>"));
        assert!(html.contains("</span>␛[2J"), "a token without a value is bare: {html}");
        let uneven = HeatText { values: vec![], ..sample() };
        assert_eq!(uneven.html().unwrap_err().message, "expected one value for each token, found 0 for 7");
    }
}
