use burn::tensor::{Device, Tensor};
use somnus_model::objective::Focal;

use super::{Golden, each};

#[test]
fn golden_focal_loss_agrees_with_its_gradients() {
    each("golden_focal_loss_agrees_with_its_gradients", "focal_loss_", check);
}

fn check(golden: &Golden) {
    let device = Device::flex().autodiff();
    let modalities = ["ecg", "hr"].map(|modality| {
        [1, 2].map(|view| golden.tensor::<2>(&format!("{modality}_{view}"), &device).require_grad())
    });
    let weights = &golden.tensors["weights"].values;
    let focal = Focal {
        temperature: golden.number("temperature"),
        shared: weights[0],
        private: weights[1],
        orthogonality: weights[2],
    };
    let terms = focal.terms(&modalities);
    golden.assert_tensor("shared", terms.shared);
    golden.assert_tensor("private", terms.private);
    golden.assert_tensor("orthogonality", terms.orthogonality);
    golden.assert_tensor("total", terms.total.clone());
    let gradients = terms.total.backward();
    let check = |name: &str, z: &Tensor<2>| golden.assert_tensor(name, z.grad(&gradients).unwrap());
    for (modality, views) in ["ecg", "hr"].iter().zip(&modalities) {
        for (view, z) in (1..).zip(views) {
            check(&format!("grad_{modality}_{view}"), z);
        }
    }
}
