//! Random tokens that are read twice, and the attention of heads there.
//!
//! Each token of a sequence is another one, so that exactly one earlier token is the same, and exactly one followed it.

use rand::RngExt;

use super::{HeadsOptions, text};
use crate::common::*;

/// The default length of a sequence.
const LENGTH: usize = 32;

/// The shortest sequence in which the token before, the same token and the one behind it are different places.
const SHORTEST: usize = 3;

/// Sequences that stand in their rows twice, behind the tokens that begin texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeats {
    pub rows: Vec<Vec<u32>>,
    /// Number of tokens before the first reading.
    pub begin: usize,
    pub length: usize,
}

impl Repeats {
    /// Draws the sequences.
    pub fn of(model: &Model, options: &HeadsOptions, task: &Task) -> Result<Self> {
        let config = model.decoder.config();
        let begin = match &model.tokenizer {
            Some(tokenizer) => tokenizer.encode("", None, task)?.ids,
            None => Vec::new(),
        };
        let length = length(config, begin.len(), options)?;
        let row = (begin.len() + 2 * length) * size_of::<u32>() + size_of::<Vec<u32>>();
        memory::check((options.sequences as u128).saturating_mul(row as u128), || {
            format!("{} sequences", options.sequences)
        })
        .map_err(|e| e.about("sequences"))?;
        let tokens: Vec<u32> = (0..config.vocab as u32).filter(|token| !begin.contains(token)).collect();
        let row = |number: usize| {
            let mut random = stream(options.seed as u64, "repeated tokens", number as u64);
            let mut left = tokens.clone();
            let once: Vec<u32> = (0..length).map(|_| left.swap_remove(random.random_range(0..left.len()))).collect();
            [begin.clone(), once.clone(), once].concat()
        };
        Ok(Self { rows: (0..options.sequences).map(row).collect(), begin: begin.len(), length })
    }
}

/// Returns the length of sequences, which must fit the context, all windows and the vocabulary.
fn length(config: &Config, begin: usize, options: &HeadsOptions) -> Result<usize> {
    let windows = (0..config.layers).filter(|layer| config.attends(*layer)).filter_map(|layer| config.window(layer));
    // A window contains the query's own position.
    let reach = windows.min().map(|window| (window.saturating_sub(1), "the shortest window of a layer"));
    let context = (config.context.saturating_sub(begin) / 2, "half the context");
    let vocab = (config.vocab.saturating_sub(begin), "the number of tokens");
    let limits = [Some(context), reach, Some(vocab)];
    let (most, what) = limits.into_iter().flatten().min_by_key(|(most, _)| *most).unwrap_or(context);
    if most < SHORTEST {
        return Err(err!(
            Argument,
            "expected a model that reads at least {SHORTEST} tokens twice, found one in which {what} allows {most}"
        )
        .about("m"));
    }
    match options.length {
        None => Ok(LENGTH.min(most)),
        Some(length) if length <= most => Ok(length),
        Some(length) => {
            Err(err!(Argument, "expected a `length` of at most {most}, which {what} allows, found {length}")
                .hint("a head must see the token at the first reading from the second")
                .about("length"))
        }
    }
}

/// The attention of one head on three places.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KnownKinds {
    pub previous: f64,
    pub duplicate: f64,
    pub induction: f64,
}

/// Measures the mean attention of all heads of some layers on the token before, and at the second reading on the same
/// token and on the one behind it, at the first: layer by layer.
pub fn known_kinds(model: &Model, layers: &[usize], repeats: &Repeats, task: &Task) -> Result<Vec<KnownKinds>> {
    let heads = model.decoder.config().heads;
    let mut sums = vec![KnownKinds::default(); layers.len() * heads];
    let second = repeats.begin + repeats.length;
    let mut before = 0_usize;
    let mut again = 0_usize;
    text::patterns(
        &model.decoder,
        layers,
        &repeats.rows,
        "reading random tokens twice",
        task,
        &mut |place, pattern| {
            let sum = &mut sums[place.at * heads + place.head];
            let width = pattern.length();
            for t in 1..width {
                sum.previous += f64::from(pattern.at(t, t - 1));
            }
            for t in second..width {
                sum.duplicate += f64::from(pattern.at(t, t - repeats.length));
                sum.induction += f64::from(pattern.at(t, t + 1 - repeats.length));
            }
            if place.at == 0 && place.head == 0 {
                before += width - 1;
                again += width - second;
            }
        },
    )?;
    let mean = |sum: &KnownKinds| KnownKinds {
        previous: sum.previous / before.max(1) as f64,
        duplicate: sum.duplicate / again.max(1) as f64,
        induction: sum.induction / again.max(1) as f64,
    };
    Ok(sums.iter().map(mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::samples::model;

    #[test]
    fn every_token_of_a_sequence_stands_there_twice() {
        let model = model();
        let found = Repeats::of(&model, &HeadsOptions::default(), &Task::default()).unwrap();
        // The context is 12.
        assert_eq!((found.rows.len(), found.begin, found.length), (8, 0, 6));
        for row in &found.rows {
            assert_eq!(row[..6], row[6..]);
            let mut once = row[..6].to_vec();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), 6);
        }
        assert_ne!(found.rows[0], found.rows[1]);
        let other = HeadsOptions { seed: 1, ..HeadsOptions::default() };
        assert_ne!(found, Repeats::of(&model, &other, &Task::default()).unwrap());
    }

    #[test]
    fn a_length_that_windows_do_not_allow_is_refused() {
        let config = Config { windows: vec![Some(5), None], ..model().decoder.config().as_ref().clone() };
        let wanted = |length| HeadsOptions { length, ..HeadsOptions::default() };
        assert_eq!(length(&config, 0, &wanted(None)), Ok(4));
        assert_eq!(length(&config, 0, &wanted(Some(3))), Ok(3));
        let error = length(&config, 0, &wanted(Some(5))).unwrap_err();
        assert!(error.message.contains("at most 4, which the shortest window"), "{}", error.message);
        let narrow = Config { windows: vec![Some(3), None], ..config };
        assert!(length(&narrow, 0, &wanted(None)).unwrap_err().message.contains("allows 2"));
    }
}
