use burn::tensor::Tensor;
use somnus_model::DeviceKind;
use somnus_model::encoder::{ResNet, Stage, Weights};

use super::{Golden, each, largest};

#[test]
fn golden_relcon_encoder_agrees_forward_and_backward() {
    each("golden_relcon_encoder_agrees_forward_and_backward", "relcon_encoder_", check);
}

fn check(golden: &Golden) {
    let params = golden.under("param.");
    let net = architecture(golden);
    let weights = Weights::from_tensors(&net.specs(), &params, DeviceKind::Flex).unwrap();
    assert_eq!(weights.to_tensors(), params, "{}: other weights", golden.file);

    let device = weights.device();
    let input = golden.tensor::<3>("input", device).permute([1, 0, 2]); // [C, B, T]
    golden.assert_tensor("embedding_eval", net.embed(&weights, input.clone()));
    golden.assert_tensor("embedding_eval", net.embed(&weights.frozen(), input.clone().inner()));
    let (embedding, _) = net.embed_training(&weights, input);
    golden.assert_tensor("embedding_train", embedding.clone());

    let pull: Tensor<2> = golden.tensor("grad_embedding", device);
    let gradients = (embedding * pull).sum().backward();
    let expected = golden.under("grad.");
    assert_eq!(weights.names().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, tensor) in &expected {
        let ours = weights.gradient(name, &gradients).unwrap();
        assert_eq!(ours.shape, tensor.shape);
        // A bias in front of a batch norm has the gradient zero; both sides only have the rounding of sums that are as
        // large as the layer's other gradients.
        let weight = name.strip_suffix(".bias").map(|layer| &expected[&format!("{layer}.weight")].values);
        let scale = largest(&tensor.values).max(weight.map_or(0.0, |values| largest(values)));
        golden.assert_values(&format!("grad.{name}"), &ours.values, scale);
    }
}

/// The network that a state dictionary belongs to.
fn architecture(golden: &Golden) -> ResNet {
    let shape = |name: &str| golden.tensors.get(&format!("param.{name}.weight")).map(|t| t.shape.clone());
    let stem = shape("first_block_conv").unwrap();
    let mut stages: Vec<Stage> = Vec::new();
    for block in 0.. {
        let Some(filter) = shape(&format!("basicblock_list.{block}.conv1")) else { break };
        let (width, kernel) = (filter[0], filter[2]);
        match stages.last_mut() {
            Some(stage) if (stage.width, stage.kernel) == (width, kernel) => stage.blocks += 1,
            _ => stages.push(Stage { blocks: 1, width, kernel }),
        }
    }
    ResNet { channels: stem[1], stem: stem[0], stages }
}
