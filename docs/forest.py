"""Make the predictions file of a plan with a random forest: `python docs/forest.py docs/examples/predictions.yaml`.

Needs scikit-learn. The forest learns the labels of the plan's training rows. What it says of those it says out of bag,
by the trees that have not seen the row: of rows that it knows by heart it would be as sure as the labels are.
"""

import pickle
import sys

import numpy as np
from sklearn.ensemble import RandomForestClassifier

import distill


def main(path: str, trees: int = 300) -> None:
    """Write the file that the plan's first teacher reads."""
    plan = distill.load_config(path)
    data = distill.load_data(plan)
    forest = RandomForestClassifier(trees, oob_score=True, n_jobs=-1, random_state=0).fit(data.train.x, data.train.y)
    said = [forest.oob_decision_function_, *(forest.predict_proba(rows.x) for rows in data.judged.values())]
    ids = [data.train.ids, *(rows.ids for rows in data.judged.values())]
    (teacher, *_) = plan.teachers.values()
    file = teacher.predictions
    np.savez(file, probabilities=np.concatenate(said), row=np.concatenate(ids), classes=np.array(data.classes))
    right = {name: (forest.predict(rows.x) == rows.y).mean() for name, rows in data.judged.items()}
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    size = f"{len(pickle.dumps(forest)) / 1e6:.0f} MB pickled"
    print(
        f"{file}: {trees} trees, {nodes:,} nodes, {size}; right: " + ", ".join(f"{k} {v:.4f}" for k, v in right.items())
    )


if __name__ == "__main__":
    main(*sys.argv[1:2])
