//! How a card is made: from a survey of a text, from the model, and from the dictionary alone, as far as there are such.

use super::{FeatureCard, Group};
use crate::base::{Card, Cell, HeatText, Result, Table, Task};
use crate::err;
use crate::features::contexts::{self, Context, Window};
use crate::features::histogram::class_name;
use crate::features::survey::{Moment, Survey};
use crate::features::{logits, near};
use crate::model::Model;
use crate::model::site::{Place, select};
use crate::sae::Sae;

/// How much a card shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looking {
    /// The strongest contexts.
    pub top: usize,
    /// Into how many intervals the codes up to the largest are cut, and how many contexts of each are shown.
    pub intervals: usize,
    pub each: usize,
    /// Contexts drawn at random.
    pub random: usize,
    pub window: Window,
    /// Rows of each table.
    pub rows: usize,
}

impl Default for Looking {
    fn default() -> Self {
        Self { top: 8, intervals: 5, each: 3, random: 5, window: Window::default(), rows: 8 }
    }
}

/// So many of the strongest positions are run without the feature.
const ABLATED_AT: usize = 16;
/// From so many drawn positions it is told which features are active together with this one.
const COMPANY_OF: usize = 32;

/// A survey, and which of its dictionaries is meant.
#[derive(Debug, Clone, Copy)]
pub struct Surveyed<'a> {
    pub survey: &'a Survey,
    pub dictionary: usize,
}

/// What can be told of a feature. Without a model it is what the dictionary says by itself, without a survey what needs no
/// text; notes say what is missing.
pub fn card(
    (sae, feature): (&Sae, usize),
    model: Option<&Model>,
    surveyed: Option<Surveyed>,
    looking: Looking,
    task: &Task,
) -> Result<FeatureCard> {
    if feature >= sae.d_sae() {
        return Err(err!(Argument, "expected a feature below {}, found {feature}", sae.d_sae()));
    }
    let site = sae.parts().about.sites.join(", ");
    let title = match site.as_str() {
        "" => format!("feature {feature}"),
        site => format!("feature {feature} of {site}"),
    };
    let facts = Card { title: title.clone(), fields: of_dictionary(sae), ..Card::default() };
    let mut card = FeatureCard { feature, site, title, facts, ..FeatureCard::default() };
    match (model, surveyed) {
        (Some(model), Some(surveyed)) => {
            let place = place(model, sae)?;
            Maker { model, sae, place, feature, looking, task }.with_text(&mut card, surveyed)?;
        }
        (Some(_), None) => card.notes.push("No text has been read for it: it is not known where it is active.".into()),
        (None, _) => card.notes.push(
            "No model is known for it: it is neither known where it is active, nor what it does to the logits.".into(),
        ),
    }
    if let Some(model) = model {
        direct(&mut card, model, sae, looking.rows)?;
    }
    let found = near::by_direction((sae, feature), None, looking.rows)?;
    card.tables.push(near::directions("Nearest by direction", &found));
    Ok(card)
}

/// The place that a dictionary reads in a model.
pub fn place(model: &Model, sae: &Sae) -> Result<Place> {
    let site = crate::features::survey::site(sae)?;
    match select(model.decoder.config(), site)?[..] {
        [place] => Ok(place),
        ref places => Err(err!(Argument, "expected a dictionary of one site, and `{site}` names {}", places.len())),
    }
}

fn of_dictionary(sae: &Sae) -> Vec<(String, Cell)> {
    let about = &sae.parts().about;
    let model = about.model.as_deref().map_or(Cell::Missing, Cell::from);
    let dictionary = format!("{} of {} features", about.kind, sae.d_sae());
    vec![("dictionary".into(), dictionary.trim().into()), ("model".into(), model)]
}

/// What its direction does to the logits, where it is one of the stream.
fn direct(card: &mut FeatureCard, model: &Model, sae: &Sae, rows: usize) -> Result<()> {
    if sae.d_out() != model.decoder.config().d_model {
        card.notes.push("It does not write into the stream, so that it has no direct effect on the logits.".into());
        return Ok(());
    }
    let found = logits::promoted(model, sae, card.feature)?;
    let name = |token: u32| contexts::name(model, token);
    card.tables.push(logits::extremes("Logits along its direction, a code of 1", &found, &name, rows));
    Ok(())
}

struct Maker<'a> {
    model: &'a Model,
    sae: &'a Sae,
    place: Place,
    feature: usize,
    looking: Looking,
    task: &'a Task,
}

impl Maker<'_> {
    fn with_text(&self, card: &mut FeatureCard, surveyed: Surveyed) -> Result<()> {
        let (survey, number) = (surveyed.survey, surveyed.dictionary);
        let (Some(tally), Some(spread)) = (
            survey.dictionaries.get(number).and_then(|tallies| tallies.get(self.feature)),
            survey.spreads.get(number).and_then(|spreads| spreads.get(self.feature)),
        ) else {
            return Err(err!(Bug, "feature {} of a dictionary that was not surveyed", self.feature));
        };
        let count = |count: u64| Cell::Int(count as i64);
        card.facts.fields.push(("text".into(), survey.name.as_str().into()));
        card.facts.fields.push(("positions read".into(), count(survey.positions)));
        card.facts.fields.push(("active at".into(), count(tally.fired)));
        card.facts.fields.push(("density".into(), survey.density(number, self.feature).into()));
        card.notes.push(format!("Made from {} tokens of {}.", survey.positions, survey.name));
        let Some(strongest) = tally.top.first() else {
            card.notes.push("It was active nowhere in this text.".into());
            return Ok(());
        };
        card.facts.fields.push(("mean code".into(), tally.mean().into()));
        card.facts.fields.push(("largest code".into(), f64::from(strongest.code).into()));
        card.facts.histogram = Some(spread.sizes.histogram());
        let groups = self.chosen(surveyed);
        let drawn: Vec<Moment> = tally.some.iter().take(COMPANY_OF.max(self.looking.random)).copied().collect();
        let contexts = self.read(survey, groups.iter().flat_map(|(_, moments)| moments).chain(&drawn))?;
        let of = |moment: &Moment| contexts.iter().find(|context| context.moment == *moment);
        for (name, moments) in groups {
            let texts = moments.iter().filter_map(of).map(|context| self.heat(context)).collect();
            card.contexts.push(Group { name, texts });
        }
        card.tables.push(self.tokens(surveyed));
        card.tables.push(self.positions(surveyed));
        let texts = tally.top.iter().take(ABLATED_AT).map(|moment| survey.up_to(moment)).collect();
        let changes = logits::ablated(self.model, (self.sae, self.place), self.feature, texts, self.task)?;
        let name = |token: u32| contexts::name(self.model, token);
        let title = format!("Without it, at its {} strongest positions", tally.top.len().min(ABLATED_AT));
        card.tables.push(logits::changed(&title, &changes, &name, self.looking.rows));
        let active: Vec<Vec<u32>> = drawn.iter().filter_map(of).map(|context| context.active.clone()).collect();
        let density = |feature: usize| survey.density(number, feature);
        let company = near::by_company(self.feature, &active, &density, self.looking.rows);
        let title = format!("Active together, at {} of its positions drawn at random", active.len());
        card.tables.push(near::companions(&title, &company));
        Ok(())
    }

    /// The groups of contexts that are shown, the largest codes first.
    fn chosen(&self, surveyed: Surveyed) -> Vec<(String, Vec<Moment>)> {
        let (survey, number, looking) = (surveyed.survey, surveyed.dictionary, self.looking);
        let tally = &survey.dictionaries[number][self.feature];
        let sizes = &survey.spreads[number][self.feature].sizes;
        let mut groups = vec![("strongest".to_string(), tally.top.iter().take(looking.top).copied().collect())];
        let most = tally.top.first().map_or(0.0, |moment| f64::from(moment.code)).max(0.0);
        for interval in (0..looking.intervals).rev() {
            let edge = |step: usize| step as f64 / looking.intervals as f64;
            let (low, high) = (edge(interval), edge(interval + 1));
            let found = sizes.within(low * most, high * most, looking.each);
            groups.push((format!("{low:.2} to {high:.2} of the largest"), found));
        }
        groups.push(("drawn at random".into(), tally.some.iter().take(looking.random).copied().collect()));
        groups.retain(|(_, moments): &(String, Vec<Moment>)| !moments.is_empty());
        groups
    }

    /// The contexts of some positions, each read once.
    fn read<'m>(&self, survey: &Survey, moments: impl Iterator<Item = &'m Moment>) -> Result<Vec<Context>> {
        let mut all: Vec<Moment> = moments.copied().collect();
        all.sort_by_key(|moment| (moment.row, moment.column));
        all.dedup();
        let window = (all.as_slice(), self.looking.window);
        contexts::around(self.model, (self.sae, self.place), self.feature, &survey.rows, window, self.task)
    }

    fn heat(&self, context: &Context) -> HeatText {
        let Moment { row, column, code } = context.moment;
        let title = format!("{code:.3} in row {row}, position {column}");
        contexts::heat(self.model, title, &context.ids, &context.codes)
    }

    /// The tokens with the largest sums of codes.
    fn tokens(&self, surveyed: Surveyed) -> Table {
        let (survey, number) = (surveyed.survey, surveyed.dictionary);
        let found = survey.spreads[number][self.feature].tokens.strongest();
        let whole = survey.dictionaries[number][self.feature].sum.abs().max(f64::MIN_POSITIVE);
        let rows = found.iter().take(self.looking.rows).map(|at| {
            let occurs = survey.occurrences.get(at.token as usize).copied().unwrap_or_default();
            let (fired, mean) = (Cell::Int(at.fired as i64), at.sum / at.fired.max(1) as f64);
            let missed = if at.missed > 0.0 { Cell::from(at.missed / whole) } else { Cell::from(0.0) };
            let token = contexts::name(self.model, at.token);
            vec![token.into(), fired, Cell::Int(occurs as i64), mean.into(), (at.sum / whole).into(), missed]
        });
        let columns = ["token", "active at", "of", "mean code", "share of all codes", "at most missed"];
        Table {
            title: "Tokens that it is active at".into(),
            columns: columns.map(String::from).to_vec(),
            rows: rows.collect(),
        }
    }

    /// How often it is active early and late in a row.
    fn positions(&self, surveyed: Surveyed) -> Table {
        let (survey, number) = (surveyed.survey, surveyed.dictionary);
        let found = &survey.spreads[number][self.feature].positions;
        let rows = survey.classes.iter().enumerate().map(|(class, positions)| {
            let (fired, sum) = found.get(class).copied().unwrap_or_default();
            let mean = if fired == 0 { Cell::Missing } else { (sum / fired as f64).into() };
            let (share, positions) = (fired as f64 / (*positions).max(1) as f64, Cell::Int(*positions as i64));
            vec![class_name(class).into(), Cell::Int(fired as i64), positions, share.into(), mean]
        });
        Table {
            title: "Positions in a row".into(),
            columns: ["position", "active at", "of", "share", "mean code"].map(String::from).to_vec(),
            rows: rows.collect(),
        }
    }
}
