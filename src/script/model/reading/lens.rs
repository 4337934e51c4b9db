//! `m.lens`: the logit lens, and its parts.

use super::names;
use crate::base::names::suggestion;
use crate::model::reading::lens::{self as core, Guess, LensReading};
use crate::model::site::{NAME_ONE, one_site};
use crate::report::picture::Picture;
use crate::report::terminal::screen;
use crate::script::model::Model;
use crate::script::model::properties::places;
use crate::script::model::{Input, InputOptions, LensOptions};
use crate::script::prelude::*;

#[derive(Clone)]
pub struct Lens(Arc<LensTexts>);

struct LensTexts {
    model: Arc<crate::model::Model>,
    readings: Vec<LensReading>,
    texts: Vec<LensText>,
    /// Whether the script gave several texts, or one alone.
    several: bool,
}

/// The lens on one text.
struct LensText {
    /// The positions, and the token at each.
    tokens: Vec<(usize, u32)>,
    table: Table,
    grid: Grid,
}

impl LensText {
    fn new(
        m: &Model,
        lens: &str,
        readings: &[LensReading],
        input: &Input,
        at: usize,
        tokens: Vec<(usize, u32)>,
    ) -> Result<Self> {
        let labels: Vec<String> = tokens.iter().map(|(position, id)| names::placed(m.core(), *position, *id)).collect();
        let mut table = core::table(lens, readings, at, &labels, |id| names::label(m.core(), id))?;
        let mut grid = core::grid(lens, readings, at, &labels)?;
        if input.several {
            table.title.push_str(&format!(", text {at}"));
            grid.title.push_str(&format!(", text {at}"));
        }
        Ok(Self { tokens, table, grid })
    }
}

impl Lens {
    /// Makes the tables of readings; `lens` is the name of the lens.
    pub fn new(
        m: &Model,
        lens: &str,
        input: &Input,
        positions: Option<&[i64]>,
        readings: Vec<LensReading>,
    ) -> Result<Self> {
        let rows = input.batch.rows().iter().enumerate();
        let texts = rows.map(|(at, ids)| LensText::new(m, lens, &readings, input, at, chosen(ids, positions)));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        Ok(Self(Arc::new(LensTexts { model: m.shared().clone(), readings, texts, several: input.several })))
    }

    /// Returns the text that is meant; one alone need not be named.
    fn text(&self, wanted: Option<&Dynamic>) -> Result<&LensText> {
        let texts = &self.0.texts;
        let index = match (wanted, texts.as_slice()) {
            (None, [alone]) => return Ok(alone),
            (None, _) => {
                let all = texts.len();
                return Err(err!(Argument, "expected the number of a text, since there are {all}, found none")
                    .hint("`.table(0)` and `.grid(0)` are of the first"));
            }
            (Some(wanted), _) => given("text", wanted).size()?,
        };
        let missing = || err!(Index, "there is no text {index}: this lens has read {}", texts.len()).about("text");
        texts.get(index).ok_or_else(missing)
    }

    fn reading(&self, site: &str) -> Result<&LensReading> {
        let wanted = one_site(self.0.model.decoder.config(), site, NAME_ONE)?;
        self.0.readings.iter().find(|reading| reading.place == wanted).ok_or_else(|| {
            let known: Vec<String> = self.0.readings.iter().map(|reading| reading.place.to_string()).collect();
            let near = suggestion(&wanted.to_string(), known.iter().map(String::as_str));
            err!(Name, "`{wanted}` was not read").maybe_hint(near).about("site")
        })
    }

    /// Returns the guesses of a site for one text, position by position.
    fn guesses(&self, reading: &LensReading, text: usize) -> Value {
        let guess = |guess: &Guess| {
            let token = names::name(&self.0.model, guess.token);
            json!({ "id": guess.token, "token": token, "probability": number(guess.probability) })
        };
        let positions = reading.guesses.get(text).into_iter().flatten();
        positions.map(|guesses| guesses.iter().map(guess).collect::<Value>()).collect()
    }

    fn data_of(&self, at: usize, text: &LensText) -> Value {
        let guesses = self.0.readings.iter().map(|reading| (reading.place.to_string(), self.guesses(reading, at)));
        json!({
            "positions": text.tokens.iter().map(|(position, _)| *position).collect::<Vec<_>>(),
            "tokens": text.tokens.iter().map(|(_, id)| names::name(&self.0.model, *id)).collect::<Vec<_>>(),
            "guesses": guesses.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// Finds the positions that were recorded, which lie within the text, and the token at each.
fn chosen(ids: &[u32], positions: Option<&[i64]>) -> Vec<(usize, u32)> {
    let all = ids.iter().copied().enumerate();
    let Some(positions) = positions else { return all.collect() };
    let whole = |position: i64| if position < 0 { position + ids.len() as i64 } else { position };
    positions.iter().filter_map(|position| all.clone().find(|(at, _)| *at as i64 == whole(*position))).collect()
}

impl Item for Lens {
    fn kind(&self) -> &'static str {
        "lens"
    }

    fn detached(&self) -> Option<Box<dyn Item + Send>> {
        Some(Box::new(self.clone()))
    }

    fn terminal(&self, screen: &Screen) -> Result<String> {
        let pieces = self.0.texts.iter().flat_map(|text| pieces(&text.table, screen.width));
        let drawn = pieces.map(|piece| piece.terminal(screen)).collect::<Result<Vec<_>>>()?;
        Ok(drawn.join("\n"))
    }

    fn html(&self) -> Result<String> {
        self.0.texts.iter().map(|text| Ok([text.table.html()?, text.grid.html()?].concat())).collect()
    }

    fn data(&self) -> Result<Value> {
        let sites: Value = self.0.readings.iter().map(|reading| reading.place.to_string()).collect();
        let texts: Value = self.0.texts.iter().enumerate().map(|(at, text)| self.data_of(at, text)).collect();
        Ok(json!({ "sites": sites, "texts": texts }))
    }

    fn picture(&self) -> Option<Box<dyn Picture + '_>> {
        match self.0.texts.as_slice() {
            [alone] => Some(Box::new(Chart::heat(alone.grid.clone()))),
            _ => None,
        }
    }
}

handle!(Lens, "Lens", |lens| {
    format!("lens on {}, {}", count(lens.0.readings.len(), "site"), count(lens.0.texts.len(), "text"))
});

/// Cuts a table into pieces that fit the width, each with its first column; cutting words would hide the guesses.
fn pieces(table: &Table, width: usize) -> Vec<Table> {
    let wide = |column: usize| {
        let texts = table.rows.iter().filter_map(|row| match row.get(column) {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        });
        texts.chain(table.columns.get(column)).map(|text| screen::width(text)).max().unwrap_or(0) + 2
    };
    let mut pieces = vec![vec![0]];
    let mut used = wide(0);
    for column in 1..table.columns.len() {
        if used + wide(column) > width && used > wide(0) {
            pieces.push(vec![0]);
            used = wide(0);
        }
        used += wide(column);
        if let Some(piece) = pieces.last_mut() {
            piece.push(column);
        }
    }
    let piece = |(at, columns): (usize, &Vec<usize>)| Table {
        title: if at == 0 { table.title.clone() } else { String::new() },
        columns: columns.iter().filter_map(|column| table.columns.get(*column).cloned()).collect(),
        rows: table.rows.iter().map(|row| columns.iter().filter_map(|c| row.get(*c).cloned()).collect()).collect(),
    };
    pieces.iter().enumerate().map(piece).collect()
}

fn read(ctx: &NativeCallContext, m: &Model, x: &Dynamic, sites: &Dynamic, map: Options) -> Fallible<Lens> {
    let (asked, options) = taken_both::<InputOptions, LensOptions>(map)?;
    let places = places(m.config(), sites)?;
    let input = asked.input(ctx, m, x)?;
    let readings = asked
        .run(ctx, m, |hooks, task| core::lens_of_batch(m.decoder(), &input.batch, &places, &options, hooks, task))?;
    Ok(Lens::new(m, core::LOGIT_LENS, &input, options.record.pos.as_deref(), readings)?)
}

#[export_module(manifest)]
pub mod methods {
    /// Reads the logit lens (nostalgebraist 2020): the residual stream at any layer, decoded as if it were the last.
    ///
    /// Each site goes through the final norm, with its own divisor, and through the unembedding. The sites are those of
    /// the residual stream, by default `resid_post.*`, whose last one is the model's own prediction; or what is written
    /// into it, such as `mlp_out.*`. The table shows the likeliest next token, a row for each site, a column for each
    /// position.
    ///
    /// # Options
    /// - [lens]
    /// - [input]
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// let lens = m.lens([1, 2, 3], "resid_post.*");
    /// lens  //=> lens on 2 sites, 1 text
    /// lens.logits("resid_post.1").all_close(m.logits([1, 2, 3]))  //=> true
    /// let even = m.lens([1, 2], "resid_post.0", #{ hooks: hooks::zero("resid_post.0"), pos: -1, k: 1 });
    /// even.guesses("resid_post.0")  //=> [[#{ id: 0, probability: 0.25, token: "0" }]]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn lens(ctx: NativeCallContext, m: &mut Model, x: Any) -> Fallible<Lens> {
        super::read(&ctx, m, &x, &"resid_post.*".into(), Options::new())
    }

    #[rhai_fn(global, name = "lens", pure, return_raw)]
    pub fn lens_at(ctx: NativeCallContext, m: &mut Model, x: Any, sites: Any) -> Fallible<Lens> {
        super::read(&ctx, m, &x, &sites, Options::new())
    }

    #[rhai_fn(global, name = "lens", pure, return_raw)]
    pub fn lens_with(ctx: NativeCallContext, m: &mut Model, x: Any, sites: Any, options: Options) -> Fallible<Lens> {
        super::read(&ctx, m, &x, &sites, options)
    }
}

#[export_module(manifest)]
pub mod parts {
    /// Tabulates the likeliest next tokens: a row for each site, a column for each position and its token.
    ///
    /// With several texts, the number of one is required.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// m.lens([3, 1]).table().columns  //=> ["site", "0 3", "1 1"]
    /// m.lens([[1, 2, 3], [3, 1]]).table(1)  //=> table of 2 rows "logit lens: the likeliest next token, t…"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn table(lens: &mut Lens) -> Fallible<Table> {
        Ok(lens.text(None)?.table.clone())
    }

    #[rhai_fn(global, name = "table", pure, return_raw)]
    pub fn table_of(lens: &mut Lens, text: Int) -> Fallible<Table> {
        Ok(lens.text(Some(&text))?.table.clone())
    }

    /// Returns the probability of the likeliest token, as a heat map of sites and positions.
    ///
    /// With several texts, the number of one is required.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// m.lens([3, 1]).grid()  //=> grid of 2 by 2 "logit lens"
    /// m.lens([[1, 2, 3], [3, 1]]).grid(0)  //=> grid of 2 by 3 "logit lens, text 0"
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn grid(lens: &mut Lens) -> Fallible<Grid> {
        Ok(lens.text(None)?.grid.clone())
    }

    #[rhai_fn(global, name = "grid", pure, return_raw)]
    pub fn grid_of(lens: &mut Lens, text: Int) -> Fallible<Grid> {
        Ok(lens.text(Some(&text))?.grid.clone())
    }

    /// Returns the logits of a site: [batch, pos, vocab], after the model's cap if it has one; NaN after the end of
    /// shorter texts.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// m.lens([1, 2, 3]).logits("resid_post.0").shape  //=> [1, 3, 4]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn logits(ctx: NativeCallContext, lens: &mut Lens, site: &str) -> Fallible<Tensor> {
        Ok(lens.reading(site)?.logits(&lens.0.model.decoder, &env(&ctx)?.task)?)
    }

    /// Returns the guesses of a site: for each position an array of maps with the keys `id`, `token` and `probability`,
    /// the likeliest first.
    ///
    /// With several texts, it is an array of such, one for each text.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// let guesses = m.lens([1, 2, 3]).guesses("resid_post.1");
    /// [guesses.len(), guesses[0].len()]  //=> [3, 4]
    /// guesses[2][0].id == m.predict([1, 2, 3], 1).to_map().rows[0][0]  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn guesses(lens: &mut Lens, site: &str) -> Fallible<Dynamic> {
        let reading = lens.reading(site)?;
        let texts = 0..lens.0.texts.len();
        Ok(if lens.0.several {
            Dynamic::from_array(texts.map(|text| from_json(lens.guesses(reading, text))).collect())
        } else {
            from_json(lens.guesses(reading, 0))
        })
    }

    /// Saves the lens as .json, .txt or .html, by the ending of the name, and for a single text as .svg, .png or .pdf,
    /// too. Returns the path of the file.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// m.lens([1, 2, 3]).save("doc/lens.svg").ends_with("lens.svg")  //=> true
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn save(ctx: NativeCallContext, lens: &mut Lens, path: &str) -> Fallible<String> {
        Ok(saved(&ctx, lens, path)?)
    }

    /// Returns the sites, and for each text its positions, their tokens, and the guesses by site, as a map.
    ///
    /// # Example
    /// ```
    /// let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: 4, context: 16 });
    /// m.lens([3, 1]).to_map().texts[0].tokens  //=> ["3", "1"]
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(lens: &mut Lens) -> Fallible<Dynamic> {
        Ok(mapped(lens)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_tables_are_cut_between_positions() {
        let row = |word: &str| vec!["resid_post.0".into(), word.into(), word.into(), word.into()];
        let table = Table::new("guesses", ["site", "0 a", "1 b", "2 c"], [row("word"), row("longer")]);
        // Sites take 14 columns, each position 8.
        let cut = |width: usize| {
            pieces(&table, width).into_iter().map(|piece| (piece.title, piece.columns.join(","))).collect::<Vec<_>>()
        };
        let piece = |title: &str, columns: &str| (title.to_string(), columns.to_string());
        assert_eq!(cut(38), [piece("guesses", "site,0 a,1 b,2 c")]);
        assert_eq!(cut(37), [piece("guesses", "site,0 a,1 b"), piece("", "site,2 c")]);
        assert_eq!(cut(1), [piece("guesses", "site,0 a"), piece("", "site,1 b"), piece("", "site,2 c")]);
        assert_eq!(pieces(&table, 37)[1].rows[1], ["resid_post.0", "longer"].map(Cell::from));
    }

    #[test]
    fn positions_are_those_of_each_text() {
        assert_eq!(chosen(&[7, 8, 9], None), [(0, 7), (1, 8), (2, 9)]);
        assert_eq!(chosen(&[7, 8, 9], Some(&[-1, 0])), [(2, 9), (0, 7)]);
    }
}
