//! Colours that people with any kind of colour vision can tell apart.

use super::scale::{self, Scale};

/// A colour of the sRGB space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// Writes the colour as pictures spell it.
    pub fn hex(self) -> String {
        let Rgb(r, g, b) = self;
        format!("#{r:02X}{g:02X}{b:02X}")
    }

    /// Returns the grey that is as light as the colour.
    pub fn grey(self) -> Rgb {
        let linear = luminance(self);
        let encoded = if linear <= 0.003_130_8 { linear * 12.92 } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
        let level = (encoded * 255.0).round().clamp(0.0, 255.0) as u8;
        Rgb(level, level, level)
    }
}

/// Text and axes; pages swap these four for their own, so no other colour may equal them.
pub const INK: Rgb = Rgb(0x1f, 0x23, 0x29);
/// Notes and tick labels.
pub const MUTED: Rgb = Rgb(0x5b, 0x63, 0x6e);
pub const RULE: Rgb = Rgb(0xe2, 0xe5, 0xe9);
pub const GROUND: Rgb = Rgb(0xff, 0xff, 0xfe);

/// Cells of a heat map without a finite value.
pub const BLANK: Rgb = Rgb(0xc9, 0xcc, 0xd1);
pub const BLACK: Rgb = Rgb(0, 0, 0);
pub const WHITE: Rgb = Rgb(255, 255, 255);

/// Okabe and Ito's colours (Color Universal Design, 2008) in the order that keeps neighbours furthest apart. Their
/// yellow is left out, as it cannot be seen on white, and their black, as it cannot be seen at night.
pub const SERIES: [Rgb; 6] = [
    Rgb(0x00, 0x72, 0xb2),
    Rgb(0xd5, 0x5e, 0x00),
    Rgb(0x00, 0x9e, 0x73),
    Rgb(0xcc, 0x79, 0xa7),
    Rgb(0xe6, 0x9f, 0x00),
    Rgb(0x56, 0xb4, 0xe9),
];

/// Returns the colour of series `index`; they come again after six, and lines are then dashed.
pub fn series(index: usize) -> Rgb {
    SERIES[index % SERIES.len()]
}

crate::choices! {
    /// Colours of a chart, by what is to be told apart where they are printed.
    pub enum Palette {
        /// Colours that differ in hue, for the screen.
        Colour = "colour",
        /// Colours that differ in lightness, too, so that a print in grey tells them apart.
        Print = "print",
        /// Greys as light as the colours of `Print`.
        Grey = "grey",
    }
}

/// Colours of series whose lightness L* is 22, 40, 57 and 73: those in print tell them apart, and the last one is seen
/// on white.
const PRINTED: [Rgb; 4] = [Rgb(0x13, 0x32, 0x6d), Rgb(0xac, 0x32, 0x2a), Rgb(0x3d, 0x99, 0x6e), Rgb(0xec, 0xa5, 0x2e)];

impl Palette {
    /// Returns the colour of series `index`; colours come again after six, or after four in print.
    pub fn series(self, index: usize) -> Rgb {
        match self {
            Palette::Colour => series(index),
            Palette::Print => PRINTED[index % PRINTED.len()],
            Palette::Grey => PRINTED[index % PRINTED.len()].grey(),
        }
    }

    /// Returns the number that chooses dashes and the shape of markers for series `index`. In print neighbours differ in
    /// these, too.
    pub fn pattern(self, index: usize) -> usize {
        match self {
            Palette::Colour => index / SERIES.len(),
            Palette::Print | Palette::Grey => index % 3,
        }
    }
}

/// Colours from dark blue over green to yellow, evenly growing lighter, so that they read in grey too.
const RISING: [Rgb; 7] = [
    Rgb(24, 20, 74),
    Rgb(38, 58, 118),
    Rgb(38, 98, 134),
    Rgb(40, 136, 136),
    Rgb(82, 173, 116),
    Rgb(163, 204, 88),
    Rgb(248, 230, 96),
];

/// Colours from blue over near-white to red, equally dark at both ends.
const SIGNED: [Rgb; 7] = [
    Rgb(14, 66, 140),
    Rgb(70, 130, 190),
    Rgb(158, 197, 224),
    Rgb(245, 245, 244),
    Rgb(240, 178, 150),
    Rgb(208, 100, 84),
    Rgb(146, 20, 48),
];

/// Colours from dark blue over grey to light yellow, whose lightness L* rises from 18 to 96 in equal steps: both ends
/// of [`SIGNED`] are one grey in print.
const SIGNED_IN_PRINT: [Rgb; 7] = [
    Rgb(20, 41, 94),
    Rgb(36, 73, 133),
    Rgb(75, 107, 148),
    Rgb(139, 139, 139),
    Rgb(205, 166, 122),
    Rgb(241, 203, 121),
    Rgb(255, 246, 167),
];

/// A map from numbers to colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColourMap {
    low: f64,
    high: f64,
    signed: bool,
    log: bool,
    palette: Palette,
}

/// Number of steps between the colours of a map: more than the eye can tell, and few enough to test.
const SHADES: f64 = 255.0;

impl ColourMap {
    /// Builds a map from `low` to `high`, which differ and are finite.
    pub fn rising(low: f64, high: f64) -> Self {
        Self { low, high, signed: false, log: false, palette: Palette::Colour }
    }

    /// Builds a map from `low` to `high`, which differ and are above zero, whose equal steps are equal factors.
    pub fn logarithmic(low: f64, high: f64) -> Self {
        Self { log: true, ..Self::rising(low, high) }
    }

    /// Builds a map that goes both ways from `centre` up to the distance `reach`, so that equal colours are equal
    /// distances.
    pub fn signed(centre: f64, reach: f64) -> Self {
        let low = (centre - reach).max(f64::MIN);
        let high = (centre + reach).min(f64::MAX);
        Self { low, high, signed: true, log: false, palette: Palette::Colour }
    }

    /// Returns the map in the colours of a palette.
    pub fn painted(self, palette: Palette) -> Self {
        Self { palette, ..self }
    }

    pub fn low(&self) -> f64 {
        self.low
    }

    pub fn high(&self) -> f64 {
        self.high
    }

    /// Returns the range of the values as an axis.
    pub fn scale(&self) -> Scale {
        Scale { low: self.low, high: self.high, log: self.log, reversed: false }
    }

    /// Returns the place of the value between the ends, from 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        if self.log {
            return self.scale().share(value).clamp(0.0, 1.0);
        }
        // Halves, so that the distance of huge numbers is finite.
        let span = self.high / 2.0 - self.low / 2.0;
        ((value / 2.0 - self.low / 2.0) / span).clamp(0.0, 1.0)
    }

    /// Returns the value that lies at `share`.
    pub fn value(&self, share: f64) -> f64 {
        self.scale().value(share)
    }

    /// Returns whether the map has a colour for the value.
    pub fn shows(&self, value: f64) -> bool {
        scale::shows(value, self.log)
    }

    pub fn colour(&self, value: f64) -> Rgb {
        if !self.shows(value) {
            return BLANK;
        }
        let share = (self.share(value) * SHADES).round() / SHADES;
        match (self.palette, self.signed) {
            (Palette::Colour, true) => between(&SIGNED, share),
            (Palette::Colour | Palette::Print, false) => between(&RISING, share),
            (Palette::Print, true) => between(&SIGNED_IN_PRINT, share),
            (Palette::Grey, true) => between(&SIGNED_IN_PRINT, share).grey(),
            (Palette::Grey, false) => between(&RISING, share).grey(),
        }
    }
}

/// Returns black or white, whichever reads better on this ground.
pub fn ink_on(ground: Rgb) -> Rgb {
    if contrast(BLACK, ground) >= contrast(WHITE, ground) { BLACK } else { WHITE }
}

/// Returns the contrast ratio of WCAG 2: 1 for equal colours, 21 for black on white.
pub fn contrast(a: Rgb, b: Rgb) -> f64 {
    let a = luminance(a);
    let b = luminance(b);
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

fn luminance(Rgb(r, g, b): Rgb) -> f64 {
    let linear = |channel: u8| {
        let c = f64::from(channel) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

fn between(stops: &[Rgb; 7], share: f64) -> Rgb {
    let place = share.clamp(0.0, 1.0) * (stops.len() - 1) as f64;
    let first = (place as usize).min(stops.len() - 2);
    mixed(stops[first], stops[first + 1], place - first as f64)
}

/// Mixes `share` of `b` over `a`.
pub fn mixed(a: Rgb, b: Rgb, share: f64) -> Rgb {
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round().clamp(0.0, 255.0) as u8;
    Rgb(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lightness L* of CIE 1976, from 0 for black to 100 for white; equal steps look equal.
    fn lightness(colour: Rgb) -> f64 {
        let light = luminance(colour);
        if light > 0.008_856 { 116.0 * light.cbrt() - 16.0 } else { 903.3 * light }
    }

    fn shades(map: ColourMap) -> Vec<Rgb> {
        (0..=255).map(|i| map.colour(map.low + (map.high - map.low) * f64::from(i) / 255.0)).collect()
    }

    #[test]
    fn rising_colours_grow_lighter_at_every_step() {
        let light: Vec<f64> = shades(ColourMap::rising(0.0, 1.0)).into_iter().map(luminance).collect();
        assert!(light.windows(2).all(|w| w[0] < w[1] + 1e-9));
        assert!(light[255] - light[0] > 0.7);
    }

    #[test]
    fn equal_factors_are_equal_steps_of_a_logarithmic_map() {
        let map = ColourMap::logarithmic(1e-4, 1.0);
        assert!((map.share(1e-2) - 0.5).abs() < 1e-12 && (map.value(0.25) - 1e-3).abs() < 1e-12);
        assert_eq!(map.colour(1e-1), ColourMap::rising(0.0, 1.0).colour(0.75));
        assert_eq!([0.0, -1.0, f64::NAN].map(|value| map.colour(value)), [BLANK; 3]);
        assert_eq!(map.colour(7.0), map.colour(1.0));
    }

    #[test]
    fn signed_colours_darken_both_ways_and_end_equally_dark() {
        let light: Vec<f64> = shades(ColourMap::signed(0.0, 1.0)).into_iter().map(luminance).collect();
        assert!(light[..128].windows(2).all(|w| w[0] <= w[1] + 1e-9));
        assert!(light[128..].windows(2).all(|w| w[0] + 1e-9 >= w[1]));
        assert!((light[0] - light[255]).abs() < 0.03, "{} {}", light[0], light[255]);
    }

    #[test]
    fn maps_for_print_grow_lighter_in_equal_steps_with_hues_and_without() {
        for map in [ColourMap::rising(0.0, 1.0), ColourMap::signed(0.0, 1.0)] {
            for palette in [Palette::Print, Palette::Grey] {
                let light: Vec<f64> = shades(map.painted(palette)).into_iter().map(lightness).collect();
                let step = (light[255] - light[0]) / 255.0;
                assert!(step > 0.28, "{palette:?}: {step}");
                assert!(light.windows(2).all(|w| w[0] <= w[1] + 1e-9), "{palette:?}");
                // Eight bits round the single steps; over sixteen of them they are even.
                let even = |w: &[f64]| ((w[16] - w[0]) / (16.0 * step) - 1.0).abs() < 0.3;
                assert!(light.windows(17).all(even), "{palette:?}");
            }
            let in_grey = |palette| shades(map.painted(palette)).into_iter().map(Rgb::grey).collect::<Vec<_>>();
            assert_eq!(in_grey(Palette::Print), shades(map.painted(Palette::Grey)));
        }
        // What the colours for the screen cannot do.
        let ends = shades(ColourMap::signed(0.0, 1.0));
        assert!((lightness(ends[0]) - lightness(ends[255])).abs() < 3.0);
    }

    #[test]
    fn series_for_print_differ_in_lightness_and_neighbours_in_their_dashes() {
        for palette in [Palette::Print, Palette::Grey] {
            let light: Vec<f64> = (0..4).map(|i| lightness(palette.series(i))).collect();
            assert!(light.windows(2).all(|w| w[1] - w[0] > 14.0), "{light:?}");
            assert!(light[3] < 75.0, "the last one is too light for a line on white");
        }
        let looks = |i: usize| (Palette::Grey.series(i), Palette::Grey.pattern(i));
        for i in 0..12 {
            assert!((0..i).all(|other| looks(other) != looks(i)), "{i}");
            assert_ne!(looks(i).1, looks(i + 1).1);
        }
        assert_eq!((Palette::Colour.series(7), Palette::Colour.pattern(7)), (SERIES[1], 1));
    }

    #[test]
    fn text_reads_on_every_cell_and_no_cell_is_taken_for_ink() {
        let maps = [ColourMap::rising(-1.0, 3.0), ColourMap::signed(0.0, 2.0)];
        let painted = |map: ColourMap| Palette::ALL.iter().map(move |(_, palette)| map.painted(*palette));
        for map in maps.into_iter().flat_map(painted) {
            for ground in shades(map).into_iter().chain([BLANK]) {
                assert!(contrast(ink_on(ground), ground) >= 4.5, "{ground:?}");
                assert!(![INK, MUTED, RULE, GROUND].contains(&ground));
            }
        }
        assert!(contrast(INK, GROUND) > 12.0 && contrast(MUTED, GROUND) > 4.5);
    }

    /// Returns a colour as seen without one kind of cone, at full strength: Machado, Oliveira and Fernandes 2009, table
    /// 1.
    fn seen_without(cone: &[[f64; 3]; 3], Rgb(r, g, b): Rgb) -> [f64; 3] {
        let c = [f64::from(r), f64::from(g), f64::from(b)];
        cone.map(|row| (row[0] * c[0] + row[1] * c[1] + row[2] * c[2]).clamp(0.0, 255.0))
    }

    #[test]
    fn every_pair_of_series_differs_for_every_kind_of_colour_vision() {
        let full = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let protan =
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]];
        let deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]];
        let tritan = [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]];
        for vision in [full, protan, deutan, tritan] {
            for (i, a) in SERIES.iter().enumerate() {
                for b in &SERIES[..i] {
                    let x = seen_without(&vision, *a);
                    let y = seen_without(&vision, *b);
                    let apart = (0..3).map(|k| (x[k] - y[k]).powi(2)).sum::<f64>().sqrt();
                    assert!(apart > 30.0, "{a:?} {b:?} {apart}");
                }
            }
        }
    }
}
