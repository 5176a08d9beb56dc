"""`face2exp predict` and `explain`: parse, build and call.

A command imports what it needs when it runs: `--help` need not wait for torch.
"""

import argparse
from pathlib import Path
from typing import Any

from face2exp_lib.cli.options import add_command, add_flip, add_run, tell


def add_predict_commands(commands: Any) -> None:
    """Add them to the parser's group of commands."""
    added = add_command(commands, "predict", _predict, "Name the expressions of faces.")
    add_run(added)
    _add_images(added)
    added.add_argument("--json", action="store_true", help="print JSON")
    added.add_argument("--out", type=Path, metavar="FILE", help="write a .csv or .json instead")
    add_flip(added)

    added = add_command(commands, "explain", _explain, "Show by Grad-CAM what spoke for a class.")
    add_run(added)
    _add_images(added)
    added.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    added.add_argument("--label", metavar="CLASS", help="default: the most probable of each")


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="files and folders")
    parser.add_argument(
        "--crop",
        choices=("face", "photo"),
        help="find faces first: the one of pictures that it fills, or all in photos",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out what cannot be read or shows no face, and tell",
    )


def _predict(options: argparse.Namespace) -> None:
    from face2exp_lib.runs.predict import (
        as_json,
        must_be_table,
        predict_faces,
        predict_images,
        write_results,
    )

    if options.out:
        must_be_table(options.out)
    paths, detector, left_out = _images(options)
    if options.crop == "photo":
        results = predict_faces(
            options.run_dir, paths, detector, flip=options.flip, left_out=left_out
        )
        photos = len({result["image"] for result in results})
        count = f"{len(results)} faces in {photos} photos"
    else:
        results = predict_images(
            options.run_dir, paths, detector=detector, flip=options.flip, left_out=left_out
        )
        count = f"{len(results)} images"
    if options.out:
        write_results(options.out, results)
        print(f"{options.out}: {count}")
    elif options.json:
        print(as_json(results))
    else:
        for result in results:
            shares = "  ".join(f"{name} {p:.2f}" for name, p in result["probabilities"].items())
            print(f"{result['image']}{_place(result)}: {result['label']}   {shares}")
    tell(left_out or ())
    if options.crop == "photo" and not options.out:
        tell([count])


def _images(options: argparse.Namespace) -> tuple[list[Path], Any, list[str] | None]:
    """The images that are asked for, what finds their faces, and a list for what is left out."""
    from face2exp_lib.runs.predict import find_images

    detector = None
    if options.crop:
        from face2exp_lib.preparation.mtcnn import Detector

        detector = Detector({"face": "crop", "photo": "group"}[options.crop])
    told: list[str] = []
    paths = find_images(options.images, told)
    tell(told)
    return paths, detector, [] if options.skip_bad else None


def _place(result: dict[str, Any]) -> str:
    """Which face of a photo it is, and where."""
    if "face" not in result:
        return ""
    box = ", ".join(str(edge) for edge in result["box"].values())
    return f": face {result['face']} of {result['faces']} at {box}, score {result['score']:.2f}"


def _explain(options: argparse.Namespace) -> None:
    from face2exp_lib.runs.explain import explain_images

    paths, detector, left_out = _images(options)
    written = explain_images(
        options.run_dir,
        paths,
        options.out,
        options.label,
        detector=detector,
        every_face=options.crop == "photo",
        left_out=left_out,
    )
    for image, face, picture, label, probability in written:
        which = f": face {face}" if face else ""
        print(f"{image}{which}: {label} {probability:.2f}: {picture}")
    tell(left_out or ())
