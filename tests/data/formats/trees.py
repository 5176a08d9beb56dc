"""Small trees in the layouts in which the sets come, byte for byte, with noise for faces."""

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

MAGIC = struct.pack("<I", 0xCED7230A)
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
    "valence,arousal"
)
FERPLUS_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)


def jpeg(seed: int, size: tuple[int, int] = (24, 24)) -> bytes:
    """Noise as a JPEG; other seeds give other bytes. `size` is width, height."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def class_folders(root: Path, counts: Mapping[str, int], content: bytes | None = None) -> Path:
    """`root/<class>/<number>.jpg`."""
    for name, count in counts.items():
        for number in range(count):
            put(root / name / f"{number}.jpg", content or jpeg(number))
    return root


def rafdb(root: Path, labels: Sequence[tuple[str, str]]) -> Path:
    """(`train_00001.jpg`, code) each."""
    put(
        root / "EmoLabel" / "list_patition_label.txt",
        "".join(f"{name} {code}\n" for name, code in labels),
    )
    for number, (name, _) in enumerate(labels):
        aligned = name.replace(".jpg", "_aligned.jpg")
        put(root / "Image" / "aligned" / aligned, jpeg(number, (100, 100)))
    return root


def affectnet_2017(
    root: Path,
    rows: Sequence[tuple[str, str, str]],
    table: str = "training.csv",
    header: bool = True,
) -> Path:
    """(`1/a.jpg`, `x,y,width,height`, expression) each; images of 40 x 30 px."""
    points = ";".join(["10.5"] * 136)
    lines = [f"{path},{box},{points},{code},0.1,-0.2" for path, box, code in rows]
    put(root / table, "\n".join([AFFECTNET_HEADER] * header + lines) + "\n")
    for number, (path, _, _) in enumerate(rows):
        seed = number + 1000 * table.startswith("validation")  # parts share no image
        put(root / "Manually_Annotated_Images" / path, jpeg(seed, (40, 30)))
    return root


def npy(value: object) -> bytes:
    """One value as `np.save` writes it."""
    buffer = io.BytesIO()
    np.save(buffer, np.array(value), allow_pickle=True)
    return buffer.getvalue()


def affectnet_2021(root: Path, folder: str, values: Mapping[str, object]) -> Path:
    """Id -> expression; with valence, arousal and landmarks beside it."""
    for number, (stem, value) in enumerate(values.items()):
        annotations = root / folder / "annotations"
        seed = number + 1000 * folder.startswith("val")  # parts share no image
        put(root / folder / "images" / f"{stem}.jpg", jpeg(seed))
        put(annotations / f"{stem}_exp.npy", npy(value))
        put(annotations / f"{stem}_val.npy", npy("0.1"))
        put(annotations / f"{stem}_aro.npy", npy("-0.1"))
        put(annotations / f"{stem}_lnd.npy", npy(np.zeros(136)))
    return root


def expw(root: Path, lines: Sequence[str]) -> Path:
    """Lines of `label.lst`; photos of 60 x 40 px."""
    put(root / "label" / "label.lst", "\n".join(lines) + "\n")
    for number, name in enumerate(sorted({line.split()[0] for line in lines})):
        put(root / "image" / "origin" / name, jpeg(number, (60, 40)))
    return root


def fer2013_row(code: int, usage: str, grey: int = 7) -> str:
    """A row of Kaggle's table, all pixels alike."""
    return f"{code},{' '.join([str(grey)] * 48 * 48)},{usage}"


def fer2013(root: Path, rows: Sequence[str]) -> Path:
    """Kaggle's table."""
    return put(root / "fer2013.csv", "\n".join(["emotion,pixels,Usage", *rows]) + "\n")


def ferplus(root: Path, rows: Sequence[str]) -> Path:
    """The table of votes."""
    return put(root / "fer2013new.csv", "\n".join([FERPLUS_HEADER, *rows]) + "\n")


def celeba(root: Path, identities: Mapping[str, int], landmarks: bool = True) -> Path:
    """Name -> person."""
    put(
        root / "identity_CelebA.txt",
        "".join(f"{name} {person}\n" for name, person in identities.items()),
    )
    names = ["lefteye", "righteye", "nose", "leftmouth", "rightmouth"]
    columns = " ".join(f"{name}_{axis}" for name in names for axis in "xy")
    if landmarks:
        put(
            root / "list_landmarks_align_celeba.txt",
            f"{len(identities)}\n{columns}\n"
            + "".join(
                f"{name}  69  109  106  113   77  142   73  152  108  {154 + i}\n"
                for i, name in enumerate(identities)
            ),
        )
    put(
        root / "list_eval_partition.txt",
        "".join(f"{name} {i % 3}\n" for i, name in enumerate(identities)),
    )
    for number, name in enumerate(identities):
        put(root / "img_align_celeba" / name, jpeg(number, (178, 218)))
    return root


def record(content: bytes, kind: int = 0) -> bytes:
    """One piece of a record: magic, kind and length, content, padding."""
    word = kind << 29 | len(content)
    return MAGIC + struct.pack("<I", word) + content + bytes(-len(content) % 4)


def labelled(image: bytes, labels: Sequence[float], key: int) -> bytes:
    """Header and image; several labels stand between them."""
    if len(labels) == 1:
        return struct.pack("<IfQQ", 0, labels[0], key, 0) + image
    head = struct.pack("<IfQQ", len(labels), 0.0, key, 0)
    return head + struct.pack(f"<{len(labels)}f", *labels) + image


def recordio(
    root: Path, images: Sequence[tuple[bytes, Sequence[float]]], stem: str = "train"
) -> Path:
    """Record 0, the images as keys 1 .. N, and a record for each identity, as InsightFace packs."""
    end = len(images) + 1
    people = sorted({int(labels[0]) for _, labels in images})
    contents = [labelled(b"", (end, end + len(people)), 0)]
    contents += [labelled(image, labels, i + 1) for i, (image, labels) in enumerate(images)]
    for number, person in enumerate(people):
        theirs = [i + 1 for i, (_, labels) in enumerate(images) if int(labels[0]) == person]
        contents.append(labelled(b"", (theirs[0], theirs[-1] + 1), end + number))
    return pack(root, [record(content) for content in contents], stem)


def pack(root: Path, records: Sequence[bytes], stem: str = "train") -> Path:
    """`.rec` and `.idx` of finished records."""
    offsets = np.cumsum([0, *(len(content) for content in records)])[:-1]
    put(root / f"{stem}.rec", b"".join(records))
    put(root / f"{stem}.idx", "".join(f"{i}\t{offset}\n" for i, offset in enumerate(offsets)))
    return root
