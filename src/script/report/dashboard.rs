//! `features::dashboard`: pages of many features.

use crate::circuit;
use crate::features::HeadCards;
use crate::features::dashboard::{Dashboard, DashboardOptions, FeatureCounts};
use crate::report::dashboard::{check_folder, single_page, write};
use crate::sae;
use crate::script::circuit::Circuit;
use crate::script::features::FeatureSelection;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

crate::options! {
    /// Values of scripts that a dashboard takes.
    #[derive(Clone)]
    pub struct ShownOptions {
        /// Features that have cards: an array of features or of names, of one dictionary also indices or a range.
        features: Option<FeatureSelection> = None => usually("all, if they are at most 32,768");
        /// Circuits that are shown with the cards, which their nodes link to.
        circuits: Option<Vec<CircuitOption>> = None => usually("none");
        /// Cards of attention heads, as `features::heads` makes them: a map above the index leads to them.
        heads: Option<HeadsOption> = None => usually("none");
    }
}

handle_setting!(HeadsOption(HeadCards), "cards of `features::heads`", |_cards| "cards of heads".into());

handle_setting!(CircuitOption(Circuit), "a circuit", |_circuit| "a circuit".into());

#[export_module(manifest)]
pub mod functions {
    /// Writes pages of thousands of features that open from the file system: an index that sorts, filters and searches,
    /// and a card for each feature, loaded when it is opened. One pass over the text makes all of them.
    ///
    /// The page is `index.html` in the folder `dir`. It says of every feature of all dictionaries how often it is active,
    /// how large its codes are, at which tokens, and the words that `descriptions` and `labels` have for it. Interrupted,
    /// it keeps the cards that are complete, and the same call goes on. A folder with other files is refused; another
    /// dashboard in it is replaced once the new one is complete.
    ///
    /// Nodes of `circuits` lead to the cards of their features, and these back to them. `heads` puts the cards of all
    /// attention heads beside those of features, under a map, layer by head, that is coloured by a score; features that
    /// a head reads and writes lead to their cards.
    ///
    /// # Options
    /// - [dashboard]
    /// - [dashboard_shown]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not"]);
    /// let s = sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 });
    /// let made = features::dashboard(m, s, text, #{ dir: "doc/dashboard", features: 0..4 });
    /// made.to_map().fields.cards  //=> 4
    /// let layout = #{ dir: "doc/dashboard", features: 0..4, heads: features::heads(m, text, #{ dictionaries: s }) };
    /// features::dashboard(m, s, text, layout).to_map().fields["made now"]  //=> 0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn dashboard(ctx: NativeCallContext, m: Model, s: Any, text: Text, options: Options) -> Fallible<Card> {
        let env = env(&ctx)?;
        let (options, asked) = taken_both::<DashboardOptions, ShownOptions>(options)?;
        let saes = super::dictionaries(&s)?;
        let shown = asked.features.map(|wanted| wanted.places(&saes)).transpose()?;
        let dir = Path::new(&options.dir);
        // Before the work, and not after it.
        check_folder(dir, &env.files)?;
        let found = Dashboard::of(m.core(), saes, &text, shown.as_deref(), &options, &env.task)?;
        let circuits: Vec<circuit::Circuit> =
            asked.circuits.into_iter().flatten().map(|beside| beside.0.core).collect();
        let heads = asked.heads.map(|beside| beside.0);
        let written = write(&found, &circuits, heads.as_ref(), dir, &env.files, &env.task)?;
        if let Some(notebook) = env.console.in_notebook()
            && let Some(page) = single_page(written.page.parent().unwrap_or(dir), &env.files, &env.task)?
        {
            notebook.page(&written.page.display().to_string(), &page);
        }
        let FeatureCounts { all: features, cards, silent } = found.counts();
        let fields = [
            ("page", written.page.display().to_string().into()),
            ("features", features.into()),
            ("never active", silent.into()),
            ("cards", cards.into()),
            ("made now", written.made.into()),
            ("kept from before", written.kept.into()),
            ("text", found.survey.name.as_str().into()),
            ("tokens", found.survey.positions.into()),
        ];
        Ok(Card::new("dashboard", fields))
    }
}

/// Reads one dictionary, or an array of them.
fn dictionaries(value: &rhai::Dynamic) -> Result<Vec<sae::Sae>> {
    let given = given("s", value);
    let elements = given.elements();
    let one = |element: &crate::script::engine::value::GivenValue| {
        element
            .handle::<Sae>()
            .map(|sae| sae.core.clone())
            .ok_or_else(|| given.refuse("a dictionary or an array of them"))
    };
    if elements.is_empty() {
        return Err(given.refuse("a dictionary or an array of them"));
    }
    elements.iter().map(one).collect()
}
