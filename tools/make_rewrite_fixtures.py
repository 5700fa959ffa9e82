"""Writes fixtures/rewrites/NAME.onnx: networks whose graph is rewritten before they are trained, with PyTorch's numbers.

Each file is a small classifier as an exporter writes it, without what the rewrite adds. Its further initializers, which no
node reads, are

    case/input, case/labels     two batches' worth of samples: all of them are one batch
    case/first/P                first values of a parameter P that the rewrite adds or copies
    case/loss                   cross-entropy with penalties, of each of six steps
    case/gradient/P             gradients of the first step
    case/after/P                values after five steps of plain SGD at 0.05
    case/noise/V                what is drawn for a value V that the rewrite adds, of each of the six steps

with P as the rewrite names it. PyTorch computes in double precision. Same numbers in every run.

Usage: python tools/make_rewrite_fixtures.py   (needs numpy, onnx and torch)
"""

import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "rewrites"
RATE, STEPS = 0.05, 5
WIDTH, SAMPLES, CLASSES = 6, 5, 3
CONVOLUTIONS = {  # channels in and out, kernel, groups, whether a normalisation is behind, whether there is a bias
    "c1": (3, 4, 3, 1, True, False),
    "c2": (4, 4, 3, 4, True, False),
    "c3": (4, 6, 1, 1, False, True),
    "c4": (6, 6, 3, 1, False, True),
}


def network(random):
    """The tensors of the classifier: c1, normalised, then c2 (depthwise), c3, and c4 in a residual connection."""
    tensors = {}
    for name, (inputs, outputs, kernel, groups, norm, bias) in CONVOLUTIONS.items():
        shape = (outputs, inputs // groups, kernel, kernel)
        tensors[f"{name}.weight"] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        if bias:
            tensors[f"{name}.bias"] = random.normal(0, 0.1, outputs)
        if norm:
            tensors[f"{name}.scale"] = random.uniform(0.7, 1.3, outputs)
            tensors[f"{name}.shift"] = random.normal(0, 0.2, outputs)
            tensors[f"{name}.mean"] = random.normal(0, 0.2, outputs)
            tensors[f"{name}.variance"] = random.uniform(0.6, 1.4, outputs)
    tensors["fc.weight"] = random.normal(0, 0.5, (CLASSES, 6))
    tensors["fc.bias"] = random.normal(0, 0.1, CLASSES)
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def nodes():
    made, value = [], "x"

    def add(op, name, inputs, **attributes):
        made.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    for name, (_, _, kernel, groups, norm, bias) in CONVOLUTIONS.items():
        before, pad = value, kernel // 2
        inputs = [value, f"{name}.weight"] + ([f"{name}.bias"] if bias else [])
        value = add("Conv", name, inputs, group=groups, pads=[pad] * 4)
        if norm:
            of_norm = [f"{name}.{part}" for part in ("scale", "shift", "mean", "variance")]
            value = add("BatchNormalization", f"{name}/norm", [value, *of_norm])
        if name == "c4":
            value = add("Add", "residual", [value, before])
        value = add("Relu", f"{name}/relu", [value])
    value = add("GlobalAveragePool", "pooled", [value])
    value = add("Flatten", "flat", [value])
    add("Gemm", "logits", [value, "fc.weight", "fc.bias"], transB=1)
    return made


def convolution(name, x, tensors, prefix=""):
    """A convolution with the normalisation behind it, where there is one."""
    _, _, kernel, groups, norm, bias = CONVOLUTIONS[name]

    def of(part):
        return tensors[f"{prefix}{name}.{part}"] if not prefix else tensors[f"{prefix}{part}"]

    y = F.conv2d(x, of("weight"), of("bias") if bias else None, padding=kernel // 2, groups=groups)
    if norm:
        y = F.batch_norm(y, of("mean"), of("variance"), of("scale"), of("shift"), training=False, eps=1e-5)
    return y


def adafilter(tensors, gated, share):
    """The classifier's logits and the penalty of the share of open gates."""
    added = {}

    def logits(x, parameters, _step):
        both = {**tensors, **parameters}
        hidden = cell = None
        shares = []
        for name in CONVOLUTIONS:
            before = x
            y = convolution(name, x, tensors)
            if name in gated:
                prefix = f"ftsurgery/adafilter/{name}.weight/"
                told = F.linear(
                    x.mean((2, 3)), parameters[f"{prefix}project/weight"], parameters[f"{prefix}project/bias"]
                )

                lstm = "ftsurgery/adafilter-lstm/"
                sums = F.linear(told, parameters[f"{lstm}weight"], parameters[f"{lstm}bias"])
                if hidden is not None:
                    sums = sums + hidden @ parameters[f"{lstm}recurrence"].T
                # In the order of ONNX's LSTM.
                enter, leave, keep, content = sums.chunk(4, dim=1)
                new = torch.sigmoid(enter) * torch.tanh(content)
                cell = new if cell is None else torch.sigmoid(keep) * cell + new
                hidden = torch.sigmoid(leave) * torch.tanh(cell)
                soft = torch.sigmoid(
                    F.linear(hidden, parameters[f"{prefix}logits/weight"], parameters[f"{prefix}logits/bias"])
                )
                # A gate so near its threshold may be another in single precision.
                assert (soft - 0.5).abs().min() > 1e-4, f"a gate of {name} lies at its threshold: take another seed"
                gate = soft + ((soft > 0.5).to(soft) - soft).detach()
                shares.append(gate.mean())
                gate = gate[:, :, None, None]
                y = gate * convolution(name, x, both, prefix) + (1 - gate) * y
            if name == "c4":
                y = y + before
            x = F.relu(y)
        out = F.linear(x.mean((2, 3)), both["fc.weight"], both["fc.bias"])
        penalty = share[1] * (torch.stack(shares).mean() - share[0]) ** 2
        return out, penalty, torch.cat([s.reshape(1) for s in shares])

    random = np.random.default_rng(23)
    for name in gated:
        inputs, outputs, _, _, norm, bias = CONVOLUTIONS[name]
        prefix = f"ftsurgery/adafilter/{name}.weight/"
        parts = ["weight"] + ["bias"] * bias + ["scale", "shift"] * norm
        for part in parts:
            added[prefix + part] = tensors[f"{name}.{part}"].numpy()
        if norm:
            for part in ("mean", "variance"):
                tensors[prefix + part] = tensors[f"{name}.{part}"]
        added[f"{prefix}project/weight"] = random.normal(0, 3, (WIDTH, inputs))
        added[f"{prefix}project/bias"] = random.normal(0, 0.3, WIDTH)
        added[f"{prefix}logits/weight"] = random.normal(0, 1.5, (outputs, WIDTH))
        added[f"{prefix}logits/bias"] = random.normal(0, 0.1, outputs)
    lstm = "ftsurgery/adafilter-lstm/"
    added[f"{lstm}weight"] = random.normal(0, 1, (4 * WIDTH, WIDTH))
    added[f"{lstm}recurrence"] = random.normal(0, 1, (4 * WIDTH, WIDTH))
    added[f"{lstm}bias"] = random.normal(0, 0.3, 4 * WIDTH)
    for name in ("fc.weight", "fc.bias"):
        added[name] = tensors[name].numpy()
    return logits, {name: np.asarray(value, np.float32) for name, value in added.items()}


BLOCKS = {  # where a block ends: where it begins, and its convolutions
    "c1/norm": ("x", ["c1"]),
    "c3": ("c1/relu", ["c2", "c3"]),
    "c4": ("c3/relu", ["c4"]),
}
POLICY = "ftsurgery/spottune/policy/"
TEMPERATURE = 5.0


def spottune(tensors, policy):
    """The classifier's logits, with a choice between the tuned and the frozen one of each block."""
    random = np.random.default_rng(29)
    added, noise = {}, {}
    for end, (_, convolutions) in BLOCKS.items():
        for name in convolutions:
            _, _, _, _, norm, bias = CONVOLUTIONS[name]
            for part in ["weight"] + ["bias"] * bias + ["scale", "shift"] * norm:
                key = f"{name}.{part}"
                value = tensors[key].numpy()
                # A copy that is the original would give the policy no gradient.
                added[f"ftsurgery/spottune/{end}/copy/{key}"] = value + random.normal(0, 0.2, value.shape)
    layers = {"hidden": (WIDTH, 3)}
    if policy == "conv":
        channels = [3, *(WIDTH // 3 * n for n in (1, 2, 4, 4))]
        pairs = zip(channels[1:], channels[:-1], strict=True)
        layers = {f"conv{at}": (outputs, inputs, 3, 3) for at, (outputs, inputs) in enumerate(pairs, 1)}
    width = list(layers.values())[-1][0]
    for name, shape in {**layers, "frozen": (len(BLOCKS), width), "tuned": (len(BLOCKS), width)}.items():
        scale = np.sqrt(2 / np.prod(shape[1:]))
        added[f"{POLICY}{name}/weight"] = random.normal(0, scale, shape)
        added[f"{POLICY}{name}/bias"] = random.normal(0, 0.1, shape[0])
    for name in ("frozen", "tuned"):
        noise[f"{POLICY}{name}/noise"] = random.gumbel(0, 1, (STEPS + 1, SAMPLES, len(BLOCKS))).astype(np.float32)
    for name in ("fc.weight", "fc.bias"):
        added[name] = tensors[name].numpy()

    def described(x, parameters):
        def layer(name):
            return parameters[f"{POLICY}{name}/weight"], parameters[f"{POLICY}{name}/bias"]

        if policy == "features":
            return F.relu(F.linear(x.mean((2, 3)), *layer("hidden")))
        x = F.instance_norm(x, eps=1e-5)
        for name in layers:
            x = F.relu(F.conv2d(x, *layer(name), stride=2, padding=1))
        return x.mean((2, 3))

    def logits(x, parameters, step):
        both = {**tensors, **parameters}
        row = described(x, parameters)
        frozen, tuned = (
            F.linear(row, parameters[f"{POLICY}{name}/weight"], parameters[f"{POLICY}{name}/bias"])
            + torch.tensor(noise[f"{POLICY}{name}/noise"][step].astype(np.float64))
            for name in ("frozen", "tuned")
        )
        pair = torch.stack([frozen, tuned])
        assert (tuned - frozen).abs().min() > 1e-3, "two logits lie together: take another seed"
        soft = F.softmax(pair / TEMPERATURE, dim=0)
        hard = F.one_hot(pair.argmax(0), 2).movedim(-1, 0).to(soft)
        choices = (soft + (hard - soft).detach())[1]
        for end, (_, convolutions) in BLOCKS.items():
            choice = choices[:, list(BLOCKS).index(end), None, None, None]
            outputs = []
            for prefix in ("", f"ftsurgery/spottune/{end}/copy/"):
                y = x
                own = {**tensors, **{k.removeprefix(prefix): v for k, v in both.items() if k.startswith(prefix)}}
                for name in convolutions:
                    y = convolution(name, y, own)
                    y = F.relu(y) if name != convolutions[-1] else y
                outputs.append(y)
            before, x = x, choice * outputs[1] + (1 - choice) * outputs[0]
            x = F.relu(x + before if end == "c4" else x)
        out = F.linear(x.mean((2, 3)), both["fc.weight"], both["fc.bias"])
        return out, 0.0, choices.detach().mean(0)

    first = {name: np.asarray(value, np.float32) for name, value in added.items()}
    return logits, first, {f"case/noise/{name}": value for name, value in noise.items()}


def trained(logits, first, x, labels):
    """The case's tensors: losses, gradients and values after the steps."""
    parameters = {name: torch.tensor(v.astype(np.float64), requires_grad=True) for name, v in first.items()}
    case = {f"case/first/{name}": value for name, value in first.items()}
    losses = []
    for step in range(STEPS + 1):
        out, penalty, _ = logits(x, parameters, step)
        loss = F.cross_entropy(out, labels) + penalty
        losses.append(loss.item())
        gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
        if step == 0:
            case |= {f"case/gradient/{name}": g.numpy() for name, g in gradients.items()}
        if step < STEPS:
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter -= RATE * gradients[name]
        if step == STEPS - 1:
            case |= {f"case/after/{name}": p.detach().numpy().copy() for name, p in parameters.items()}
    return {**case, "case/loss": np.array(losses)}


def write(name, tensors, case):
    initializers = [numpy_helper.from_array(value, key) for key, value in tensors.items()]
    for key, value in case.items():
        value = value if value.dtype == np.int64 else value.astype(np.float32)
        initializers.append(numpy_helper.from_array(value, key))
    graph = helper.make_graph(
        nodes(),
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 9, 9])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    OUT.mkdir(parents=True, exist_ok=True)
    onnx.save(model, OUT / f"{name}.onnx")


def main():
    random = np.random.default_rng(11)
    arrays = network(random)
    x = random.normal(0, 1, (SAMPLES, 3, 9, 9)).astype(np.float32)
    labels = np.arange(SAMPLES, dtype=np.int64) % CLASSES
    inputs = torch.tensor(x.astype(np.float64)), torch.tensor(labels)

    def case(name, logits, first, further):
        tensors = trained(logits, first, *inputs)
        write(name, arrays, {**tensors, **further, "case/input": x, "case/labels": labels})
        parameters = {name: torch.tensor(v.astype(np.float64)) for name, v in first.items()}
        _, _, shares = logits(inputs[0], parameters, 0)
        print(f"{name}: losses", np.round(tensors["case/loss"], 4), "open", shares.numpy())

    def fresh():
        return {name: torch.tensor(value.astype(np.float64)) for name, value in arrays.items()}

    case("adafilter", *adafilter(fresh(), list(CONVOLUTIONS), (0.3, 2.0)), {})
    for policy in ("conv", "features"):
        case(f"spottune_{policy}", *spottune(fresh(), policy))


if __name__ == "__main__":
    main()
