//! The bridge between host memory and burn's matrices; moving a vector over costs nothing.

use burn::tensor::{Device, Tensor, TensorData};

/// A row-major `[rows, columns]` matrix on the device.
pub(crate) fn matrix(values: Vec<f32>, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// The values of a tensor in host memory, row-major.
pub(crate) struct Host(TensorData);

impl Host {
    pub(crate) fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        Self(tensor.into_data())
    }

    pub(crate) fn values(&self) -> &[f32] {
        // All our tensors are made of f32 and live in host memory.
        self.0.as_slice().expect("an f32 tensor on a CPU device")
    }
}
