//! Agreement with the published implementations: every file of a pattern under `../shared/golden`, to 1e-4 relative.

mod focal;
mod motif;
mod relative;
mod resnet;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use somnus_protocol::checkpoint::{self, floats};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/golden");
const TOLERANCE: f32 = 1e-4;

/// A golden file's f32 tensors.
struct Golden {
    file: String,
    tensors: BTreeMap<String, checkpoint::Tensor>,
}

/// Calls `check` with every file whose name begins with `pattern`; says so if there are none to be had.
fn each(test: &str, pattern: &str, check: impl Fn(&Golden)) {
    let Ok(folder) = std::fs::read_dir(FOLDER) else {
        println!("SKIPPED {test}: {FOLDER} is absent");
        return;
    };
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(pattern) && name.ends_with(".safetensors")
    });
    files.sort();
    assert!(!files.is_empty(), "no {pattern}*.safetensors in {FOLDER}");
    for path in &files {
        check(&Golden::read(path));
    }
    println!("{} files agree", files.len());
}

impl Golden {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter().filter(|(_, view)| view.dtype() == Dtype::F32) {
            let tensor = checkpoint::Tensor { shape: view.shape().to_vec(), values: floats(view.data()) };
            tensors.insert(name.to_owned(), tensor);
        }
        Self { file: path.file_name().unwrap().to_string_lossy().into_owned(), tensors }
    }

    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let tensor = &self.tensors[name];
        let shape: [usize; D] = tensor.shape.clone().try_into().unwrap();
        Tensor::from_data(TensorData::new(tensor.values.clone(), shape), device)
    }

    fn number(&self, name: &str) -> f32 {
        self.tensors[name].values[0]
    }

    /// The tensors under a prefix, without it.
    fn under(&self, prefix: &str) -> BTreeMap<String, checkpoint::Tensor> {
        let strip = |(name, tensor): (&String, &checkpoint::Tensor)| {
            name.strip_prefix(prefix).map(|name| (name.to_owned(), tensor.clone()))
        };
        self.tensors.iter().filter_map(strip).collect()
    }

    fn assert_tensor<const D: usize>(&self, name: &str, ours: Tensor<D>) {
        let expected = &self.tensors[name];
        assert_eq!(ours.dims().to_vec(), expected.shape, "{}: {name}", self.file);
        let ours = ours.into_data();
        self.assert_values(name, ours.as_slice().unwrap(), largest(&expected.values));
    }

    /// Agreement within the tolerance of `scale`.
    fn assert_values(&self, name: &str, ours: &[f32], scale: f32) {
        let expected = &self.tensors[name].values;
        assert_eq!(ours.len(), expected.len(), "{}: {name}", self.file);
        for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= TOLERANCE * scale, "{}: {name}[{i}] is {b}, not {a}", self.file);
        }
    }
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |a, v| a.max(v.abs()))
}
