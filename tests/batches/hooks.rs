//! Every family, site and hook.

use super::{BatchCall, BatchFindings, CombinationRule, is_all};
use crate::families::files::{FAMILIES, files, fixture, load};
use crate::support;
use microtome::checkpoint::load::LoadSettings;
use microtome::model::site::{Heads, Site, SiteKind};

/// Rounding in f32 is 6e-8 of a number; texts beside others are multiplied in other tiles, and in three layers that adds up to a
/// few hundred of it, more where a hook makes what it acts on large. In f64 it is 2^29 times less.
const IN_F32: f64 = 3e-5;
const IN_F64: f64 = 1e-10;

/// One case in so many of the product of families, sites and hooks is tried; more at scores and patterns, whose keys are
/// padded, too.
const SAMPLED: usize = 61;
const SQUARE: usize = 3;

/// Three texts, and what is recorded of them; others of the same lengths; and what belongs to each text.
const BEGIN: &str = "
    let x = [[17, 4, 201, 33, 250, 8, 77, 140, 5], [90, 3, 60], [31, 115, 9, 226, 54, 2]];
    let other = |x| x.map(|text| text.map(|id| (id * 7 + 11) % 320));
    let many = [[11, 22, 33, 44, 55], [66, 77, 88, 99, 101]];
    let cut = |y, x| x.map(|text, i| y[i][0..text.len]);
    let square = |y, x| x.map(|text, i| {
        let own = 0..text.len;
        let all = y[i][[\":\", own]];
        [y[i][[\":\", own, own]], all.sum(-1)]
    });
    let keys = |y, x| x.map(|text, i| { let own = 0..text.len; y[i][[\":\", own, own]] });
";

/// A hook at `SITE`, whose positions are the axis `AXIS`, of scores and patterns that of the keys; `LAST` is the last of them.
struct Hook {
    kind: &'static str,
    code: &'static str,
    wants: fn(Heads) -> bool,
}

const fn anywhere(kind: &'static str, code: &'static str) -> Hook {
    Hook { kind, code, wants: |_| true }
}

/// Not at scores and patterns, which have a square for each head.
const fn but_at_squares(kind: &'static str, code: &'static str) -> Hook {
    Hook { kind, code, wants: |heads| heads != Heads::Square }
}

const HOOKS: &[Hook] = &[
    anywhere("zero", "hooks::zero(\"SITE\")"),
    anywhere("scale", "hooks::scale(\"SITE\", -1.5)"),
    Hook {
        kind: "scale heads",
        code: "hooks::scale(\"SITE\", 3, #{ heads: [0] })",
        wants: |heads| heads != Heads::None,
    },
    anywhere("add", "hooks::add(\"SITE\", 0.7)"),
    anywhere("add at positions", "hooks::add(\"SITE\", 0.7, #{ pos: [0, -1] })"),
    anywhere("patch with a value", "hooks::patch(\"SITE\", 0.3)"),
    anywhere("patch from a run", "hooks::patch(\"SITE\", m.cache(other.call(x), \"SITE\"))"),
    anywhere(
        "patch from a run at positions",
        "hooks::patch(\"SITE\", m.cache(other.call(x), \"SITE\"), #{ pos: [1, 0] })",
    ),
    but_at_squares(
        "patch with what was recorded",
        "hooks::patch(\"SITE\", m.cache(other.call(x), \"SITE\", #{ pos: [-1] })[\"SITE\"], #{ pos: [-1] })",
    ),
    but_at_squares("mean", "hooks::mean(\"SITE\", m.cache(many, \"SITE\"))"),
    but_at_squares(
        "project out",
        "hooks::project_out(\"SITE\", tensor::arange(m.cache([1], \"SITE\")[\"SITE\"].shape[-1]).to(\"f64\") + 1)",
    ),
    anywhere("edit", "hooks::edit(\"SITE\", |v| v * 2 + 0.1)"),
    // States carry on what was added to them, so that it may not grow with them.
    anywhere(
        "edit that mixes positions",
        "hooks::edit(\"SITE\", |v| v * 0.5 + (v.max(AXIS) + v.mean(AXIS)).unsqueeze(AXIS) * 0.4)",
    ),
    anywhere(
        "edit of the last position",
        "hooks::edit(\"SITE\", |v, at| { let last = v[[LAST]]; v * (last.unsqueeze(AXIS) * 2 + 1) + at.lengths[0] + at.pos[1] })",
    ),
    anywhere("edit at positions", "hooks::edit(\"SITE\", |v| v * 2 + v.mean(-1).unsqueeze(-1), #{ pos: [-1, 0] })"),
];

/// The sites at which a family is compared: of each kind one layer that has it, or all.
fn sites(family: usize, all: &[Site]) -> Vec<Site> {
    if is_all() {
        return all.to_vec();
    }
    SiteKind::all()
        .filter_map(|kind| {
            let layers: Vec<Site> = all.iter().copied().filter(|site| site.kind == kind).collect();
            (!layers.is_empty()).then(|| layers[family % layers.len()])
        })
        .collect()
}

#[test]
fn every_hook_at_every_site_of_every_family() {
    support::on_large_stack(|| {
        let mut found = BatchFindings::default();
        let mut number = 0;
        for (at, family) in FAMILIES.iter().enumerate() {
            let all = Site::all(load(&files(), &fixture(family), &LoadSettings::default()).config());
            let dtypes: &[(&str, f64)] = &[("f32", IN_F32), ("f64", IN_F64)];
            for (dtype, most) in &dtypes[..if is_all() { 2 } else { 1 }] {
                let (_folder, mut session) = support::alone();
                let load = format!("let m = model::load({:?}, #{{ dtype: \"{dtype}\" }});", fixture(family));
                let _nothing =
                    session.eval("batches", &(load + BEGIN)).unwrap_or_else(|e| panic!("{family}: {}", e.message));
                for site in sites(at, &all) {
                    let heads = site.kind.heads();
                    for hook in HOOKS.iter().filter(|hook| (hook.wants)(heads)) {
                        number += 1;
                        let one_in = if heads == Heads::Square { SQUARE } else { SAMPLED };
                        if !is_all() && number % one_in != 0 {
                            continue;
                        }
                        let own = match (site.kind, heads) {
                            (SiteKind::Pattern, _) => "square.call(run[\"SITE\"], x)",
                            (_, Heads::Square) => "keys.call(run[\"SITE\"], x)",
                            _ => "cut.call(run[\"SITE\"], x)",
                        };
                        let code = format!(
                            "|x| {{ let run = m.run(x, #{{ sites: [\"SITE\"], hooks: {} }}); let own = {own};
                            cut.call(run.logits, x).map(|logits, i| [logits, own[i]]) }}",
                            hook.code
                        );
                        let (axis, last) = match heads {
                            Heads::Square => ("3", "\":\", \":\", \":\", -1"),
                            _ => ("1", "\":\", -1"),
                        };
                        let code = code.replace("SITE", &site.to_string()).replace("AXIS", axis).replace("LAST", last);
                        let call = BatchCall { group: hook.kind, joined: CombinationRule::Each, code: &code };
                        found.compare(&mut session, &format!("{family} in {dtype}"), &call, *most);
                    }
                }
            }
        }
        found.judged();
    });
}
