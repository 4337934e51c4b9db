//! The activations of some features at every token of a text, with the tokens' labels: one forward pass for all.

use super::feature::{check_feature, place, tokenizer};
use crate::data::harvest;
use crate::data::pack::{self, Row};
use crate::sae::prelude::*;
use crate::tokenizer::labels::Column;

/// The number of tokens in a batch of the model, about.
const AT_ONCE: usize = 1 << 12;

crate::options! {
    /// The part of a text that is read for the activations of some features.
    pub struct FeatureTextOptions {
        /// Maximum number of tokens of the text.
        tokens: usize = 1 << 16;
        /// Number of tokens in a row of the text.
        context: Option<usize> = None => usually("the model's, at most 1,024");
    }
}

/// The part of a text that is read, and the rows that it is read in.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextLimits {
    /// The approximate number of tokens; all without one.
    pub tokens: Option<usize>,
    /// The number of tokens in a row; without one as many as the model reads.
    pub context: Option<usize>,
}

impl FeatureTextOptions {
    /// Returns the part of the text that [`TextCodes::of`] reads.
    pub fn limits(&self) -> TextLimits {
        TextLimits { tokens: Some(self.tokens), context: self.context }
    }
}

/// The tokens of a text, row after row, with their labels and the activations of the requested features.
///
/// Where the text has no labels of its own, rules find them.
#[derive(Debug, Clone, Default)]
pub struct TextCodes {
    /// The first token of each row, and the end of the last one.
    pub starts: Vec<usize>,
    pub ids: Vec<u32>,
    /// The text of each token that occurs.
    pub texts: BTreeMap<u32, String>,
    /// The columns of labels with their values at each token.
    pub labels: Vec<(Column, Vec<u32>)>,
    /// The activation at each token, for each feature in the requested order.
    pub codes: Vec<Vec<f32>>,
}

/// A dictionary with those of its features that are read.
struct OfDictionary<'a> {
    sae: &'a Sae,
    place: Place,
    /// Features in order, each with the index of its activations in the result.
    features: Vec<(u32, usize)>,
}

impl TextCodes {
    /// Reads the text up to its limits. A feature is given by the index of its dictionary in `saes`, and its index there.
    pub fn of(
        model: &Model,
        saes: &[Sae],
        features: &[(usize, usize)],
        text: &Text,
        limits: TextLimits,
        task: &Task,
    ) -> Result<Self> {
        let rows = rows(model, text, limits, task)?;
        Self::of_rows(model, saes, features, &rows, task)
    }

    /// Reads rows that were gathered before.
    pub fn of_rows(
        model: &Model,
        saes: &[Sae],
        features: &[(usize, usize)],
        rows: &[Row],
        task: &Task,
    ) -> Result<Self> {
        let dictionaries = dictionaries(model, saes, features)?;
        let mut found = Self::tokens_of(model, rows)?;
        found.codes = vec![Vec::new(); features.len()];
        found.read(model, &dictionaries, rows, task)?;
        Ok(found)
    }

    /// Reads the tokens and their labels without any activations, and returns them with their rows.
    pub fn tokens(model: &Model, text: &Text, limits: TextLimits, task: &Task) -> Result<(Self, Vec<Row>)> {
        let rows = rows(model, text, limits, task)?;
        Ok((Self::tokens_of(model, &rows)?, rows))
    }

    fn tokens_of(model: &Model, rows: &[Row]) -> Result<Self> {
        let tokenizer = tokenizer(model)?;
        let mut found = Self { starts: vec![0], ..Self::default() };
        found.take_tokens(rows)?;
        for id in &found.ids {
            if !found.texts.contains_key(id) {
                found.texts.insert(*id, tokenizer.text_of(*id)?);
            }
        }
        Ok(found)
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Sets the activations at the first tokens of each row to 0.
    pub fn silence_first(&mut self, count: usize) {
        for codes in &mut self.codes {
            for (start, end) in self.starts.iter().zip(self.starts.iter().skip(1)) {
                codes[*start..(start + count).min(*end)].fill(0.0);
            }
        }
    }

    /// Returns the values of a label, if the text has it.
    pub fn label(&self, name: &str) -> Option<&[u32]> {
        self.labels.iter().find(|(column, _)| column.name == name).map(|(_, values)| values.as_slice())
    }

    fn take_tokens(&mut self, rows: &[Row]) -> Result<()> {
        // Texts of a mixture may have other columns; theirs are those of the first one.
        if let Some(labels) = rows.iter().find_map(|row| row.labels.as_ref()) {
            self.labels = labels.columns.iter().map(|column| (column.clone(), Vec::new())).collect();
        }
        for row in rows {
            self.ids.extend(&row.ids);
            self.starts.push(self.ids.len());
            for (column, values) in &mut self.labels {
                values.extend(pack::values(row, column)?);
            }
        }
        Ok(())
    }

    fn read(&mut self, model: &Model, dictionaries: &[OfDictionary], rows: &[Row], task: &Task) -> Result<()> {
        let tokens = self.ids.len();
        let features = self.codes.len();
        memory::check(4 * tokens as u128 * features as u128, || format!("the codes of {features} features"))?;
        self.codes.iter_mut().for_each(|codes| codes.resize(tokens, 0.0));
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(1);
        let at_once = (AT_ONCE / longest.max(1)).max(1);
        let bar = task.begin("reading features", Some(tokens as u64));
        let mut start = 0;
        for rows in rows.chunks(at_once) {
            task.check()?;
            let batch = Batch::new(rows.iter().map(|row| row.ids.clone()).collect())?;
            let ask = Ask { places: dictionaries.iter().map(|one| one.place).collect(), ..Ask::default() };
            let cache = model.decoder.cache(&batch, ask, task)?;
            for one in dictionaries {
                self.take_codes(one, &cache.at(one.place)?, &batch, start, task)?;
            }
            let read: usize = batch.lengths().iter().sum();
            start += read;
            bar.advance(read as u64);
        }
        Ok(())
    }

    /// Takes the activations of a batch whose tokens begin at `start`.
    fn take_codes(&mut self, one: &OfDictionary, x: &Tensor, batch: &Batch, start: usize, task: &Task) -> Result<()> {
        let x = x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.contiguous()?;
        finite(&x, one.place)?;
        let codes = one.sae.encode_sparse(&x, task)?;
        let mut at = start;
        for (row, length) in batch.lengths().into_iter().enumerate() {
            for column in 0..length {
                let (features, codes) = codes.row(row * batch.width() + column);
                for (feature, to) in &one.features {
                    if let Ok(found) = features.binary_search(feature)
                        && let (Some(code), Some(codes)) = (codes.get(found), self.codes.get_mut(*to))
                    {
                        codes[at] = *code;
                    }
                }
                at += 1;
            }
        }
        Ok(())
    }
}

/// Refuses NaN and infinity, which cannot be encoded.
pub fn finite(x: &Tensor, place: Place) -> Result<()> {
    let sum = x.abs()?.sum_all()?.to_scalar::<f32>()?;
    if sum.is_nan() || (sum.is_infinite() && x.abs()?.max_all()?.to_scalar::<f32>()?.is_infinite()) {
        Err(err!(Numeric, "expected finite activations at `{place}`, found others")
            .hint("the model overflows there; load it in f32"))
    } else {
        Ok(())
    }
}

/// Returns the dictionaries of the features.
fn dictionaries<'a>(model: &Model, saes: &'a [Sae], features: &[(usize, usize)]) -> Result<Vec<OfDictionary<'a>>> {
    let config = model.decoder.config();
    let mut by_sae: BTreeMap<usize, Vec<(u32, usize)>> = BTreeMap::new();
    for (to, (sae, feature)) in features.iter().enumerate() {
        check_feature(saes.get(*sae).ok_or_else(|| err!(Bug, "a feature of no dictionary"))?, *feature)?;
        by_sae.entry(*sae).or_default().push((*feature as u32, to));
    }
    let of = |(sae, mut features): (usize, Vec<(u32, usize)>)| {
        let sae = &saes[sae];
        let place = place(model, sae)?;
        sae.check_fits(harvest::width(config, place)?, &model.name(), &place.to_string())?;
        features.sort_unstable();
        Ok(OfDictionary { sae, place, features })
    };
    by_sae.into_iter().map(of).collect()
}

/// Returns the rows of a text with labels.
fn rows(model: &Model, text: &Text, limits: TextLimits, task: &Task) -> Result<Vec<Row>> {
    let text = text.labelled();
    let context = harvest::context(model.decoder.config(), limits.context)?;
    // At least two rows, so that one half can be scored on the other.
    let count = limits.tokens.map(|tokens| tokens.div_ceil(context).max(2));
    pack::gathered(&text, tokenizer(model)?, context, count, task, Ok)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::text::TextOptions;
    use crate::fixtures::{config, decoder};
    use crate::model::site::select;
    use crate::sae::{Parts, baselines};
    use crate::tokenizer::Tokenizer;

    pub const WORDS: [&str; 20] = [
        "the", "cat", "(", ")", "NASA", "1843", "sat", "dog", "a", "on", "mat", "B", "c", "d", "e", "f", "g", "h", "i",
        "j",
    ];

    /// Builds a small model of words, and a dictionary of its second layer.
    pub fn model() -> (Model, Sae) {
        let tokenizer = Tokenizer::words(WORDS.map(String::from).to_vec(), None, None).unwrap();
        let decoder = decoder(crate::model::config::Config { context: 8, ..config() }, DType::F32);
        let model = Model::new(decoder, Some(tokenizer), "small");
        let parts = baselines::neurons_relu(16, None).unwrap().parts().clone();
        let about = crate::sae::About { sites: vec!["resid_post.1".into()], ..parts.about.clone() };
        (model, Sae::new(Parts { about, ..parts }).unwrap())
    }

    #[test]
    fn codes_are_those_of_each_row_by_itself() {
        let (model, sae) = model();
        let words = "the cat ( NASA ) sat on a mat the dog sat ( 1843 ) on the cat a mat ( B c )";
        let text = Text::given(vec![words.into()], TextOptions::default()).unwrap();
        let features = [(0, 3), (0, 9), (0, 3)];
        let found = TextCodes::of(
            &model,
            std::slice::from_ref(&sae),
            &features,
            &text,
            TextLimits::default(),
            &Task::default(),
        )
        .unwrap();
        assert_eq!(found.starts, [0, 8, 16, 24]);
        assert_eq!((found.texts[&2].trim(), found.label("depth").unwrap()[2..5].to_vec()), ("(", vec![1, 1, 1]));
        assert_eq!(found.codes[0], found.codes[2]);
        let place = select(model.decoder.config(), "resid_post.1").unwrap()[0];
        for row in 0..3 {
            let batch = Batch::new(vec![found.ids[8 * row..8 * row + 8].to_vec()]).unwrap();
            let ask = Ask { places: vec![place], ..Ask::default() };
            let x = model.decoder.cache(&batch, ask, &Task::default()).unwrap().at(place).unwrap();
            let codes = sae.encode(&x).unwrap().get(0).unwrap().to_vec2::<f32>().unwrap();
            for (column, codes) in codes.iter().enumerate() {
                assert!((found.codes[0][8 * row + column] - codes[3]).abs() < 1e-4);
                assert!((found.codes[1][8 * row + column] - codes[9]).abs() < 1e-4);
            }
        }
        assert!(found.codes[0].iter().any(|code| *code > 0.0));
        let some = TextCodes::of(
            &model,
            std::slice::from_ref(&sae),
            &features,
            &text,
            TextLimits { tokens: Some(9), context: None },
            &Task::default(),
        )
        .unwrap();
        assert_eq!(some.codes[1], found.codes[1][..16]);
        let mut silenced = some.clone();
        silenced.silence_first(3);
        let is_silent = |at: usize| at % 8 < 3;
        assert!((0..16).all(|at| silenced.codes[1][at] == if is_silent(at) { 0.0 } else { some.codes[1][at] }));
        assert_ne!(silenced.codes, some.codes);
        let error =
            TextCodes::of(&model, &[sae], &[(0, 16)], &text, TextLimits::default(), &Task::default()).unwrap_err();
        assert_eq!(error.message, "expected a feature below 16 of resid_post.1, found 16");
    }

    #[test]
    fn activations_that_are_no_numbers_are_refused() {
        let place = select(&config(), "resid_post.1").unwrap()[0];
        let large = Tensor::new(&[f32::MAX, f32::MAX], &Device::Cpu).unwrap();
        assert!(finite(&large, place).is_ok());
        for x in [f32::NAN, f32::INFINITY] {
            assert!(finite(&Tensor::new(&[0.0, x], &Device::Cpu).unwrap(), place).is_err());
        }
    }
}
