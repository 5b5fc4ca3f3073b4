"""Arms whose generator is tuned through the frozen network, and the wearers that they practise on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from physioedge.adapters.sets.alone import alone
from physioedge.adapters.sets.base import Base
from physioedge.adapters.sets.making import hash_seed
from physioedge.adapters.sets.people import People
from physioedge.adapters.sets.practice import Keeping, Kept, Practice, kept_of, practice_of, read_kept, write_kept
from physioedge.adapters.sets.wearers import first_lead
from physioedge.evaluation.personal.generated import Generate
from physioedge.generator.tuning import Tuning, tuned_dit, tuned_mlp
from physioedge.models.network import Network
from physioedge.tasks.arrhythmia import BeatRecord

_TAUGHT_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Practising:
    """Who is practised on.

    Attributes
    ----------
    people : People
    work : Path
        Folder of their files.
    wearers : int
        Virtual ones a person, the first two being the leads as they are.
    taught : tuple of BeatRecord
        People whom a teacher has labelled, each as recorded.
    keeping : Keeping
    """

    people: People
    work: Path
    wearers: int = 24
    taught: tuple[BeatRecord, ...] = ()
    keeping: Keeping = field(default_factory=Keeping)

    def wearers_without(self, barred: tuple[str, ...]) -> Iterator[Kept]:
        """What `prepare` has written, of everybody else."""
        for name in self.people.names:
            if name not in barred:
                yield from read_kept(self.file(name))
        for number in range(0, len(self.taught), _TAUGHT_AT_ONCE):
            yield from read_kept(self.file(f"taught-{number}"))

    def file(self, name: str) -> Path:
        """Where a person's wearers are, or some taught people's."""
        said = [self.people.task, self.wearers, asdict(self.keeping), [record.name for record in self._part(name)]]
        digest = hashlib.sha256(json.dumps(said).encode() + self.people.backbone.read_bytes())
        for record in self._part(name):
            digest.update(record.signal.tobytes() + record.anchor.tobytes() + record.label.tobytes())
        return self.work / "practice" / f"{name}-{digest.hexdigest()[:12]}.npz"

    def _part(self, name: str) -> tuple[BeatRecord, ...]:
        if not name.startswith("taught-"):
            return ()
        first = int(name.removeprefix("taught-"))
        return self.taught[first : first + _TAUGHT_AT_ONCE]

    def prepare(self, network: Network, *, workers: int) -> None:
        """Write the wearers of everybody, on the processor; what is there already is not done again."""
        from joblib import Parallel, delayed

        names = [*self.people.names, *(f"taught-{i}" for i in range(0, len(self.taught), _TAUGHT_AT_ONCE))]
        Parallel(n_jobs=workers)(delayed(self._write)(name, network) for name in names)

    def _write(self, name: str, network: Network) -> None:
        torch.set_num_threads(1)
        path = self.file(name)
        with alone(self.work, path.name):
            if not path.exists():
                write_kept(path, [one for one in self._made(name, network) if one is not None])

    def _made(self, name: str, network: Network) -> Iterator[Kept | None]:
        for record in self._part(name):
            worn = self.people.seen(record, first_lead())  # type: ignore[attr-defined]
            yield kept_of(record.name, worn, network, self.keeping, seed=hash_seed(record.name, 0, 0))
        if not name.startswith("taught-"):
            for wearer in range(self.wearers):
                worn = self.people.worn(name, wearer, seed=0)
                yield kept_of(name, worn, network, self.keeping, seed=hash_seed(name, wearer, 0))


def practice_for(practising: Practising, base: Base, barred: tuple[str, ...]) -> Practice:
    """What the generators of one round practise on."""
    return practice_of(practising.wearers_without(barred), base)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A generator that goes on from another one.

    Attributes
    ----------
    plain : str
        Key of `physioedge.evaluation.personal.generated.GENERATORS`: where it begins.
    tune : callable
        That generator, who is practised on, the global model, the seed.
    """

    plain: str
    tune: Callable[..., Generate]


TUNED: Mapping[str, Tuned] = {
    "mlp_tuned": Tuned(plain="mlp", tune=partial(tuned_mlp, config=Tuning())),
    "dit_tuned": Tuned(plain="dit", tune=partial(tuned_dit, config=Tuning())),
    "mlp_tuned_unlevelled": Tuned(plain="mlp", tune=partial(tuned_mlp, config=Tuning(levelled=False))),
    "dit_tuned_unlevelled": Tuned(plain="dit", tune=partial(tuned_dit, config=Tuning(levelled=False))),
}
"""By their names in the table."""
