//! The cost of script closures that are called at every site and do nothing.

use microtome::script::Session;
use microtome::script::engine::env::Env;

use super::common::{Rows, milliseconds, timed};
use super::{RUNS, ratio};

const PREPARE: &str = r#"
    let m = model::init(#{ layers: 6, d_model: 512, heads: 8, vocab: 50304, context: 2048 });
    let ids = [];
    for text in 0..16 {
        let row = [];
        for column in 0..128 { row.push((text * 7919 + column * 104729) % 50000); }
        ids.push(row);
    }
    let sites = ["embed", "final_norm_scale", "final_norm"];
    for kind in ["resid_pre", "norm_scale", "attn_in", "q", "k", "v", "scores", "pattern", "z", "attn_out",
                 "mlp_norm_scale", "mlp_in", "mlp_pre", "mlp_hidden", "mlp_out", "resid_post"] {
        sites.push(kind + ".*");
    }
    let nothing = sites.map(|site| hooks::edit(site, |x| {}));
"#;

pub fn rows(rows: &mut Rows) {
    let measured = microtome::script::engine::thread::with_large_stack(|| {
        let mut session = Session::new(Env::in_memory(&std::env::temp_dir().join("microtome-bench")).unwrap());
        let mut run = |code: &str| drop(session.eval("bench", code).unwrap());
        run(PREPARE);
        let plain = timed(|| run("m.run(ids, #{ sites: sites });"), RUNS);
        (plain, timed(|| run("m.run(ids, #{ sites: sites, hooks: nothing });"), RUNS))
    });
    let (plain, hooked) = measured.unwrap();
    rows.push(("a script that records at all those sites".into(), milliseconds(plain)));
    let more = 100.0 * (ratio(hooked, plain) - 1.0);
    rows.push((
        "the same with a closure at each that does nothing".into(),
        format!("{} ({more:+.1} %)", milliseconds(hooked)),
    ));
}
