//! Making of cards: from a survey of a text, the model, and the dictionary alone, as far as available.

use super::{FeatureCard, Group};
use crate::base::{Card, HeatText};
use crate::features::contexts::{self, Context};
use crate::features::feature::{check_feature, place};
use crate::features::histogram::class_name;
use crate::features::survey::{Moment, Spread, Survey, Tally, Window, Windows};
use crate::features::{logits, neighbours};
use crate::sae::prelude::*;

crate::options! {
    /// Contents of a card that are read from a text.
    pub struct CardOptions {
        /// Number of max-activating examples.
        top: usize = 8;
        /// Number of intervals between 0 and the largest activation.
        intervals: usize = 5 => at_most(100.0);
        /// Number of contexts from each interval.
        each: usize = 3;
        /// Number of random contexts.
        random: usize = 5;
        /// Number of tokens in a context before the position.
        before: usize = 24;
        /// Number of tokens after the position.
        after: usize = 8;
        /// Number of rows of the tables.
        rows: usize = 8;
    }
}

impl CardOptions {
    pub fn window(&self) -> Window {
        Window { before: self.before, after: self.after }
    }
}

/// The options of a card, and the measures that need further runs of the model.
#[derive(Debug, Clone)]
pub struct CardPlan {
    pub options: CardOptions,
    /// Number of the strongest positions for ablation; none where it is 0.
    pub ablated_at: usize,
    /// Number of random positions for co-activation.
    pub company_of: usize,
}

impl Default for CardPlan {
    fn default() -> Self {
        Self { options: CardOptions::default(), ablated_at: 16, company_of: 32 }
    }
}

impl CardPlan {
    /// Returns a plan for many cards: few contexts, and nothing that needs further runs.
    pub fn brief() -> Self {
        let options = CardOptions { top: 6, intervals: 0, each: 0, random: 4, ..CardOptions::default() };
        Self { options, ablated_at: 0, company_of: 0 }
    }
}

/// A survey, and the index of one of its dictionaries.
#[derive(Debug, Clone, Copy)]
pub struct SurveyedDictionary<'a> {
    pub survey: &'a Survey,
    pub dictionary: usize,
}

/// Makes the card of a feature. Without a model it has only what the dictionary contains, without a survey only what
/// needs no text; notes name what is missing.
pub fn card(
    sae: &Sae,
    feature: usize,
    model: Option<&Model>,
    surveyed: Option<SurveyedDictionary>,
    plan: &CardPlan,
    task: &Task,
) -> Result<FeatureCard> {
    check_feature(sae, feature)?;
    let mut card = begun(sae, feature);
    match (model, surveyed) {
        (Some(model), Some(surveyed)) => {
            Maker::new(model, sae, feature, surveyed, plan, task)?.fill(&mut card)?;
        }
        (Some(_), None) => card.notes.push("No text has been read, so where it is active is unknown.".into()),
        (None, _) => {
            card.notes.push("Its model is unknown, and so are where it is active and its effects on the logits.".into())
        }
    }
    if let Some(model) = model {
        let promoted = if writes_to_stream(model, sae) { Some(logits::promoted(model, sae, feature)?) } else { None };
        direct(&mut card, model, promoted.as_deref(), plan.options.rows);
    }
    let found = neighbours::by_direction(sae, feature, None, plan.options.rows)?;
    card.tables.push(neighbours::directions(NEAREST, &found));
    Ok(card)
}

/// Makes the cards of some features of one dictionary: what all of them need is computed once.
pub fn cards(
    sae: &Sae,
    features: &[usize],
    model: &Model,
    surveyed: SurveyedDictionary,
    plan: &CardPlan,
    task: &Task,
) -> Result<Vec<FeatureCard>> {
    features.iter().try_for_each(|feature| check_feature(sae, *feature))?;
    let promoted = if writes_to_stream(model, sae) { Some(logits::promoted_by(model, sae, features)?) } else { None };
    let rows = plan.options.rows;
    // What is compared grows with both numbers; of a dictionary this large only a few have neighbours.
    let is_small = features.len().saturating_mul(sae.d_sae()) <= MOST_COSINES;
    let nearest = if is_small { Some(neighbours::nearest(sae, features, rows)?) } else { None };
    parallel::try_map(features.len(), &|place| {
        task.check()?;
        let feature = features[place];
        let mut card = begun(sae, feature);
        Maker::new(model, sae, feature, surveyed, plan, task)?.fill(&mut card)?;
        let promoted = promoted.as_ref().and_then(|all| all.get(place)).map(Vec::as_slice);
        direct(&mut card, model, promoted, rows);
        match nearest.as_ref().and_then(|all| all.get(place)) {
            Some(found) => card.tables.push(neighbours::directions(NEAREST, found)),
            None => card.notes.push(format!("Not compared with the directions of {} others.", sae.d_sae())),
        }
        Ok(card)
    })
}

const NEAREST: &str = "Nearest by direction";

/// The largest number of directions that are compared for [`cards`].
const MOST_COSINES: usize = 1 << 27;

/// Returns a card with its title and the facts of the dictionary only.
fn begun(sae: &Sae, feature: usize) -> FeatureCard {
    let site = sae.parts().about.site();
    let title = match site.as_str() {
        "" => format!("feature {feature}"),
        site => format!("feature {feature} of {site}"),
    };
    let facts = Card::new(&title, of_dictionary(sae));
    FeatureCard { feature, site, title, facts, ..FeatureCard::default() }
}

fn of_dictionary(sae: &Sae) -> [(&'static str, Cell); 2] {
    let about = &sae.parts().about;
    let dictionary = format!("{} of {} features", about.kind, sae.d_sae());
    [("dictionary", dictionary.trim().into()), ("model", about.model().into())]
}

fn writes_to_stream(model: &Model, sae: &Sae) -> bool {
    sae.d_out() == model.decoder.config().d_model
}

/// Adds the direct effect on the logits, for a direction of the residual stream.
fn direct(card: &mut FeatureCard, model: &Model, promoted: Option<&[f64]>, rows: usize) {
    let Some(found) = promoted else {
        card.notes.push("It does not write to the residual stream, so it has no direct effect on the logits.".into());
        return;
    };
    let name = |token: u32| contexts::quoted(model, token);
    card.tables.push(logits::extremes("Logits along its direction, a code of 1", found, &name, rows));
}

/// The inputs of a card with a text.
struct Maker<'a> {
    model: &'a Model,
    sae: &'a Sae,
    place: Place,
    feature: usize,
    survey: &'a Survey,
    tally: &'a Tally,
    spread: &'a Spread,
    windows: Option<&'a Windows>,
    plan: &'a CardPlan,
    task: &'a Task,
    /// The index of the dictionary in the survey.
    number: usize,
}

impl<'a> Maker<'a> {
    fn new(
        model: &'a Model,
        sae: &'a Sae,
        feature: usize,
        surveyed: SurveyedDictionary<'a>,
        plan: &'a CardPlan,
        task: &'a Task,
    ) -> Result<Self> {
        let SurveyedDictionary { survey, dictionary: number } = surveyed;
        let tally = survey.dictionaries.get(number).and_then(|tallies| tallies.get(feature));
        let spread = survey.spreads.get(number).and_then(|spreads| spreads.get(feature));
        let (Some(tally), Some(spread)) = (tally, spread) else {
            return Err(err!(Bug, "feature {feature} of a dictionary that was not surveyed"));
        };
        let windows = survey.windows.get(number).and_then(|windows| windows.get(feature));
        let windows = windows.filter(|windows| windows.are_wanted());
        let place = place(model, sae)?;
        Ok(Self { model, sae, place, feature, survey, tally, spread, windows, plan, task, number })
    }

    fn fill(&self, card: &mut FeatureCard) -> Result<()> {
        self.facts(&mut card.facts);
        card.notes.push(format!("Made from {} tokens of {}.", self.survey.positions, self.survey.name));
        if self.tally.fired == 0 {
            card.notes.push("It is not active in this text.".into());
            return Ok(());
        }
        let groups = self.chosen();
        let drawn: Vec<Moment> = self.tally.some.iter().take(self.plan.company_of).copied().collect();
        let contexts = self.read(groups.iter().flat_map(|(_, moments)| moments).chain(&drawn))?;
        let of = |moment: &Moment| contexts.iter().find(|context| context.moment == *moment);
        for (name, moments) in groups {
            let texts = moments.iter().filter_map(of).map(|context| self.heat(context)).collect();
            card.contexts.push(Group { name, texts });
        }
        card.tables.extend([self.tokens(), self.positions()]);
        if self.plan.ablated_at > 0 {
            self.without(card)?;
        }
        let active: Vec<Vec<u32>> = drawn.iter().filter_map(of).map(|context| context.active.clone()).collect();
        if !active.is_empty() {
            card.tables.push(self.company(&active));
        }
        Ok(())
    }

    fn facts(&self, facts: &mut Card) {
        let survey = self.survey;
        let tally = self.tally;
        let mut known: Vec<(&str, Cell)> = vec![
            ("text", survey.name.as_str().into()),
            ("positions read", survey.positions.into()),
            ("active at", tally.fired.into()),
            ("density", survey.density(self.number, self.feature).into()),
        ];
        if let Some(strongest) = tally.top.first() {
            known.push(("mean code", tally.mean().into()));
            known.push(("largest code", f64::from(strongest.code).into()));
            facts.histogram = Some(self.spread.sizes.histogram());
        }
        facts.fields.extend(known.into_iter().map(|(name, value)| (name.to_string(), value)));
    }

    /// Returns the groups of contexts that are shown, the largest activations first.
    fn chosen(&self) -> Vec<(String, Vec<Moment>)> {
        let tally = self.tally;
        let options = &self.plan.options;
        let mut groups = vec![("strongest".to_string(), tally.top.iter().take(options.top).copied().collect())];
        let most = tally.top.first().map_or(0.0, |moment| f64::from(moment.code)).max(0.0);
        for interval in (0..options.intervals).rev() {
            let edge = |step: usize| step as f64 / options.intervals as f64;
            let low = edge(interval);
            let high = edge(interval + 1);
            let found = self.spread.sizes.within(low * most, high * most, options.each);
            groups.push((format!("{low:.2} to {high:.2} of the largest"), found));
        }
        groups.push(("drawn at random".into(), tally.some.iter().take(options.random).copied().collect()));
        groups.retain(|(_, moments): &(String, Vec<Moment>)| !moments.is_empty());
        groups
    }

    /// Returns the contexts of some positions, each read once: by the survey, if it kept them, else now.
    fn read<'m>(&self, moments: impl Iterator<Item = &'m Moment>) -> Result<Vec<Context>> {
        let mut all: Vec<Moment> = moments.copied().collect();
        all.sort_by_key(|moment| (moment.row, moment.column));
        all.dedup();
        if let Some(windows) = self.windows {
            return Ok(all.iter().filter_map(|moment| self.kept(windows, moment)).collect());
        }
        let window = self.plan.options.window();
        contexts::around(self.model, self.sae, self.feature, &self.survey.rows, &all, window, self.task)
    }

    fn kept(&self, windows: &Windows, moment: &Moment) -> Option<Context> {
        let row = self.survey.rows.get(moment.row as usize)?;
        let (ids, codes) = windows.context(moment, row)?;
        Some(Context { moment: *moment, ids, codes, active: Vec::new() })
    }

    fn heat(&self, context: &Context) -> HeatText {
        let Moment { row, column, code } = context.moment;
        let title = format!("{code:.3} in row {row}, position {column}");
        contexts::heat(self.model, title, &context.ids, &context.codes)
    }

    /// Returns a table of the tokens with the largest sums of activations.
    fn tokens(&self) -> Table {
        let whole = self.spread.positions.iter().map(|(_, sum)| sum.abs()).sum::<f64>().max(f64::MIN_POSITIVE);
        let rows = self.spread.tokens.strongest().into_iter().take(self.plan.options.rows).map(|at| {
            let occurs = self.survey.occurrences.get(at.token as usize).copied().unwrap_or_default();
            let mean = at.sum / at.fired.max(1) as f64;
            let token = contexts::quoted(self.model, at.token);
            let counts = [at.fired, occurs].map(Cell::from);
            let shares = [mean, at.sum / whole, at.missed / whole].map(Cell::from);
            [vec![token.into()], counts.to_vec(), shares.to_vec()].concat()
        });
        let columns = ["token", "active at", "of", "mean code", "share of all codes", "missed at most"];
        Table::new("Tokens that it is active at", columns, rows)
    }

    /// Returns a table of how often the feature is active at each class of positions.
    fn positions(&self) -> Table {
        let rows = self.survey.classes.iter().enumerate().map(|(class, positions)| {
            let (fired, sum) = self.spread.positions.get(class).copied().unwrap_or_default();
            let mean = (fired > 0).then(|| sum / fired as f64);
            let share = fired as f64 / (*positions).max(1) as f64;
            vec![class_name(class).into(), fired.into(), (*positions).into(), share.into(), mean.into()]
        });
        Table::new("Positions in a row", ["position", "active at", "of", "share", "mean code"], rows)
    }

    /// Adds the effect of the feature's ablation at its strongest positions.
    fn without(&self, card: &mut FeatureCard) -> Result<()> {
        if logits::writes_elsewhere(self.sae) {
            card.notes.push("It writes to another site than it reads, so it is not ablated.".into());
            return Ok(());
        }
        let strongest = self.tally.top.iter().take(self.plan.ablated_at);
        let texts: Vec<Vec<u32>> = strongest.map(|moment| self.survey.up_to(moment)).collect();
        let title = format!("Without it, at its {} strongest positions", texts.len());
        let changes = logits::ablated(self.model, self.sae, self.place, self.feature, texts, self.task)?;
        let name = |token: u32| contexts::quoted(self.model, token);
        card.tables.push(logits::changed(&title, &changes, &name, self.plan.options.rows));
        Ok(())
    }

    /// Returns a table of the co-activation at random positions.
    fn company(&self, active: &[Vec<u32>]) -> Table {
        let density = |feature: usize| self.survey.density(self.number, feature);
        let found = neighbours::by_company(self.feature, active, &density, self.plan.options.rows);
        neighbours::companions(
            &format!("Active together, at {} of its positions drawn at random", active.len()),
            &found,
        )
    }
}
