//! The line that a check is told in, and the spots that are tried.

use super::*;
use crate::fixtures::config;
use crate::model::site::{Place, Site, SiteKind};

fn checked(wrong: Option<Wrong>) -> Checked {
    let explained = ExplainedVariance { fve: 0.912, l0: 67.6 };
    Checked { place: "resid_post.12".into(), is_stated: true, explained, l0: Some(71.0), wrong }
}

#[test]
fn one_line_says_whether_it_fits_or_what_is_wrong() {
    let with = ExplainedVariance { fve: 0.904, l0: 3.25 };
    let line = |wrong| checked(Some(wrong)).to_string();
    assert_eq!(checked(None).to_string(), "fits resid_post.12: FVE .91, L0 68 of 71");
    let unstated = Checked { l0: None, is_stated: false, ..checked(None) };
    assert_eq!(unstated.to_string(), "says no site; fits resid_post.12 best: FVE .91, L0 68");
    let start = "does not fit resid_post.12: FVE .91, L0 68 of 71; ";
    let site = line(Wrong::Site { place: "resid_post.11".into(), with });
    assert_eq!(site, format!("{start}it fits resid_post.11: FVE .90, L0 3.2"));
    let scale = line(Wrong::Scale { factor: 0.03125, convention: Some("for a mean square norm of 1"), with });
    assert_eq!(scale, format!("{start}it fits inputs times 0.0312 (for a mean square norm of 1): FVE .90, L0 3.2"));
    let top_k = line(Wrong::TopK { k: 32, with });
    assert_eq!(top_k, format!("{start}it fits as TopK with k 32: FVE .90, L0 3.2"));
    assert_eq!(
        line(Wrong::First { is_bos: true, fve: -41.257 }),
        "fits resid_post.12 but for the BOS token: FVE .91 without it, -41.26 with it, L0 68 of 71"
    );
    assert_eq!(line(Wrong::Unknown), format!("{start}no other site, scale or top-k explains more"));
    let fits = |wrong| checked(wrong).fits();
    assert!(fits(None) && fits(Some(Wrong::First { is_bos: false, fve: 0.0 })) && !fits(Some(Wrong::Unknown)));
}

#[test]
fn numbers_are_short() {
    let all = [0.912, -0.123, 1.0, -3.214, 0.0, f64::NAN].map(share);
    assert_eq!(all, [".91", "-.12", "1.00", "-3.21", ".00", "none"]);
    assert_eq!([0.5, 9.4, 9.6, 12.3, 32.0].map(features), ["0.5", "9.4", "10", "12", "32"]);
    assert_eq!([27.74, 0.05, 1024.0, 1.5].map(factor_text), ["27.7", "0.0500", "1024", "1.50"]);
}

#[test]
fn other_spots_have_the_widths_of_the_dictionary() {
    let config = config();
    let spot = |kind, layer| DictionarySpot::of(Place { site: Site::new(kind, layer), head: None });
    let own = spot(SiteKind::ResidPost, 1);
    let d = config.d_model;
    let others = DictionarySpot::others(Some(own), &config, d, d);
    assert!(!others.contains(&own) && others.contains(&spot(SiteKind::ResidPost, 0)));
    assert!(others.contains(&spot(SiteKind::MlpIn, 1)) && others.contains(&spot(SiteKind::ResidPre, 0)));
    // The input of a layer is the output of the one before.
    assert!(!others.contains(&spot(SiteKind::ResidPre, 1)));
    let near: Vec<String> = others.iter().filter(|other| other.is_near(&own)).map(DictionarySpot::to_string).collect();
    assert!(near.contains(&"resid_post.0".into()) && near.contains(&"resid_mid.1".into()), "{near:?}");
    assert!(!near.iter().any(|name| name.starts_with("mlp")), "{near:?}");
    assert_eq!(DictionarySpot::others(Some(own), &config, d + 1, d + 1), []);
    let transcoder = DictionarySpot { reads: spot(SiteKind::MlpIn, 1).reads, writes: spot(SiteKind::MlpOut, 1).reads };
    assert_eq!(transcoder.to_string(), "mlp_in.1 to mlp_out.1");
    let others: Vec<String> =
        DictionarySpot::others(Some(transcoder), &config, d, d).iter().map(DictionarySpot::to_string).collect();
    assert!(others.contains(&"mlp_in.0 to mlp_out.0".into()), "{others:?}");
    assert!(others.contains(&"resid_mid.1 to mlp_out.1".into()), "{others:?}");
    let head = |head| DictionarySpot::of(Place { site: Site::new(SiteKind::Z, 0), head: Some(head) });
    let others = DictionarySpot::others(Some(head(0)), &config, config.d_head_of(0), config.d_head_of(0));
    assert!(others.contains(&head(1)) && !others.contains(&head(0)));
}
