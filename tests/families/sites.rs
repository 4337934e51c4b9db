//! Every family has every site that its architecture has, of the shape that it should have, and what flows adds up.

use super::{FAMILIES, distance, expected, files, fixture, ids, load};
use microtome::base::Task;
use microtome::model::batch::Batch;
use microtome::model::config::{Config, Order, Positions, QkNorm};
use microtome::model::load::Loading;
use microtome::model::run::{Ask, Run};
use microtome::model::site::{Kind, Place, Site};
use microtome::tensor::Tensor;

const ROWS: usize = 2;
const WIDTH: usize = 24;

/// The shape of what flows at a site, from the meaning of the site alone.
fn shape(config: &Config, kind: Kind) -> Vec<usize> {
    let each = |sizes: &[usize]| [&[ROWS, WIDTH], sizes].concat();
    match kind {
        Kind::NormScale | Kind::AttnPostScale | Kind::MlpNormScale | Kind::MlpPostScale | Kind::FinalNormScale => {
            each(&[1])
        }
        Kind::Q | Kind::QRot | Kind::Z => each(&[config.heads, config.d_head]),
        Kind::K | Kind::V | Kind::KRot => each(&[config.kv_heads, config.d_head]),
        Kind::Scores | Kind::Pattern => vec![ROWS, config.heads, WIDTH, WIDTH],
        Kind::HeadOut => each(&[config.heads, config.d_model]),
        Kind::MlpPre | Kind::MlpUp | Kind::MlpHidden => each(&[config.d_mlp]),
        Kind::Logits => each(&[config.vocab]),
        _ => each(&[config.d_model]),
    }
}

/// The kinds that a family of this architecture must have beside those that all have.
fn wanted(config: &Config) -> Vec<Kind> {
    let mut kinds = vec![
        Kind::Embed,
        Kind::ResidPre,
        Kind::AttnIn,
        Kind::Q,
        Kind::K,
        Kind::V,
        Kind::Scores,
        Kind::Pattern,
        Kind::Z,
        Kind::HeadOut,
        Kind::AttnOut,
        Kind::MlpIn,
        Kind::MlpPre,
        Kind::MlpHidden,
        Kind::MlpOut,
        Kind::ResidPost,
        Kind::FinalNormScale,
        Kind::FinalNorm,
        Kind::Logits,
    ];
    let more = [
        (config.positions == Positions::Learned, vec![Kind::PosEmbed]),
        (config.positions == Positions::Rotary || config.qk_norm != QkNorm::None, vec![Kind::QRot, Kind::KRot]),
        (config.pre_norm, vec![Kind::NormScale]),
        (config.pre_norm && config.order != Order::ParallelShared, vec![Kind::MlpNormScale]),
        (config.post_norm, vec![Kind::AttnPostScale, Kind::MlpPostScale]),
        (config.order == Order::Serial, vec![Kind::ResidMid]),
        (config.gated, vec![Kind::MlpUp]),
    ];
    kinds.extend(more.into_iter().filter(|(there, _)| *there).flat_map(|(_, kinds)| kinds));
    kinds.sort();
    kinds
}

fn at(run: &Run, kind: Kind, layer: usize) -> Tensor {
    run.cache.at(Place { site: Site::new(kind, layer), head: None }).unwrap()
}

#[test]
fn every_site_is_there_and_the_stream_is_the_sum_of_what_is_written() {
    for family in FAMILIES {
        let decoder = load(&files(), &fixture(family), &Loading::default());
        let config = decoder.config().clone();
        let expected = expected(family);
        let places = Site::all(&config).into_iter().map(|site| Place { site, head: None }).collect();
        let batch = Batch::new(ids(&expected["input_ids"])).unwrap();
        let run = decoder.run(&batch, Ask { places, ..Ask::default() }, &Task::default()).unwrap();
        // Looking everywhere, by the kernels that write everything down, changes nothing.
        assert!(distance(&run.logits, &expected["logits"]) < 1e-4, "{family}");

        let mut kinds: Vec<Kind> = run.cache.iter().map(|(place, _)| place.site.kind).collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, wanted(&config), "{family}");
        for (place, x) in run.cache.iter() {
            assert_eq!(x.dims(), shape(&config, place.site.kind), "{family} {place}");
        }
        for layer in 0..config.layers {
            let written = (at(&run, Kind::AttnOut, layer) + at(&run, Kind::MlpOut, layer)).unwrap();
            let sum = (at(&run, Kind::ResidPre, layer) + &written).unwrap();
            let off = distance(&sum, &at(&run, Kind::ResidPost, layer));
            assert!(off < 1e-4, "{family}: layer {layer} is off by {off}");
            if layer > 0 {
                assert_eq!(distance(&at(&run, Kind::ResidPre, layer), &at(&run, Kind::ResidPost, layer - 1)), 0.0);
            }
        }
    }
}
