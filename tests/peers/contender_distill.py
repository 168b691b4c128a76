"""distill: its own loop, with one BLAS thread and a team of threads, as a run sets it up."""

from contextlib import ExitStack
from functools import partial

from distill.system import environment

environment.limit_blas_threads()  # before NumPy is imported, as the command line does it

import numpy as np  # noqa: E402
import rows  # noqa: E402
from cases import MOMENTUM, RATES, TEMPERATURE, Case  # noqa: E402
from protocol import Forms, serve  # noqa: E402

from distill import config  # noqa: E402
from distill.config.schema import Term  # noqa: E402
from distill.nn.mlp import MLP  # noqa: E402
from distill.nn.vector import Array, Vector  # noqa: E402
from distill.train.loop import steps  # noqa: E402
from distill.train.objective import Objective  # noqa: E402
from distill.train.outputs import TeacherOutputs  # noqa: E402
from distill.train.state import State  # noqa: E402
from distill.train.threads import team_of  # noqa: E402


class Loop:
    """distill's loop.steps from the first to the last step; what the loop makes anew for a training counts as its time.

    The team stays from training to training: it learns now and then whether the other cores are free, and in a
    training of a few steps that would weigh more than in one as long as people run them.
    """

    def __init__(self, case: Case) -> None:
        self.x, labels, answers = rows.rows(case)
        self.first = rows.weights(case)
        stack = (len(case.alphas),) if len(case.alphas) > 1 else ()
        self.network = MLP(tuple(case.sizes))
        self.weights = Vector(self.network.shapes, stack=stack)
        self.life = ExitStack()  # ends with this object, and the team's threads with it
        self.team = self.life.enter_context(team_of(case.threads or environment.threads()))
        terms = [_terms(alpha) for alpha in case.alphas]
        heard = {"teacher": TeacherOutputs(answers, {}, np.arange(len(answers)))}
        self.objective = Objective(terms, labels, heard, case.sizes[-1])
        settings = {
            "student_hidden": list(case.sizes[1:-1]),
            "student_epochs": case.epochs,
            "learning_rate": RATES[case.optimizer],
            "batch_size": case.batch,
            "optimizer": case.optimizer,
        }
        if case.optimizer == "sgd":
            settings["momentum"] = MOMENTUM
        self.plan = config.load({"distillation": settings}).student

    def reset(self) -> None:
        """The first weights, which here lie transposed, with the biases as their last column."""
        for view, (w, b) in zip(self.weights.views.values(), self.first, strict=True):
            view[..., :-1] = w.swapaxes(1, 2)
            view[..., -1] = b

    def train(self) -> Array:
        """Every step's losses (steps, networks)."""
        with np.errstate(all="ignore"):
            adapters, rng = [Vector({}) for _ in self.weights.networks()], rows.generator()
            state = State(self.weights, adapters, batches=rng, noise=rng)
            loop = steps(self.network, state, self.x, self.objective, self.plan, self.team)
            return np.concatenate([losses for losses, _ in loop])


def _terms(alpha: float) -> tuple[Term, ...]:
    response = Term("response", alpha, (("teacher", 1.0),), {"temperature": TEMPERATURE, "t_squared": True})
    return Term("cross_entropy", 1 - alpha), response


def forms(case: Case) -> Forms:
    """Its one form."""
    return {"loop.steps": partial(Loop, case)}


if __name__ == "__main__":
    serve(forms)
