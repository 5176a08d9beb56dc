"""What a run records of its unlabelled faces: a table of pseudo labels, and how far from the
labelled ones they lie. Nothing here is read by training."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.sets.facesets import drawn_faces
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import RunData
from face2exp_lib.evaluation.features import penultimate_features
from face2exp_lib.evaluation.predictions import as_text
from face2exp_lib.evaluation.two_sample_tests import mean_discrepancy, two_samples
from face2exp_lib.methods.method import StepContext
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl, write_bytes, write_text
from face2exp_lib.training.phases import Phase

FOLDER = "pseudo_labels"  # in a run directory
SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("phase", pa.dictionary(pa.int8(), pa.string())),
        ("image", pa.string()),
        ("pseudo_label", pa.int8()),
        ("confidence", pa.float32()),
        ("learner", pa.int8()),
        ("feedback", pa.float32()),
        ("image_feedback", pa.float32()),
    ]
)


class PseudoLabelTable:
    """`pseudo_labels/`, a row for each unlabelled image of each step, in a Parquet file for each
    stretch between two checkpoints. A resumed run drops the files after its checkpoint.

    Columns: step, phase, image (id), pseudo_label (code), confidence (its probability), learner
    (the class that the network which learns it gave before), feedback (f of the step) and
    image_feedback (f_i); null where a method has no such thing.
    """

    def __init__(self, run_dir: Path, names: tuple[str, ...], *, keep_before: int) -> None:
        self.folder = run_dir / FOLDER
        self.metadata = {"class_names": json.dumps(names)}
        self.seen: list[pa.RecordBatch] = []
        for path in parts(run_dir):
            if _last_step(path) > keep_before:
                path.unlink()

    def see(self, step: int, phase: Phase, given: StepContext, losses: dict[str, Tensor]) -> None:
        """Take in a step; nothing if it had no pseudo labels."""
        if "y_hat_fr" not in losses or phase.unlabelled is None:
            return
        number = len(losses["y_hat_fr"])

        def column(name: str) -> pa.Array:
            if name not in losses:
                return pa.nulls(number)
            values = losses[name].float().cpu().numpy()
            return pa.array(np.broadcast_to(values, number))

        images = [as_text(name) for name in phase.unlabelled.ids_at(given.indices_fr.tolist())]
        columns = [
            pa.array([step] * number),
            pa.array([phase.name] * number),
            pa.array(images),
            column("y_hat_fr"),
            column("confidence_fr"),
            column("y_learner_fr"),
            column("feedback"),
            column("feedback_fr"),
        ]
        arrays = [
            values.cast(field.type)
            if not pa.types.is_dictionary(field.type)
            else values.dictionary_encode().cast(field.type)
            for values, field in zip(columns, SCHEMA, strict=True)
        ]
        self.seen.append(pa.record_batch(arrays, schema=SCHEMA))

    def flush(self, step: int) -> None:
        """Write what was seen before `step`, before the checkpoint of that step.

        Raises:
            Face2ExpError: if the disk is full.
        """
        if not self.seen:
            return
        table = pa.Table.from_batches(self.seen).replace_schema_metadata(self.metadata)
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        write_bytes(self.folder / f"before-step-{step:08}.parquet", buffer.getvalue())
        self.seen = []


class Board:
    """The numbers of every record as TensorBoard events in `tensorboard/`."""

    def __init__(self, run_dir: Path, *, keep_before: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise Face2ExpError(
                "telemetry.tensorboard: TensorBoard is not installed: pip install "
                "'face2exp-lib[tensorboard]', or set it to false"
            ) from error
        self.writer = SummaryWriter(run_dir / "tensorboard", purge_step=keep_before)

    def write(self, record: dict[str, Any]) -> None:
        """All numbers of a record, those inside it by the path of their names."""
        for name, value in _numbers("", record):
            if name not in ("step", "phase"):
                self.writer.add_scalar(name, value, record["step"])


class Records:
    """All that a run writes of its steps; what came after `keep_before` is dropped.

    Raises:
        Face2ExpError: if TensorBoard is asked for and not installed.
    """

    def __init__(self, config: RunConfig, run_dir: Path, *, keep_before: int) -> None:
        options, names = config.telemetry, class_names(config.data.num_classes)
        self.board = Board(run_dir, keep_before=keep_before) if options.tensorboard else None
        self.table = PseudoLabelTable(run_dir, names, keep_before=keep_before)
        self.wanted = options.pseudo_labels
        self.log = MetricsLog(run_dir / "metrics.jsonl", keep_before=keep_before)

    def add(
        self, record: dict[str, Any], phase: Phase, given: StepContext, losses: dict[str, Tensor]
    ) -> None:
        """A step's numbers, its input and what it returned."""
        self.log.append(record)
        if self.wanted:
            self.table.see(record["step"], phase, given, losses)
        if self.board:
            self.board.write(record)

    def flush(self, step: int) -> None:
        """Write what was added before `step`, before the checkpoint of that step.

        Raises:
            Face2ExpError: if the disk is full.
        """
        self.log.flush()
        self.table.flush(step)
        if self.board:
            self.board.writer.flush()

    def close(self) -> None:
        self.log.close()
        if self.board:
            self.board.writer.close()


class Distance:
    """How far apart a network's features of FER (validation) and FR faces are: MMD^2, see
    `two_sample_tests.mean_discrepancy`. The faces are drawn once, by the run's seed."""

    def __init__(self, config: RunConfig, data: RunData) -> None:
        self.config, self.sets = config, list[DecodedFaces]()
        number = config.telemetry.distance_images
        unlabelled = None if data.unlabelled is None else data.unlabelled.listed
        if number and unlabelled is not None:
            self.sets = [
                DecodedFaces(
                    drawn_faces(faces, number, config.seed),
                    config.data.stored_size,
                    in_memory=config.data.in_memory,
                )
                for faces in (data.validation, unlabelled)
            ]

    def measure(self, networks: dict[str, FaceNetwork]) -> dict[str, float | None]:
        """MMD^2 of each network; None where it is not defined, say since all features are equal;
        nothing at all where there are no sets to measure by."""
        return {name: self._of(network) for name, network in networks.items() if self.sets}

    def _of(self, network: FaceNetwork) -> float | None:
        data = self.config.data
        features = [
            penultimate_features(
                network, faces, view_size=data.view_size, workers=data.num_workers
            )[0]
            for faces in self.sets
        ]
        samples = two_samples(*features, *(faces.faces.identities for faces in self.sets))
        try:
            return float(mean_discrepancy(samples, permutations=0)["mmd2"])
        except Face2ExpError:
            return None


def parts(run_dir: Path | str) -> list[Path]:
    """The files of a run's table, in the order of their steps."""
    run_dir = Path(run_dir)
    return sorted((run_dir / FOLDER).glob("before-step-*.parquet"), key=_last_step)


def _last_step(path: Path) -> int:
    found = re.search(r"before-step-(\d+)\.parquet$", path.name)
    return int(found[1]) if found else 0


def _numbers(prefix: str, values: dict[str, Any]) -> list[tuple[str, float]]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _numbers(f"{prefix}{name}/", value)
        elif isinstance(value, int | float):
            found.append((prefix + name, float(value)))
    return found


class MetricsLog:
    """`metrics.jsonl`, one record a step; a resumed run drops what came after its checkpoint."""

    def __init__(self, path: Path, *, keep_before: int) -> None:
        kept = [r for r in read_jsonl(path) if r.get("step", keep_before) < keep_before]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        self._path, self._file = path, path.open("a")

    def append(self, record: dict[str, Any]) -> None:
        """Add one record. Lines reach the disk at `flush`, before the checkpoint that follows."""
        self._file.write(json.dumps(record) + "\n")

    def flush(self) -> None:
        """Write what was added.

        Raises:
            Face2ExpError: if the disk is full.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise Face2ExpError(
                f"{self._path}: cannot write ({error.strerror}): free some space and --resume"
            ) from error

    def close(self) -> None:
        self._file.close()
