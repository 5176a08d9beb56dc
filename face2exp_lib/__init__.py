"""face2exp: learning facial expressions from biased data with Meta-Face2Exp (CVPR 2022)."""

__version__ = "0.1.0"
