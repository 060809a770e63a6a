"""The figures: each takes runs of a store, or plain arrays, and gives a `Figure` that shows itself everywhere."""

from mlops_nb.widgets.figures.curves import curves
from mlops_nb.widgets.figures.importance import importance
from mlops_nb.widgets.figures.parallel import parallel
from mlops_nb.widgets.figures.predictions import confusion, predicted_classes, predicted_scores, roc
from mlops_nb.widgets.figures.scatter import scatter

__all__ = ["confusion", "curves", "importance", "parallel", "predicted_classes", "predicted_scores", "roc", "scatter"]
