"""The kit's reader, built with sanitisers, on everything that must be refused, beside the runtime's."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from kit_compiler import make, needed, run, sanitised

from physioedge.faults.fuzz_attacks import attacks
from physioedge.faults.fuzz_seeds import KEY, TRUST, bundle, bundle_files
from physioedge_export.firmware.making import make_kit
from physioedge_runtime import Bundle
from physioedge_runtime.bundle.archive import MANIFEST, SIGNATURE, build_archive, read_archive
from physioedge_runtime.bundle.signing import sign
from physioedge_runtime.errors import BundleError

ACCEPTED = "contract     the one compiled in"
UNREAD = ("centring", "levelling", "condition", "change")
"""Files that firmware of this kind has no use for: it does not look into them."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """What the program says of each of some bundles, by name; of one, its words alone."""
    needed()
    folder = tmp_path_factory.mktemp("reader")
    (folder / "b.physio").write_bytes(bundle())
    make_kit(Bundle.open(folder / "b.physio", trust=TRUST), folder / "kit", trust=TRUST)
    program = make(folder / "kit", CFLAGS=sanitised())

    def read(data):
        if isinstance(data, bytes):
            (folder / "x.physio").write_bytes(data)
            return run(program, folder / "x.physio")[1]
        paths = {str(folder / f"{i}.physio"): name for i, name in enumerate(data)}
        for path, name in paths.items():
            Path(path).write_bytes(data[name])
        parts = run(program, *paths)[1].split("bundle       ")[1:]
        assert len(parts) == len(data)
        return {paths[part.partition("\n")[0]]: part for part in parts}

    return read


def refused_by_runtime(folder, data):
    (folder / "x.physio").write_bytes(data)
    try:
        Bundle.open(folder / "x.physio", trust=TRUST).golden()
    except BundleError:
        return True
    return False


def signed(manifest, files=None):
    """A bundle around some bytes as its manifest, rightly signed."""
    content = bundle_files() if files is None else files
    return build_archive({**content, MANIFEST: manifest, SIGNATURE: sign(manifest, KEY)})


def test_the_good_one_is_taken(reader):
    assert ACCEPTED in reader(bundle())


def test_every_known_attack_is_refused(reader, repository):
    kept = sorted((repository / "tests" / "faults" / "corpus" / "bundle").glob("bad-*"))
    made = {path.name.removeprefix("bad-"): path.read_bytes() for path in kept} | attacks("bundle")
    of_bundles = {name: data for name, data in made.items() if name.split("-")[0] not in UNREAD}
    assert len(of_bundles) > 60
    said = reader(of_bundles)
    golden = {name for name in said if name.startswith("golden")}
    assert [name for name, text in said.items() if ACCEPTED in text and name not in golden] == []
    # these are found when golden vectors are read, in the same step as the graph
    assert len(golden) > 10
    assert [name for name in golden if "refused      golden vectors" not in said[name]] == []


def test_signed_manifests_that_are_none(reader):
    """Our own key signs nonsense: the reader is not to fall over it."""
    found = attacks("manifest")
    assert len(found) > 20
    said = reader({name: signed(data) for name, data in found.items()})
    assert [name for name, text in said.items() if ACCEPTED in text] == []


def manifest_of(data):
    return bytes(read_archive(data)[MANIFEST].data)


RULES = [
    (lambda m: m.update(schema_version=2), "newer schema"),
    (lambda m: m.update(extra=1), "other keys"),
    (lambda m: m.pop("licence"), "other keys"),
    (lambda m: m.update(name=7), "other kinds"),
    (lambda m: m["golden"].update(windows=65), "golden vectors, licence or model card"),
    (lambda m: m["golden"].update(windows=1.0), "golden vectors, licence or model card"),
    (lambda m: m["golden"].update(file="LICENCE.txt"), "golden vectors, licence or model card"),
    (lambda m: m.update(model_card=m["graphs"][0]["file"]), "golden vectors, licence or model card"),
    (lambda m: m["graphs"].append(m["graphs"][0]), "graphs"),
    (lambda m: m.update(graphs=[]), "graphs"),
    (lambda m: m["graphs"][0].update(engine="abacus"), "graphs"),
    (lambda m: m["graphs"][0].update(mode="step"), "graphs"),
    (lambda m: m["graphs"][0]["tolerance"].update(logits=0), "graphs"),
    (lambda m: m["graphs"][0]["tolerance"].update(logits=101), "graphs"),
    (lambda m: m["graphs"][0].update(file="MODEL_CARD.md"), "golden vectors, licence or model card"),
    (lambda m: m["files"].pop("LICENCE.txt"), "a file that is not listed"),
    (lambda m: m["files"]["LICENCE.txt"].update(bytes=1), "another size"),
    (lambda m: m["files"]["LICENCE.txt"].update(sha256="0" * 64), "another digest"),
    (lambda m: m["files"].update({"gone.txt": m["files"]["LICENCE.txt"]}), "not there"),
    (lambda m: m.update(provenance={}), "training subjects"),
    (lambda m: m["provenance"].update(training_subjects=[1]), "training subjects"),
    (lambda m: m["contract"].update(task="other"), "another contract"),
]


def test_manifests_that_break_one_rule(reader, tmp_path):
    made = {}
    for i, (change, why) in enumerate(RULES):
        manifest = json.loads(manifest_of(bundle()))
        change(manifest)
        made[f"{i} {why}"] = signed(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
    said = reader(made)
    odd = [name for name, text in said.items() if "refused      " not in text or name.partition(" ")[2] not in text]
    assert odd == [], [said[name] for name in odd]
    # of another contract than the one compiled in, the runtime has no opinion
    taken = [name for name, data in made.items() if not refused_by_runtime(tmp_path, data)]
    assert [name.partition(" ")[2] for name in taken] == ["another contract"]


def test_other_keys_and_other_spellings_of_the_signature(reader):
    files, manifest = bundle_files(), manifest_of(bundle())
    other = build_archive({**files, MANIFEST: manifest, SIGNATURE: sign(manifest, bytes(32))})
    assert "signed by a key that is not trusted here" in reader(other)
    good = sign(manifest, KEY)
    forged = sign(manifest + b" ", KEY)
    assert "does not fit the manifest" in reader(build_archive({**files, MANIFEST: manifest, SIGNATURE: forged}))
    last = good.rindex(b'=="') - 1
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spare = bytearray(good)
    spare[last] = digits[digits.index(good[last]) | 1]  # the bits that mean nothing
    assert bytes(spare) != good
    for odd in (bytes(spare), good + b"\n", good.replace(b"ed25519", b"ED25519"), good.replace(b"==", b"=A")):
        assert "refused" in reader(build_archive({**files, MANIFEST: manifest, SIGNATURE: odd}))


def test_whatever_is_changed_is_refused(reader, tmp_path):
    """As the runtime does; spread over the whole file."""
    whole, rng, made = bundle(), random.Random(3), {}
    for i in range(160):
        data = bytearray(whole)
        at, kind = rng.randrange(len(data)), i % 4
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            other = rng.randrange(len(data) - 8)
            data[at : at + 8], data[other : other + 8] = data[other : other + 8], data[at : at + 8]
        if bytes(data) != whole:
            made[f"{i} at {at}"] = bytes(data)
    assert len(made) > 150
    assert [name for name, text in reader(made).items() if ACCEPTED in text] == []
    assert [name for name, data in made.items() if not refused_by_runtime(tmp_path, data)] == []
