"""Reads a Somnus checkpoint or release with nothing but NumPy, and stages a night with it."""
import json, sys
import numpy as np


def load(path):
    """The tensors of a safetensors file, by name, and its manifest (None where it has none)."""
    raw = open(path, "rb").read()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    manifest = header.pop("__metadata__", {}).get("somnus")
    place = lambda t: np.frombuffer(raw[8 + size:][slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
    return {name: place(t) for name, t in header.items()}, manifest and json.loads(manifest)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def logits(weights, manifest, night):
    """[epochs, classes], of a night that `somnus-sim stage --tensors` wrote."""
    h = weights["encoder.bias"] + night["time"] @ weights["encoder.time.weight"].T
    for stream in manifest["architecture"]["streams"]:
        h = h + night[f"{stream}.features"] @ weights[f"encoder.{stream}.weight"].T
        h = h + night[f"{stream}.missing"] * weights[f"encoder.{stream}.missing"]
    for i, step in enumerate(manifest["architecture"]["dilations"]):
        w = {n.removeprefix(f"blocks.{i}."): t for n, t in weights.items() if n.startswith(f"blocks.{i}.")}
        x = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        x = x * w["norm.weight"] + w["norm.bias"]
        taps = w["conv.weight"].shape[2]
        padded = np.pad(x, ((step * (taps // 2),) * 2, (0, 0)))
        h = h + gelu(w["conv.bias"] + sum(
            padded[k * step:][:len(h)] @ w["conv.weight"][:, :, k].T for k in range(taps)))
        if "adapter.down.weight" in w:
            z = gelu(h @ w["adapter.down.weight"].T + w["adapter.down.bias"])
            h = h + z @ w["adapter.up.weight"].T + w["adapter.up.bias"]
    return h @ weights["head.weight"].T + weights["head.bias"]


if __name__ == "__main__":
    weights, manifest = load(sys.argv[1])
    night, _ = load(sys.argv[2])
    ours = logits(weights, manifest, night)
    print(f"{np.abs(ours - night['logits']).max():.2e}")
