//! Pictures as PDF: one page of paths and of real text, in the embedded typefaces, of which a file has the glyphs that
//! it needs. The bytes are the same every time: there are no dates.

mod content;
mod file;
mod font;

use resvg::usvg;

use crate::base::Result;
use content::PageContent;
use file::PdfFile;
use font::UsedFont;

/// Points of PDF to a CSS pixel: 72 to an inch of 96.
const POINTS: f32 = 0.75;

/// Writes a picture that usvg has read as a file of one page of the picture's size.
pub fn written(tree: &usvg::Tree, title: &str, description: &str) -> Result<Vec<u8>> {
    let size = tree.size();
    let width = size.width() * POINTS;
    let height = size.height() * POINTS;
    let content = PageContent::of(tree)?;
    let mut file = PdfFile::new();
    // Pixels from the upper left become points from the lower left.
    let page = format!("{POINTS} 0 0 -{POINTS} 0 {height} cm\n{}", content.operators);
    let stream = file.add_stream("", page.as_bytes())?;
    let mut resources = String::new();
    for (number, font) in content.fonts.iter().enumerate() {
        let object = add_font(&mut file, font)?;
        resources.push_str(&format!("/F{number} {object} 0 R "));
    }
    let states: String = content.opacities.iter().map(|thousandths| opacity_state(*thousandths)).collect();
    // The tree of pages is the object after its only page.
    let pages = file.next_number() + 1;
    let page = file.add(&format!(
        "<< /Type /Page /Parent {pages} 0 R /MediaBox [0 0 {width} {height}] /Contents {stream} 0 R \
         /Group << /S /Transparency /CS /DeviceRGB >> \
         /Resources << /Font << {resources}>> /ExtGState << {states}>> >> >>"
    ));
    file.add(&format!("<< /Type /Pages /Kids [{page} 0 R] /Count 1 >>"));
    let catalog = file.add(&format!("<< /Type /Catalog /Pages {pages} 0 R >>"));
    let info = file.add(&format!(
        "<< /Title <{}> /Subject <{}> /Creator (microtome) >>",
        text_string(title),
        text_string(description)
    ));
    Ok(file.finished(catalog, info))
}

/// Writes the state of graphics in which everything has an opacity in thousandths.
fn opacity_state(thousandths: u16) -> String {
    let opacity = f32::from(thousandths) / 1000.0;
    format!("/G{thousandths} << /ca {opacity} /CA {opacity} >> ")
}

/// Writes a text as the hexadecimal digits of its UTF-16, behind the mark of the byte order.
fn text_string(text: &str) -> String {
    format!("FEFF{}", hexadecimal(text))
}

/// Writes a text as the hexadecimal digits of its UTF-16.
fn hexadecimal(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("{unit:04X}")).collect()
}

/// Adds a font with the glyphs that are used, and returns the number of its object.
fn add_font(file: &mut PdfFile, font: &UsedFont) -> Result<usize> {
    let subset = font.subset()?;
    let data = file.add_stream(&format!("/Length1 {}", subset.len()), &subset)?;
    let name = font.subset_name();
    let metrics = font.metrics()?;
    let [left, low, right, high] = metrics.bounds;
    let descriptor = file.add(&format!(
        "<< /Type /FontDescriptor /FontName /{name} /Flags 4 /FontBBox [{left} {low} {right} {high}] /ItalicAngle 0 \
         /Ascent {ascent} /Descent {descent} /CapHeight {ascent} /StemV 80 /FontFile2 {data} 0 R >>",
        ascent = metrics.ascent,
        descent = metrics.descent,
    ));
    let mut widths = String::new();
    for glyph in font.glyphs.keys() {
        widths.push_str(&format!("{glyph} [{}] ", font.width(*glyph)?));
    }
    let descendant = file.add(&format!(
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /{name} /CIDToGIDMap /Identity /DW 0 /W [{widths}] \
         /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /FontDescriptor {descriptor} 0 R >>"
    ));
    let map = file.add_stream("", letters(font).as_bytes())?;
    Ok(file.add(&format!(
        "<< /Type /Font /Subtype /Type0 /BaseFont /{name} /Encoding /Identity-H /DescendantFonts [{descendant} 0 R] \
         /ToUnicode {map} 0 R >>"
    )))
}

/// Entries that one block of a map to letters may have.
const BLOCK: usize = 100;

/// Writes the map from glyphs to the letters that they stand for, by which viewers search and copy text.
fn letters(font: &UsedFont) -> String {
    let known: Vec<(&u16, &String)> = font.glyphs.iter().filter(|(_, text)| !text.is_empty()).collect();
    let mut map = String::from(
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n\
         /CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n\
         /CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n\
         1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n",
    );
    for block in known.chunks(BLOCK) {
        map.push_str(&format!("{} beginbfchar\n", block.len()));
        for (glyph, text) in block {
            map.push_str(&format!("<{glyph:04X}> <{}>\n", hexadecimal(text)));
        }
        map.push_str("endbfchar\n");
    }
    map.push_str("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n");
    map
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use crate::report::chart::{Chart, Series};
    use crate::report::draw::lettering::Font;
    use crate::report::palette::{self, Rgb};
    use crate::report::picture::pdf;
    use crate::report::samples;

    /// A file as a reader sees it: the dictionaries of its objects, and what is in its streams.
    struct ReadBack {
        objects: BTreeMap<usize, String>,
        streams: BTreeMap<usize, Vec<u8>>,
    }

    fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
        bytes.windows(wanted.len()).position(|window| window == wanted)
    }

    impl ReadBack {
        fn of(bytes: &[u8]) -> Self {
            assert!(bytes.starts_with(b"%PDF-1.7\n") && bytes.ends_with(b"%%EOF\n"));
            let tail = String::from_utf8_lossy(&bytes[bytes.len() - 64..]).into_owned();
            let start: usize = tail.split("startxref\n").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
            let table = String::from_utf8(bytes[start..].to_vec()).unwrap();
            let entries = table.lines().skip(3).take_while(|line| line.ends_with(" 00000 n "));
            let mut read = Self { objects: BTreeMap::new(), streams: BTreeMap::new() };
            for (at, entry) in entries.enumerate() {
                let offset: usize = entry[..10].parse().unwrap();
                let number = at + 1;
                let begin = format!("{number} 0 obj\n");
                assert!(bytes[offset..].starts_with(begin.as_bytes()), "object {number} is where the table says");
                let body = &bytes[offset + begin.len()..];
                let end = find(body, b"\nendobj\n").unwrap();
                match find(&body[..end], b"\nstream\n") {
                    Some(data) => {
                        let packed = &body[data + b"\nstream\n".len()..];
                        let mut unpacked = Vec::new();
                        flate2::read::ZlibDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
                        read.streams.insert(number, unpacked);
                        read.objects.insert(number, String::from_utf8_lossy(&body[..data]).into_owned());
                    }
                    None => drop(read.objects.insert(number, String::from_utf8_lossy(&body[..end]).into_owned())),
                }
            }
            read
        }

        fn object(&self, with: &str) -> &str {
            self.objects.values().find(|object| object.contains(with)).unwrap_or_else(|| panic!("no {with}"))
        }

        fn text_of(&self, number: usize) -> String {
            String::from_utf8(self.streams[&number].clone()).unwrap()
        }

        fn referred(object: &str, key: &str) -> usize {
            object.split(key).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
        }

        fn page(&self) -> String {
            self.text_of(Self::referred(self.object("/Type /Page "), "/Contents"))
        }

        /// Returns the lines of text on the page, by the maps of their fonts.
        fn texts(&self) -> Vec<String> {
            let page = self.object("/Type /Page ");
            let letters = |font: &str| -> BTreeMap<String, String> {
                let font = &self.objects[&Self::referred(page, &format!("/{font}"))];
                let map = self.text_of(Self::referred(font, "/ToUnicode"));
                let pairs = map.lines().filter_map(|line| line.strip_prefix('<')?.strip_suffix('>')?.split_once("> <"));
                let text = |digits: &str| {
                    let unit = |at: usize| u16::from_str_radix(&digits[at..at + 4], 16).unwrap();
                    let units: Vec<u16> = (0..digits.len()).step_by(4).map(unit).collect();
                    String::from_utf16(&units).unwrap()
                };
                pairs.map(|(glyph, digits)| (glyph.to_string(), text(digits))).collect()
            };
            let content = self.page();
            let lines = content.lines().filter(|line| line.starts_with("BT "));
            let shown = |line: &str| {
                let letters = letters(line.split_whitespace().nth(1).unwrap().trim_start_matches('/'));
                let glyphs = line.split_once('[').unwrap().1.split('<').skip(1);
                let digits: String = glyphs.map(|piece| piece.split('>').next().unwrap()).collect();
                (0..digits.len()).step_by(4).map(|at| letters[&digits[at..at + 4]].clone()).collect()
            };
            lines.map(shown).collect()
        }
    }

    fn chart() -> Chart {
        let series =
            Series { name: "first".into(), x: vec![0.0, 1.0, 2.0], y: vec![1.0, 3.0, 2.0], ..Series::default() };
        let mut chart = Chart::line(vec![series]).titled("Loss and efficiency");
        chart.x.label = "Schritt (α × 10⁻³)".into();
        chart
    }

    #[test]
    fn a_page_has_the_size_of_the_picture_and_its_texts_and_paths() {
        let read = ReadBack::of(&pdf(&chart()).unwrap());
        // 720 by 440 pixels, at 72 points to 96 of them.
        assert!(read.object("/Type /Page ").contains("/MediaBox [0 0 540 330]"));
        let texts = read.texts();
        for text in ["Loss and efficiency", "first", "Schritt (α × 10⁻³)", "2.0"] {
            assert!(texts.iter().any(|found| found == text), "{text}: {texts:?}");
        }
        let page = read.page();
        let Rgb(r, g, b) = palette::series(0);
        let colour = [r, g, b].map(|level| super::content::number(f32::from(level) / 255.0)).join(" ");
        let lines = page.split(&format!("{colour} RG\n18 w")).count();
        assert_eq!(lines, 1, "lines are in pixels, not in tenths of them");
        assert!(page.contains(&format!("{colour} RG\n1.8 w 0 J 1 j\n")) && page.contains(&format!("{colour} rg\n")));
        assert!(read.object("/Title").contains(&super::text_string("Loss and efficiency")));
        assert!(!read.objects.values().any(|object| object.contains("Date")));
    }

    #[test]
    fn fonts_are_embedded_with_their_glyphs_and_little_else() {
        let bytes = pdf(&chart()).unwrap();
        assert!(bytes.len() < 60_000, "{} bytes", bytes.len());
        let read = ReadBack::of(&bytes);
        for name in ["+DejaVuSans ", "+DejaVuSans-Bold "] {
            let descriptor = read.object("/Type /FontDescriptor");
            assert!(descriptor.contains("/Ascent 928") && descriptor.contains("/Descent -236"), "{descriptor}");
            assert!(read.object(&format!("{name}/Encoding /Identity-H")).contains("/ToUnicode"), "{name}");
        }
        let fonts = read.objects.iter().filter(|(_, object)| object.contains("/Length1"));
        for (number, _) in fonts {
            let font = &read.streams[number];
            assert_eq!(super::font::checksum(font), 0xB1B0_AFBA, "the checksum of a font file");
            // What lays out the text of pictures reads the outlines, too.
            let parsed = ab_glyph::FontRef::try_from_slice(font);
            assert!(parsed.is_ok(), "{:?}", parsed.err());
        }
    }

    #[test]
    fn a_page_in_the_serif_has_its_fonts_and_all_letters() {
        let read = ReadBack::of(&pdf(&Chart { font: Font::Serif, ..chart() }).unwrap());
        for name in ["+DejaVuSerif ", "+DejaVuSerif-Bold "] {
            assert!(read.object(&format!("{name}/Encoding /Identity-H")).contains("/ToUnicode"), "{name}");
        }
        assert!(!read.objects.values().any(|object| object.contains("DejaVuSans")));
        let texts = read.texts();
        for text in ["Loss and efficiency", "Schritt (α × 10⁻³)"] {
            assert!(texts.iter().any(|found| found == text), "{text}: {texts:?}");
        }
    }

    #[test]
    fn every_sample_is_a_file_and_the_same_one_every_time() {
        for (name, chart) in samples::all().into_iter().step_by(3) {
            let bytes = pdf(&chart).unwrap();
            assert!(bytes == pdf(&chart).unwrap(), "{name}");
            let read = ReadBack::of(&bytes);
            assert!(!read.page().contains("NaN") && !read.page().contains("inf"), "{name}");
        }
    }
}
