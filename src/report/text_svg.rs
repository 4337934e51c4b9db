//! Small SVG of pictures that are mostly text: real text in place of outlines, styles by class, and colours that follow the
//! light or dark dress of the reader's system.

use super::draw::canvas::Drawing;
use super::draw::lettering::Font;
use super::palette::{GROUND, INK, MUTED, RULE, Rgb};

/// The colours of pages that swap in the dark, as the style of reports has them.
const DARK: [[Rgb; 2]; 4] = [
    [INK, Rgb(0xe6, 0xe8, 0xeb)],
    [MUTED, Rgb(0xa2, 0xaa, 0xb4)],
    [RULE, Rgb(0x30, 0x36, 0x3d)],
    [GROUND, Rgb(0x15, 0x18, 0x1c)],
];

/// Attributes that say where an element is; all others are its style.
const PLACES: [&str; 9] = ["x", "y", "dy", "width", "height", "points", "cx", "cy", "r"];

/// Writes what stands within the SVG of a drawing.
pub fn body(drawing: &Drawing) -> String {
    let mut classes: Vec<String> = Vec::new();
    let mut out = String::new();
    for element in drawing.body.replace(">\n", ">").replace("\n</text>", "</text>\n").replace("/><", "/>\n<").lines() {
        out.push_str(&classed(element, &mut classes));
    }
    let mut light = String::new();
    let mut dark = String::new();
    for (i, style) in classes.iter().enumerate() {
        light.push_str(&format!(".s{i}{{{style}}}"));
        for [by_day, by_night] in DARK {
            for property in ["fill", "stroke"] {
                if style.contains(&format!("{property}:{}", by_day.hex())) {
                    dark.push_str(&format!(".s{i}{{{property}:{}}}", by_night.hex()));
                }
            }
        }
    }
    let ground = format!(".g{{fill:{}}}", GROUND.hex());
    let [_, _, _, [_, night]] = DARK;
    let dark = format!("@media(prefers-color-scheme:dark){{.g{{fill:{}}}{dark}}}", night.hex());
    let family = Font::Sans.family();
    format!(
        "<style>text{{font-family:\"{family}\",Verdana,sans-serif}}{ground}{light}{dark}</style>\n\
         <rect width=\"100%\" height=\"100%\" class=\"g\"/>\n{out}"
    )
}

/// Writes an element with a class in place of its style.
fn classed(element: &str, classes: &mut Vec<String>) -> String {
    let Some((tag, rest)) = element.split_once('>') else { return element.to_string() };
    let is_closed = tag.ends_with('/');
    let tag = tag.trim_start_matches('<').trim_end_matches('/');
    let Some((name, attributes)) = tag.split_once(' ') else { return format!("{element}\n") };
    let mut places = String::new();
    let mut style = Vec::new();
    for attribute in attributes.split("\" ").filter(|attribute| !attribute.is_empty()) {
        let Some((key, value)) = attribute.split_once("=\"") else { continue };
        let value = value.trim_end_matches('"').trim();
        match key {
            _ if PLACES.contains(&key) => places.push_str(&format!(" {key}=\"{value}\"")),
            // These are what they are without a word, or for all texts alike.
            "font-family" => {}
            "opacity" if value == "1" => {}
            "text-anchor" if value == "start" => {}
            "font-size" => style.push(format!("font-size:{value}px")),
            _ => style.push(format!("{key}:{value}")),
        }
    }
    let style = style.join(";");
    let class = classes.iter().position(|known| *known == style).unwrap_or_else(|| {
        classes.push(style);
        classes.len() - 1
    });
    let end = if is_closed { "/" } else { "" };
    format!("<{name}{places} class=\"s{class}\"{end}>{rest}\n")
}
