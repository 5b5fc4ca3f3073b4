"""Jobs: done once, named by everything that shapes them, and refused where they would test on whom they know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from physioedge.adapters.beats import BeatFit
from physioedge.datasets import mitbih
from physioedge.evaluation import jobs as module
from physioedge.evaluation.arms import ARMS, load_predictions
from physioedge.evaluation.folds import candidates, folds
from physioedge.evaluation.jobs import CLASSIC, TAUGHT, Job, run_job, run_jobs
from physioedge.evaluation.report import Plan, jobs_of
from physioedge_runtime.errors import EvaluationRefused
from tiny_training import write_backbone, write_mitbih

CONFIG = BeatFit(steps=3, batch=8)


@pytest.fixture
def job(tmp_path) -> Job:
    write_backbone(tmp_path / "backbone.safetensors", seen=("mitbih:101", "mitbih:106"))
    write_mitbih(tmp_path, ("101", "106", "100", "103"))
    return Job(arm="probe", seed=0, backbone=tmp_path / "backbone.safetensors", config=CONFIG, train=("101", "106"),
               test=("100", "103"), work=tmp_path / "work", data=tmp_path)  # fmt: skip


@pytest.mark.parametrize("arm", ["probe", "full", "cnn"])
def test_a_job_predicts_every_beat_with_a_window(job, arm):
    job = replace(job, arm=arm)
    found, extra = load_predictions(run_job(job))
    assert [p.record for p in found] == ["100", "103"]
    for p in found:
        assert len(p.label) == len(p.time_s) == len(p.scores) > 20 and np.isfinite(p.scores).all()
        assert p.time_s[0] > 198 / 125 and (p.label == 3).any()  # fusion beats are predicted, for their own row
    head = (found[0].embedding @ extra["weight"].T + extra["bias"]) @ extra["prototypes"].T
    np.testing.assert_allclose(head, found[0].scores, atol=2e-2)
    assert "reference" not in extra and extra["log_prior"].max() == 0.0


def test_a_job_already_done_is_not_done_again(job, monkeypatch):
    path = run_job(job)
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(module, "fit_arm", lambda *a, **k: pytest.fail("fitted again"))
    assert run_job(job) == path and path.stat().st_mtime_ns == before
    assert run_jobs([job, job], 1) == [path, path]


@pytest.mark.parametrize(("arm", "package"), [("classical", "sklearn"), ("minirocket", "aeon")])
def test_an_opponent_is_a_job_like_any_other(job, arm, package, monkeypatch):
    pytest.importorskip(package, reason="of the extra `rivals`, which is not installed")
    _, of_a_network = load_predictions(run_job(job))
    job = replace(job, arm=arm)
    path = run_job(job)
    found, extra = load_predictions(path)
    assert [p.record for p in found] == ["100", "103"] and list(extra) == ["log_prior"]
    np.testing.assert_array_equal(extra["log_prior"], of_a_network["log_prior"])
    for p in found:
        assert p.embedding.shape == (len(p.label), 0) and len(p.scores) == len(p.time_s) > 20
        assert np.isfinite(p.scores).all() and p.time_s[0] > 198 / 125 and (p.label == 3).any()
    monkeypatch.setattr(module, "opponent_predictions", lambda *a, **k: pytest.fail("fitted again"))
    assert run_job(job) == path
    with pytest.raises(EvaluationRefused, match="mitbih:101"):
        run_job(replace(job, test=("100", "101")))


def test_the_same_job_elsewhere_gives_the_same_numbers(job, tmp_path):
    one, two = (load_predictions(run_job(replace(job, work=tmp_path / w)))[0] for w in ("a", "b"))
    other = load_predictions(run_job(replace(job, seed=1)))[0]
    for p, q in zip(one, two, strict=True):
        np.testing.assert_array_equal(p.scores, q.scores)
    assert not np.array_equal(one[0].scores, other[0].scores)


def test_the_name_covers_what_shapes_the_outcome(job, tmp_path):
    write_backbone(tmp_path / "other.safetensors", seed=3)
    copied = tmp_path / "copy.safetensors"
    copied.write_bytes(job.backbone.read_bytes())
    variants = [
        job,
        replace(job, arm="full"),
        replace(job, seed=1),
        replace(job, train=("101",)),
        replace(job, test=("100",)),
        replace(job, backbone=tmp_path / "other.safetensors"),
        replace(job, config=replace(CONFIG, steps=4)),
        replace(job, config=replace(CONFIG, draw=replace(CONFIG.draw, warp=0.2))),
        replace(job, config=replace(CONFIG, lora=replace(CONFIG.lora, rank=4))),
    ]
    assert len({v.name for v in variants}) == len(variants)
    assert replace(job, backbone=copied, work=tmp_path / "elsewhere").name == job.name  # places shape nothing


def test_a_test_subject_the_weights_know_is_refused(job):
    for wrong in (replace(job, test=("100", "101")), replace(job, train=("103",))):
        with pytest.raises(EvaluationRefused, match="mitbih:10"):
            run_job(wrong)
    # a fold of DS1: the backbone has seen the held-out record without labels, the adapter has not
    fold = replace(job, train=("106",), test=("101",), development=True)
    assert run_job(fold).exists()
    with pytest.raises(EvaluationRefused):
        run_job(replace(fold, train=("101", "106")))


def test_only_the_classic_split_shares_a_person(tmp_path):
    plan = Plan(arms=("global", CLASSIC), seeds=2, backbone=Path("b"), twin=None, config=CONFIG, work=tmp_path,
                data=None, workers=1)  # fmt: skip
    found = jobs_of(plan)
    assert [(j.arm, j.seed) for j in found] == [("global", 0), (CLASSIC, 0), ("global", 1)]  # one seed of it is enough
    assert found[0].train == mitbih.FIT and found[1].train == mitbih.DS1
    assert all(j.test == mitbih.DS2 and not j.development for j in found)


def test_the_taught_arm_and_the_teachers_people_go_together(tmp_path):
    plan = Plan(arms=("global", TAUGHT), seeds=1, backbone=Path("b"), twin=None, config=CONFIG, work=tmp_path,
                data=None, workers=1, taught=Path("t"))  # fmt: skip
    assert [j.taught for j in jobs_of(plan)] == [None, Path("t")]
    for wrong in (replace(plan, taught=None), replace(plan, arms=("global",))):
        with pytest.raises(EvaluationRefused, match="--taught"):
            jobs_of(wrong)


def test_the_twin_needs_its_own_weights(tmp_path):
    plan = Plan(arms=("global", "bidirectional"), seeds=1, backbone=Path("b"), twin=Path("t"), config=CONFIG,
                work=tmp_path, data=None, workers=1)  # fmt: skip
    assert [j.backbone for j in jobs_of(plan)] == [Path("b"), Path("t")]
    with pytest.raises(EvaluationRefused, match="twin"):
        jobs_of(replace(plan, twin=None))


def test_an_arm_that_there_is_none_of_is_refused(tmp_path):
    plan = Plan(arms=ARMS, seeds=1, backbone=Path("b"), twin=Path("t"), config=CONFIG, work=tmp_path, data=None,
                workers=1)  # fmt: skip
    assert [j.arm for j in jobs_of(plan)] == list(ARMS) and {"classical", "minirocket"} < set(ARMS)
    with pytest.raises(EvaluationRefused, match="arms klassical"):
        jobs_of(replace(plan, arms=("global", "klassical")))


def test_folds_hold_every_fitting_record_out_once():
    found = folds()
    assert sorted(r for _, held in found for r in held) == sorted(mitbih.FIT)
    for train, held in found:
        assert set(train) | set(held) == set(mitbih.FIT)
        assert {mitbih.subject_of(r) for r in train} & {mitbih.subject_of(r) for r in held} == set()


def test_candidates_differ_from_the_base_in_one_thing():
    options = candidates(BeatFit())
    assert options["base"] == BeatFit() and len({repr(o) for o in options.values()}) == len(options)
