//! Parameters as scripts write them: a tensor, a number, or arrays and maps of such, in each other.

use crate::script::prelude::*;
use crate::script::tensor::value_of;
use crate::tensor::{DType, device};

/// Depth to which arrays and maps may be nested.
const DEEPEST: usize = 32;

/// The form of parameters, whose tensors stand in a list beside it.
#[derive(Clone)]
enum ParameterForm {
    Tensor,
    Number,
    List(Vec<ParameterForm>),
    Map(Vec<(String, ParameterForm)>),
}

impl ParameterForm {
    fn forget_numbers(&mut self) {
        match self {
            Self::Tensor | Self::Number => *self = Self::Tensor,
            Self::List(forms) => forms.iter_mut().for_each(Self::forget_numbers),
            Self::Map(fields) => fields.iter_mut().for_each(|(_, form)| form.forget_numbers()),
        }
    }
}

/// Parameters with the names that errors and options call them by: `w`, `block.w`, `layers[2]`.
#[derive(Clone)]
pub struct Parameters {
    form: ParameterForm,
    pub names: Vec<String>,
    pub tensors: Vec<Tensor>,
}

impl Parameters {
    /// Reads an argument by its name, which also names a tensor that stands alone.
    pub fn of(name: &str, value: &Dynamic) -> Result<Self> {
        let mut all = Self { form: ParameterForm::Tensor, names: Vec::new(), tensors: Vec::new() };
        all.form = all.take(name, "", value, 0)?;
        if all.tensors.is_empty() {
            return Err(err!(Argument, "expected at least one tensor for `{name}`, found none").about(name));
        }
        all.tensors = device::together(&all.tensors)?;
        Ok(all)
    }

    fn take(&mut self, argument: &str, path: &str, value: &Dynamic, depth: usize) -> Result<ParameterForm> {
        if let Some(tensor) = value.read_lock::<Tensor>() {
            self.push(argument, path, tensor.clone());
            return Ok(ParameterForm::Tensor);
        }
        if let Ok(number) = given(argument, value).number() {
            self.push(argument, path, Tensor::new(number, &Device::Cpu)?);
            return Ok(ParameterForm::Number);
        }
        if depth < DEEPEST {
            if let Some(list) = value.read_lock::<Array>() {
                let of =
                    |(i, element): (usize, &Dynamic)| self.take(argument, &format!("{path}[{i}]"), element, depth + 1);
                return Ok(ParameterForm::List(list.iter().enumerate().map(of).collect::<Result<_>>()?));
            }
            if let Some(map) = value.read_lock::<Map>() {
                let of = |(key, value): (&rhai::Identifier, &Dynamic)| {
                    let inner = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                    Ok((key.to_string(), self.take(argument, &inner, value, depth + 1)?))
                };
                return Ok(ParameterForm::Map(map.iter().map(of).collect::<Result<_>>()?));
            }
        }
        let place = if path.is_empty() { argument } else { path };
        let found = described(value);
        Err(err!(Argument, "expected a tensor, a number, or an array or a map of such for `{place}`, found {found}")
            .about(argument))
    }

    fn push(&mut self, argument: &str, path: &str, tensor: Tensor) {
        self.names.push(if path.is_empty() { argument.into() } else { path.into() });
        self.tensors.push(tensor);
    }

    /// Turns numbers of the form into tensors, for results with axes in the places of numbers.
    pub fn of_tensors(mut self) -> Self {
        self.form.forget_numbers();
        self
    }

    /// Returns other tensors in the form of the parameters. Numbers stay numbers, unless they track gradients.
    pub fn like(&self, tensors: &[Tensor]) -> Result<Dynamic> {
        filled(&self.form, &mut tensors.iter())
    }

    /// Calls a function with other tensors in the form of the parameters; it must return a tensor that tracks
    /// gradients.
    pub fn call(&self, calls: &Callbacks, function: &FnPtr, tensors: &[Tensor]) -> Result<Tensor> {
        let returned = calls.call(function, [self.like(tensors)?])?;
        let tensor = returned.read_lock::<Tensor>().map(|tensor| tensor.clone());
        tensor.ok_or_else(|| {
            let found = described(&returned);
            err!(Argument, "expected the function to return a tensor computed from its argument, found {found}")
                .hint("a number depends on nothing: `.item()`, comparisons, rounding and counts give one")
        })
    }
}

fn filled<'a>(form: &ParameterForm, tensors: &mut impl Iterator<Item = &'a Tensor>) -> Result<Dynamic> {
    let mut next = || tensors.next().cloned().ok_or_else(|| err!(Bug, "fewer tensors than parameters"));
    Ok(match form {
        ParameterForm::Tensor => Dynamic::from(next()?),
        ParameterForm::Number => value_of(next()?.to_dtype(DType::F64)?)?,
        ParameterForm::List(forms) => forms.iter().map(|form| filled(form, tensors)).collect::<Result<Array>>()?.into(),
        ParameterForm::Map(fields) => {
            let field = |(name, form): &(String, ParameterForm)| Ok((name.as_str().into(), filled(form, tensors)?));
            fields.iter().map(field).collect::<Result<Map>>()?.into()
        }
    })
}
