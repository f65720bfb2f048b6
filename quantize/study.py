"""A study: trials in a journal that several processes share, and that survives any of them.

A process that tries something holds a lock on a file of its own, which the system lets go of when the
process ends, however it ends. A trial whose process is gone is marked as failed and tried again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from pocketportrait.errors import ConverterError, InputError
from pocketportrait.quantize.front import MORE_IS_BETTER, Front, Tried, losses
from pocketportrait.quantize.judging import Figures
from pocketportrait.quantize.recipe import Recipe
from pocketportrait.quantize.space import Chosen, Space

if TYPE_CHECKING:
    import optuna

JOURNAL, ASKING, WORKERS = "journal.log", "asking.lock", "workers"
WORKER, KEY, FIGURES, KILLED, ERROR = "worker", "key", "figures", "killed", "error"

Evaluate = Callable[[Recipe], Figures]
OnTrial = Callable[[Front, int], None]  # the front as it is, and how many trials are finished


class Study:
    """One process at work on a study; enter it to open the journal."""

    def __init__(self, folder: Path, space: Space, key: str, *, seed: int = 0) -> None:
        """Name the study.

        Args:
            folder: shared by all processes; made if it is not there.
            space: what may be tried.
            key: of everything else that figures depend on; another key is another study.
            seed: of the sampler.

        """
        self.folder, self.space, self.seed = folder, space, seed
        self._key = f"{space.model_dump_json()} {key}"
        self._name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self._own: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Open or make the journal.

        Raises:
            InputError: the folder holds a study of another space, bundle or calibration set, or
                cannot be written to.

        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            (self.folder / WORKERS).mkdir(parents=True, exist_ok=True)
            path = self.folder / WORKERS / self._name
            self._own = path.open("wb")
            fcntl.flock(self._own, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(
                f"{self.folder}: want a writable place, got: {error.strerror}; choose another"
            ) from error
        with self._asking():
            self._study = self._open()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the lock."""
        if self._own is not None:
            self._own.close()
            (self.folder / WORKERS / self._name).unlink(missing_ok=True)

    def _open(self) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        signs = [_direction(name) for name in self.space.objectives]
        storage = JournalStorage(JournalFileBackend(str(self.folder / JOURNAL)))
        study = optuna.create_study(
            storage=storage, study_name="sweep", directions=signs, load_if_exists=True
        )
        key = study.user_attrs.get(KEY)
        if key is None:
            study.set_user_attr(KEY, self._key)
            study.enqueue_trial(dict(self.space.first()))
        elif key != self._key:
            raise InputError(
                f"{self.folder}: holds a study of another space, bundle or calibration set;"
                " use another --out"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.TPESampler(
                seed=self.seed + len(study.get_trials(deepcopy=False)),
                multivariate=True,
                constant_liar=True,  # others' unfinished trials count as bad, so that none repeats them
            )
        return study

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """Let one process at a time look at the journal and begin a trial."""
        with (self.folder / ASKING).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def run(self, count: int, evaluate: Evaluate, on_trial: OnTrial | None = None) -> Front:
        """Try recipes until the study has `count` finished trials, those of others included.

        Args:
            count: finished trials, failed ones too, that the study shall have.
            evaluate: makes and measures a recipe; a `ConverterError` fails the trial.
            on_trial: told after every trial of this process.

        Returns:
            The front of all trials that are finished, as it was written into the folder.

        """
        while (trial := self._next(count)) is not None:
            self._try(trial, evaluate)
            front = self.write_front()
            if on_trial is not None:
                on_trial(front, len(front.trials) + front.failed)
        return self.write_front()

    def _next(self, count: int) -> optuna.Trial | None:
        import optuna

        with self._asking():
            self._bury_the_dead()
            trials = self._study.get_trials(deepcopy=False)
            counted = [
                one
                for one in trials
                if one.state != optuna.trial.TrialState.WAITING and KILLED not in one.user_attrs
            ]
            if len(counted) >= count:
                return None
            trial = self._study.ask(
                {
                    name: optuna.distributions.CategoricalDistribution(options)
                    for name, options in self.space.options().items()
                }
            )
            trial.set_user_attr(WORKER, self._name)
            return trial

    def _bury_the_dead(self) -> None:
        """Fail running trials whose process is gone, and put the same choices in the queue."""
        import optuna

        running = (optuna.trial.TrialState.RUNNING,)
        for trial in self._study.get_trials(deepcopy=False, states=running):
            worker = trial.user_attrs.get(WORKER)
            if worker is not None and self._lives(worker):
                continue
            storage = self._study._storage
            storage.set_trial_user_attr(trial._trial_id, KILLED, True)
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if trial.params:
                self._study.enqueue_trial(dict(trial.params))

    def _lives(self, worker: str) -> bool:
        if worker == self._name:
            return True
        path = self.folder / WORKERS / worker
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        path.unlink(missing_ok=True)
        return False

    def _try(self, trial: optuna.Trial, evaluate: Evaluate) -> None:
        import optuna

        chosen: Chosen = dict(trial.params)
        figures = self._known(chosen)
        if figures is None:
            try:
                figures = evaluate(self.space.recipe(chosen))
            except ConverterError as error:
                trial.set_user_attr(ERROR, str(error))
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
                return
        values = [getattr(figures, name) for name in self.space.objectives]
        losses(figures, self.space.objectives)  # says what to do where nothing could be timed
        trial.set_user_attr(FIGURES, figures.model_dump_json())
        self._study.tell(trial, values)

    def _known(self, chosen: Chosen) -> Figures | None:
        """Return the figures of an equal trial, if one is finished."""
        for one in self._finished():
            if one.params == chosen:
                return Figures.model_validate_json(one.user_attrs[FIGURES])
        return None

    def _finished(self) -> list[Any]:
        import optuna

        states = (optuna.trial.TrialState.COMPLETE,)
        return self._study.get_trials(deepcopy=False, states=states)

    def front(self) -> Front:
        """Return the front of all finished trials."""
        import optuna

        failed = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,))
        trials = [
            Tried(
                number=one.number,
                chosen=dict(one.params),
                recipe=self.space.recipe(dict(one.params)),
                figures=Figures.model_validate_json(one.user_attrs[FIGURES]),
            )
            for one in self._finished()
        ]
        return Front.of(
            trials,
            self.space.objectives,
            space=self.space.name,
            format=self.space.format,
            failed=sum(KILLED not in one.user_attrs for one in failed),
            counted_on=self.space.counts_on,
        )

    def write_front(self) -> Front:
        """Write the front into the folder; the last process to finish writes all of it."""
        with self._asking():
            found = self.front()
            found.write(self.folder)
        return found


def _direction(name: str) -> Literal["maximize", "minimize"]:
    return "maximize" if name in MORE_IS_BETTER else "minimize"


def study_key(**facts: object) -> str:
    """Return a study's key of everything that figures depend on."""
    return json.dumps(facts, sort_keys=True)
