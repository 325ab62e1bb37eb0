use burn::tensor::Device;
use somnus_model::objective::RelativeLoss;

use super::{Golden, each};

#[test]
fn golden_relcon_loss_agrees_with_its_gradients() {
    each("golden_relcon_loss_agrees_with_its_gradients", "relcon_loss_", check);
}

fn check(golden: &Golden) {
    let device = Device::flex().autodiff();
    let anchors = golden.tensor::<2>("anchors", &device).require_grad();
    let within = golden.tensor::<3>("within_user_candidates", &device).require_grad();
    let objective = RelativeLoss { temperature: golden.number("temperature") };
    let loss = objective.loss(anchors.clone(), within.clone(), golden.tensor("distances", &device));
    golden.assert_tensor("loss", loss.clone());
    let gradients = loss.backward();
    golden.assert_tensor("grad_anchors", anchors.grad(&gradients).unwrap());
    golden.assert_tensor("grad_within_user_candidates", within.grad(&gradients).unwrap());
}
