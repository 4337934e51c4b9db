//! Sites of a dictionary, and checks that it fits the activations of a model.

use std::fmt::Display;

use super::formats::is_before_weights;
use super::{About, Sae};
use crate::common::*;
use crate::data::harvest::width;
use crate::model::ModelName;
use crate::model::adapter::BESIDE;
use crate::model::config::Config;
use crate::model::site::{NAME_ONE, one_site};

crate::options! {
    /// Options of the site that a dictionary reads in a model.
    pub struct SiteOptions {
        /// Site that activations are read at, and that the dictionary is spliced in at.
        site: Option<String> = None => usually("the dictionary's");
    }
}

impl SiteOptions {
    /// Returns the site that is named, or else the dictionary's.
    pub fn of(&self, sae: &Sae) -> Result<String> {
        self.site.clone().map_or_else(|| site_of(sae), Ok)
    }
}

/// The site that a dictionary reads, and the one that it writes; the same for all but transcoders.
#[derive(Debug, Clone, Copy)]
pub struct SitePair<'a> {
    pub reads: &'a str,
    pub writes: &'a str,
}

/// Returns the one site of a model that a name stands for, for a dictionary that reads one site and writes another.
pub fn one_place(config: &Config, site: &str) -> Result<Place> {
    one_site(config, site, "a transcoder reads one and writes one, such as `mlp_in.2` and `mlp_out.2`")
}

/// Refuses a site to write that is computed before the one that the dictionary reads.
pub fn check_writes_behind(reads: Place, writes: Place) -> Result<()> {
    if reads < writes {
        return Ok(());
    }
    Err(err!(Argument, "expected a site to write after the one that is read, found `{writes}` and `{reads}`")
        .hint("`sae::fit` fits a dictionary that reads and writes at one site"))
}

/// Returns the one site that a dictionary reads, where it says so.
pub fn site_of(sae: &Sae) -> Result<String> {
    match sae.parts().about.sites.as_slice() {
        [site] => {
            check_has_weights(sae)?;
            Ok(site.to_string())
        }
        [] => {
            Err(err!(Argument, "the dictionary does not say which site it reads")
                .hint("name it with the option `site`"))
        }
        _ => Err(err!(Argument, "expected a dictionary of one site, found one of {}", sae.parts().about.site())),
    }
}

/// Refuses a dictionary of what a norm gives before its weights: no site has that.
fn check_has_weights(sae: &Sae) -> Result<()> {
    match sae.parts().about.sites.iter().find(|site| is_before_weights(&site.name)) {
        None => Ok(()),
        Some(site) => Err(err!(
            Argument,
            "the dictionary reads `{site}`, which is before the weights of the norm are applied, and `attn_in` and `mlp_in` are after"
        )
        .hint("sae::transcoders takes transcoders of it for attribution graphs; elsewhere take one of another site, as `resid_mid`")),
    }
}

/// Returns the site that a dictionary writes, if it is another than it reads: the one that is named, or else its own.
pub fn writes_of(sae: &Sae, named: Option<&str>) -> Result<Option<String>> {
    let about = &sae.parts().about;
    match named.or(about.writes.as_deref()) {
        None if about.kind.is_transcoder() => Err(err!(Argument, "the transcoder does not say which site it writes")
            .hint("name it with the option `writes`, such as `mlp_out.3`")),
        found => Ok(found.map(String::from)),
    }
}

/// Refuses a dictionary that reads or writes where a model has no such site, or another width there.
pub fn check_is_for(model: &Model, about: &About, d_in: usize, d_out: usize) -> Result<()> {
    let config = model.decoder.config();
    let at = |site: &str| -> Result<usize> {
        let place = one_site(config, site, NAME_ONE).map_err(|e| {
            let read = format!("the dictionary is of {site}{}, which {} has not", whose(about), model.name());
            Error { message: format!("{read}: {}", e.message), about: None, ..e }
        })?;
        width(config, place)
    };
    if about.sites.is_empty() {
        let places = Site::all(config).into_iter().map(|site| Place { site, head: None });
        let mut widths: Vec<usize> = places.filter_map(|place| width(config, place).ok()).collect();
        widths.sort_unstable();
        widths.dedup();
        if !widths.contains(&d_in) {
            let named = widths.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            return Err(err!(
                Shape,
                "expected a dictionary of a width that {} has ({named}), found one of width {d_in}",
                model.name()
            ));
        }
    } else {
        let widths = about.sites.iter().map(|site| at(&site.to_string())).collect::<Result<Vec<_>>>()?;
        let sum: usize = widths.iter().sum();
        if sum != d_in {
            return Err(of_other_width(about, d_in, sum, &model.name(), &about.site()));
        }
    }
    match &about.writes {
        Some(site) if at(site)? != d_out => Err(err!(
            Shape,
            "expected a dictionary that writes {site} of {}, of width {}, found one that writes a width of {d_out}",
            model.name(),
            at(site)?
        )
        .hint("load one that was fitted on this model")),
        _ => Ok(()),
    }
}

/// Makes the error of a dictionary of width `found` where a site of a model has the width `d`.
fn of_other_width(about: &About, found: usize, d: usize, model: &dyn Display, site: &str) -> Error {
    let read = about.site();
    let place = if read.is_empty() { String::new() } else { format!(" at {read}") };
    let whose = whose(about);
    err!(Shape, "expected a dictionary for {site} of {model}, of width {d}, found one of width {found}{place}{whose}")
        .hint("load one that was fitted on this site of this model")
}

/// Returns the models of a dictionary as errors name them; nothing where they are unknown.
fn whose(about: &About) -> String {
    about.model().map(|model| format!(" of {model}")).unwrap_or_default()
}

impl Sae {
    /// Refuses a dictionary of other activations than those of a site of a model, of width `d`; `model` is its name for
    /// errors.
    pub fn check_fits(&self, d: usize, model: &dyn Display, site: &str) -> Result<()> {
        self.check_width(d, model, site)?;
        check_has_weights(self)?;
        let about = &self.parts().about;
        let is_read = matches!(about.sites.as_slice(), [read] if read.to_string() == site);
        if !about.sites.is_empty() && !is_read {
            let read = about.site();
            let whose = whose(about);
            return Err(err!(
                Argument,
                "expected a dictionary for {site} of {model}, found one that reads {read}{whose}"
            )
            .hint(format!("it belongs to the site {read}")));
        }
        Ok(())
    }

    /// Refuses a dictionary that reads another width than that of a site of a model.
    pub fn check_width(&self, d: usize, model: &dyn Display, site: &str) -> Result<()> {
        if self.d_in() == d {
            return Ok(());
        }
        Err(of_other_width(&self.parts().about, self.d_in(), d, model, site))
    }

    /// Refuses a dictionary that says that it is of another model. A model has as many names as places that it is
    /// loaded from: the last part of each is compared, without a revision and without the hooks that it keeps.
    pub fn check_model(&self, model: &ModelName) -> Result<()> {
        let about = &self.parts().about;
        match (about.models.as_slice(), about.model()) {
            ([of], _) if plain_name(of) == plain_name(model) => Ok(()),
            (_, Some(of)) => Err(err!(Argument, "expected a dictionary of {model}, found one of {of}")
                .hint("load one that was fitted on this model")),
            (_, None) => Ok(()),
        }
    }

    /// Refuses a crosscoder of several models that says that it is of others, or of these in another order.
    pub fn check_models(&self, models: &[ModelName]) -> Result<()> {
        let known = &self.parts().about.models;
        // One alone says nothing of the others.
        if known.len() < 2 {
            return Ok(());
        }
        let same = known.iter().zip(models).all(|(a, b)| plain_name(a) == plain_name(b));
        if known.len() == models.len() && same {
            return Ok(());
        }
        let joined = |names: &[ModelName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join("` and `");
        let [wanted, found] = [models, known].map(joined);
        Err(err!(Argument, "expected a crosscoder of `{wanted}`, found one of `{found}`")
            .hint("give the models in the order in which it was fitted"))
    }

    /// Refuses a dictionary that writes to another site than it reads: its output is not a reconstruction of its input.
    pub fn check_writes_what_it_reads(&self) -> Result<()> {
        let about = &self.parts().about;
        if about.writes.is_none() && !about.kind.is_transcoder() {
            return Ok(());
        }
        let reads = about.site();
        let writes = about.writes.as_deref().unwrap_or("another site");
        Err(err!(
            Argument,
            "expected a dictionary that reconstructs its input, found one that reads {reads} and writes {writes}"
        )
        .hint("`measure_on` compares what a transcoder writes with what a model has there"))
    }
}

/// Shortens the name of a model: `pythia-70m` for `EleutherAI/pythia-70m@main`. An adapter is left out, as hooks are: its
/// model is read with dictionaries of the base.
fn plain_name(model: &ModelName) -> String {
    let base = model.origin.split_once(BESIDE).map_or(model.origin.as_str(), |(base, _)| base);
    let without_revision = base.split_once('@').map_or(base, |(name, _)| name);
    let last = without_revision.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
    let name = last.unwrap_or_default().to_lowercase();
    // TransformerLens calls it so, and with it SAELens.
    if name == "gpt2-small" { "gpt2".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::baselines;

    #[test]
    fn a_dictionary_of_another_model_is_refused_with_both_names() {
        let mut parts = baselines::identity(3).unwrap().parts().clone();
        parts.about = About { models: vec!["EleutherAI/pythia-70m-deduped".into()], ..parts.about };
        let sae = Sae::new(parts).unwrap();
        let adapted = "models/pythia-70m-deduped + adapters/sycophant x 1.5";
        for same in
            ["EleutherAI/pythia-70m-deduped@e93a9fa", "pythia-70m-deduped", "models/Pythia-70m-deduped/", adapted]
        {
            assert_eq!(sae.check_model(&same.into()), Ok(()));
        }
        let error = sae.check_model(&"EleutherAI/pythia-70m@main".into()).unwrap_err();
        assert_eq!(
            error.message,
            "expected a dictionary of EleutherAI/pythia-70m@main, found one of EleutherAI/pythia-70m-deduped"
        );
        assert_eq!(plain_name(&"gpt2-small".into()), plain_name(&"openai-community/gpt2".into()));
        assert_eq!(baselines::identity(3).unwrap().check_model(&"anything".into()), Ok(()));
    }
}
