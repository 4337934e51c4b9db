//! Devices by name: the CPU, or a GPU that candle was built for; and operations on tensors of different devices.

use candle_core::{Device, Tensor};

use super::backward;
use crate::common::*;

/// Opens the device of a name: `cpu`, `cuda`, `cuda:1` or `metal`.
pub fn open(name: &str) -> Result<Device> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let index: usize =
        index.parse().map_err(|_| err!(Argument, "expected a number after `{kind}:`, found `{index}`"))?;
    let opened = match kind {
        "cpu" => return Ok(Device::Cpu),
        "cuda" if cfg!(feature = "cuda") => cuda(index),
        "metal" if cfg!(feature = "metal") => Device::new_metal(index).map_err(Error::from),
        "cuda" | "metal" => {
            return Err(err!(Argument, "this microtome was built without {kind}")
                .hint("docs/gpu.md says how to build it for a GPU; `--device cpu` needs none"));
        }
        other => bail!(Argument, "expected cpu, cuda, cuda:N or metal as the device, found `{other}`"),
    };
    opened.map_err(|error| refused(name, &error))
}

/// Opens a device of NVIDIA with one stream for all threads, so that everything is done in the order in which it was
/// asked for. (By default each thread has a stream of its own, and long work runs on other threads than the script.)
/// With one stream nothing has to be noted of who reads and writes what.
fn cuda(index: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(index)?;
    #[cfg(feature = "cuda")]
    // SAFETY: it asks for no tensor to be used on several streams, and there is only one.
    unsafe {
        device.as_cuda_device()?.disable_event_tracking();
    }
    kernels::device::keep_freed(&device)?;
    Ok(device)
}

/// Moves a tensor to the device of another one, if that is a GPU: what was computed on the CPU, as rankings and
/// statistics are, meets what a model computed. Gradients pass.
pub fn on_device_of(t: &Tensor, other: &Tensor) -> Result<Tensor> {
    if !t.device().is_cpu() || other.device().is_cpu() {
        return Ok(t.clone());
    }
    let moved = t.to_device(other.device())?;
    Ok(backward::on_tape(moved, &[t], |_, gradient| Ok(vec![Some(gradient.to_device(&Device::Cpu)?)])))
}

/// Moves tensors to the device of the first of them that is on a GPU.
pub fn together(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    match tensors.iter().find(|t| !t.device().is_cpu()) {
        Some(there) => tensors.iter().map(|t| on_device_of(t, there)).collect(),
        None => Ok(tensors.to_vec()),
    }
}

/// Returns a matrix whose rows or whose columns are contiguous, as products on a GPU want it.
pub fn multipliable(t: &Tensor) -> Result<Tensor> {
    let is_plain = t.device().is_cpu() || t.is_contiguous() || t.t()?.is_contiguous();
    Ok(if is_plain { t.clone() } else { t.contiguous()? })
}

/// Tells why a device does not open, with what to do.
fn refused(name: &str, error: &Error) -> Error {
    let found = |code: &str| error.message.contains(code);
    let (what, hint) = if found("NO_DEVICE") {
        ("no GPU is there", "`--device cpu` needs none")
    } else if found("INVALID_DEVICE") {
        ("there are fewer GPUs", "`cuda` is the first one, `cuda:1` the second")
    } else if found("DRIVER") || found("STUB") || found("UNSUPPORTED_PTX") {
        ("the driver does not fit", "update the driver, or build with a toolkit of the driver's version")
    } else {
        ("it does not answer", "`nvidia-smi` shows which GPUs there are, and which driver")
    };
    let kind = if error.kind == Kind::Memory { Kind::Memory } else { Kind::Argument };
    Error::new(kind, format!("cannot open {name}: {what} ({})", error.message)).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_others_refused() {
        assert!(open("cpu").unwrap().is_cpu());
        for (name, words) in [("gpu", "expected cpu, cuda, cuda:N or metal"), ("cuda:one", "found `one`")] {
            let error = open(name).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_device_that_does_not_open_is_told_with_its_reason() {
        let told = |message: &str| refused("cuda:1", &err!(Argument, "{message}")).to_string();
        assert!(told("DriverError(CUDA_ERROR_NO_DEVICE, ..)").starts_with("cannot open cuda:1: no GPU is there"));
        assert!(told("DriverError(CUDA_ERROR_INVALID_DEVICE, ..)").contains("fewer GPUs"));
        assert!(told("DriverError(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, ..)").contains("driver does not fit"));
        assert!(told("anything").contains("does not answer"));
    }
}
