//! The cost of script closures that are called at every site and do nothing.

use std::cell::RefCell;

use super::RUNS;
use super::common::turns::Turns;
use super::common::{Rows, anywhere, eval, in_session, milliseconds};

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
    let found = in_session(&anywhere(), |session| {
        eval(session, PREPARE);
        let session = RefCell::new(session);
        let mut plain = || eval(&mut session.borrow_mut(), "m.run(ids, #{ sites: sites });");
        let mut hooked = || eval(&mut session.borrow_mut(), "m.run(ids, #{ sites: sites, hooks: nothing });");
        Turns::alone().timed_beside(&[], RUNS, &mut plain, &mut hooked)
    });
    rows.push((
        "a script that records at all those sites, with a closure at each that does nothing".into(),
        milliseconds(found.ours()),
    ));
    rows.push(("the same without closures".into(), found.against_other()));
}
