//! Features of a dictionary as what a hook acts on, and the options that go with them.

use serde_json::{Value, json};

use crate::base::{Result, Task};
use crate::err;
use crate::intervene::OnFeatures;
use crate::intervene::features::{Which, check_place, on_codes};
use crate::model::Model;
use crate::model::hooks::{Action, Bound, Edit};
use crate::report::symbols::count;
use crate::sae::Sae;
use crate::sae::splice::Rest;
use crate::script::features::Feature;
use crate::script::options::OptionReader;
use crate::script::sae::site_of;
use crate::script::show::Handle;
use crate::script::value::Given;

/// More features than these are counted where a hook says what it does.
const LISTED: usize = 8;

#[derive(Clone)]
pub struct Chosen {
    sae: Sae,
    which: Which,
    rest: Rest,
    site: String,
    /// Whether the call names the site, and not the dictionary.
    is_named: bool,
}

/// The options of a hook on features.
pub struct Asked {
    rest: Option<Rest>,
    others: Option<bool>,
    site: Option<String>,
}

impl Asked {
    pub fn read(options: &mut OptionReader) -> Result<Self> {
        Ok(Self {
            rest: options.get("error", rest)?,
            others: options.get("others", Given::flag)?,
            site: options.get("site", Given::text)?,
        })
    }

    /// A feature, or an array of features of one dictionary; nothing where the argument is something else, which has none
    /// of these options.
    pub fn chosen(self, given: &Given) -> Result<Option<Chosen>> {
        let features: Option<Vec<Feature>> = given.elements().iter().map(Given::handle).collect();
        let Some(features) = features.filter(|features| !features.is_empty()) else {
            let all =
                [("error", self.rest.is_some()), ("others", self.others.is_some()), ("site", self.site.is_some())];
            return match all.iter().find(|(_, is_asked)| *is_asked) {
                Some((key, _)) => {
                    Err(err!(Argument, "expected features beside the option `{key}`, found a site").about("what"))
                }
                None => Ok(None),
            };
        };
        let sae = one_dictionary(&features)?;
        sae.check_writes_what_it_reads()?;
        let indices = features.iter().map(|feature| feature.index).collect();
        Ok(Some(Chosen {
            which: if self.others.unwrap_or(false) { Which::AllBut(indices) } else { Which::Only(indices) },
            rest: self.rest.unwrap_or(Rest::Kept),
            is_named: self.site.is_some(),
            site: self.site.map_or_else(|| site_of(&sae), Ok)?,
            sae,
        }))
    }
}

impl Chosen {
    pub fn site(&self) -> &str {
        &self.site
    }

    /// An action on codes: those of a recorded run are made here, once for all runs of the hook.
    pub fn action(&self, action: &Action, task: &Task) -> Result<Action> {
        on_codes(action, &self.sae, &self.which, &self.site, task)
    }

    /// The hook on a model, with what it does to codes.
    pub fn bound<'a>(&self, model: &Model, edit: Box<dyn Edit + 'a>, positions: Option<Vec<i64>>) -> Result<Bound<'a>> {
        check_place(&self.sae, model, &self.site, self.is_named)?;
        if !self.is_named {
            // Whoever names the site knows in which model it is.
            let hint = "load one that was fitted on it; where both are one model, say so by naming the option `site`";
            self.sae.check_model(&model.origin).map_err(|e| e.hint(hint))?;
        }
        OnFeatures::new(self.sae.clone(), &self.which, self.rest, edit)?.at(
            model.decoder.config(),
            &self.site,
            positions,
        )
    }

    /// `features 3, 5 of resid_post.3`.
    pub fn whom(&self) -> String {
        let (Which::Only(named) | Which::AllBut(named)) = &self.which;
        let all_but = if matches!(self.which, Which::AllBut(_)) { "all but " } else { "" };
        let list = match named.as_slice() {
            [one] => format!("feature {one}"),
            many if many.len() > LISTED => count(many.len(), "feature"),
            _ => format!("features {}", named.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
        };
        format!("{all_but}{list} of {}", self.site)
    }

    /// What becomes of the dictionary's error, in a word.
    pub fn error(&self) -> &'static str {
        match self.rest {
            Rest::Kept => "kept",
            Rest::Dropped => "dropped",
        }
    }

    pub fn json(&self) -> [(&'static str, Value); 3] {
        let (Which::Only(named) | Which::AllBut(named)) = &self.which;
        [
            ("features", json!(named)),
            ("others", json!(matches!(self.which, Which::AllBut(_)))),
            ("error", json!(if self.rest == Rest::Kept { "keep" } else { "drop" })),
        ]
    }
}

fn rest(given: &Given) -> Result<Rest> {
    match given.text()?.as_str() {
        "keep" => Ok(Rest::Kept),
        "drop" => Ok(Rest::Dropped),
        _ => Err(given.refuse("\"keep\" or \"drop\"")),
    }
}

/// The dictionary that all of some features are of.
fn one_dictionary(features: &[Feature]) -> Result<Sae> {
    let mut saes = features.iter().map(|feature| &feature.sae);
    let first = saes.next().ok_or_else(|| err!(Argument, "expected at least one feature, found none"))?;
    match saes.find(|sae| !std::ptr::eq(sae.core.parts(), first.core.parts())) {
        None => Ok(first.core.clone()),
        Some(other) => {
            let (first, other) = (Handle::short(first), Handle::short(other));
            Err(err!(
                Argument,
                "expected features of one dictionary, found some of the {first} and some of the {other}"
            )
            .hint("make a hook for each dictionary: hooks act in the order that they are given in")
            .about("what"))
        }
    }
}
