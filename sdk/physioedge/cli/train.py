"""``physioedge train``: pre-train the backbone, fit the global adapter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("train", help="pre-train the backbone, fit adapters")
    what = parser.add_subparsers(dest="what", required=True)
    backbone = what.add_parser("backbone", help="self-supervised pre-training on unlabelled recordings")
    backbone.add_argument("--preset", choices=("tiny", "paper"), default="tiny")
    backbone.add_argument("--bidirectional", action="store_true", help="the twin without causal mask, for comparison")
    backbone.add_argument("--steps", type=int, default=3000)
    backbone.add_argument("--batch", type=int, default=128)
    backbone.add_argument("--seed", type=int, default=0)
    adapter = what.add_parser("global", help="fit the arrhythmia task's global adapter on DS1 without 201")
    adapter.add_argument("--backbone", type=Path, help="weights file; by default the shipped one")
    adapter.add_argument("--seed", type=int, default=0)
    adapter.add_argument("--steps", type=int, help="default: as chosen on folds of DS1")
    for each in (backbone, adapter):
        each.add_argument("--out", type=Path, required=True, help="folder; a run that was cut off goes on from it")
        each.add_argument("--data", type=Path, help="folder that holds the datasets")
        each.add_argument("--threads", type=int, default=2)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 when the weights are written."""
    import torch

    torch.set_num_threads(args.threads)
    return _backbone(args) if args.what == "backbone" else _adapter(args)


def _backbone(args: argparse.Namespace) -> int:
    from physioedge.evaluation.plots import loss_curve
    from physioedge.models.config import PRESETS
    from physioedge.pretraining.run import pretrain, twin_of

    config = PRESETS[args.preset]
    config = twin_of(config) if args.bidirectional else config
    digest, history = pretrain(config, args.out, steps=args.steps, batch=args.batch, seed=args.seed, data=args.data)
    loss_curve(history.step, history.loss, f"Pre-training of {config.name}", args.out / "loss.png")
    print(f"backbone {digest[:12]} in {args.out / 'backbone.safetensors'}, loss curve in {args.out / 'loss.png'}")
    return 0


def _adapter(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from physioedge.adapters.global_adapter import FitConfig
    from physioedge.adapters.global_run import train_global
    from physioedge.models.shipped import BACKBONE

    config = FitConfig()
    config = config if args.steps is None else replace(config, steps=args.steps)
    train_global(args.backbone or BACKBONE, args.out, config, seed=args.seed, data=args.data)
    print(f"global adapter in {args.out}")
    return 0
