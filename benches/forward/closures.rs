//! The cost of script closures that are called at every site and do nothing.

use super::common::{Rows, anywhere, eval, in_session, milliseconds, timed};
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
    let (plain, hooked) = in_session(&anywhere(), |session| {
        eval(session, PREPARE);
        let plain = timed(|| eval(session, "m.run(ids, #{ sites: sites });"), RUNS);
        (plain, timed(|| eval(session, "m.run(ids, #{ sites: sites, hooks: nothing });"), RUNS))
    });
    rows.push(("a script that records at all those sites".into(), milliseconds(plain)));
    let more = 100.0 * (ratio(hooked, plain) - 1.0);
    rows.push((
        "the same with a closure at each that does nothing".into(),
        format!("{} ({more:+.1} %)", milliseconds(hooked)),
    ));
}
