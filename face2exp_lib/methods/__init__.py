"""Every way to learn from the same faces, by its name in a config (`method`): one file and one
paper each.

A method's step takes raw modules, optimisers, a batch and its options, updates in place and returns
detached 0-d tensors. All are made of the same passes (`passes`), so precision, micro-batches and
memory are the same, too. Their inputs are those of Meta-Face2Exp: labelled FER faces, and the plain
and the augmented view of unlabelled FR faces.

All of them keep the project's batch-norm policy (`networks.frozen_running_stats`): each pass is
normalised by its own batch, and of a network that sees labels only the labelled pass moves the
running statistics. The released code of UDA, FixMatch and Meta Pseudo Labels normalises labelled
and unlabelled images together. All three average weights over time for evaluation, which a run
here does with `training.ema`. Five methods are held against an outside code, USB's, by
`benchmarks/peers.py`; `results/benchmarks/peers.json` says where the two differ and why.
"""

from face2exp_lib.methods.ada_cm import ADA_CM
from face2exp_lib.methods.cake import CAKE
from face2exp_lib.methods.class_balanced import CLASS_BALANCED
from face2exp_lib.methods.dmue import DMUE
from face2exp_lib.methods.fixmatch import FIXMATCH
from face2exp_lib.methods.freematch import FREEMATCH
from face2exp_lib.methods.gacnn import GACNN
from face2exp_lib.methods.ipa2lt import IPA2LT
from face2exp_lib.methods.ldl_alsg import LDL_ALSG
from face2exp_lib.methods.mean_teacher import MEAN_TEACHER
from face2exp_lib.methods.meta_face2exp import META
from face2exp_lib.methods.meta_pseudo_labels import META_PSEUDO_LABELS
from face2exp_lib.methods.method import Method
from face2exp_lib.methods.noisy_student import NOISY_STUDENT
from face2exp_lib.methods.pseudo_label import PSEUDO_LABEL
from face2exp_lib.methods.ran import RAN
from face2exp_lib.methods.remixmatch import REMIXMATCH
from face2exp_lib.methods.scn import SCN
from face2exp_lib.methods.supervised import SUPERVISED
from face2exp_lib.methods.uda import UDA

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        SUPERVISED,
        CLASS_BALANCED,
        SCN,
        CAKE,
        DMUE,
        RAN,
        GACNN,
        LDL_ALSG,
        IPA2LT,
        PSEUDO_LABEL,
        MEAN_TEACHER,
        NOISY_STUDENT,
        UDA,
        FIXMATCH,
        REMIXMATCH,
        FREEMATCH,
        ADA_CM,
        META_PSEUDO_LABELS,
        META,
    )
}
