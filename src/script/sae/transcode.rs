//! Transcoders and crosscoders: dictionaries that write to another site, and those of several sites or models.

use rhai::plugin::*;
use rhai::{Array, Dynamic, NativeCallContext};

use super::asked::{Asked, asked};
use super::dictionary::Sae;
use super::rows::{Held, Source, keeping};
use crate::base::{Result, Table, Task};
use crate::data::harvest::{self, Harvest, width};
use crate::data::{Text, pack};
use crate::err;
use crate::model::config::Config;
use crate::model::site::{Place, select};
use crate::sae;
use crate::sae::crosscoder::unscaled;
use crate::sae::fit::{Fit, Joined, Recipe, Rows};
use crate::sae::{About, Span};
use crate::script::data::Store;
use crate::script::env::{Env, env};
use crate::script::model::Model;
use crate::script::options::options;
use crate::script::value::{Any, Fallible, Given, Options, given};
use crate::tensor::Tensor;

/// The sites that names stand for, in the order of the computation, each once.
fn all_places(config: &Config, sites: &[String]) -> Result<Vec<Place>> {
    let named = sites.iter().map(|site| select(config, site)).collect::<Result<Vec<_>>>()?;
    let mut places = named.concat();
    places.sort();
    places.dedup();
    Ok(places)
}

/// Fits by the options.
fn run(asked: &Asked, (recipe, d_sae): (Recipe, usize), rows: Box<dyn Rows>, about: About, env: &Env) -> Result<Sae> {
    Ok(Fit::new(recipe, d_sae, rows, asked.keep("", env), &env.task)?.run(about, &env.task)?.into())
}

/// Fits a transcoder: of the two sites of a source the first is read, and the second written.
fn transcoded(asked: &Asked, source: Source, skip: bool, env: &Env) -> Result<Sae> {
    let Source { rows, count: found, widths, about, .. } = source;
    let (mut recipe, d_sae) = asked.recipe(found, widths.first().copied().unwrap_or_default())?;
    recipe.skip = skip;
    let mut sites = about.sites.clone().into_iter();
    let about = About { sites: sites.next().into_iter().collect(), writes: sites.next(), ..about };
    run(asked, (recipe, d_sae), rows, about, env)
}

/// Fits a crosscoder of all sites of a source.
fn crossed(asked: &Asked, source: Source, env: &Env) -> Result<Sae> {
    let Source { rows, count: found, widths, about, .. } = source;
    let recipe = asked.recipe(found, widths.iter().sum::<usize>() / widths.len().max(1))?;
    let rows = Joined::new(rows, &env.task)?;
    let spans: Vec<Span> = rows.spans().to_vec();
    let found = run(asked, recipe, Box::new(rows), about, env)?;
    Ok(Sae { core: unscaled(&found.core, &spans)?, ..found })
}

/// Options with the default kind of crosscoders, and the widths of its sites.
fn as_crosscoder(mut options: Options, widths: &[usize]) -> Options {
    let kind = options.entry("kind".into()).or_insert_with(|| "crosscoder".into());
    if kind.clone().into_string().is_ok_and(|kind| kind == "crosscoder") {
        let widths: Array = widths.iter().map(|width| Dynamic::from(*width as i64)).collect();
        options.insert("widths".into(), widths.into());
    }
    options
}

/// The activations of the same sites of one or several models, concatenated row by row.
fn together(
    models: &[Model],
    sites: &[String],
    text: &Text,
    (keep, held): (&harvest::Options, Held),
    task: &Task,
) -> Result<Source> {
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let mut widths = Vec::new();
    for model in models {
        widths.extend(Harvest::new(model.core(), &sites, text, keep, task)?.widths());
    }
    // All of them share the memory, so that their rows have one order.
    let held = Held { rows: Some(held.of_widths(&widths)), ..held };
    let source = |model: &Model| Source::of_model((model.core(), &sites), text, keep, held, task);
    Source::joined(models.iter().map(source).collect::<Result<_>>()?)
}

/// The site that a dictionary writes, if it is another than it reads: from the options, or from the dictionary.
pub fn writes_of(sae: &sae::Sae, asked: Option<String>) -> Result<Option<String>> {
    let about = &sae.parts().about;
    match asked.or_else(|| about.writes.clone()) {
        None if about.kind.contains("transcoder") => {
            Err(err!(Argument, "the transcoder does not say which site it writes")
                .hint("name it with the option `writes`, such as `mlp_out.3`"))
        }
        found => Ok(found),
    }
}

/// Models that read the same tokens, as one argument.
fn models(value: &Dynamic) -> Result<Vec<Model>> {
    let one = |given: &Given| given.handle::<Model>().ok_or_else(|| given.refuse("a model or an array of models"));
    let models = given("m", value).elements().iter().map(one).collect::<Result<Vec<_>>>()?;
    match models.is_empty() {
        true => Err(given("m", value).refuse("at least one model")),
        false => Ok(models),
    }
}

/// The name of a site of one of several models.
fn named(number: usize, count: usize, place: &Place) -> String {
    if count == 1 { place.to_string() } else { format!("{place} of model {number}") }
}

/// Refuses models that do not read the same tokens in a text.
fn same_tokens(models: &[Model], text: &Text, context: Option<usize>, task: &Task) -> Result<()> {
    let [first, others @ ..] = models else { return Ok(()) };
    let rows = |model: &Model| pack::rows(text, model.tokenizer()?, context.unwrap_or(model.config().context), task);
    for (number, other) in others.iter().enumerate() {
        let (mut a, mut b) = (rows(first)?, rows(other)?);
        loop {
            task.check()?;
            let [a, b] = [a.next(task)?, b.next(task)?].map(|row| row.map(|row| row.ids));
            if a != b {
                let number = number + 1;
                return Err(err!(
                    Argument,
                    "expected models that read the same tokens, found others in model {number}"
                )
                .hint("a crosscoder of several models needs the same tokenizer and context in all of them"));
            }
            if a.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// The index of one of a dictionary's sites, by index or by name.
fn site_number(s: &Sae, site: &Dynamic) -> Result<usize> {
    let given = given("site", site);
    if !site.is_string() {
        return given.size();
    }
    let (name, sites) = (given.text()?, &s.core.parts().about.sites);
    sites.iter().position(|known| *known == name).ok_or_else(|| given.refuse(&format!("one of {}", sites.join(", "))))
}

#[export_module(manifest)]
pub mod functions {
    /// Fits a transcoder: it reads a model's activations at one site and reconstructs those at a later one, such as what
    /// an MLP makes of its input (Dunefsky et al. 2024).
    ///
    /// With `skip` it has a linear skip connection, so that its features explain only the rest (Paulo et al. 2025).
    /// Spliced into the model, it replaces what lies between the two sites. Activations are read as in `sae::fit`: held
    /// in memory where they fit, else streamed; or from a store that has both sites, which is given instead of the
    /// model and needs no text.
    ///
    /// # Options
    /// - `skip` = false: whether there is a linear skip connection
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 1, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let s = sae::transcoder(m, "mlp_in.0", "mlp_out.0", text, #{ k: 2, ratio: 2, steps: 5, skip: true, seed: 1 });
    /// s  //=> skip_transcoder dictionary of 16 features for mlp_in.0
    /// s.splice()  //=> splice a dictionary in for mlp_in.0 at mlp_out.0
    /// ```
    #[rhai_fn(return_raw)]
    pub fn transcoder(
        ctx: NativeCallContext,
        m: Model,
        reads: &str,
        writes: &str,
        text: Text,
        options: Options,
    ) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let asked = super::asked(&mut read, &env).map_err(|e| e.about("options"))?;
        let skip = read.flag("skip", false)?;
        let keep = keeping(&mut read)?;
        read.finish()?;
        let config = m.config();
        let from = sae::one_place(config, reads).map_err(|e| e.about("reads"))?;
        let to = sae::one_place(config, writes).map_err(|e| e.about("writes"))?;
        sae::check_writes_behind(from, to).map_err(|e| e.about("writes"))?;
        let sites = [&*from.to_string(), &*to.to_string()];
        let source = Source::of_model((m.core(), &sites), &text, &keep, asked.held(), &env.task)?;
        Ok(super::transcoded(&asked, source, skip, &env)?)
    }

    #[rhai_fn(name = "transcoder", return_raw)]
    pub fn transcoder_of_store(
        ctx: NativeCallContext,
        store: Store,
        reads: &str,
        writes: &str,
        options: Options,
    ) -> Fallible<Sae> {
        let (env, mut read) = (env(&ctx)?, super::options(options));
        let asked = super::asked(&mut read, &env).map_err(|e| e.about("options"))?;
        let skip = read.flag("skip", false)?;
        read.finish()?;
        let source = Source::of_store(&store.core, &[reads, writes], asked.held())?;
        Ok(super::transcoded(&asked, source, skip, &env)?)
    }

    /// Fits a crosscoder: one dictionary of several sites of a model, or of the same sites of several models that read the
    /// same tokens (Lindsey et al. 2024). A feature has one code, and a direction at each site.
    ///
    /// Each site is scaled during training, so that none counts more than another. `shares` tells which features the
    /// sites share. It reads rows in which the sites are concatenated.
    ///
    /// # Options
    /// - `kind` = "crosscoder": an L1 penalty on codes, each times the sum of the norms of its directions; or a kind of
    ///   `sae::fit`, with its own options
    /// - `ratio` = 8: number of features over number of dimensions of one site
    /// - [fit]
    /// - [kinds]
    /// - [keep]
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let text = data::texts(["to be or not to be", "or not to be"]);
    /// let s = sae::crosscoder(m, "resid_post.*", text, #{ l1: 0.01, ratio: 2, steps: 5, seed: 1 });
    /// s  //=> crosscoder dictionary of 16 features for resid_post.0, resid_post.1
    /// s.shares().shape  //=> [16, 2]
    /// s.directions_at("resid_post.1").shape  //=> [16, 8]
    /// ```
    #[rhai_fn(return_raw)]
    pub fn crosscoder(ctx: NativeCallContext, m: Any, sites: Any, text: Text, options: Options) -> Fallible<Sae> {
        let env = env(&ctx)?;
        let (models, names) = (super::models(&m)?, given("sites", &sites).texts()?);
        let mut places = Vec::new();
        for (number, model) in models.iter().enumerate() {
            for place in super::all_places(model.config(), &names).map_err(|e| e.about("sites"))? {
                let name = super::named(number, models.len(), &place);
                places.push((name, width(model.config(), place).map_err(|e| e.about("sites"))?));
            }
        }
        if places.len() < 2 {
            return Err(given("sites", &sites).refuse("at least two sites, or several models").into());
        }
        let widths: Vec<usize> = places.iter().map(|(_, width)| *width).collect();
        let mut read = super::options(super::as_crosscoder(options, &widths));
        let asked = super::asked(&mut read, &env).map_err(|e| e.about("options"))?;
        let keep = keeping(&mut read)?;
        read.finish()?;
        super::same_tokens(&models, &text, keep.context, &env.task).map_err(|e| e.about("m"))?;
        let names: Vec<String> =
            super::all_places(models[0].config(), &names)?.iter().map(ToString::to_string).collect();
        let source = super::together(&models, &names, &text, (&keep, asked.held()), &env.task)?;
        let sites = places.into_iter().map(|(name, _)| name).collect();
        let source = Source { about: About { sites, ..source.about }, ..source };
        Ok(super::crossed(&asked, source, &env)?)
    }

    #[rhai_fn(name = "crosscoder", return_raw)]
    pub fn crosscoder_of_store(ctx: NativeCallContext, store: Store, sites: Any, options: Options) -> Fallible<Sae> {
        let (env, names) = (env(&ctx)?, given("sites", &sites).texts()?);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.len() < 2 {
            return Err(given("sites", &sites).refuse("at least two sites").into());
        }
        let width = |name: &&str| store.core.width(store.core.site(name)?);
        let widths = names.iter().map(width).collect::<crate::base::Result<Vec<_>>>().map_err(|e| e.about("sites"))?;
        let mut read = super::options(super::as_crosscoder(options, &widths));
        let asked = super::asked(&mut read, &env).map_err(|e| e.about("options"))?;
        read.finish()?;
        let source = Source::of_store(&store.core, &names, asked.held())?;
        Ok(super::crossed(&asked, source, &env)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// The directions of a crosscoder at one of its sites, by name or index: `[d_sae, width]`.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::crosscoder(m, "mlp_out.*", data::texts(["to be or not"]), #{ l1: 0.01, d_sae: 4, steps: 2, seed: 1 });
    /// s.directions_at(0).shape  //=> [4, 8]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn directions_at(s: &mut Sae, site: Any) -> Fallible<Tensor> {
        let number = super::site_number(s, &site)?;
        Ok(s.core.directions_at(number).map_err(|e| e.about("site"))?)
    }

    /// Relative decoder norms of a crosscoder: the norm of each feature's direction at each site over the sum of these
    /// norms, with all sites scaled alike: `[d_sae, sites]`. 1 is a feature of one site alone; 1 over the number of
    /// sites is one that all share.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::crosscoder(m, "mlp_out.*", data::texts(["to be or not"]), #{ l1: 0.01, d_sae: 4, steps: 2, seed: 1 });
    /// (s.shares().sum(1) - 1).abs().max() < 1e-5  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn shares(s: &mut Sae) -> Fallible<Tensor> {
        Ok(s.core.shares()?)
    }

    /// For each site of a crosscoder the mean relative norm of the features, and the number of features of that site
    /// alone.
    ///
    /// # Example
    /// ```
    /// let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
    /// let s = sae::crosscoder(m, "mlp_out.*", data::texts(["to be or not"]), #{ l1: 0.01, d_sae: 4, steps: 2, seed: 1 });
    /// s.by_site().columns  //=> ["site", "mean share", "own features"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn by_site(s: &mut Sae) -> Fallible<Table> {
        Ok(s.core.sites_table()?)
    }

    /// The site that a dictionary writes, where it is not the one that it reads; else ().
    ///
    /// # Example
    /// ```
    /// sae::identity(3).writes  //=> ()
    /// ```
    #[rhai_fn(global, get = "writes", pure)]
    pub fn writes(s: &mut Sae) -> Dynamic {
        s.core.parts().about.writes.clone().map_or(Dynamic::UNIT, Dynamic::from)
    }
}
