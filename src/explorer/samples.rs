//! Small explorers for tests.

use crate::base::Task;
use crate::base::files::Files;
use crate::data::Text;
use crate::data::text::TextOptions;
use crate::explorer::{Explorer, ExplorerInputs};
use crate::features::dashboard::Said;
use crate::model::reading::fitted::{JacobianLensOptions, fit_jacobian};
use crate::samples::{dictionary, model, text};

/// Loads two dictionaries of a small model.
pub fn explorer() -> Explorer {
    of(&["resid_post.0", "resid_post.1"], text(40, TextOptions::default()))
}

/// Loads one dictionary of a small model.
pub fn of_one() -> Explorer {
    of(&["resid_post.1"], text(40, TextOptions::default()))
}

/// Loads two dictionaries, with a text that takes minutes to read.
pub fn slow() -> Explorer {
    of(&["resid_post.0", "resid_post.1"], text(400_000, TextOptions::default()))
}

fn of(sites: &[&str], text: Text) -> Explorer {
    let plan = ExplorerInputs {
        model: "sample".into(),
        dictionaries: Vec::new(),
        lenses: Vec::new(),
        text: "given".into(),
        tokens: 50_000_000,
        descriptions: None,
    };
    let saes = sites.iter().zip(1..).map(|(site, seed)| (format!("{site}.safetensors"), dictionary(site, seed)));
    let folder = tempfile::tempdir().unwrap().keep();
    let files = Files::unrecorded(&folder).unwrap();
    let model = model();
    let options = JacobianLensOptions { skip_first: 0, ..JacobianLensOptions::default() };
    let lens = fit_jacobian(&model.decoder, &[vec![3, 1, 4, 1, 5]], &options, &Task::default()).unwrap();
    let lenses = vec![("lens.safetensors".into(), lens)];
    Explorer::of(plan, model, saes.collect(), lenses, text, Said::default(), &files).unwrap()
}
