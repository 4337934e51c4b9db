//! Tests of how models, and what they give back, are shown.

use crate::script::Session;
use crate::script::engine::thread::with_large_stack;

const MODEL: &str = "let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: 3, context: 8 }, \
                     #{ words: [\"<s>\", \"the\", \"cat\"], bos: \"<s>\" });";

/// Collects what `show` prints of each, without the spaces at the ends of lines.
fn shown(codes: &'static [&'static str]) -> Vec<String> {
    let shown = move || {
        let mut session = Session::for_tests();
        let _nothing = session.eval("model", MODEL).unwrap();
        let show = |code: &&str| {
            let _nothing = session.eval("line", &format!("show({code})")).unwrap();
            let printed = session.env().console.take();
            printed.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>()
        };
        codes.iter().map(show).collect::<Vec<_>>()
    };
    with_large_stack(shown).unwrap()
}

#[test]
fn tokens_show_what_was_added() {
    let [plain, marked] = &shown(&["m.tokens(\"the cat\")", "m.tokens(\"the cat\", #{ bos: true })"])[..] else {
        panic!()
    };
    assert!(!plain.contains("added") && plain.contains("\" cat\""), "{plain}");
    let marks: Vec<&str> = marked.lines().filter(|line| line.contains("added")).collect();
    assert!(marks.len() == 1 && marks[0].contains("\" <s>\""), "{marked}");
}

#[test]
fn layers_that_are_alike_share_a_row() {
    let [seen] = &shown(&["model::init(#{ layers: 3, d_model: 8, heads: 2, vocab: 3 })\
         .cache([1, 2], [\"z.*.1\", \"embed\", \"v.0\", \"v.2\"])"])[..]
    else {
        panic!()
    };
    let sites: Vec<&str> = seen.lines().filter_map(|line| line.strip_prefix(' ')?.split(' ').next()).collect();
    assert_eq!(sites, ["site", "embed", "v.0", "z.0-2.1", "v.2"]);
}

#[test]
fn every_result_says_what_it_is() {
    let all = shown(&[
        "m",
        "m.run(\"the cat\", #{ sites: \"resid_post.0\" })",
        "m.cache([\"the\", \"cat\"], \"mlp_out.0\")",
        "m.grads(\"the cat\", |logits| logits.sum(), \"embed\")",
        "m.lens(\"the cat\")",
        "m.attribution(\"the cat\", \" cat\")",
        "m.compare(m.run(\"the\"), m.run(\"cat\"))",
        "hooks::zero(\"embed\")",
    ]);
    let wanted = [
        &["microtome model", "made here", "Tokenizer of 3 tokens", "d_model"][..],
        &["run of 1 text, 1 site recorded", "resid_post.0", "[1, 2, 8]"],
        &["cache of 1 site, 2 texts", "mlp_out.0", "[2, 1, 8]"],
        &["gradients at 1 site, 1 text", "embed"],
        &["logit lens", "resid_post.0"],
        &["direct attribution of the logit of `␣cat`", "mlp_out.0", "rest"],
        &["two runs, a and b", "first site that differs", "embed"],
        &["zero at embed"],
    ];
    assert_eq!(all.len(), wanted.len());
    for (text, parts) in all.iter().zip(wanted) {
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
