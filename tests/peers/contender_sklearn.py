"""scikit-learn's MLPClassifier. It has no soft targets, so it learns from the labels alone, which is less work.

Timed is `fit` over all epochs, its fastest way: `partial_fit`, batch by batch, checks its arguments at every step. The
losses that are compared come from `partial_fit`, as `fit` tells one number an epoch and shuffles by its own stream.
BLAS keeps all its threads: with one, small networks took as long, and large ones longer.
"""

import warnings
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import rows
from cases import MOMENTUM, RATES, Case
from protocol import Forms, serve

MLPClassifier: Any = import_module("sklearn.neural_network").MLPClassifier


class Fit:
    """One network, from the same weights as everyone's."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.x, self.labels, _ = rows.rows(case)
        self.losses = self._step_by_step()

    def reset(self) -> None:
        """A classifier of the first weights, that has seen nothing."""
        self.model = self._classifier()
        self.model.warm_start = True  # else `fit` would draw weights of its own

    def train(self) -> rows.Array:
        """`fit`, and the losses that `partial_fit` had before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged is the plan
            self.model.fit(self.x, self.labels)
        return self.losses

    def _step_by_step(self) -> rows.Array:
        model = self._classifier()
        losses = []
        for step, batch in enumerate(rows.batches(self.case)[: self.case.compared], start=1):
            # Here Adam's epsilon is not scaled as its moments are, which is felt in the first steps.
            model.epsilon = 1e-8 * (1 - 0.999**step) ** 0.5
            if hasattr(model, "_optimizer"):
                model._optimizer.epsilon = model.epsilon
            model.partial_fit(self.x[batch], self.labels[batch])
            losses.append(model.loss_)
        return np.array(losses)

    def _classifier(self) -> Any:
        case = self.case
        model = MLPClassifier(
            case.sizes[1:-1],
            solver=case.optimizer,
            alpha=0.0,
            batch_size=case.batch,
            learning_rate_init=RATES[case.optimizer],
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            max_iter=case.epochs,
            n_iter_no_change=case.epochs + 1,
            random_state=0,
        )
        few = slice(case.batch)
        model.partial_fit(self.x[few], self.labels[few], classes=np.arange(case.sizes[-1]))  # makes what we now replace
        layers = rows.weights(case)
        model.coefs_ = [w[0].copy() for w, _ in layers]
        model.intercepts_ = [b[0].copy() for _, b in layers]
        del model._optimizer  # or it would go on with the moments of that first step
        return model


def forms(case: Case) -> Forms:
    """Its one form."""
    return {"MLPClassifier.fit, labels only": partial(Fit, case)}


if __name__ == "__main__":
    serve(forms)
