//! Tests that a dashboard is written, goes on where it was interrupted, is replaced by another one, and spares what is
//! not its own.

use std::path::Path;

use super::*;
use crate::base::files::Files;
use crate::base::{Kind, Task};
use crate::data::Text;
use crate::data::text::TextOptions;
use crate::features::card::CardOptions;
use crate::features::dashboard::DashboardOptions;
use crate::features::heads::{HeadCard, HeadScores};
use crate::features::{Dashboard, FeatureCard, HeadCards};
use crate::samples::{dictionary_of, model};

/// Number of features, more than one block of cards has.
const FEATURES: usize = 600;

fn dashboard(top: usize) -> Dashboard {
    let documents =
        (0..40).map(|i| (0..9).map(|j| char::from(b'a' + ((i * 7 + j * j) % 26) as u8)).collect()).collect();
    let text = Text::given(documents, TextOptions::default()).unwrap();
    let card = CardOptions { top, ..CardOptions::default() };
    let options = DashboardOptions { card, ..DashboardOptions::default() };
    let saes = vec![dictionary_of(FEATURES, "resid_post.1", 0)];
    Dashboard::of(&model(), saes, &text, None, &options, &Task::default()).unwrap()
}

fn files(folder: &Path) -> Files {
    Files::unrecorded(folder).unwrap()
}

fn there(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[test]
fn every_feature_has_a_line_and_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Path::new("pages");
    let written = write(&dashboard(3), &[], None, dir, &files(folder.path()), &Task::default()).unwrap();
    assert_eq!((written.made, written.kept), (FEATURES, 0));
    let found = there(&folder.path().join(dir));
    let [mark, data, page] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((mark.as_str(), page.as_str(), data.len()), ("dashboard.json", "index.html", 21));
    let data = folder.path().join(dir).join(data);
    let lines = std::fs::read_to_string(data.join("index/0.js")).unwrap();
    assert_eq!(lines.matches("],[").count(), FEATURES - 1);
    for feature in 0..FEATURES {
        let card = std::fs::read_to_string(data.join(format!("cards/0/0/{feature}.js"))).unwrap();
        assert!(card.starts_with(&format!("microtome(\"card\", \"0/{feature}\", {{")), "{}", &card[..60]);
        assert!(card.contains("It is not active in this text.") || card.contains("\"strongest\""));
    }
    assert_eq!(there(&data.join("words/0")), ["0.js", "1.js", "2.js"]);
    let about = std::fs::read_to_string(data.join("about.js")).unwrap();
    assert!(about.contains("\"made\":600,\"chunks\":1,\"words\":[\"0/0\",\"0/1\",\"0/2\"]"), "{about}");
}

#[test]
fn heads_come_to_a_dashboard_that_is_there_and_no_card_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let task = Task::default();
    let dir = Path::new("pages");
    let found = dashboard(1);
    let written = write(&found, &[], None, dir, &files(folder.path()), &task).unwrap();
    let data = written.page.with_file_name(format!("data-{}", &found.key().unwrap()[..16]));
    let about = || std::fs::read_to_string(data.join("about.js")).unwrap();
    assert!(about().contains("\"heads\":null") && !data.join("heads").exists());
    let card = FeatureCard { title: "head 2.1".into(), ..FeatureCard::default() };
    let scores = HeadScores { induction: 0.25, ablation: f64::NAN, ..HeadScores::default() };
    let cards = vec![HeadCard { layer: 2, head: 1, scores, card }];
    let heads = HeadCards { title: "heads".into(), layers: 3, heads: 2, cards };
    let again = write(&found, &[], Some(&heads), dir, &files(folder.path()), &task).unwrap();
    assert_eq!((again.made, again.kept), (0, FEATURES));
    assert!(about().contains("\"rows\":[[2,1,[0.0,0.0,0.25,0.0,0.0,null]]]"), "{}", about());
    let card = std::fs::read_to_string(data.join("heads/2-1.js")).unwrap();
    assert!(card.starts_with("microtome(\"head\", \"2-1\", {") && card.contains("\"title\":\"head 2.1\""), "{card}");
    // All that a notebook shows is in one page.
    let page = single_page(dir, &files(folder.path()), &task).unwrap().unwrap();
    assert!(page.contains("microtome(\"head\", \"2-1\", {"));
}

#[test]
fn an_interrupted_one_keeps_what_is_complete_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let found = dashboard(3);
    let dir = Path::new("pages");
    // As if it had been stopped in the second block: its cards are there, and the file that follows them is not.
    let complete = write(&found, &[], None, dir, &files(folder.path()), &Task::default()).unwrap();
    let data = complete.page.with_file_name(format!("data-{}", &found.key().unwrap()[..16]));
    for block in [1, 2] {
        std::fs::remove_file(data.join(format!("words/0/{block}.js"))).unwrap();
    }
    let kept = data.join("cards/0/0/17.js");
    std::fs::write(&kept, "as it was").unwrap();
    let task = Task::default();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    let error = write(&found, &[], None, dir, &files(folder.path()), &task).unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
    task.flag().store(false, std::sync::atomic::Ordering::Relaxed);
    let again = write(&found, &[], None, dir, &files(folder.path()), &task).unwrap();
    assert_eq!((again.made, again.kept), (FEATURES - 256, 256));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "as it was");
}

#[test]
fn a_folder_of_somebody_else_beside_the_data_stays() {
    let folder = tempfile::tempdir().unwrap();
    let dir = Path::new("pages");
    let task = Task::default();
    write(&dashboard(1), &[], None, dir, &files(folder.path()), &task).unwrap();
    let own = folder.path().join("pages/data-notes/a.txt");
    std::fs::create_dir(own.parent().unwrap()).unwrap();
    std::fs::write(&own, "mine").unwrap();
    write(&dashboard(2), &[], None, dir, &files(folder.path()), &task).unwrap();
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "mine");
    let entries = std::fs::read_dir(folder.path().join("pages")).unwrap().flatten();
    let data = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("data-"));
    assert_eq!(data.count(), 2);
}

#[test]
fn an_interruption_says_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let found = dashboard(3);
    let dir = Path::new("pages");
    let task = Task::default();
    let flag = task.flag().clone();
    let raiser = folder.path().join("pages");
    // Raised as soon as the first block is complete.
    let raised = std::thread::spawn(move || {
        let is_there = || {
            let data = std::fs::read_dir(&raiser)
                .ok()?
                .flatten()
                .find(|e| e.file_name().to_string_lossy().starts_with("data-"))?;
            data.path().join("words/0/0.js").exists().then_some(())
        };
        while is_there().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let error = write(&found, &[], None, dir, &files(folder.path()), &task).unwrap_err();
    raised.join().unwrap();
    let hint = error.hint.unwrap();
    assert!(hint.contains("of 600 cards are complete in pages; the same call goes on"), "{hint}");
    let there: usize = hint.split(' ').next().unwrap().parse().unwrap();
    task.flag().store(false, std::sync::atomic::Ordering::Relaxed);
    let again = write(&found, &[], None, dir, &files(folder.path()), &task).unwrap();
    assert_eq!((again.kept, again.made), (there, FEATURES - there));
}

#[test]
fn another_dashboard_takes_its_place_and_a_foreign_folder_is_spared() {
    let folder = tempfile::tempdir().unwrap();
    let task = Task::default();
    let dir = Path::new("pages");
    write(&dashboard(3), &[], None, dir, &files(folder.path()), &task).unwrap();
    write(&dashboard(2), &[], None, dir, &files(folder.path()), &task).unwrap();
    assert_eq!(there(&folder.path().join(dir)).len(), 3, "the data of the first is gone");

    let foreign = folder.path().join("mine");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "years").unwrap();
    let refused = |dir: &Path| write(&dashboard(2), &[], None, dir, &files(folder.path()), &task).unwrap_err();
    let error = refused(Path::new("mine"));
    assert!(error.message.ends_with("found mine with thesis.tex"), "{}", error.message);
    assert_eq!(error.about.as_deref(), Some("dir"));
    assert_eq!(there(&foreign), ["thesis.tex"]);
    // Nor is one whose mark is another program's.
    std::fs::write(foreign.join("dashboard.json"), "{\"made by\": \"another\"}").unwrap();
    refused(Path::new("mine"));
    assert_eq!(there(&foreign).len(), 2);
}
