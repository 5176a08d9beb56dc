"""Every layout that can be read, by its name in a config (`data.*.format`)."""

from face2exp_lib.data.formats.affectnet import AFFECTNET_SET
from face2exp_lib.data.formats.celeba import CELEBA
from face2exp_lib.data.formats.expw import EXPW
from face2exp_lib.data.formats.fer2013 import FER2013_CSV, FERPLUS
from face2exp_lib.data.formats.folders import CLASS_FOLDERS, IDENTITY_FOLDERS
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.listed import LISTED
from face2exp_lib.data.formats.rafdb import RAFDB_BASIC
from face2exp_lib.data.formats.recordio import RECORDIO
from face2exp_lib.data.formats.rendered import RENDERED
from face2exp_lib.data.formats.shards import SHARDS

# Layouts that only one set has come before folders, which nearly everything has: the first that
# recognises a path is taken.
FORMATS: dict[str, Format] = {
    adapter.name: adapter
    for adapter in (
        RENDERED,
        SHARDS,
        RAFDB_BASIC,
        AFFECTNET_SET,
        FERPLUS,
        FER2013_CSV,
        EXPW,
        CELEBA,
        RECORDIO,
        LISTED,
        CLASS_FOLDERS,
        IDENTITY_FOLDERS,
    )
}
