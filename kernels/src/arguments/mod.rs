//! The arguments of operations that are no tensors, which loops on the CPU and kernels of GPUs take alike.

pub(crate) mod activation;
pub(crate) mod adam;
pub(crate) mod alibi;
pub(crate) mod norm;
pub(crate) mod reach;
pub(crate) mod rotation;
