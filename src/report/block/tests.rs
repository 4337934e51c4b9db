//! Drawings of the configs of all families.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ModelPicture;
use super::layout::{self, Marks};
use super::parts::{Input, Step};
use crate::checkpoint::family;
use crate::model::config::Config;
use crate::model::site::Site;
use crate::report::clip::Rectangle;
use crate::report::picture;

/// Returns the config of each fixture of a family, by the name of its folder.
fn configs() -> BTreeMap<String, Config> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(kit::fixture("models")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(path.join("config.json")) else { continue };
        let layout = family::read(&serde_json::from_str(&text).unwrap(), &[]).unwrap();
        found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), layout.config);
    }
    assert!(found.len() > 40, "{}", found.len());
    found
}

#[test]
fn each_site_of_a_layer_is_drawn_once_and_no_other() {
    for (name, config) in configs() {
        let picture = ModelPicture::of(&config);
        let mut drawn: Vec<String> = Vec::new();
        for section in &picture.sections {
            let sites = section.sites();
            if section.layers.is_empty() {
                drawn.extend(sites.iter().map(|site| site.name.to_string()));
            }
            drawn.extend(
                section.layers.iter().flat_map(|layer| sites.iter().map(move |site| format!("{}.{layer}", site.name))),
            );
            let unplaced = section.steps.iter().filter(|step| matches!(step, Step::Other { .. }));
            assert_eq!(unplaced.collect::<Vec<_>>(), Vec::<&Step>::new(), "{name}: these sites have no place in a box");
        }
        let mut expected: Vec<String> = Site::all(&config).iter().map(Site::to_string).collect();
        drawn.sort();
        expected.sort();
        assert_eq!(drawn, expected, "{name}");
    }
}

#[test]
fn a_site_that_no_box_has_is_drawn_beside_the_stream() {
    let config = configs().remove("llama").unwrap();
    let mut picture = ModelPicture::of(&config);
    let kind = crate::model::site::SiteKind::Logits;
    let at = super::parts::SitesAt { config: &config, layer: None };
    picture.sections[1].steps.push(Step::Other { site: at.label(kind), meaning: kind.meaning() });
    let mut marks = Marks::default();
    marks.section(&picture.sections[1], 0.0, 0.0);
    assert!(marks.words.iter().any(|words| words.text == "logits"));
}

#[test]
fn no_two_marks_lie_on_each_other() {
    for (name, config) in configs() {
        for section in ModelPicture::of(&config).sections {
            let mut marks = Marks::default();
            let bottom = marks.section(&section, 0.0, 0.0);
            let whole = Rectangle { left: 0.0, top: 0.0, right: layout::width(&section), bottom };
            apart(&marks.boxes, &format!("{name}: boxes"));
            apart(&marks.plates, &format!("{name}: sites"));
            let words: Vec<Rectangle> = marks.words.iter().map(layout::Words::frame).collect();
            apart(&words, &format!("{name}: words"));
            for frame in marks.boxes.iter().chain(&marks.plates).chain(&words) {
                assert!(
                    whole.contains((frame.left, frame.top)) && whole.contains((frame.right, frame.bottom)),
                    "{name}"
                );
            }
            for frame in &words {
                let of = marks.boxes.iter().chain(&marks.plates).filter(|other| is_over(frame, other));
                for other in of {
                    assert!(other.left <= frame.left && frame.right <= other.right, "{name}: {frame:?} in {other:?}");
                }
            }
            for at in &marks.down {
                let ends = |frame: &Rectangle| frame.top == at.1 && frame.left < at.0 && at.0 < frame.right;
                assert!(marks.boxes.iter().any(ends), "{name}: the arrow at {at:?} ends at no box");
            }
            // A line ends at a box, at the ground of a site, at the stream, or where another line goes on.
            for line in &marks.lines {
                let end = line[line.len() - 1];
                let is_end =
                    |frame: &Rectangle| frame.left < end.0 && end.0 < frame.right && (frame.top - end.1).abs() < 4.0;
                let is_met = marks.boxes.iter().chain(&marks.plates).any(is_end)
                    || marks.streams[0][0].0 == end.0
                    || marks.lines.iter().any(|other| other != line && (other[0] == end || other.contains(&end)));
                assert!(is_met, "{name}: the line to {end:?} ends nowhere");
            }
            // A line may begin and end at a box, and passes none.
            for line in &marks.lines {
                for pair in line.windows(2) {
                    for frame in &marks.boxes {
                        let inner = Rectangle {
                            left: frame.left + 0.5,
                            right: frame.right - 0.5,
                            top: frame.top + 0.5,
                            bottom: frame.bottom - 0.5,
                        };
                        assert!(inner.segment(pair[0], pair[1]).is_none(), "{name}: {pair:?} through {frame:?}");
                    }
                }
            }
        }
    }
}

fn is_over(a: &Rectangle, b: &Rectangle) -> bool {
    a.left < b.right - 0.01 && b.left < a.right - 0.01 && a.top < b.bottom - 0.01 && b.top < a.bottom - 0.01
}

fn apart(frames: &[Rectangle], what: &str) {
    for (i, a) in frames.iter().enumerate() {
        for b in &frames[..i] {
            assert!(!is_over(a, b), "{what}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn boxes_read_what_is_above_them() {
    for (name, config) in configs() {
        for section in ModelPicture::of(&config).sections {
            for step in section.steps {
                let Step::Segment(segment) = step else { continue };
                let mut read = vec![false; segment.parts.len()];
                segment.added.iter().for_each(|part| read[*part] = true);
                for part in &segment.parts {
                    for input in &part.inputs {
                        if let Input::Part(from) = input {
                            read[*from] = true;
                            assert!(segment.parts[*from].row < part.row, "{name}: {}", part.name);
                        }
                    }
                }
                let is_end = segment.added.is_empty();
                let unread = read.iter().filter(|read| !**read).count();
                assert_eq!(unread, usize::from(is_end), "{name}: all but the logits are read");
            }
        }
    }
}

/// The rule in the page of blocks behind which all is written by the test below.
const MARK: &str = "***\n";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Returns the files of the page of blocks below the pages' folder: its pictures, and itself. Families whose drawings are the
/// same share one.
fn page(before: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut page = before.to_string();
    let mut shared: Vec<(ModelPicture, Vec<String>)> = Vec::new();
    for (name, config) in configs() {
        let own = ModelPicture::of(&config);
        match shared.iter_mut().find(|(known, _)| known.sections == own.sections) {
            Some((_, names)) => names.push(name),
            None => shared.push((own, vec![name])),
        }
    }
    for (drawing, names) in &shared {
        let path = format!("pictures/blocks/{}.svg", names[0]);
        let name = names.join(", ");
        page.push_str(&format!("\n## {name}\n\n![The blocks of {name} with their sites]({path})\n"));
        files.insert(path, picture::svg(drawing).unwrap());
    }
    files.insert("blocks.md".into(), page);
    files
}

/// Compares the page and its pictures with what is drawn; `MICROTOME_WRITE=1 cargo test --lib the_page_of_blocks` writes them
/// anew.
#[test]
fn the_page_of_blocks_shows_what_is_drawn() {
    let shown = std::fs::read_to_string(docs().join("blocks.md")).unwrap();
    let before = &shown[..shown.find(MARK).unwrap() + MARK.len()];
    let is_written = std::env::var_os("MICROTOME_WRITE").is_some();
    for (name, content) in page(before) {
        let path = docs().join(name);
        if is_written {
            kit::write(&path, &content);
        }
        assert!(std::fs::read_to_string(&path).is_ok_and(|old| old == content), "{} is stale", path.display());
        assert!(content.len() < 70_000, "{}: {} bytes", path.display(), content.len());
    }
    let Some(folder) = std::env::var_os("MICROTOME_PICTURES") else { return };
    for (name, config) in configs() {
        let path = Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(path, picture::png(&ModelPicture::of(&config)).unwrap()).unwrap();
    }
}
