//! `m.lens_page`: a text read by several lenses side by side.

use super::fitted::FittedLens;
use super::names;
use crate::model::reading::fitted;
use crate::model::reading::lens_page::{LensPage, LensPageOptions};
use crate::script::model::{InputOptions, Model};
use crate::script::prelude::*;

handle!(LensPage, "LensPage", |page| {
    let names: Vec<&str> = page.lenses.iter().map(|lens| lens.name.as_str()).collect();
    format!("{} on {}, {}", names.join(", "), count(page.layers(), "layer"), count(page.ids.len(), "token"))
});

/// Reads one fitted lens, or an array of them.
fn lenses(value: &Dynamic) -> Result<Vec<Arc<fitted::FittedLens>>> {
    let given = given("lenses", value);
    let refusal = || given.refuse("a fitted lens or an array of them");
    let one = |element: &GivenValue| element.handle::<FittedLens>().map(|lens| lens.0.clone()).ok_or_else(refusal);
    given.elements().iter().map(one).collect()
}

#[export_module(manifest)]
pub mod methods {
    /// Reads one text by the logit lens and by fitted lenses, as a page: the likeliest next token by layer and position, a
    /// map for each lens side by side, and for what is pointed at the likeliest tokens with their probabilities. Tokens
    /// that are clicked are pinned, and their ranks are shown by layer.
    ///
    /// `lenses` are those of `m.tuned_lens` and `m.jacobian_lens`, one or an array; `[]` is the logit lens alone. Ranks are
    /// known of the tokens that a lens guesses at a position in some layer, of the one that follows, and of those of `pin`,
    /// such as the right answer and a wrong one. `.save("x.html")` writes one file that loads nothing.
    ///
    /// # Options
    /// - [lens_page]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let lens = m.jacobian_lens([[1, 2, 3, 4]], #{ skip_first: 0 });
    /// let page = m.lens_page([1, 2, 3], [lens], #{ k: 2 });
    /// page  //=> logit lens, Jacobian lens on 2 layers, 3 tokens
    /// page.to_map().lenses[0].guesses[1] == m.lens([1, 2, 3], "resid_post.1", #{ k: 2 }).guesses("resid_post.1")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn lens_page(
        ctx: NativeCallContext,
        m: &mut Model,
        text: Any,
        lenses: Any,
        options: Options,
    ) -> Fallible<LensPage> {
        let (asked, options) = taken_both::<InputOptions, LensPageOptions>(options)?;
        let fitted = super::lenses(&lenses)?;
        let fitted: Vec<&fitted::FittedLens> = fitted.iter().map(Arc::as_ref).collect();
        let input = asked.input(&ctx, m, &text).map_err(|e| e.about("text"))?;
        asked.run(&ctx, m, |hooks, task| {
            let name = |id: u32| names::name(m.core(), id);
            LensPage::of(m.plain(), &input.batch, &fitted, &options, hooks, &name, task)
        })
    }

    /// Writes the page as .html, or its data as .json, or a table of each lens as .txt, by the file's extension. Returns the
    /// path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// m.lens_page([1, 2, 3], []).save("doc/lens_page.html").ends_with("lens_page.html")  //=> true
    /// ```
    #[rhai_fn(global, name = "save", pure, return_raw)]
    pub fn save_page(ctx: NativeCallContext, page: &mut LensPage, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, page, path)?)
    }

    /// Returns the tokens of the text, the guesses of each lens by layer and position, and for each position the tokens
    /// with their ranks by lens and layer, as a map; `pinned` lists the ids of the tokens of `pin`.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 10, context: 16 }, #{ seed: 1 });
    /// let page = m.lens_page([1, 2, 3], [], #{ k: 1 }).to_map();
    /// page.tracked[0].filter(|token| token.id == page.lenses[0].guesses[1][0][0].id)[0].ranks[0][1].rank  //=> 1
    /// ```
    #[rhai_fn(global, name = "to_map", pure, return_raw)]
    pub fn page_map(page: &mut LensPage) -> Fallible<Dynamic> {
        Ok(mapped(page)?)
    }
}
