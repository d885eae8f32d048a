"""What the training loop and `predict` cost beside the same work written by hand in torch.

One process, in turn, medians: `fit` of a four-layer perceptron and of a tiny one against a bare torch loop with the
same fused optimizer, loss and accuracy; a call and a one-row prediction of the built model against the torch module.
Then `fit` of the residual network against a bare loop over the very same model, so that only the loop differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import lamina
from suite.keras_networks import resnet
from suite.timing import alternate
from suite.workloads import WORKLOADS, samples

NETWORKS = {"mlp, batch 128": ((784, 512, 216, 128, 10), 128, 60), "tiny, batch 32": ((20, 16, 3), 32, 100)}


def both(sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """The same network in lamina and in torch."""
    layers = [lamina.layers.Dense(n, activation="relu") for n in sizes[1:-1]]
    model = lamina.Sequential(
        [lamina.Input((sizes[0],)), *layers, lamina.layers.Dense(sizes[-1], activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    parts: list[torch.nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return model, torch.nn.Sequential(*parts[:-1])


def bare_epoch(
    call: Callable[[Any], Any], loss_of: Callable[[Any, Any], Any], optimizer: Any, x: Any, y: Any, batch: int
) -> float:
    """An epoch as one writes it by hand, which counts the loss and what was right.

    Args:
        call: gives the output for rows of `x`.
        loss_of: gives the loss of an output and labels.
        optimizer: one of torch.
        x: all samples.
        y: all labels.
        batch: samples a step.
    """
    total, right = torch.zeros(()), torch.zeros(())
    for rows in torch.randperm(len(x)).split(batch):
        output = call(x[rows])
        loss = loss_of(output, y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
        right += (output.argmax(-1) == y[rows]).sum()
    return total.item() + right.item()


def only_the_loop() -> None:
    """Print what `fit` adds to a step of the residual network, whose kernels are the same on both sides."""
    workload, model = WORKLOADS["resnet"], resnet(lamina)
    (x,), (y,) = samples(workload)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    of_classes = lamina.losses.SparseCategoricalCrossentropy()

    def loss(output: Any, labels: Any) -> Any:
        return of_classes(labels, output)

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def bare() -> float:
        return bare_epoch(lambda rows: model(rows, training=True), loss, optimizer, tx, ty, workload.batch)

    fits = {"fit": lambda: model.fit(x, y, batch_size=workload.batch, verbose=0), "bare loop": bare}
    found = alternate(fits, 9, workload.steps)
    print(f"resnet, batch {workload.batch:<4} step: fit {found['fit']:.3f} ms, bare loop over the same model "
          f"{found['bare loop']:.3f} ms, ratio {found['fit'] / found['bare loop']:.3f}")  # fmt: skip


def main() -> None:
    """Print a line for each network."""
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, (sizes, batch, steps) in NETWORKS.items():
        model, module = both(sizes)
        x = np.random.default_rng(0).standard_normal((batch * steps, sizes[0]), dtype=np.float32)
        y = np.random.default_rng(1).integers(0, sizes[-1], batch * steps)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        optimizer = torch.optim.Adam(module.parameters(), fused=True)

        def bare(m: Any = module, o: Any = optimizer, tx: Any = tx, ty: Any = ty, b: int = batch) -> float:
            return bare_epoch(m, torch.nn.functional.cross_entropy, o, tx, ty, b)

        fits = {"fit": lambda m=model, x=x, y=y, b=batch: m.fit(x, y, batch_size=b, verbose=0), "bare loop": bare}
        found = alternate(fits, 9, steps)
        print(f"{name:<16} step: fit {found['fit']:.3f} ms, bare loop {found['bare loop']:.3f} ms, "
              f"ratio {found['fit'] / found['bare loop']:.2f}")  # fmt: skip
        row, array = tx[:1], x[:1]

        def times(function: Callable[[], Any], count: int = 100) -> Callable[[], None]:
            def run() -> None:
                for _ in range(count):
                    function()

            return run

        calls = {
            "model(x)": times(lambda m=model, r=row: m(r)),
            "module(x)": times(lambda m=module, r=row: m(r)),
            "predict(x)": times(lambda m=model, a=array: m.predict(a, verbose=0)),
        }
        found = alternate(calls, 15, 100)
        print(f"{'':<16} one row: model(x) {found['model(x)']:.3f} ms, torch {found['module(x)']:.3f} ms, "
              f"ratio {found['model(x)'] / found['module(x)']:.2f}; predict {found['predict(x)']:.3f} ms, "
              f"{found['predict(x)'] - found['model(x)']:.3f} ms more")  # fmt: skip
    only_the_loop()


if __name__ == "__main__":
    main()
