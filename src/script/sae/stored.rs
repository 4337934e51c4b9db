//! Dictionaries measured on stores: `s.measure(store)`.

use rhai::NativeCallContext;
use rhai::plugin::*;

use super::dictionary::Sae;
use crate::sae::metrics::{Measures, Rules, measured_in};
use crate::script::data::Store;
use crate::script::env::env;
use crate::script::options::options;
use crate::script::value::{Fallible, Given, Options};

#[export_module(manifest)]
pub mod methods {
    #[rhai_fn(global, name = "measure", pure, return_raw)]
    pub fn measure_in(ctx: NativeCallContext, s: &mut Sae, store: Store, options: Options) -> Fallible<Measures> {
        let mut read = super::options(options);
        let rules = Rules { dead_at_most: read.size("dead_at_most", 0)? as u64 };
        let site = read.get("site", Given::text)?;
        read.finish()?;
        let site = match (site, s.core.parts().about.sites.as_slice()) {
            (Some(site), _) => site,
            (None, [site]) => site.clone(),
            (None, _) => store.core.only_site()?,
        };
        Ok(measured_in(&s.core, (&store.core, &site), rules, &env(&ctx)?.task).map_err(|e| e.about("store"))?)
    }
}
