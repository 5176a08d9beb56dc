"""The specs of the default pack, `data/rendered/`.

The labelled part is long-tailed like RAF-DB's training set (Li, Deng & Du, CVPR 2017). The
unlabelled part is biased as faces from the web are: mostly neutral and happy, with compounds,
turned further and lit otherwise. No person is in two parts.
"""

from typing import Any

RAF_DB_TRAINING_COUNTS = {
    "neutral": 2524,
    "happy": 4772,
    "surprise": 1290,
    "sad": 1982,
    "anger": 705,
    "disgust": 717,
    "fear": 281,
}
BALANCED = dict.fromkeys(RAF_DB_TRAINING_COUNTS, 1)
WEB_SHARES = {
    "neutral": 0.42,
    "happy": 0.26,
    "surprise": 0.04,
    "sad": 0.04,
    "anger": 0.04,
    "disgust": 0.04,
    "fear": 0.04,
    "surprise+happy": 0.02,
    "surprise+fear": 0.01,
    "sad+anger": 0.015,
    "sad+fear": 0.01,
    "anger+disgust": 0.015,
    "disgust+anger": 0.01,
    "disgust+happy": 0.01,
    "fear+surprise": 0.02,
    "fear+anger": 0.01,
}
SEED = 20220
SHARED: dict[str, Any] = {"seed": SEED, "size": 64, "intensity": [0.45, 1.1], "idle": 0.1}
LABELLED = SHARED | {"pose": 0.8, "light": 0.8}

DEFAULT_PARTS: dict[str, dict[str, Any]] = {
    "fer_train": LABELLED
    | {
        "purpose": "fer_train",
        "count": 3000,
        "classes": RAF_DB_TRAINING_COUNTS,
        "first_identity": 0,
        "num_identities": 60,
    },
    "fer_val": LABELLED
    | {
        "purpose": "fer_val",
        "count": 7 * 60,
        "classes": BALANCED,
        "first_identity": 1000,
        "num_identities": 100,
    },
    "fer_test": LABELLED
    | {
        "purpose": "fer_test",
        "count": 7 * 150,
        "classes": BALANCED,
        "first_identity": 2000,
        "num_identities": 250,
    },
    "fr": SHARED
    | {
        "purpose": "fr",
        "count": 8000,
        "classes": WEB_SHARES,
        "first_identity": 10_000,
        "num_identities": 800,
        "pose": 1.1,
        "light": 1.1,
    },
}
UNLABELLED = ["fr"]
