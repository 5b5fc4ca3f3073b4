"""A classifier in scikit-learn's manner: the frozen backbone's embeddings, and a logistic regression on them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from physioedge.models.backbone import Backbone
from physioedge.models.checkpoint import SHIPPED, read_config, weights_file
from physioedge.models.layout import Layout, SensorLayout
from physioedge.models.modality import Modality
from physioedge_runtime.errors import SampleRateMismatch, ShapeError

BATCH = 64
REFUSE, HOLD = "refuse", "hold"


class PhysioClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Windows of one sensor to classes, by embeddings that nothing here changes.

    It takes what scikit-learn's tools take, so that cross-validation, grids and pipelines work on it.

    Parameters
    ----------
    kind : str
        Of sensor: ``ecg``, ``ppg``, ``acc``, ``eda``, ``temp``, ``rr``.
    fs_hz : float
        Rate of the windows. It must be said, and must be the backbone's for this kind: nothing is resampled here.
    channels : int
        A row of X is so many channels, one after another.
    backbone : str or path
        Weights as for `Backbone.from_pretrained`.
    C : float
        Of `sklearn.linear_model.LogisticRegression`; larger regularises less.
    short : str
        Windows too short for the past that the filters need and for one token: ``refuse`` them, or ``hold`` their first
        sample for as long before them.

    Attributes
    ----------
    classes_ : array (class,)
    n_features_in_ : int
    model_ : sklearn.pipeline.Pipeline
        What is fitted.
    """

    def __init__(
        self, *, kind: str = "ecg", fs_hz: float | None = None, channels: int = 1, backbone: str | Path = SHIPPED,
        C: float = 1.0, short: str = REFUSE,  # noqa: N803 - scikit-learn's own name
    ) -> None:  # fmt: skip
        self.kind = kind
        self.fs_hz = fs_hz
        self.channels = channels
        self.backbone = backbone
        self.C = C
        self.short = short

    def fit(self, X: ArrayLike, y: ArrayLike) -> PhysioClassifier:  # noqa: N803
        """Fit the regression.

        Parameters
        ----------
        X : array (window, channel * sample)
            In the sensor's unit, at `fs_hz`.
        y : array (window,)

        Raises
        ------
        SampleRateMismatch
            `fs_hz` is not said, or not the backbone's.
        ShapeError
            Windows are too short, or no whole number of channels.
        """
        x, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.model_: Pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=self.C, max_iter=1000))
        self.model_.fit(self._embedded(x), y)
        self.classes_ = self.model_.classes_
        return self

    def embed(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Embeddings (window, embedding_dim) of windows like those it was fitted on."""
        check_is_fitted(self)
        return self._embedded(validate_data(self, X, reset=False, dtype=np.float64))

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Class of every window, (window,)."""
        embedding = self.embed(X)
        return np.asarray(self.model_.predict(embedding))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities (window, class) in the order of `classes_`."""
        embedding = self.embed(X)
        return np.asarray(self.model_.predict_proba(embedding))

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Scores (window, class), or (window,) of two classes."""
        embedding = self.embed(X)
        return np.asarray(self.model_.decision_function(embedding))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on clouds of points, which are no signals
        return tags

    def _embedded(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """In float64: a window's embedding must not hang on which others it is computed with."""
        place = weights_file(self.backbone)
        modality = read_config(place).modality(self.kind)
        if self.fs_hz != modality.fs_hz:
            raise SampleRateMismatch(
                f"windows of {self.kind} at {self.fs_hz} Hz", f"{modality.fs_hz:g} Hz",
                "Say fs_hz; resample with physioedge_runtime.signal.resample if it differs.",
            )  # fmt: skip
        windows, n_tokens = self._cut(x, modality)
        network = _frozen(str(place), place.stat().st_mtime_ns, self.kind, self.channels, n_tokens)
        out = []
        with torch.no_grad():
            for first in range(0, len(windows), BATCH):
                batch = torch.from_numpy(windows[first : first + BATCH])
                out.append(network.pooled(network(batch)).numpy())
        return np.concatenate(out)

    def _cut(self, x: NDArray[np.float64], modality: Modality) -> tuple[NDArray[np.float64], int]:
        """Windows (n, channel, sample) with the past that the filters need, and their tokens; the newest samples."""
        if self.channels < 1 or x.shape[1] % self.channels:
            raise ShapeError(
                f"rows of {x.shape[1]}", f"a multiple of {self.channels} channels", "Lay channels in line."
            )
        windows = x.reshape(len(x), self.channels, -1)
        have, least = windows.shape[2], modality.context_samples + modality.patch_samples
        if have < least:
            if self.short != HOLD:
                raise ShapeError(
                    f"windows of {have} samples of {self.kind}",
                    f"at least {least}",
                    "Cut longer ones, or short='hold'.",
                )
            windows = np.concatenate([np.repeat(windows[:, :, :1], least - have, axis=2), windows], axis=2)
        n_tokens = (windows.shape[2] - modality.context_samples) // modality.patch_samples
        length = modality.context_samples + n_tokens * modality.patch_samples
        return np.array(windows[:, :, -length:]), n_tokens


@lru_cache(maxsize=4)
def _frozen(place: str, changed_ns: int, kind: str, channels: int, n_tokens: int) -> Backbone:
    """The backbone of a file as it was at `changed_ns`, in float64."""
    layout = Layout(sensors=(SensorLayout(sensor=kind, kind=kind, channels=channels, n_tokens=n_tokens),))
    return Backbone.from_pretrained(place, layout).double().eval().requires_grad_(False)
