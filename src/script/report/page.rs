//! The page of a report in one file: as it was printed, or live, with engine, model and dictionaries inside.

use std::ffi::OsStr;

use crate::model;
use crate::model::ModelName;
use crate::report::Report;
use crate::report::live::{self, LivePlan};
use crate::report::page_engine::PageEngine;
use crate::script::model::prelude::*;
use crate::script::sae::Sae;

handle_setting!(ModelSetting(Model), "a model", |model| model.core().name().to_string());

handle_setting!(SaeSetting(Sae), "a dictionary", |sae| sae.short());

crate::choices! {
    /// Forms in which a page holds the matrices of a model.
    pub enum MatrixForm {
        /// Numbers of 16 bits.
        Half = "half",
        /// Integers of 8 bits, of which 32 share a scale.
        Int8 = "q8",
    }
}

crate::options! {
    /// Options of the page of a report.
    #[derive(Clone)]
    pub struct ReportPageOptions {
        /// Whether circuits, pages of lenses, maps of heads and cards of features answer in the page, which then has the
        /// engine, the model and the dictionaries inside.
        live: bool = false;
        /// The model of a live page.
        model: Option<ModelSetting> = None => usually("the loaded one that circuits of the report name");
        /// Dictionaries of the cards of a live page, beside those of its circuits.
        dictionaries: Vec<SaeSetting> = Vec::new() => usually("none");
        /// The form of the model's matrices in a live page: numbers of 16 bits, or int8, 32 numbers to a scale.
        dtype: MatrixForm = MatrixForm::Half;
    }
}

/// Writes the page, and returns its path.
pub fn saved(env: &Env, report: &Report, path: &str, options: ReportPageOptions) -> Result<String> {
    let place = Path::new(path);
    if place.extension().and_then(OsStr::to_str) != Some("html") {
        return Err(err!(Argument, "expected a file name that ends in .html, found {path:?}").about("path"));
    }
    let page = if options.live { live_page(env, report, options)? } else { printed(env, report, &options)? };
    let written = env.files.save_whole(place, page).map_err(|e| e.about("path"))?;
    Ok(written.display().to_string())
}

fn printed(env: &Env, report: &Report, options: &ReportPageOptions) -> Result<String> {
    let given = [
        ("model", options.model.is_some()),
        ("dictionaries", !options.dictionaries.is_empty()),
        ("dtype", options.dtype != MatrixForm::Half),
    ];
    if let Some((name, _)) = given.iter().find(|(_, is_given)| *is_given) {
        return Err(err!(Argument, "expected `live` beside `{name}`, found a page that computes nothing").about(*name));
    }
    report.html(&env.task)
}

fn live_page(env: &Env, report: &Report, options: ReportPageOptions) -> Result<String> {
    let engine = PageEngine::find_for_answers().map_err(|e| e.about("live"))?;
    let ReportPageOptions { model, dictionaries, dtype, .. } = options;
    let find = |name: Option<&str>| match (model, name) {
        (Some(given), _) => Ok(given.0.core().clone()),
        (None, Some(name)) => loaded(env, name),
        (None, None) => {
            Err(err!(Argument, "expected the model of a live page, and no item of the report names its own")
                .hint("name it with the option `model`")
                .about("live"))
        }
    };
    let more = dictionaries.into_iter().map(|sae| sae.0.core.clone()).collect();
    let plan = LivePlan { int8: dtype == MatrixForm::Int8, ..LivePlan::of(report.items(), find, more)? };
    let files = live::files(&plan, &env.files, &env.task)?;
    live::page(report.name(), report.items(), &plan, &files, &engine, &env.task)
}

/// Returns the latest model that was loaded by this name.
fn loaded(env: &Env, name: &str) -> Result<model::Model> {
    let found = env.models.called(&ModelName::from(name));
    found.map(|model| model::Model::clone(&model)).ok_or_else(|| {
        err!(Argument, "expected a loaded model `{name}`, of which the report's circuits are, found none")
            .hint("name it with the option `model`")
            .about("live")
    })
}
