//! `optim::adamw`, `optim::adam`, `optim::sgd`, and the descents that they return.

use std::cell::{Cell, RefCell};

use super::parameters::Parameters;
use crate::script::model::prelude::*;
use crate::tensor::derivative::value_and_gradients;
use crate::tensor::{DType, create};
use crate::training::descent::{
    AdamOptions, AdamWOptions, Descent as Core, DescentOptions, DescentRule, SgdOptions, Steps, descend,
};

/// Parameters that descend along the gradients of a loss; copies of the handle are the same descent.
#[derive(Clone)]
pub struct Descent {
    core: Rc<RefCell<Core>>,
    /// The argument as given, for its form and its names.
    parameters: Rc<Parameters>,
    /// Whether a step is being made, whose loss may look at the descent.
    is_stepping: Rc<Cell<bool>>,
}

impl Descent {
    fn new(rule: DescentRule, params: &Dynamic, options: DescentOptions) -> Result<Self> {
        let parameters = Parameters::of("params", params)?;
        let named = parameters.names.iter().cloned().zip(parameters.tensors.iter().cloned()).collect();
        let core = Core::new(rule, named, options)?;
        Ok(Self { core: Rc::new(RefCell::new(core)), parameters: Rc::new(parameters), is_stepping: Rc::default() })
    }

    /// Makes one step along the gradient of the loss that a function returns.
    fn step(&self, calls: &Callbacks, loss: &FnPtr, task: &Task) -> Result<f64> {
        if self.is_stepping.replace(true) {
            return Err(err!(Argument, "expected a loss that makes no step of the same descent")
                .hint("the parameters change when the loss has been computed"));
        }
        let found = self.stepped(calls, loss, task);
        self.is_stepping.set(false);
        found
    }

    fn stepped(&self, calls: &Callbacks, loss: &FnPtr, task: &Task) -> Result<f64> {
        let at = self.core.borrow().parameters();
        let mut function = |arguments: &[Tensor]| self.parameters.call(calls, loss, arguments);
        let found = value_and_gradients(&mut function, &at, task);
        let found = found.map_err(|error| self.core.borrow().at_step(error))?;
        self.core.borrow_mut().update(&found)?;
        Ok(found.value)
    }
}

impl Handle for Descent {
    const NAME: &'static str = "Descent";

    fn short(&self) -> String {
        let core = self.core.borrow();
        let numbers: usize = self.parameters.tensors.iter().map(Tensor::elem_count).sum();
        let parameters = count(self.parameters.names.len(), "parameter");
        let made = count(core.made() as usize, "step");
        format!("{} of {parameters} with {}, after {made}", core.rule().name(), count(numbers, "number"))
    }

    fn json(&self) -> Result<Value> {
        let core = self.core.borrow();
        Ok(json!({
            "rule": core.rule().name(),
            "parameters": self.parameters.names,
            "steps": core.made(),
            "lr": core.rate(),
        }))
    }
}

#[export_module(manifest)]
pub mod functions {
    /// Returns a descent of parameters by AdamW, whose weight decay is apart from the gradient (Loshchilov and Hutter
    /// 2019).
    ///
    /// `params` is a tensor, a number, or an array or a map of such, as for `tensor::grad`. `opt.step(|p| ..)` makes a step
    /// down the gradient of a loss, `opt.run(steps, |p| ..)` many of them; `opt.params` are the parameters in the form that
    /// was given. After each step the constraints hold: rows of length 1 are divided by their length; an orthonormal
    /// matrix moves along its tangent space and is retracted by a QR decomposition; numbers are clamped to their range.
    /// Parameters that begin outside are brought within. Options name parameters as errors do: `w`, `block.w`,
    /// `layers[2]`.
    ///
    /// # Options
    /// - [adamw]
    ///
    /// # Example
    /// ```
    /// let aim = tensor([3, -1]);
    /// let opt = optim::adamw(#{ w: tensor::zeros(2), b: 0 }, #{ lr: 0.1, weight_decay: 0 });
    /// opt  //=> adamw of 2 parameters with 3 numbers, after 0 steps
    /// let losses = opt.run(500, |p| ((p.w + p.b - aim) ** 2).sum());
    /// losses[-1] < 1e-4  //=> true
    /// (opt.params.w + opt.params.b - aim).abs().max() < 0.01  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn adamw(params: Any, options: Options) -> Fallible<Descent> {
        let AdamWOptions { betas, eps, weight_decay, descent } = taken(options)?;
        Ok(Descent::new(DescentRule::AdamW { betas, eps, weight_decay }, &params, descent)?)
    }

    /// Returns a descent of parameters by Adam (Kingma and Ba 2015), whose weight decay is part of the gradient.
    ///
    /// See `optim::adamw`.
    ///
    /// # Options
    /// - [adam]
    ///
    /// # Example
    /// ```
    /// let opt = optim::adam(tensor([[3, 4]]), #{ lr: 0.1, unit: true });
    /// opt.params  //=> tensor([[0.6, 0.8]])
    /// let _losses = opt.run(200, |w| -w[0][0]);
    /// opt.params[0][0] > 0.999  //=> true
    /// ```
    #[rhai_fn(return_raw)]
    pub fn adam(params: Any, options: Options) -> Fallible<Descent> {
        let AdamOptions { betas, eps, weight_decay, descent } = taken(options)?;
        Ok(Descent::new(DescentRule::Adam { betas, eps, weight_decay }, &params, descent)?)
    }

    /// Returns a descent of parameters along the gradient, with momentum.
    ///
    /// See `optim::adamw`.
    ///
    /// # Options
    /// - [sgd]
    ///
    /// # Example
    /// ```
    /// let opt = optim::sgd(1, #{ lr: 0.25 });
    /// opt.step(|x| x ** 2)  //=> 1.0
    /// opt.params  //=> 0.5
    /// ```
    #[rhai_fn(return_raw)]
    pub fn sgd(params: Any, options: Options) -> Fallible<Descent> {
        let SgdOptions { momentum, weight_decay, descent } = taken(options)?;
        Ok(Descent::new(DescentRule::Sgd { momentum, weight_decay }, &params, descent)?)
    }
}

#[export_module(manifest)]
pub mod methods {
    /// Makes one step down the gradient of a loss `|p|` of the parameters. Returns the loss before the step.
    ///
    /// The loss is a tensor without axes, computed from `p` as for `tensor::grad`. A loss or a gradient that is not finite
    /// is an error with the number of the step and the parameter's name, and leaves the parameters as they are.
    ///
    /// # Example
    /// ```
    /// let opt = optim::sgd(tensor([1, 2]), #{ lr: 0.5 });
    /// opt.step(|p| (p ** 2).sum())  //=> 5.0
    /// opt.params  //=> tensor([0.0, 0.0])
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn step(ctx: NativeCallContext, opt: &mut Descent, loss: FnPtr) -> Fallible<f64> {
        let calls = Callbacks::new(&ctx);
        calls.outcome(opt.step(&calls, &loss, &env(&ctx)?.task))
    }

    /// Makes steps down the gradient of a loss `|p|`, with a progress bar that shows it. Returns the losses before each
    /// step as a tensor.
    ///
    /// Ctrl-C ends the steps early: the call returns the losses so far, and the parameters stay as they are by then.
    ///
    /// # Example
    /// ```
    /// let opt = optim::sgd(tensor([1, 2]), #{ lr: 0.25 });
    /// opt.run(3, |p| (p ** 2).sum())  //=> tensor([5.0, 1.25, 0.3125])
    /// opt.steps  //=> 3
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn run(ctx: NativeCallContext, opt: &mut Descent, steps: Int, loss: FnPtr) -> Fallible<Tensor> {
        let steps = given("steps", &steps).size()?;
        let calls = Callbacks::new(&ctx);
        let env = env(&ctx)?;
        let task = &env.task;
        let one = || {
            opt.step(&calls, &loss, task).map_err(|error| {
                if task.is_interrupted() {
                    // The engine ends the loss with an error of its own.
                    Error::interrupted()
                } else {
                    error
                }
            })
        };
        let left = "the losses so far, and the parameters stay as they are";
        let steps = Steps { count: steps as u64, label: "descending", left };
        let losses = calls.outcome(descend(steps, one, task))?;
        let count = losses.len();
        Ok(create::from_floats(losses, &[count], DType::F32)?)
    }

    /// Returns the present parameters, in the form that was given: plain tensors.
    ///
    /// # Example
    /// ```
    /// optim::adamw(#{ w: tensor::ones(2), b: 0 }).params  //=> #{ b: 0.0, w: tensor([1.0, 1.0]) }
    /// ```
    #[rhai_fn(global, get = "params", pure, return_raw)]
    pub fn params(opt: &mut Descent) -> Fallible<Any> {
        let tensors = opt.core.borrow().parameters();
        Ok(opt.parameters.like(&tensors)?)
    }

    /// Returns the number of steps made.
    ///
    /// # Example
    /// ```
    /// optim::adamw(tensor::ones(2)).steps  //=> 0
    /// ```
    #[rhai_fn(global, get = "steps", pure)]
    pub fn steps(opt: &mut Descent) -> i64 {
        opt.core.borrow().made().cast_signed()
    }

    /// Returns the learning rate of the next step.
    ///
    /// # Example
    /// ```
    /// optim::adamw(tensor::ones(2), #{ lr: 0.01, warmup: 10 }).lr  //=> 0.001
    /// ```
    #[rhai_fn(global, get = "lr", pure)]
    pub fn lr(opt: &mut Descent) -> f64 {
        opt.core.borrow().rate()
    }

    /// Returns the descent as a map.
    ///
    /// # Example
    /// ```
    /// optim::adamw(tensor::ones(2)).to_map()  //=> #{ lr: 0.001, parameters: ["params"], rule: "adamw", steps: 0 }
    /// ```
    #[rhai_fn(global, pure, return_raw)]
    pub fn to_map(opt: &mut Descent) -> Fallible<Map> {
        Ok(mapped(opt)?.cast::<Map>())
    }
}
