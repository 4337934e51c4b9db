//! Gradients by a tape of fused operations.
//!
//! candle's own backward pass first adds every gradient to a tensor of zeros, which for the layers of a small model takes
//! longer than the products. While [`TapedTensor::of`] runs, each recorded operation is written to a tape of this thread, and its
//! result is a variable to candle. What candle computes between two of them is an island: candle computes the gradients of
//! its variables.

pub(crate) mod record;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use candle_core::{Device, Tensor, TensorId, Var};

use crate::base::error::{Error, Result, err};
use crate::numbers::Fresh;
use crate::numbers::elementwise::sum;

/// The gradient of each argument, in order; none for arguments that need none.
pub type ArgumentGradients = Vec<Option<Tensor>>;

/// A function from a result and its gradient to the gradients of the arguments.
pub(super) type Back = Arc<dyn Fn(&Tensor, &Tensor) -> Result<ArgumentGradients> + Send + Sync>;

/// A function from the gradient of a result to the gradients of the arguments.
pub(super) type BackByGradient = Box<dyn Fn(&Tensor) -> Result<ArgumentGradients> + Send + Sync>;

/// The properties of a tensor that a tape knows; it need not hold its numbers.
#[derive(Clone, Copy)]
struct TensorMark {
    id: TensorId,
    tracks: bool,
    is_variable: bool,
}

impl TensorMark {
    fn of(tensor: &Tensor) -> Self {
        Self { id: tensor.id(), tracks: tensor.track_op(), is_variable: tensor.is_variable() }
    }
}

struct Node {
    result: TensorMark,
    arguments: Vec<TensorMark>,
    way: WayBack,
}

/// The way of a gradient from a result to its arguments.
enum WayBack {
    /// The output of an island, through which candle goes.
    Island(Tensor),
    WithResult(Tensor, Back),
    ByGradient(BackByGradient),
}

#[derive(Default)]
struct Tape {
    nodes: Vec<Node>,
    known: HashSet<TensorId>,
}

thread_local! {
    static TAPE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// The gradients of variables.
#[derive(Debug)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// Returns the gradient of a variable; None if the number does not depend on it.
    pub fn get(&self, variable: &Tensor) -> Option<&Tensor> {
        self.0.get(&variable.id())
    }

    /// Takes the gradient of a variable out; None if the number does not depend on it.
    pub fn take(&mut self, variable: &Tensor) -> Option<Tensor> {
        self.0.remove(&variable.id())
    }

    fn add(&mut self, id: TensorId, more: Tensor) -> Result<()> {
        let sum = match self.0.remove(&id) {
            Some(before) => sum(&before, &more)?,
            None => more,
        };
        self.0.insert(id, sum);
        Ok(())
    }
}

/// A tensor, with the tape of the operations that computed it.
pub struct TapedTensor {
    result: Tensor,
    tape: Tape,
}

/// The tape that was running before, which runs again when this is dropped.
struct TapeGuard(Option<Tape>);

impl Drop for TapeGuard {
    fn drop(&mut self) {
        TAPE.replace(self.0.take());
    }
}

/// Runs work that is no part of the tape that is running, with gradients of its own.
pub fn without_tape<T>(work: impl FnOnce() -> T) -> T {
    let _before = TapeGuard(TAPE.replace(None));
    work()
}

impl TapedTensor {
    /// Runs `work`, which returns a scalar, with a tape.
    pub fn of<E: From<Error>>(work: impl FnOnce() -> Result<Tensor, E>) -> Result<Self, E> {
        let taped = Self::of_tensor(work)?;
        let dims = taped.result.dims();
        if taped.result.elem_count() != 1 {
            return Err(err!(Shape, "expected one number to take the gradient of, found shape {dims:?}").into());
        }
        Ok(taped)
    }

    /// Runs `work`, which returns a tensor, with a tape.
    pub fn of_tensor<E>(work: impl FnOnce() -> Result<Tensor, E>) -> Result<Self, E> {
        let before = TapeGuard(TAPE.replace(Some(Tape::default())));
        let result = work()?;
        let mut tape = TAPE.replace(None).unwrap_or_default();
        drop(before);
        tape.know(&result);
        Ok(Self { result, tape })
    }

    pub fn number(&self) -> Tensor {
        self.result()
    }

    pub fn result(&self) -> Tensor {
        self.result.detach()
    }

    /// Returns the variables that the result depends on, without those that the tape made for its own results.
    pub fn variables(&self) -> HashSet<TensorId> {
        let mut reached = HashSet::from([self.result.id()]);
        let mut variables = HashSet::new();
        if self.result.is_variable() {
            variables.insert(self.result.id());
        }
        for node in self.tape.nodes.iter().rev().filter(|node| node.result.tracks) {
            if !reached.contains(&node.result.id) {
                continue;
            }
            let before: Vec<TensorMark> = match &node.way {
                WayBack::Island(end) => end.sorted_nodes().into_iter().map(TensorMark::of).collect(),
                _ => node.arguments.iter().filter(|argument| argument.tracks).copied().collect(),
            };
            for tensor in before {
                reached.insert(tensor.id);
                if tensor.is_variable {
                    variables.insert(tensor.id);
                }
            }
        }
        self.tape.nodes.iter().for_each(|node| {
            variables.remove(&node.result.id);
        });
        variables
    }

    /// Computes the gradients of the variables that the number depends on. Each activation is freed as soon as it has
    /// been used.
    pub fn backward(mut self) -> Result<Gradients> {
        let mut gradients = self.seeded(self.result.detach().ones_like()?);
        while let Some(node) = self.tape.nodes.pop() {
            node.pass_back(&mut gradients)?;
        }
        Ok(gradients)
    }

    /// Computes the gradients of the sum of `weights` times the result, for every variable that it depends on.
    pub fn pulled_back(&self, weights: &Tensor) -> Result<Gradients> {
        let mut gradients = self.seeded(weights.clone());
        for node in self.tape.nodes.iter().rev() {
            node.pass_back(&mut gradients)?;
        }
        Ok(gradients)
    }

    fn seeded(&self, gradient: Tensor) -> Gradients {
        Gradients(HashMap::from([(self.result.id(), gradient)]))
    }
}

impl Node {
    /// Passes the gradient of the result back to the arguments.
    fn pass_back(&self, gradients: &mut Gradients) -> Result<()> {
        let Some(gradient) = gradients.0.remove(&self.result.id) else { return Ok(()) };
        let found = match &self.way {
            WayBack::Island(end) => return island(end, &gradient, gradients),
            WayBack::WithResult(result, back) => back(&result.detach(), &gradient)?,
            WayBack::ByGradient(back) => back(&gradient)?,
        };
        for (argument, gradient) in self.arguments.iter().zip(found) {
            if let Some(gradient) = gradient.filter(|_| argument.tracks) {
                gradients.add(argument.id, gradient)?;
            }
        }
        Ok(())
    }
}

pub(super) fn is_running() -> bool {
    TAPE.with_borrow(Option::is_some)
}

/// Records an operation on the tape.
pub(super) fn push(result: Fresh, shape: &[usize], arguments: &[&Tensor], back: Back) -> Result<Tensor> {
    let result = Var::from_vec(result.numbers(), shape, &Device::Cpu)?.into_inner();
    write(result.clone(), arguments, back);
    Ok(result)
}

/// Records an operation on the tape, which does not hold its result.
pub(super) fn push_by_gradient(
    result: Fresh,
    shape: &[usize],
    arguments: &[&Tensor],
    back: BackByGradient,
) -> Result<Tensor> {
    let result = Var::from_vec(result.numbers(), shape, &Device::Cpu)?.into_inner();
    note(&result, arguments, WayBack::ByGradient(back));
    Ok(result)
}

/// Records an operation whose result is in candle's graph, too.
pub(super) fn write(result: Tensor, arguments: &[&Tensor], back: Back) {
    note(&result.clone(), arguments, WayBack::WithResult(result, back));
}

fn note(result: &Tensor, arguments: &[&Tensor], way: WayBack) {
    TAPE.with_borrow_mut(|tape| {
        let Some(tape) = tape else { return };
        arguments.iter().for_each(|argument| tape.know(argument));
        tape.known.insert(result.id());
        let arguments = arguments.iter().map(|argument| TensorMark::of(argument)).collect();
        tape.nodes.push(Node { result: TensorMark::of(result), arguments, way });
    });
}

/// Returns the numbers in another shape.
pub fn reshape(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let result = x.reshape(shape)?;
    if x.track_op() && is_running() {
        let before = x.dims().to_vec();
        let back: BackByGradient = Box::new(move |gradient| Ok(vec![Some(gradient.reshape(&before[..])?)]));
        note(&result, &[x], WayBack::ByGradient(back));
    }
    Ok(result)
}

impl Tape {
    /// Registers an argument: if candle computed it, an island leads to it.
    fn know(&mut self, argument: &Tensor) {
        if argument.track_op() && !argument.is_variable() && self.known.insert(argument.id()) {
            let way = WayBack::Island(argument.clone());
            self.nodes.push(Node { result: TensorMark::of(argument), arguments: Vec::new(), way });
        }
    }
}

/// Computes the gradients of the variables of an island, by candle. It leaves them in a graph of their own where a
/// variable was multiplied, and the next island would take that to be part of its number.
fn island(end: &Tensor, gradient: &Tensor, gradients: &mut Gradients) -> Result<()> {
    let store = (end * gradient)?.sum_all()?.backward()?;
    for id in store.get_ids() {
        if let Some(gradient) = store.get_id(*id) {
            gradients.add(*id, gradient.detach())?;
        }
    }
    Ok(())
}
