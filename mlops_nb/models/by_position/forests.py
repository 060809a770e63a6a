"""Asking the trees of a forest in turn: for a few rows, handing each tree to joblib takes longer than all the trees."""

from __future__ import annotations

from typing import Any

_CLASSIFIERS = frozenset({"RandomForestClassifier", "ExtraTreesClassifier"})
_REGRESSORS = frozenset({"RandomForestRegressor", "ExtraTreesRegressor"})
_WORTH_SHARING = 100_000
"""Rows times trees from which a forest that may use several threads does."""


def own_methods(model: Any) -> dict[str, Any]:
    """Return the methods that a light copy of scikit-learn's forest has instead of its class's; empty for other models.

    They sum the same votes in the same order as the class's own with one thread, so the answers are the same to the last
    bit. Many rows, where the model was made for several threads, go the class's own way.
    """
    kind = type(model)
    if kind.__module__ != "sklearn.ensemble._forest" or not hasattr(kind, "_validate_X_predict"):
        return {}
    trees = getattr(model, "estimators_", ())
    if not trees or any(type(tree).__module__ != "sklearn.tree._classes" for tree in trees):
        return {}
    if kind.__name__ in _CLASSIFIERS:
        return {"predict_proba": _probabilities(kind)}  # which the class's predict asks
    return {"predict": _means(kind)} if kind.__name__ in _REGRESSORS else {}


def _is_shared(model: Any, rows: Any) -> bool:
    return bool(model.verbose) or (model.n_jobs not in (None, 1) and len(rows) * len(model.estimators_) > _WORTH_SHARING)


def _probabilities(kind: type) -> Any:
    def predict_proba(self: Any, X: Any) -> Any:
        import numpy

        if _is_shared(self, X):
            return kind.predict_proba(self, X)  # type: ignore[attr-defined]  # a classifier of scikit-learn
        rows = self._validate_X_predict(X)
        counts = numpy.atleast_1d(self.n_classes_)
        votes = [numpy.zeros((rows.shape[0], count), dtype=numpy.float64) for count in counts]
        for tree in self.estimators_:
            answer = tree.tree_.predict(rows)
            if len(votes) == 1:
                votes[0] += answer[:, : counts[0]]
            else:
                for i, count in enumerate(counts):
                    votes[i] += answer[:, i, :count]
        for one in votes:
            one /= len(self.estimators_)
        return votes[0] if len(votes) == 1 else votes

    return predict_proba


def _means(kind: type) -> Any:
    def predict(self: Any, X: Any) -> Any:
        import numpy

        if _is_shared(self, X):
            return kind.predict(self, X)  # type: ignore[attr-defined]  # a regressor of scikit-learn
        rows = self._validate_X_predict(X)
        several = self.n_outputs_ > 1
        total = numpy.zeros((rows.shape[0], self.n_outputs_) if several else rows.shape[0], dtype=numpy.float64)
        for tree in self.estimators_:
            answer = tree.tree_.predict(rows)
            total += answer[:, :, 0] if several else answer[:, 0]
        total /= len(self.estimators_)
        return total

    return predict
