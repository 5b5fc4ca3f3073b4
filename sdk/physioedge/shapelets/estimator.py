"""Shapelets in scikit-learn's manner: fit finds them, transform gives distances to them, predict goes by these."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from physioedge.models.shapelets import ShapeletTransform
from physioedge.shapelets.discovery import discover


class ShapeletFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Distances of windows to shapelets that are found without labels, as centres of stretches of several windows.

    Parameters
    ----------
    lengths : tuple of float
        Of the shapelets, as shares of a window.
    count : int
        Shapelets of each length.
    drawn : int
        Stretches of each length that they are centres of.
    random_state : int
        Seed of what is drawn.

    Attributes
    ----------
    shapelets_ : list of float64 (count, 1, sample)
    n_features_in_ : int
    """

    def __init__(
        self, *, lengths: tuple[float, ...] = (0.1, 0.2), count: int = 8, drawn: int = 1000, random_state: int = 0
    ) -> None:
        self.lengths = lengths
        self.count = count
        self.drawn = drawn
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> ShapeletFeatures:  # noqa: N803
        """Find shapelets in windows (window, sample); no labels are looked at."""
        x = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        samples = x.shape[1]
        lengths = tuple(dict.fromkeys(min(samples, max(1, round(share * samples))) for share in self.lengths))
        rows = torch.from_numpy(np.array(x))[:, None]
        found = discover(
            rows, torch.arange(len(x)), lengths, self.count, seed=self.random_state, drawn=self.drawn
        )  # fmt: skip
        self.shapelets_ = [group.numpy() for group in found]
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Mean squared distance of every window to each shapelet where it fits best, (window, shapelet)."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64)
        transform = ShapeletTransform([torch.from_numpy(group) for group in self.shapelets_]).double()
        with torch.no_grad():
            return np.asarray(transform(torch.from_numpy(np.array(x))[:, None]).clamp(min=0).numpy())


class ShapeletClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A logistic regression on `ShapeletFeatures`.

    Parameters
    ----------
    lengths, count, drawn, random_state
        As of `ShapeletFeatures`.

    Attributes
    ----------
    classes_ : array (class,)
    model_ : sklearn.pipeline.Pipeline
    """

    def __init__(
        self, *, lengths: tuple[float, ...] = (0.1, 0.2), count: int = 8, drawn: int = 1000, random_state: int = 0
    ) -> None:
        self.lengths = lengths
        self.count = count
        self.drawn = drawn
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> ShapeletClassifier:  # noqa: N803
        """Find shapelets in windows (window, sample), and fit the regression to classes (window,)."""
        x, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.model_: Pipeline = make_pipeline(
            ShapeletFeatures(**self.get_params()), StandardScaler(), LogisticRegression(max_iter=1000)
        )
        self.model_.fit(x, y)
        self.classes_ = self.model_.classes_
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Distances, as those of `ShapeletFeatures`."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(self.model_[0].transform(x))

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Class of every window, (window,)."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(self.model_.predict(x))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities (window, class) in the order of `classes_`."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(self.model_.predict_proba(x))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on clouds of points, which have no shape in time
        return tags
