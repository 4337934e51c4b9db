use super::runs::Runs;
use super::{all, counts, marks, ranges, root, session, speed};
use crate::support::{microtome, printed};

/// What the code and the files of benchmarks know stands in the pages as it is.
#[test]
fn figures_of_the_pages_are_those_that_are_computed() {
    let pages = all(&Runs::default()).unwrap();
    let differences: Vec<String> = pages.iter().flat_map(|page| page.differences.clone()).collect();
    assert!(differences.is_empty(), "`cargo run --example figures -- write`\n{}", differences.join("\n"));
    let readme =
        pages.iter().find(|page| page.path.ends_with("README.md") && page.path.components().count() == 1).unwrap();
    for key in
        ["count families", "count kinds", "count tasks", "count known circuits", "count experiments", "speed README"]
    {
        assert!(readme.shown.contains(&format!("<!-- {key} -->")), "README.md no longer has {key}");
    }
}

#[test]
fn a_figure_that_is_not_the_computed_one_is_seen() {
    let page = "We have <!-- count tasks -->nine<!-- / --> of them.\n\n<!-- speed README -->\n| a |\n<!-- / -->\n";
    let of = |key: &str, _: &str| match key {
        "count tasks" => counts::of("tasks"),
        _ => speed::table("README"),
    };
    let computed = marks::of_page(page, of).unwrap();
    assert!(
        computed.starts_with("We have <!-- count tasks -->seven<!-- / --> of them.\n\n<!-- speed README -->\n| what |")
    );
    assert!(computed.ends_with(" |\n<!-- / -->\n") && !computed.contains('{'), "{computed}");
    let empty = "<!-- checks lorsa -->\n<!-- / -->\n";
    assert_eq!(marks::of_page(empty, |_, shown| Ok(shown.into())).unwrap(), empty);
    assert!(marks::of_page("<!-- count tasks -->seven", of).is_err());
    assert!(marks::of_page("<!-- a -->1 <!-- b -->2<!-- / -->", |_, _| Ok(String::new())).is_err());
    assert!(counts::of("nothing").is_err() && speed::table("nothing").is_err());
}

#[test]
fn probabilities_in_comments_of_the_session_are_read() {
    let one = session::stated("m.predict(text, 5) // the most likely next tokens: \")\" with 0.95").unwrap();
    let answer = " token   id  probability  logit\n )        9      0.94839  12.62\n ,       12      0.00976   8.04\n";
    assert_eq!((one.token.as_str(), one.found(answer)), (")", Some(0.95)));
    assert!(one.holds(0.95) && !one.holds(0.94));
    let range = session::stated("f // \")\" with 0.1 to 0.3 over seeds 0 to 9").unwrap();
    assert!(range.holds(0.2) && !range.holds(0.4) && range.last_seed == Some(9));
    assert_eq!(session::stated("f // its card"), None);
    assert_eq!(session::stated("f // \")\" with 0.1 to 0.3"), None);
}

#[test]
fn sentences_of_seeds_become_one_with_ranges() {
    let merged = |a: &str, b: &str| ranges::merged(&[a, b]);
    assert_eq!(merged("it is 0.9, by 2.0", "it is 0.85, by 2.0").unwrap(), "it is 0.85 to 0.9, by 2.0");
    assert_eq!(merged("they keep 0.8 to 0.9.", "they keep 0.7 to 0.85.").unwrap(), "they keep 0.7 to 0.9.");
    assert_eq!(merged("(n is -3, of [1, 5])", "(n is 2, of [1, 6])").unwrap(), "(n is -3 to 2, of [1, 5 to 6])");
    assert_eq!(merged("mlp_in.5/12 has 1", "mlp_in.5/13 has 1"), None);
    assert_eq!(merged("a", "a b"), None);
    assert!(
        ranges::is_within("it is 0.9", "it is 0.85 to 0.9") && !ranges::is_within("it is 0.91", "it is 0.85 to 0.9")
    );
    assert_eq!(ranges::at("cosine #", &["accuracy 1", "the cosine 0.99, found"]).unwrap(), "0.99");
    assert_eq!(ranges::at("# of", &["all", "is 3 of"]), None);
    assert_eq!(ranges::at("is # of", &["all", "is 3 of"]).unwrap(), "3");
}

/// Two seeds of two small experiments, in a folder of records: what they say, and a figure that was changed by hand.
#[test]
fn figures_of_runs_are_ranges_over_seeds_and_changed_ones_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("all");
    let mut command = microtome(root());
    command.arg("--out").arg(folder.path()).args(["run", "scripts/all.rhai"]);
    printed(command.args(["--only", "das", "--seeds", "0,1", "--control", "true"]));
    let both = Runs::read(&out).unwrap();
    let block = both.checks("das", "").unwrap().unwrap();
    assert!(
        block.starts_with("Seeds 0 and 1:\n- the planted subspace is found: cosine ") && block.lines().count() == 4,
        "{block}"
    );
    let table = both.summary("| experiment | seed 0 | seed 1 | control |\n|---|---|---|---|\n| das | 1 of 3 ! | none | none |\n| other | 2 of 2 | none | none |").unwrap();
    assert!(table.ends_with("| das | 3 of 3 | 3 of 3 | 0 of 3 |\n| other | 2 of 2 | none | none |"), "{table}");
    assert!(both.figure("das: cosine #", "?").unwrap().is_some() && both.figure("das: no such words #", "?").is_err());
    assert!(both.checks("no_such_experiment", "").is_err());
    assert_eq!(both.checks("superposition", "").unwrap(), None);

    // One seed alone has to be within what is said of both.
    std::fs::create_dir_all(out.join("on/other/das")).unwrap();
    std::fs::rename(out.join("das/seed-1"), out.join("on/other/das/seed-1")).unwrap();
    let one = Runs::read(&out).unwrap();
    let shown = "| head |\n|---|\n| das | what was shown |\n| pronoun | stays |";
    let table = one.on("other", shown).unwrap().unwrap();
    let row = table.lines().find(|line| line.starts_with("| das |")).unwrap();
    assert!(row.contains("<br>the planted subspace is found") && row.contains("| Seed 1:<br>"), "{table}");
    assert!(table.ends_with("| pronoun | stays |") && table.lines().count() == 4, "{table}");
    assert_eq!(one.on("another", shown).unwrap(), None);
    assert!(one.checks("other/das", "").unwrap().unwrap().starts_with("Seed 1:\n- the planted subspace"));
    assert_eq!(one.checks("another/das", "").unwrap(), None);
    assert_eq!(one.checks("das", &block).unwrap().unwrap(), block);
    let changed = block.replacen("cosine 0", "cosine 7", 1).replacen("cosine 1", "cosine 7", 1);
    assert!(one.checks("das", &changed).unwrap().unwrap().starts_with("Seed 0:\n"));

    // Runs that were told something stand beside those that were not.
    let place = out.join("with/k=1/das/seed-0/das");
    std::fs::create_dir_all(&place).unwrap();
    for file in ["run.json", "told.json"] {
        let text = std::fs::read_to_string(out.join("das/seed-0/das").join(file)).unwrap();
        std::fs::write(place.join(file), text.replacen("\"arguments\": {}", "\"arguments\": {\"k\": \"1\"}", 1))
            .unwrap();
    }
    let with = Runs::read(&out).unwrap();
    assert!(with.checks("das --k 1", "").unwrap().unwrap().starts_with("Seed 0:\n"));
    assert_eq!(with.checks("das --k 2", "").unwrap(), None);
    let table = with.summary("| experiment | seed 0 |\n|---|---|\n| das | ? |").unwrap();
    assert!(table.ends_with("| das | 3 of 3 |\n| das --k 1 | 3 of 3 |"), "{table}");

    // A table that was printed ends where other lines begin.
    let told = out.join("das/seed-0/das/told.json");
    let mut changed: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&told).unwrap()).unwrap();
    changed["printed"] = "before\nA table\n a  b \n──────\n 1  2\ncheck holds: it is\n".into();
    std::fs::write(&told, changed.to_string()).unwrap();
    let printed = Runs::read(&out).unwrap();
    let table = printed.printed("das: A table").unwrap().unwrap();
    assert_eq!(table, "Seed 0:\n\n```\nA table\n a  b\n──────\n 1  2\n```");
    assert!(
        printed.printed("das: Another table").is_err() && printed.printed("superposition: A table").unwrap().is_none()
    );

    // A record of another script is none of this one.
    let record = out.join("das/seed-0/das/run.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("let d_model = 12", "let d_model = 13", 1)).unwrap();
    let none = Runs::read(&out).unwrap();
    assert!(none.checks("das", &block).unwrap().is_none() && none.stale()[0].contains("was changed"));
}
