//! Reading of batch files: cards of features.

use super::{Batch, BatchActivation, BatchFeature};
use crate::base::results::Histogram;
use crate::base::{Card, Cell, HeatText, Result, Table, json};
use crate::err;
use crate::features::FeatureCard;
use crate::features::card::Group;

/// Letters by which the vocabularies of files spell blanks, ends of lines and tabs: those of bytes, and that of SentencePiece.
const SPELLINGS: [(char, &str); 4] = [('Ġ', " "), ('▁', " "), ('Ċ', "\n"), ('ĉ', "\t")];

/// Reads a batch from the text of its file, whatever wrote it.
pub fn parse(text: &[u8]) -> Result<Batch> {
    let batch: Batch = json::read_content(text, |error| {
        err!(Format, "expected a batch of SAEDashboard or Neuronpedia, found {error}")
            .hint("it is an object with `features`, each with `feature_index`, `activations` and so on")
    })?;
    for feature in &batch.features {
        let wrong = |what: &str| err!(Format, "feature {}: expected {what}", feature.feature_index);
        if feature.activations.iter().any(|context| context.tokens.len() != context.values.len()) {
            return Err(wrong("as many values as tokens in each of `activations`"));
        }
        if feature.freq_hist_data_bar_values.len() != feature.freq_hist_data_bar_heights.len() {
            return Err(wrong("as many heights as values of the histogram"));
        }
    }
    Ok(batch)
}

/// Makes the cards of a batch's features.
pub fn cards(batch: &Batch) -> Vec<FeatureCard> {
    batch.features.iter().map(|feature| card(batch, feature)).collect()
}

fn card(batch: &Batch, feature: &BatchFeature) -> FeatureCard {
    let title = format!("feature {} of layer {} of {}", feature.feature_index, batch.layer, batch.model_id);
    let mut fields: Vec<(&str, Cell)> = vec![
        ("model", batch.model_id.as_str().into()),
        ("dictionary", batch.sae_set.as_str().into()),
        ("density", feature.frac_nonzero.into()),
    ];
    // The features of an export do not say how much was read.
    if feature.n_prompts_total > 0 {
        fields.push(("texts", feature.n_prompts_total.into()));
        fields.push(("tokens in each", feature.n_tokens_in_prompt.into()));
    }
    let facts = Card { histogram: histogram(feature), ..Card::new(&title, fields) };
    FeatureCard {
        feature: feature.feature_index,
        title,
        facts,
        contexts: groups(&feature.activations),
        tables: tables(feature),
        notes: vec!["Read from a batch file, whose numbers are rounded to three digits.".into()],
        ..FeatureCard::default()
    }
}

/// Returns bins around the middles that a file has.
fn histogram(feature: &BatchFeature) -> Option<Histogram> {
    let middles = &feature.freq_hist_data_bar_values;
    let first = middles.first()?;
    let last = middles.last()?;
    let wide = if middles.len() > 1 { (last - first) / (middles.len() - 1) as f64 } else { 1.0 };
    let edges = (0..=middles.len()).map(|edge| first + wide * (edge as f64 - 0.5)).collect();
    let counts = feature.freq_hist_data_bar_heights.iter().map(|height| *height as u64).collect();
    Some(Histogram { edges, counts })
}

/// Groups contexts by interval, in the order of the file.
fn groups(activations: &[BatchActivation]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for context in activations {
        let name = match context.bin_min {
            -1.0 => "strongest".to_string(),
            low => format!("{low} to {}", context.bin_max),
        };
        let chosen = usize::try_from(context.qualifying_token_index).ok().and_then(|at| context.values.get(at));
        let title =
            chosen.map_or_else(String::new, |code| format!("{code} at token {}", context.qualifying_token_index));
        let tokens = plain(&context.tokens);
        let text = HeatText { title, tokens, values: context.values.clone(), quantity: "code".into() };
        match groups.last_mut().filter(|group| group.name == name) {
            Some(group) => group.texts.push(text),
            None => groups.push(Group { name, texts: vec![text] }),
        }
    }
    groups
}

/// Returns the texts of tokens that are spelled as in their vocabulary, as the page of Neuronpedia shows them; tokens among which one
/// has a real blank are texts already.
fn plain(tokens: &[String]) -> Vec<String> {
    if tokens.iter().any(|token| token.contains(' ')) {
        return tokens.to_vec();
    }
    let spelled =
        |token: &String| SPELLINGS.iter().fold(token.clone(), |text, (letter, meaning)| text.replace(*letter, meaning));
    tokens.iter().map(spelled).collect()
}

fn tables(feature: &BatchFeature) -> Vec<Table> {
    let [raised, lowered] = [&feature.pos_str, &feature.neg_str].map(|texts| plain(texts));
    let text = |texts: &[String], at: usize| Cell::from(texts.get(at).map(String::as_str));
    let number = |numbers: &[f64], at: usize| Cell::from(numbers.get(at).copied());
    let count = feature.pos_str.len().max(feature.neg_str.len());
    let logits = (0..count).map(|at| {
        let up = [text(&raised, at), number(&feature.pos_values, at)];
        [up, [text(&lowered, at), number(&feature.neg_values, at)]].concat()
    });
    let correlated = |indices: &[usize], pearson: &[f64], cosine: &[f64]| -> Vec<Vec<Cell>> {
        let row = |(at, index): (usize, &usize)| vec![(*index).into(), number(pearson, at), number(cosine, at)];
        indices.iter().enumerate().map(row).collect()
    };
    vec![
        Table::new("Logits along its direction", ["raised", "raised by", "lowered", "lowered by"], logits),
        Table::new(
            "Correlated features",
            ["feature", "correlation", "cosine"],
            correlated(
                &feature.correlated_features_indices,
                &feature.correlated_features_pearson,
                &feature.correlated_features_l1,
            ),
        ),
        Table::new(
            "Correlated entries of what it reads",
            ["entry", "correlation", "cosine"],
            correlated(
                &feature.correlated_neurons_indices,
                &feature.correlated_neurons_pearson,
                &feature.correlated_neurons_l1,
            ),
        ),
    ]
}
