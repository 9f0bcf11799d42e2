"""Find labels that look wrong: where a linear probe that has not seen them disagrees.

Measured by `benchmarks/checking.py`.
"""

import importlib.util
import warnings
from collections.abc import Iterator

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_transfer.runtime.progress import progress_bar
from keras_transfer.runtime.sampling import in_turn
from keras_transfer.runtime.threads import one_blas_thread

FOLDS = 5
# Of 1e-4 to 1e-2, on cats and dogs and on flowers with 5 % of the labels changed, this
# finds most at most right ones among them.
REGULARIZATION = 1e-3
# By how much another class must be likelier than the one of the label. Of 60 cats and
# dogs with 3 labels changed, 88 % of what is listed was changed, and without it 82 %;
# 66 % of what was changed is listed, and without it 67 %. Of 60 flowers of five classes
# 59 %, and without it 69 %; with 0.2 only 38 %. Of 1,500 photos hardly any is affected.
LEAST_MARGIN = 0.1
# More photos make a probe on 1,280 features little better, but cost time and memory.
MOST_TRAINED = 20_000
ROWS = 4096


def out_of_fold_probabilities(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, trusted: np.ndarray
) -> np.ndarray:
    """Return what a linear probe says of each photo, trained without its group.

    Args:
        features: float32 array of shape `(count, channels)`.
        labels: Integer labels from 0.
        groups: Integers from 0; photos of one group are near copies.
        trusted: Whether a photo may be trained on; only of `large_classes`.

    Returns:
        float32 array of shape `(count, num_classes)`, zero for classes of which
        nothing is trusted.
    """
    folds = _folds(labels, groups, trusted)
    found = np.zeros((len(labels), labels.max() + 1), "float32")
    with progress_bar(len(labels), "labels") as bar:
        for fold in range(FOLDS):
            trained = np.flatnonzero(trusted & (folds != fold))
            trained = trained[in_turn(labels[trained], MOST_TRAINED)]
            probe = make_pipeline(
                StandardScaler(),
                LogisticRegression(C=REGULARIZATION, max_iter=500),
            )
            with one_blas_thread():
                probe.fit(features[trained], labels[trained])
            for rows in _parts(np.flatnonzero(folds == fold)):
                found[np.ix_(rows, probe.classes_)] = probe.predict_proba(
                    features[rows]
                )
                bar.update(len(rows))
    return found


def large_classes(
    labels: np.ndarray, groups: np.ndarray, trusted: np.ndarray
) -> np.ndarray:
    """Return the labels of which each fold can hold out a group."""
    first = _first_of_groups(groups, trusted)
    found, counts = np.unique(labels[first], return_counts=True)
    return found[counts >= FOLDS]


def find(
    labels: np.ndarray, probabilities: np.ndarray, judged: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Yield the photos whose label looks wrong, and the likelier one, surest first.

    Where the two are about as likely, nothing is said.

    Args:
        labels: Integer labels from 0.
        probabilities: What `out_of_fold_probabilities` returned.
        judged: Whether a photo may be named.
    """
    columns = np.flatnonzero(probabilities.any(axis=0))
    rows = np.flatnonzero(judged & np.isin(labels, columns))
    if len(columns) < 2:
        return
    chosen = probabilities[np.ix_(rows, columns)]
    given = np.searchsorted(columns, labels[rows])
    for index in doubtful_labels(given, chosen):
        of_each, likely = chosen[index], chosen[index].argmax()
        if of_each[likely] - of_each[given[index]] >= LEAST_MARGIN:
            yield int(rows[index]), int(columns[likely])


def doubtful_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of labels that look wrong, the surest first.

    By cleanlab where it is installed, else by the same rule.

    Args:
        labels: Integer labels from 0 of shape `(count,)`.
        probabilities: Of each class, of a model that has not seen the photo.

    Reference:

    - [Northcutt et al., 2021](https://arxiv.org/abs/1911.00068), confident learning
    """
    if importlib.util.find_spec("cleanlab") is None:
        return by_noise_rate(labels, probabilities)
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        # Of small classes, which are named by the check.
        warnings.simplefilter("ignore")
        # In this process: a copy of one that runs TensorFlow may hang.
        return find_label_issues(
            labels,
            probabilities,
            return_indices_ranked_by="normalized_margin",
            filter_by="prune_by_noise_rate",
            n_jobs=1,
        )


def by_noise_rate(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return what `doubtful_labels` returns, without cleanlab.

    A photo is counted for the class that is likelier for it than for those of this
    class on average. Of the photos that bear one label, as many as were counted for
    another one are doubtful: those in which this one leads most.
    """
    rows, count = np.arange(len(labels)), probabilities.shape[1]
    usual = [probabilities[labels == k, k].mean() for k in range(count)]
    above = probabilities >= np.array(usual) - 1e-6
    likeliest = np.where(above, probabilities, -1).argmax(axis=1)
    counted = above.any(axis=1)
    joint = np.zeros((count, count))
    np.add.at(joint, (labels[counted], likeliest[counted]), 1)
    # Photos that are counted for no class are divided as the others of their label.
    joint *= (np.bincount(labels) / joint.sum(axis=1).clip(1))[:, None]
    own, doubtful = probabilities[rows, labels], np.zeros(len(labels), bool)
    for given, other in np.argwhere(joint.round() > 0):
        if given != other:
            chosen = np.flatnonzero(labels == given)
            lead = probabilities[chosen, other] - own[chosen]
            most = int(joint[given, other].round())
            doubtful[chosen[np.argsort(-lead)[:most]]] = True
    others = probabilities.copy()
    others[rows, labels] = -1
    lead = others.max(axis=1) - own
    found = np.flatnonzero(doubtful & (lead > 0))
    return found[np.argsort(-lead[found], kind="stable")]


def _folds(labels, groups, trusted) -> np.ndarray:
    """Return the number of the fold in which each photo is held out."""
    folds = np.zeros(groups.max() + 1, int)
    first = _first_of_groups(groups, trusted)
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for fold, (_, held_out) in enumerate(split.split(first, labels[first])):
        folds[groups[first[held_out]]] = fold
    return folds[groups]


def _first_of_groups(groups: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """Return the first trusted photo of each group."""
    members = np.flatnonzero(trusted)
    return members[np.unique(groups[members], return_index=True)[1]]


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS]
