"""What estimators in the style of scikit-learn have in common: arguments of fit, scores on the training data, plots."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

from mlops_nb.tracking.autolog import _scores
from mlops_nb.tracking.autolog._artifacts import new_axes
from mlops_nb.tracking.autolog._fit import Fit, Trained, as_number, is_inside
from mlops_nb.tracking.autolog._guard import guard, wrap_method
from mlops_nb.tracking.autolog._options import options_of

PREFIX = "training_"
_MAX_CURVE_POINTS = 500
_scoring = threading.local()


class FitArguments:
    """What a call of `fit` was given: `features`, `target` and `weights`, as far as it was, and all of it by name."""

    def __init__(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signature = inspect.signature(original)
        names = [name for name, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        bound = signature.bind_partial(*args, **kwargs).arguments
        self.given: dict[str, Any] = {**bound, **bound.pop("kwargs", {})} if "kwargs" in bound else dict(bound)
        self.features = self.given.get(names[0]) if names else None
        self.target = self.given.get(names[1]) if len(names) > 1 and names[1].lower() in ("y", "target") else None
        self.weights = self.given.get("sample_weight")


def describe(fit: Fit, estimator: Any) -> None:
    """Tag the run with what is trained."""
    kind = type(estimator)
    fit.run.set_tags({"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__qualname__}"})


def log_training_scores(fit: Fit, estimator: Any, arguments: FitArguments) -> None:
    """Log scores on the training data, and draw what shows them, under the names that MLflow uses."""
    if arguments.features is None or arguments.target is None:
        return
    try:
        from sklearn.base import is_classifier, is_regressor
    except ImportError:
        return
    features, target, weights = arguments.features, arguments.target, arguments.weights
    scores: dict[str, Any] = {}
    if is_classifier(estimator):
        predicted = estimator.predict(features)
        probable = estimator.predict_proba(features) if hasattr(estimator, "predict_proba") else None
        scores = _classifier_scores(target, predicted, probable, weights)
        if fit.options.log_plots:
            with fit.safely("the plots are"):
                _draw_classifier(fit, estimator, target, predicted, probable, weights)
    elif is_regressor(estimator):
        scores = _regressor_scores(target, estimator.predict(features), weights)
    fit.log_metrics({PREFIX + name: value for name, value in scores.items()})
    if hasattr(estimator, "score"):
        with fit.safely("the training score is"):
            fit.log_metrics({PREFIX + "score": _own_score(estimator, arguments, scores)})


def _own_score(estimator: Any, arguments: FitArguments, scores: dict[str, Any]) -> Any:
    from sklearn.base import ClassifierMixin, RegressorMixin

    for mixin, name in ((ClassifierMixin, "accuracy_score"), (RegressorMixin, "r2_score")):
        if type(estimator).score is mixin.score and name in scores:  # it would predict once more to find the same
            return scores[name]
    takes_weights = "sample_weight" in inspect.signature(estimator.score).parameters and arguments.weights is not None
    return estimator.score(arguments.features, arguments.target, **({"sample_weight": arguments.weights} if takes_weights else {}))


def _computed(functions: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    found = {}
    for name, function in functions.items():
        try:
            found[name] = function()
        except (ValueError, TypeError):  # not defined for these data, such as an area for one class only
            continue
    return found


def _classifier_scores(target: Any, predicted: Any, probable: Any, weights: Any) -> dict[str, Any]:
    from sklearn import metrics

    mean = {"average": "weighted", "sample_weight": weights, "zero_division": 0}
    functions: dict[str, Callable[[], Any]] = {
        "precision_score": lambda: metrics.precision_score(target, predicted, **mean),
        "recall_score": lambda: metrics.recall_score(target, predicted, **mean),
        "f1_score": lambda: metrics.f1_score(target, predicted, **mean),
        "accuracy_score": lambda: metrics.accuracy_score(target, predicted, sample_weight=weights),
    }
    if probable is not None:
        positive = probable[:, 1] if probable.shape[1] == 2 else probable
        functions["log_loss"] = lambda: metrics.log_loss(target, probable, sample_weight=weights)
        functions["roc_auc"] = lambda: metrics.roc_auc_score(
            target, positive, average="weighted", sample_weight=weights, multi_class="ovo" if weights is None else "ovr"
        )
    return _computed(functions)


def _regressor_scores(target: Any, predicted: Any, weights: Any) -> dict[str, Any]:
    from sklearn import metrics

    return _computed(
        {
            "mean_squared_error": lambda: metrics.mean_squared_error(target, predicted, sample_weight=weights),
            "root_mean_squared_error": lambda: metrics.mean_squared_error(target, predicted, sample_weight=weights) ** 0.5,
            "mean_absolute_error": lambda: metrics.mean_absolute_error(target, predicted, sample_weight=weights),
            "r2_score": lambda: metrics.r2_score(target, predicted, sample_weight=weights),
        }
    )


def _draw_classifier(fit: Fit, estimator: Any, target: Any, predicted: Any, probable: Any, weights: Any) -> None:
    from sklearn import metrics

    axes = new_axes()
    classes = getattr(estimator, "classes_", None)
    if axes is None or classes is None or len(classes) > 50 or isinstance(classes, list):
        return
    shares = metrics.confusion_matrix(target, predicted, labels=classes, sample_weight=weights, normalize="true")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), [str(name) for name in classes], rotation=90 if len(classes) > 5 else 0)
    axes.set_yticks(range(len(classes)), [str(name) for name in classes])
    if len(classes) <= 15:
        for i, row in enumerate(shares):
            for j, share in enumerate(row):
                axes.text(j, i, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black", fontsize=8)
    axes.set(xlabel="predicted", ylabel="true", title="Normalized confusion matrix")
    fit.run.log_figure(axes.figure, f"{PREFIX}confusion_matrix.png")
    if probable is None or len(classes) != 2:
        return
    wrong, right, _ = metrics.roc_curve(target, probable[:, 1], pos_label=classes[1], sample_weight=weights)
    _draw_curve(fit, "roc_curve", "ROC curve", "false positives", wrong, "true positives", right)
    exact, found, _ = metrics.precision_recall_curve(target, probable[:, 1], pos_label=classes[1], sample_weight=weights)
    _draw_curve(fit, "precision_recall_curve", "Precision and recall", "recall", found, "precision", exact)


def _draw_curve(fit: Fit, name: str, title: str, x_label: str, x: Any, y_label: str, y: Any) -> None:
    axes = new_axes()
    every = max(1, len(x) // _MAX_CURVE_POINTS)
    axes.plot(x[::every], y[::every])
    axes.set(xlabel=x_label, ylabel=y_label, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    fit.run.log_figure(axes.figure, f"{PREFIX}{name}.png")


# -- scores that the user computes later


def remember(fit: Fit, estimator: Any) -> None:
    """Have the scores of this model's predictions logged where its training went."""
    if fit.options.log_post_training_metrics:
        _scores.models.put(estimator, Trained(fit.run, fit.model_id))


def watch_predictions(framework: str, kind: type) -> None:
    """Have the predictions and the scores of a class's objects noted, where the class itself defines such methods."""

    def around_predict(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        answer = original(*args, **kwargs)
        trained = _trained(model)
        if trained is not None:
            with guard(framework, "a later score is"):
                data = args[0] if args else next(iter(kwargs.values()), None)
                _scores.predictions.put(answer, _scores.Prediction(trained, _scores.name_of(data), _scores.while_it_lives(data)))
        return answer

    def around_score(original: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        trained = _trained(model)
        if trained is None:
            return original(*args, **kwargs)
        with only_outermost():
            score = original(*args, **kwargs)
        with guard(framework, "a later score is"):
            data = args[0] if args else next(iter(kwargs.values()), None)
            log_score(trained, f"{type(model).__name__}_score", _scores.name_of(data), score)
        return score

    def _trained(model: Any) -> Trained | None:
        if options_of(framework) is None or is_inside() or is_scoring():
            return None
        trained: Trained | None = _scores.models.get(model)
        return trained

    for name in ("predict", "predict_proba", "decision_function"):
        if name in vars(kind):
            wrap_method(kind, name, around_predict)
    if "score" in vars(kind):
        wrap_method(kind, "score", around_score)


def log_score(trained: Trained, metric: str, data_name: str, score: Any) -> None:
    """Log a score that is a number."""
    number = None if isinstance(score, bool) or getattr(score, "ndim", 0) != 0 else as_number(score)
    if number is not None:
        trained.log_metric(_scores.key_of(trained, metric, data_name), number)


def is_scoring() -> bool:
    """Return whether this thread computes a score already, of which another one may be a part."""
    depth: int = getattr(_scoring, "depth", 0)
    return depth > 0


class only_outermost:  # used as a context manager
    """Within it, scores are parts of another score."""

    def __enter__(self) -> None:
        _scoring.depth = getattr(_scoring, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _scoring.depth -= 1
