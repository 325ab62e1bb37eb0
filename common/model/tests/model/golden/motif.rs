use burn::tensor::Tensor;
use somnus_model::DeviceKind;
use somnus_model::encoder::Weights;
use somnus_model::objective::{Attention, MotifDistance};

use super::{Golden, each, largest};

#[test]
fn golden_motif_distance_agrees_in_both_scorings() {
    each("golden_motif_distance_agrees_in_both_scorings", "motif_distance_", check);
}

fn check(golden: &Golden) {
    let params = golden.under("param.");
    let first = &params["q_func.layer0.dilated_conv.weight"].shape;
    let blocks =
        (0..).take_while(|i| params.contains_key(&format!("q_func.layers.{i}.bottle.weight"))).count();
    let net = MotifDistance { channels: first[1], width: first[0], blocks, revin: true };
    let weights = Weights::from_tensors(&net.specs(), &params, DeviceKind::Flex).unwrap();
    assert_eq!(weights.to_tensors(), params, "{}: other weights", golden.file);

    let window = |name: &str| golden.tensor::<3>(name, weights.device()).permute([2, 0, 1]); // [C, B, T]
    let outside = |x: Tensor<3>| x.permute([1, 2, 0]);
    let compare = |attention| net.compare(&weights, window("anchor"), window("candidate"), attention);
    let softmax = compare(Attention::Softmax);
    golden.assert_tensor("distance_softmax", softmax.distance);
    golden.assert_tensor("reconstruction_softmax", outside(softmax.reconstruction));
    let sparse = compare(Attention::Sparsemax);
    golden.assert_tensor("distance_sparsemax", sparse.distance.clone());
    golden.assert_tensor("reconstruction_sparsemax", outside(sparse.reconstruction));
    golden.assert_tensor("attention_sparsemax", sparse.attention);

    let gradients = sparse.distance.sum().backward();
    let expected = golden.under("grad_sparsemax.");
    assert_eq!(weights.names().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, tensor) in &expected {
        let ours = weights.gradient(name, &gradients).unwrap();
        golden.assert_values(&format!("grad_sparsemax.{name}"), &ours.values, largest(&tensor.values));
    }
}
