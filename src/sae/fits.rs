//! Whether a dictionary is one for the activations of a model.

use super::Sae;
use crate::base::Result;
use crate::err;
use crate::model::config::Config;
use crate::model::site::{Place, select};

/// The one place that a site names in a model, as a dictionary wants it that reads here and writes there.
pub fn one_place(config: &Config, site: &str) -> Result<Place> {
    match select(config, site)?[..] {
        [place] => Ok(place),
        ref several => Err(err!(Name, "expected one site, and `{site}` names {}", several.len())
            .hint("a transcoder reads one and writes one, such as `mlp_in.2` and `mlp_out.2`")),
    }
}

/// Refuses a site to write that has been computed when the dictionary reads.
pub fn check_writes_behind(reads: Place, writes: Place) -> Result<()> {
    if reads < writes {
        return Ok(());
    }
    Err(err!(Argument, "expected a site to write behind the one that is read, found `{writes}` and `{reads}`")
        .hint("`sae::fit` fits a dictionary that reads and writes at one site"))
}

impl Sae {
    /// Refuses a dictionary of other activations than those of a site of a model, which are `d` wide; of several sites
    /// together the names stand one behind the other, as in `resid_post.0, resid_post.1`.
    pub fn check_fits(&self, d: usize, model: &str, site: &str) -> Result<()> {
        let about = &self.parts().about;
        let read = about.sites.join(", ");
        let whose = about.model.as_ref().map(|model| format!(" of {model}")).unwrap_or_default();
        let place = if read.is_empty() { String::new() } else { format!(" at {read}") };
        if self.d_in() != d {
            let found = self.d_in();
            return Err(err!(Shape, "expected a dictionary for {site} of {model}, which is {d} wide, found one that reads {found}{place}{whose}")
                .hint("load one that was fitted on this site of this model"));
        }
        if !read.is_empty() && read != site {
            return Err(err!(
                Argument,
                "expected a dictionary for {site} of {model}, found one that reads {read}{whose}"
            )
            .hint(format!("it belongs to the site {read}")));
        }
        Ok(())
    }

    /// Refuses a dictionary that writes elsewhere than it reads: what it makes of activations is not to be compared with
    /// these.
    pub fn check_writes_what_it_reads(&self) -> Result<()> {
        let about = &self.parts().about;
        if about.writes.is_none() && !about.kind.contains("transcoder") {
            return Ok(());
        }
        let (reads, writes) = (about.sites.join(", "), about.writes.as_deref().unwrap_or("another site"));
        Err(err!(
            Argument,
            "expected a dictionary that writes what it reads, found one that reads {reads} and writes {writes}"
        )
        .hint("`measure_on` compares what a transcoder writes with what a model has there"))
    }
}
