//! The share of a probability that circuits keep on a text, with everything else at its mean, compared with random
//! circuits.

use crate::circuit::faithfulness::UnitClasses;
use crate::circuit::graph::Part;
use crate::circuit::sparse_features::{FeatureAblations, NodeAblation};
use crate::circuit::sufficiency::range;
use crate::circuit::{Ablations, CONTEXT, Circuit, check_draws, row_length};
use crate::features::TokenPattern;
use crate::features::tokens::token_ids;
use crate::sae::prelude::*;

crate::options! {
    /// Options of judging circuits by the share that they keep.
    pub struct ShareOptions {
        /// A text that tokens begin with, or their ids: the tokens whose probability is measured.
        token: Option<Vec<TokenPattern>> = None => usually("those that the first circuit was found for");
        /// Number of random circuits for each, with as many errors and features of each dictionary and activity.
        draws: usize = 5;
        /// Seed of the draws and the bootstrap.
        seed: Seed = Seed::default() => usually(OF_CALL);
        /// Number of tokens of the text.
        tokens: usize = 100_000;
        /// Number of tokens in a row of the text; at most the model's context.
        context: Option<usize> = None => usually("32");
    }
}

const COLUMNS: [&str; 11] =
    ["circuit", "units", "features", "errors", "P(tokens)", "share", "low", "high", "random", "lowest", "highest"];

/// Returns a table with a row for each circuit, all of the same dictionaries.
pub fn shares(model: &Model, circuits: &[Circuit], text: &Text, options: &ShareOptions, task: &Task) -> Result<Table> {
    let Some(first) = circuits.first() else {
        return Err(err!(Argument, "expected at least one circuit, found none").about("circuits"));
    };
    let tokens = match (&options.token, &first.promotes) {
        (Some(tokens), _) => token_ids(model, tokens)?,
        (None, Some(promotes)) => promotes.to_vec(),
        (None, None) => {
            return Err(err!(Argument, "expected a circuit that was found for tokens, found one that was not")
                .hint("name them: #{ token: \")\" }")
                .about("circuits"));
        }
    };
    let saes = first.dictionaries().map_err(|e| e.about("circuits"))?;
    let text = text.limited(options.tokens.max(1) as u64);
    let context = row_length(model, options.context, CONTEXT);
    let ablations = FeatureAblations::of_text(model, saes, &text, &tokens, context, NodeAblation::Mean, task)?;
    let kept = circuits.iter().map(|circuit| ablations.kept(&circuit.graph)).collect::<Result<Vec<_>>>();
    let kept = kept.map_err(|e| e.about("circuits"))?;
    check_draws(options.draws, kept.len() * ablations.units() / 64)?;
    let classes = ablations.alike();
    let seed = options.seed.draws();
    let weights = ablations.weights();
    let clean = ablations.sums(&vec![true; ablations.units()], task)?;
    let bar = task.begin("running with circuits kept", Some((kept.len() * (options.draws + 1)) as u64));
    let mut rows = Vec::new();
    for (circuit, kept) in circuits.iter().zip(&kept) {
        let found = ablations.sums(kept, task)?;
        bar.advance(1);
        let share = |found: &[f64], rows: &[usize]| sum(found, rows) / sum(&clean, rows);
        let all: Vec<usize> = (0..clean.len()).collect();
        let interval = bootstrap(clean.len(), seed, |rows| share(&found, rows));
        let alike = UnitClasses::new(&classes, kept);
        let mut random = Vec::new();
        for draw in 0..options.draws {
            let other = alike.draw(seed, draw as u64);
            random.push(share(&ablations.sums(&other, task)?, &all));
            bar.advance(1);
        }
        let errors = circuit.graph.nodes.iter().filter(|node| node.part == Part::Error).count();
        let units = kept.iter().filter(|kept| **kept).count();
        let number = |number: Option<f64>| Cell::from(number.filter(|x| x.is_finite()));
        let mut row: Vec<Cell> = vec![
            circuit.graph.title.as_str().into(),
            units.into(),
            (units - errors).into(),
            errors.into(),
            number(Some(sum(&found, &all) / sum(&weights, &all))),
            number(Some(share(&found, &all))),
        ];
        row.extend(interval.map_or([None; 2], |ends| ends.map(Some)).map(number));
        row.extend(range(&random).map(number));
        rows.push(row);
    }
    let title = format!(
        "share of P(tokens) kept, {} positions in {} rows",
        sum(&weights, &(0..weights.len()).collect::<Vec<_>>()),
        weights.len()
    );
    Ok(Table::new(title, COLUMNS, rows))
}

fn sum(rows: &[f64], which: &[usize]) -> f64 {
    which.iter().map(|row| rows[*row]).sum()
}
