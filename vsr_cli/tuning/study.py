"""The study of a search: what Optuna suggests, and the results it gets. Suggestions depend on earlier results alone."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..errors import VsrError, one_line
from .folder import Tuning
from .space import Dimension, distributions

STARTUP = 5
"""Trials that are sampled at random, and that none is stopped before."""
NAME = "vsr"


class Study:
    """Optuna's study of a search, in one SQLite file."""

    def __init__(self, tuning: Tuning, space: Sequence[Dimension], *, seed: int) -> None:
        """Open the study or begin it. Raises VsrError if its file is damaged, or not that of the runs there."""
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self._seed = optuna, seed
        self._space = distributions(space)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=1)
        try:
            self._study = optuna.create_study(
                study_name=NAME, storage=_storage(tuning), direction="minimize", pruner=pruner, load_if_exists=True
            )
        except (SQLAlchemyError, RuntimeError, ValueError) as error:
            raise VsrError(
                f"{tuning.study}: cannot be read as a study ({one_line(error)}); restore it from a copy, "
                "or name another folder with --out"
            ) from error

        known = {tuning.name(each.number) for each in self.trials()}
        if lost := sorted({path.name for path in (tuning.folder / "runs").glob("trial-*")} - known):
            raise VsrError(
                f"{tuning.study}: does not know {lost[0]}, whose run is there, so it would be taken for another trial; "
                "restore it from a copy, or name another folder with --out"
            )

    def trials(self) -> list[Any]:
        """Return all trials so far."""
        return self._study.get_trials(deepcopy=False)

    def running(self) -> list[Any]:
        """Return the trials that were interrupted, to be continued."""
        return [self._trial(each) for each in self.trials() if each.state == self._optuna.trial.TrialState.RUNNING]

    def ended(self) -> int:
        """Return how many trials have ended, however they did."""
        return sum(each.state.is_finished() for each in self.trials())

    def ask(self) -> Any:
        """Return a new trial. Its values depend on the seed, its number and earlier results, not on interruptions."""
        number = len(self.trials())
        digest = hashlib.sha256(f"{self._seed} {number}".encode()).digest()
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=int.from_bytes(digest[:4], "big"), n_startup_trials=STARTUP, multivariate=True, constant_liar=True
        )
        return self._study.ask(self._space)

    def tell(self, trial: Any, value: float | None, *, state: str) -> None:
        """Record how a trial has ended: "complete" with its value, "pruned" or "fail"."""
        states = self._optuna.trial.TrialState
        self._study.tell(trial.number, value, state=states[state.upper()])

    def importances(self) -> Mapping[str, float]:
        """Return how much of the variation of the best results each setting accounts for; empty where none is known.

        PED-ANOVA (Watanabe et al., 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces").
        """
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        try:
            return dict(self._optuna.importance.get_param_importances(self._study, evaluator=evaluator))
        except (ValueError, RuntimeError):  # too few trials, or all alike
            return {}

    def _trial(self, frozen: Any) -> Any:
        return self._optuna.trial.Trial(self._study, frozen._trial_id)


def _storage(tuning: Tuning) -> Any:
    """Return the study's file as a storage of Optuna, in whose addresses a path holds no "{", "}", "?" or "%"."""
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import QueuePool

    connect = partial(sqlite3.connect, tuning.study.absolute(), check_same_thread=False)
    return RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": QueuePool})
