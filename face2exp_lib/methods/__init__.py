"""Other ways to learn from the same faces: one module, one step function and one paper each.

A rival takes raw modules, optimisers, a batch and its options, updates in place and returns
detached 0-d tensors, as `meta_face2exp.meta_step` does. It is made of the same passes (`passes`),
so precision, micro-batches and memory are the same, too. Its inputs are those of Meta-Face2Exp:
labelled FER faces, and the plain and the augmented view of unlabelled FR faces.

All of them keep the project's batch-norm policy (`networks.frozen_running_stats`): each pass is
normalised by its own batch, and of a network that sees labels only the labelled pass moves the
running statistics. The released code of UDA, FixMatch and Meta Pseudo Labels normalises labelled
and unlabelled images together. Nor do weights get averaged over time here, as all three do for
evaluation.
"""
