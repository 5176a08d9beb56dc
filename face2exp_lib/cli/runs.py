"""The commands of `face2exp` that look at a run's network: export, card, analyse, mismatch.

A command imports what it needs when it runs: `--help` need not wait for torch.
"""

import argparse
from pathlib import Path
from typing import Any

from face2exp_lib.cli.evaluate import add_evaluate_command
from face2exp_lib.cli.options import add_command, add_data_root, add_run, tell
from face2exp_lib.cli.predict import add_predict_commands
from face2exp_lib.runtime.errors import Face2ExpError

MOST_FACES = 1000  # of `face2exp_lib.runs.mismatch`


def add_model_commands(commands: Any) -> None:
    """Add them to the parser's group of commands."""
    add_evaluate_command(commands)
    add_predict_commands(commands)

    added = add_command(
        commands, "export", _export, "Write the network as ONNX, and check it; or its weights."
    )
    add_run(added)
    added.add_argument("--out", type=Path, required=True, metavar="MODEL.onnx|W.safetensors")
    added.add_argument(
        "--half", action="store_true", help="with a .safetensors file: as float16, half the bytes"
    )
    add_data_root(added)

    added = add_command(commands, "card", _card, "Write a model card from what a run left behind.")
    add_run(added)
    added.add_argument(
        "--out", type=Path, metavar="FILE", help="default: MODEL_CARD.md in the run's folder"
    )

    added = add_command(commands, "analyse", _analyse, "Were a run's pseudo labels right?")
    add_run(added)
    added.add_argument(
        "--truth",
        type=Path,
        metavar="FILE.csv",
        help="image,expression or image,label of FR faces; default: a rendered set's own",
    )
    added.add_argument("--html", type=Path, metavar="FILE", help="write figures")
    add_data_root(added)

    added = add_command(commands, "mismatch", _mismatch, "How far apart FER and FR faces are seen.")
    add_run(added)
    added.add_argument(
        "--before", type=Path, metavar="RUN_DIR", help="compare with it; else the initial weights"
    )
    added.add_argument(
        "--fer", choices=("validation", "labelled", "long_tailed"), default="validation"
    )
    added.add_argument(
        "--most-faces",
        type=_most_faces,
        default=MOST_FACES,
        metavar="N",
        help=f"of each set; default {MOST_FACES}",
    )
    added.add_argument("--html", type=Path, metavar="FILE", help="write the faces on a plane")
    add_data_root(added)


def _most_faces(text: str) -> int:
    if not text.isdecimal() or int(text) < 10:
        raise argparse.ArgumentTypeError(f"needs a number of 10 or more, got {text!r}")
    return int(text)


def _export(options: argparse.Namespace) -> None:
    from face2exp_lib.config import data_root, load_config
    from face2exp_lib.data.splits import read_validation
    from face2exp_lib.runs.export import export_run, export_weights

    if options.out.suffix == ".safetensors":
        size = export_weights(options.run_dir, options.out, half=options.half)
        print(f"{options.out}: {size:,} bytes, for network.pretrained of another run")
        return
    if options.half:
        raise Face2ExpError("--half is of weights: name a .safetensors file with --out")
    faces = None
    try:
        config = load_config(options.run_dir / "config.yaml")
        faces = read_validation(config.data, config.seed, data_root(options.data_root))
    except Face2ExpError as error:
        tell([f"checked on noise alone, for its faces are not here ({error})"])
    agreement = export_run(options.run_dir, options.out, faces)
    print(
        f"{options.out}: agrees with torch to {agreement.largest:.1g} on {agreement.num_real} "
        f"faces and {agreement.num_random} images of noise"
    )


def _card(options: argparse.Namespace) -> None:
    from face2exp_lib.runs.card import model_card
    from face2exp_lib.runtime.storage import write_text

    out = options.out or options.run_dir / "MODEL_CARD.md"
    write_text(out, model_card(options.run_dir))
    print(f"{out}: the model card")


def _analyse(options: argparse.Namespace) -> None:
    from face2exp_lib.cli.tables import analysis_lines
    from face2exp_lib.config import data_root
    from face2exp_lib.figures.analysis import image_feedback_figure, pseudo_label_figure
    from face2exp_lib.runs.analyse import analyse_run
    from face2exp_lib.runtime.storage import write_json, write_text

    result = analyse_run(options.run_dir, data_root(options.data_root), truth=options.truth)
    print("\n".join(analysis_lines(result)))
    out = options.run_dir / "analysis.json"
    write_json(out, result)
    print(out)
    if options.html:
        figures = [pseudo_label_figure(result)]
        if "image_feedback" in result:
            figures.append(image_feedback_figure(result))
        parts = [
            figure.to_html(full_html=False, include_plotlyjs=n == 0)
            for n, figure in enumerate(figures)
        ]
        write_text(options.html, "<!DOCTYPE html><meta charset=utf-8>" + "".join(parts))
        print(f"{options.html}: figures")


def _mismatch(options: argparse.Namespace) -> None:
    from face2exp_lib.config import data_root
    from face2exp_lib.figures.features import planes_figure
    from face2exp_lib.runs.mismatch import measure_mismatch
    from face2exp_lib.runtime.storage import write_json, write_text

    result, seen = measure_mismatch(
        options.run_dir,
        data_root(options.data_root),
        before=options.before,
        fer=options.fer,
        most_faces=options.most_faces,
    )
    for key in ("fer", "fr"):
        print(f"{key.upper()}: {result[key]['set']}, {result[key]['num_images']} images")
    for key in ("before", "after"):
        told = result[key]["classifier_two_sample_test"]
        kernel = result[key]["maximum_mean_discrepancy"]
        print(f"{key}: {result[key]['network']}")
        print(
            f"  told apart: AUC {told['auc']:.3f}, accuracy {100 * told['accuracy']:.1f} % "
            f"(0.5 and 50 % are chance), p {told['p']:.3f}"
        )
        print(f"  MMD^2 {kernel['mmd2']:.4f}, p {kernel['p']:.3f}")
    out = options.run_dir / "mismatch.json"
    write_json(out, result)
    print(out)
    if options.html:
        write_text(options.html, planes_figure(seen).to_html())
        print(f"{options.html}: the faces on a plane")
