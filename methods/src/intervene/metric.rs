//! Metrics of pairs of prompts: one number for each pair, read from the logits of a run of one of its prompts.
//!
//! A metric is prepared for a batch of pairs as a [`MetricPlan`]: the texts that a model reads, the points of them at
//! which logits are needed, and the metric of each pair from the end of a pass at these points. So whatever runs the model,
//! as a whole or only from a change on, with hooks or under a gradient, gets from the plan what to run, and passes the end
//! back. Of a large vocabulary a plan reads what it needs: the tokens that it names, or sums over all in blocks of words.
//!
//! Each answer is scored as the model reads it token by token after the prompt (teacher forcing):
//!
//!     s(a) = sum over i of log p(a_i | prompt, a_1 .. a_(i-1))

use crate::model::by_words::ReferencePredictions;
use crate::model::hooks::{BoundHook, Chain, Hooks, NoHooks};
use crate::sae::prelude::*;

/// A function that reads the logits after the last token of the prompt, `[vocab]`, of the pair with this number.
pub type OwnMeasure<'a> = &'a dyn Fn(usize, &Tensor) -> Result<Tensor>;

/// Quantities that are measured of a pair.
#[derive(Clone, Copy)]
pub enum Measure<'a> {
    /// log sum_a exp s(a) - log sum_w exp s(w), over the correct answers a and the wrong ones w. With one token each it is
    /// the difference of their logits, since what normalises them is the same.
    LogitDiff,
    /// The probability of the answers: sum_a exp s(a).
    Prob,
    /// The log probability of the answers: log sum_a exp s(a).
    LogProb,
    /// The rank of the best correct answer, 1 for the likeliest token; of an answer of several tokens the worst of theirs.
    Rank,
    /// The divergence KL(p || q) = sum_v p_v log(p_v / q_v) in nats over the tokens after the prompt: q in this run, p
    /// in the run of the reference prompt without any change.
    Kl(Prompt),
    /// The mean of that divergence after every token of the prompt; the reference prompt has as many tokens.
    MeanKl(Prompt),
    /// The mean of -log p(x_t | x_1 .. x_(t-1)) over the tokens of the prompt but the first, in nats.
    Loss,
    Of(OwnMeasure<'a>),
}

impl Measure<'_> {
    /// Returns the name of the measure in scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Measure::LogitDiff => "logit_diff",
            Measure::Prob => "prob",
            Measure::LogProb => "logprob",
            Measure::Rank => "rank",
            Measure::Kl(_) | Measure::MeanKl(_) => "kl",
            Measure::Loss => "loss",
            Measure::Of(_) => "of",
        }
    }

    /// Returns the quantity with its unit, as on the axis of a chart.
    pub fn quantity(&self) -> &'static str {
        match self {
            Measure::LogitDiff => "logit difference",
            Measure::Prob => "probability of the answers",
            Measure::LogProb => "log probability of the answers (nats)",
            Measure::Rank => "rank of the answer",
            Measure::Kl(_) => "KL to the reference (nats)",
            Measure::MeanKl(_) => "mean KL to the reference (nats)",
            Measure::Loss => "loss (nats)",
            Measure::Of(_) => "metric",
        }
    }

    /// Returns whether gradients pass through the measure.
    pub fn has_gradient(&self) -> bool {
        !matches!(self, Measure::Rank)
    }

    fn needs_answers(&self) -> bool {
        matches!(self, Measure::LogitDiff | Measure::Prob | Measure::LogProb | Measure::Rank)
    }
}

/// A row and a column of a batch.
pub type BatchPoint = (usize, usize);

/// A token whose probability is needed, at one of the points.
type Term = (usize, u32);

/// The answers of a pair, each as the terms that it is the sum of.
#[derive(Default)]
struct AnswerTerms {
    right: Vec<Vec<Term>>,
    wrong: Vec<Vec<Term>>,
}

/// A metric prepared for the prompts of some pairs.
pub struct MetricPlan<'a> {
    measure: Measure<'a>,
    /// The numbers of the pairs among all pairs.
    numbers: Vec<usize>,
    batch: Batch,
    /// The pair that each text belongs to.
    pair_of: Vec<usize>,
    points: Vec<BatchPoint>,
    scored: Vec<AnswerTerms>,
    /// The range of points of each pair, where the metric reads all of them alike.
    spans: Vec<Range<usize>>,
    /// Predictions of the reference at the points.
    reference: Option<ReferencePredictions>,
}

impl<'a> MetricPlan<'a> {
    /// Plans the metric for the `which` prompts of `pairs`, whose numbers among all are `numbers`.
    pub fn new(
        measure: Measure<'a>,
        model: &Decoder,
        pairs: &[TokenPair],
        which: Prompt,
        numbers: &[usize],
        task: &Task,
    ) -> Result<Self> {
        model.config().expect_next_token("a metric of pairs")?;
        let mut texts = MetricTexts { is_causal: model.config().causal, ..MetricTexts::default() };
        let mut scored = Vec::new();
        for (at, (pair, number)) in pairs.iter().zip(numbers).enumerate() {
            let prompt = prompt(pair, which, *number)?;
            scored.push(texts.add(measure, at, prompt, pair).map_err(|e| e.within(format!("pair {number}")))?);
        }
        let MetricTexts { rows, pair_of, points, spans, .. } = texts;
        let reference = match measure {
            Measure::Kl(reference) => Some(reference_of(model, pairs, reference, numbers, None, task)?),
            Measure::MeanKl(reference) => {
                let lengths: Vec<usize> = spans.iter().map(Range::len).collect();
                Some(reference_of(model, pairs, reference, numbers, Some(&lengths), task)?)
            }
            _ => None,
        };
        let batch = Batch::new(rows).map_err(|e| e.about("pairs"))?;
        Ok(Self { measure, numbers: numbers.to_vec(), batch, pair_of, points, scored, spans, reference })
    }

    /// Returns the texts that the model reads: the prompts, followed by the beginnings of answers of several tokens.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Returns the pair that each text belongs to.
    pub fn pair_of(&self) -> &[usize] {
        &self.pair_of
    }

    /// Returns the points where logits are needed.
    pub fn points(&self) -> &[BatchPoint] {
        &self.points
    }

    /// Runs the model and reads the metric: `[pairs]`, with gradients where the hooks have some.
    pub fn run(&self, model: &Decoder, hooks: &mut dyn Hooks, task: &Task) -> Result<Tensor> {
        self.values(model, &model.end_at(&self.batch, &self.points, hooks, None, task)?, task)
    }

    /// Returns the metric of each pair, `[pairs]`, from the end of a pass at the points; in f32 or wider.
    pub fn values(&self, model: &Decoder, end: &PassEnd, task: &Task) -> Result<Tensor> {
        self.combined(&self.read(model, end, 1, task)?)
    }

    /// Returns the metric of each pair in each of some copies of the texts, from the end of a pass at the points of one copy
    /// after the other.
    pub fn values_of_copies(
        &self,
        model: &Decoder,
        end: &PassEnd,
        copies: usize,
        task: &Task,
    ) -> Result<Vec<Vec<f64>>> {
        let read = self.read(model, end, copies, task)?;
        let count = read.dim(0)? / copies.max(1);
        (0..copies).map(|copy| floats(&self.combined(&read.narrow(0, copy * count, count)?)?)).collect()
    }

    /// Returns the numbers that the metric of each copy is computed from, one copy after the other: one for each of its
    /// terms, points or pairs.
    fn read(&self, model: &Decoder, end: &PassEnd, copies: usize, task: &Task) -> Result<Tensor> {
        let terms = self.terms();
        let vocab = model.config().outputs();
        if let Some((_, token)) = terms.iter().find(|(_, token)| *token as usize >= vocab) {
            bail!(Argument, "expected token ids below {vocab} in an answer, found {token}");
        }
        let points = self.points.len();
        let of_copies = |copies: usize| -> Vec<Term> {
            let of_copy = |copy: usize| terms.iter().map(move |(point, token)| (copy * points + point, *token));
            (0..copies).flat_map(of_copy).collect()
        };
        let work = if model.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        if let Some(reference) = &self.reference {
            return Ok(model.divergences_from(reference, end, task)?.to_dtype(work)?);
        }
        let by_words = match self.measure {
            // What normalises the logits at one point is the same for all tokens.
            Measure::LogitDiff if self.has_short_answers() => model.logits_of_tokens(end, &of_copies(copies))?,
            Measure::LogitDiff | Measure::Prob | Measure::LogProb | Measure::Loss => {
                model.log_probabilities_of_tokens(end, &of_copies(copies), task)?
            }
            Measure::Rank => {
                let ranks = model.ranks_of_tokens(end, &of_copies(copies), task)?;
                let ranks: Vec<f64> = ranks.into_iter().map(|found| found.rank as f64).collect();
                Some(Tensor::new(ranks, model.device())?.to_dtype(work)?)
            }
            Measure::Kl(_) | Measure::MeanKl(_) | Measure::Of(_) => None,
        };
        if let Some(read) = by_words {
            return Ok(read);
        }
        let at_once = (LOGITS_AT_ONCE / (points * vocab).max(1)).max(1);
        let parts = (0..copies).step_by(at_once).map(|first| -> Result<Tensor> {
            task.check()?;
            let some = at_once.min(copies - first);
            let logits = widened(&model.logits_of(end, first * points..(first + some) * points, task)?)?;
            match self.measure {
                Measure::Of(own) => {
                    let each = (0..some).map(|copy| self.own(&logits.narrow(0, copy * points, points)?, own));
                    Ok(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 0)?)
                }
                _ => picked(&logits, &of_copies(some)),
            }
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// Returns the terms that the metric reads: those of correct answers, then those of wrong ones; or the tokens that
    /// follow.
    fn terms(&self) -> Vec<Term> {
        let right = || self.scored.iter().flat_map(|scored| &scored.right).flatten().copied();
        let wrong = || self.scored.iter().flat_map(|scored| &scored.wrong).flatten().copied();
        match self.measure {
            Measure::LogitDiff => right().chain(wrong()).collect(),
            Measure::Prob | Measure::LogProb | Measure::Rank => right().collect(),
            Measure::Loss => {
                let rows = self.batch.rows();
                let next = |(number, (row, column)): (usize, &BatchPoint)| (number, rows[*row][column + 1]);
                self.points.iter().enumerate().map(next).collect()
            }
            Measure::Kl(_) | Measure::MeanKl(_) | Measure::Of(_) => Vec::new(),
        }
    }

    /// Returns whether each answer is one token, so that those of a pair are read at one point.
    fn has_short_answers(&self) -> bool {
        self.scored.iter().flat_map(|scored| scored.right.iter().chain(&scored.wrong)).all(|answer| answer.len() == 1)
    }

    /// Returns the metric of each pair, `[pairs]`, from the numbers that are read for it.
    fn combined(&self, read: &Tensor) -> Result<Tensor> {
        match self.measure {
            Measure::LogitDiff => {
                let count: usize = self.scored.iter().flat_map(|scored| &scored.right).map(Vec::len).sum();
                let right = self.scores(&read.narrow(0, 0, count)?, false)?;
                Ok((right - self.scores(&read.narrow(0, count, read.dim(0)? - count)?, true)?)?)
            }
            Measure::Prob => Ok(self.scores(read, false)?.exp()?),
            Measure::LogProb => self.scores(read, false),
            Measure::Rank => self.best_ranks(read),
            Measure::Kl(_) | Measure::Of(_) => Ok(read.clone()),
            Measure::MeanKl(_) => self.means(read, 1.0),
            Measure::Loss => self.means(read, -1.0),
        }
    }

    /// Returns log sum exp s(a) over the correct answers of each pair, or over the wrong ones, from what is read of their
    /// terms.
    fn scores(&self, each: &Tensor, wrong: bool) -> Result<Tensor> {
        let answers: Vec<&[Vec<Term>]> =
            self.scored.iter().map(|scored| if wrong { &scored.wrong } else { &scored.right }.as_slice()).collect();
        let lengths: Vec<usize> = answers.iter().copied().flatten().map(Vec::len).collect();
        let is_of_one = lengths.iter().all(|length| *length == 1);
        let scores = if is_of_one { each.clone() } else { sums(each, &lengths)? };
        let counts: Vec<usize> = answers.iter().map(|answers| answers.len()).collect();
        if counts.iter().all(|count| *count == 1) { Ok(scores) } else { log_sums(&scores, &counts) }
    }

    /// Returns the rank of the best answer of each pair, from the ranks of all terms.
    fn best_ranks(&self, read: &Tensor) -> Result<Tensor> {
        let mut all = floats(read)?.into_iter();
        let best = self.scored.iter().map(|scored| {
            let worst = |answer: &Vec<Term>| all.by_ref().take(answer.len()).fold(1.0, f64::max);
            scored.right.iter().map(worst).fold(f64::INFINITY, f64::min)
        });
        let best: Vec<f64> = best.collect();
        Ok(Tensor::new(best, read.device())?.to_dtype(read.dtype())?)
    }

    /// Returns the mean over the points of each pair, times a factor.
    fn means(&self, each: &Tensor, factor: f64) -> Result<Tensor> {
        let counts: Vec<usize> = self.spans.iter().map(Range::len).collect();
        let share = counts.iter().map(|count| factor / *count as f64).collect::<Vec<_>>();
        let share = Tensor::new(share, each.device())?.to_dtype(each.dtype())?;
        Ok((sums(each, &counts)? * share)?)
    }

    fn own(&self, logits: &Tensor, own: OwnMeasure) -> Result<Tensor> {
        let each = self.numbers.iter().enumerate().map(|(at, number)| {
            let found = own(*number, &logits.get(at)?)?;
            if found.elem_count() != 1 {
                return Err(err!(
                    Shape,
                    "expected one number from the metric of pair {number}, found shape {:?}",
                    found.dims()
                ));
            }
            Ok(found.reshape(())?.to_dtype(logits.dtype())?)
        });
        Ok(Tensor::stack(&each.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

fn prompt(pair: &TokenPair, which: Prompt, number: usize) -> Result<&[u32]> {
    pair.prompt(which).ok_or_else(|| {
        err!(Argument, "expected a {} prompt of at least one token in pair {number}, found none", which.word())
            .about("pairs")
    })
}

/// The texts of a plan while they are gathered.
#[derive(Default)]
struct MetricTexts {
    /// Whether what is read at a position does not depend on what follows, so that one text shows all of its
    /// beginnings.
    is_causal: bool,
    rows: Vec<Vec<u32>>,
    pair_of: Vec<usize>,
    points: Vec<BatchPoint>,
    spans: Vec<Range<usize>>,
}

impl MetricTexts {
    fn add(&mut self, measure: Measure, number: usize, prompt: &[u32], pair: &TokenPair) -> Result<AnswerTerms> {
        let row = self.rows.len();
        let before = self.points.len();
        let mut scored = AnswerTerms::default();
        if measure.needs_answers() {
            check_answers(measure, pair)?;
            self.answers(prompt, pair, &mut scored);
        } else {
            self.rows.push(prompt.to_vec());
            let last = prompt.len() - 1;
            match measure {
                Measure::Loss if last == 0 => {
                    bail!(Argument, "expected a prompt of at least two tokens: the first has no loss");
                }
                Measure::Loss => self.points.extend((0..last).map(|column| (row, column))),
                Measure::MeanKl(_) => self.points.extend((0..=last).map(|column| (row, column))),
                _ => self.points.push((row, last)),
            }
        }
        self.pair_of.resize(self.rows.len(), number);
        self.spans.push(before..self.points.len());
        Ok(scored)
    }

    /// Adds a row for each beginning of an answer, or those that no other one continues, and the points after which
    /// answers have their tokens.
    fn answers(&mut self, prompt: &[u32], pair: &TokenPair, scored: &mut AnswerTerms) {
        let first = self.rows.len();
        let answers = pair.answers.iter().chain(&pair.wrong);
        let mut beginnings: Vec<&[u32]> =
            answers.flat_map(|ids| (0..ids.len()).filter_map(move |at| ids.get(..at))).collect();
        beginnings.sort_unstable();
        beginnings.dedup();
        for (at, beginning) in beginnings.iter().enumerate() {
            // In this order what continues a beginning comes right after it.
            let is_continued = beginnings.get(at + 1).is_some_and(|next| next.starts_with(beginning));
            if !(is_continued && self.is_causal) {
                self.rows.push([prompt, beginning].concat());
            }
        }
        let mut known = BTreeMap::new();
        let mut terms = |ids: &Vec<u32>| -> Vec<Term> {
            let mut terms = Vec::new();
            for (at, token) in ids.iter().enumerate() {
                let text = [prompt, ids.get(..at).unwrap_or_default()].concat();
                let row = self.rows.iter().skip(first).position(|row| row.starts_with(&text)).unwrap_or_default();
                let point = (first + row, text.len() - 1);
                let number = *known.entry(point).or_insert_with(|| {
                    self.points.push(point);
                    self.points.len() - 1
                });
                terms.push((number, *token));
            }
            terms
        };
        scored.right = pair.answers.iter().map(&mut terms).collect();
        scored.wrong = pair.wrong.iter().map(&mut terms).collect();
    }
}

fn check_answers(measure: Measure, pair: &TokenPair) -> Result<()> {
    if pair.answers.is_empty() {
        bail!(Argument, "`{}` needs the correct answers of a pair, found none", measure.name());
    }
    if matches!(measure, Measure::LogitDiff) && pair.wrong.is_empty() {
        return Err(err!(Argument, "`logit_diff` needs wrong answers beside the correct ones, found none")
            .hint("metric::logprob() and metric::prob() read the correct answers only"));
    }
    if pair.answers.iter().chain(&pair.wrong).any(Vec::is_empty) {
        bail!(Argument, "expected answers of at least one token, found an empty one");
    }
    Ok(())
}

/// Returns the log probabilities of tokens at points, of logits `[points, vocab]`.
fn picked(logits: &Tensor, terms: &[Term]) -> Result<Tensor> {
    let (points, vocab) = logits.dims2()?;
    let device = logits.device();
    let places: Vec<u32> = terms.iter().map(|(point, token)| (point * vocab) as u32 + token).collect();
    let rows: Vec<u32> = terms.iter().map(|(point, _)| *point as u32).collect();
    let own = logits.flatten_all()?.index_select(&Tensor::new(places, device)?, 0)?;
    let most = logits.max_keepdim(1)?.detach();
    let all = (logits.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?.log()? + most)?.reshape(points)?;
    Ok((own - all.index_select(&Tensor::new(rows, device)?, 0)?)?)
}

/// Adds up groups of neighbours, each of a given size.
fn sums(x: &Tensor, counts: &[usize]) -> Result<Tensor> {
    let groups = counts.iter().enumerate().flat_map(|(group, count)| std::iter::repeat_n(group as u32, *count));
    let groups = Tensor::new(groups.collect::<Vec<_>>(), x.device())?;
    Ok(Tensor::zeros(counts.len(), x.dtype(), x.device())?.index_add(&groups, x, 0)?)
}

/// Computes log sum exp of groups of neighbours, each of a given size.
fn log_sums(x: &Tensor, counts: &[usize]) -> Result<Tensor> {
    /// A score far below every other, and finite, so that no gradient is NaN.
    const NOTHING: f32 = -1e30;
    let width = counts.iter().copied().max().unwrap_or(0);
    let nothing = Tensor::new(&[NOTHING], x.device())?.to_dtype(x.dtype())?;
    let padded = Tensor::cat(&[x, &nothing], 0)?;
    let mut places = Vec::new();
    let mut next = 0;
    for count in counts {
        places.extend((0..width).map(|at| if at < *count { (next + at) as u32 } else { x.elem_count() as u32 }));
        next += count;
    }
    let all = padded.index_select(&Tensor::new(places, x.device())?, 0)?.reshape((counts.len(), width))?;
    let most = all.max_keepdim(1)?.detach();
    let sum = all.broadcast_sub(&most)?.exp()?.sum_keepdim(1)?.log()?;
    Ok((sum + most)?.squeeze(1)?)
}

/// Returns what is predicted after the last token of each prompt, or after every token of prompts of these lengths.
fn reference_of(
    model: &Decoder,
    pairs: &[TokenPair],
    which: Prompt,
    numbers: &[usize],
    lengths: Option<&[usize]>,
    task: &Task,
) -> Result<ReferencePredictions> {
    let rows = pairs.iter().zip(numbers).map(|(pair, number)| Ok(prompt(pair, which, *number)?.to_vec()));
    let batch = Batch::new(rows.collect::<Result<_>>()?)?;
    let mut points: Vec<BatchPoint> = Vec::new();
    for (row, length) in batch.lengths().into_iter().enumerate() {
        let first = if lengths.is_some() { 0 } else { length - 1 };
        points.extend((first..length).map(|column| (row, column)));
        if let Some(wanted) = lengths.map(|lengths| lengths[row]).filter(|wanted| *wanted != length) {
            let number = numbers[row];
            return Err(err!(
                Argument,
                "expected as many tokens as in the reference prompt, {length}, found {wanted} in pair {number}"
            )
            .hint("metric::kl() compares what is predicted after the last token alone")
            .about("pairs"));
        }
    }
    model.reference(&model.end_at(&batch, &points, &mut NoHooks, None, task)?, task)
}

/// Converts logits to the dtype that metrics are computed in: f64 where the model computes in that, else f32.
fn widened(logits: &Tensor) -> Result<Tensor> {
    let work = if logits.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    Ok(logits.to_dtype(work)?)
}

/// Approximate number of tokens, and of logits, that a pass computes at once.
const TOKENS_AT_ONCE: usize = 1 << 14;
const LOGITS_AT_ONCE: usize = 1 << 25;

/// Returns how many of these pairs go into one pass.
pub fn pairs_at_once(model: &Decoder, pairs: &[TokenPair], measure: Measure) -> usize {
    let longest = |pair: &TokenPair| {
        let answers = pair.answers.iter().chain(&pair.wrong);
        let (several, longest) =
            answers.fold((0, 0), |(n, longest), ids| (n + ids.len() - 1.min(ids.len()), longest.max(ids.len())));
        let rows = if measure.needs_answers() { several.max(1) } else { 1 };
        (rows, pair.clean.len().max(pair.corrupt.len()) + longest)
    };
    let (rows, width) = pairs.iter().map(longest).fold((1, 1), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    let points = if matches!(measure, Measure::Loss | Measure::MeanKl(_)) { width } else { rows };
    let has_whole_logits = matches!(measure, Measure::Of(_)) || !model.reads_in_words();
    let by_logits =
        if has_whole_logits { LOGITS_AT_ONCE / (points * model.config().outputs()).max(1) } else { usize::MAX };
    (TOKENS_AT_ONCE / (rows * width).max(1)).min(by_logits).max(1)
}

/// Computes the metric of the `which` prompt of every pair, `[pairs]`, with hooks. With hooks all pairs are one batch,
/// so that values for each text can be patched in; without, some pairs at a time. Of the two models the first runs with
/// the hooks, and the second, which keeps its own, is the reference of a divergence.
pub fn values(
    measure: Measure,
    model: &Decoder,
    reference: &Decoder,
    pairs: &[TokenPair],
    which: Prompt,
    hooks: Vec<BoundHook>,
    task: &Task,
) -> Result<Tensor> {
    if pairs.is_empty() {
        return Err(err!(Argument, "expected at least one pair, found none").about("pairs"));
    }
    let at_once = if hooks.is_empty() { pairs_at_once(model, pairs, measure) } else { pairs.len() };
    let mut chain = Chain { hooks, ..Chain::default() };
    let mut found = Vec::new();
    let numbers: Vec<usize> = (0..pairs.len()).collect();
    for (part, numbers) in pairs.chunks(at_once).zip(numbers.chunks(at_once)) {
        task.check()?;
        let plan = MetricPlan::new(measure, reference, part, which, numbers, task)?;
        found.push(plan.run(model, &mut chain, task)?);
    }
    Ok(Tensor::cat(&found, 0)?)
}

/// A normalisation of a metric: 0 for corrupt prompts and 1 for clean ones.
///
/// A value v of a pair becomes (v - c) / D: c is the metric of its corrupt prompt, and D the mean over all pairs of how
/// far the clean prompt's is above it. So the mean over pairs is 0 without a change, and 1 where the change restores
/// all of the clean run; for one pair it is the usual (v - corrupt) / (clean - corrupt). A divisor of its own for each
/// pair would let the pairs that the model hardly tells apart decide the mean.
#[derive(Debug, Clone)]
pub struct Normaliser {
    corrupt: Vec<f64>,
    distance: f64,
}

impl Normaliser {
    /// Builds the normalisation from the metric of the clean and of the corrupt prompts. Equal means have no such
    /// normalisation, and are an error.
    pub fn new(clean: &[f64], corrupt: &[f64]) -> Result<Self> {
        let sum: f64 = clean.iter().zip(corrupt).map(|(clean, corrupt)| clean - corrupt).sum();
        let distance = sum / clean.len().max(1) as f64;
        if distance == 0.0 || !distance.is_finite() {
            return Err(err!(Numeric, "a normalised metric divides by how far clean prompts are above corrupt ones on average, and that is {distance}")
                .hint("take other pairs, or the metric without `normalised`"));
        }
        Ok(Self { corrupt: corrupt.to_vec(), distance })
    }

    /// Builds the normalisation of a model without changes.
    pub fn of(measure: Measure, model: &Decoder, pairs: &[TokenPair], task: &Task) -> Result<Self> {
        let of = |which| floats(&values(measure, model, model, pairs, which, Vec::new(), task)?);
        Self::new(&of(Prompt::Clean)?, &of(Prompt::Corrupt)?)
    }

    /// Returns how far clean prompts are above corrupt ones, on average.
    pub fn distance(&self) -> f64 {
        self.distance
    }

    /// Returns the normalised value of a pair.
    pub fn value(&self, pair: usize, value: f64) -> f64 {
        (value - self.corrupt.get(pair).copied().unwrap_or(f64::NAN)) / self.distance
    }

    /// Returns the normalised values of all pairs, with gradients.
    pub fn values(&self, values: &Tensor) -> Result<Tensor> {
        let corrupt = Tensor::new(self.corrupt.as_slice(), values.device())?.to_dtype(values.dtype())?;
        Ok(((values - corrupt)? / self.distance)?)
    }
}

#[cfg(test)]
mod tests;
