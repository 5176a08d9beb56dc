"""Under which terms a run's weights stand, as far as what they were made from decides it."""

from face2exp_lib.config import RunConfig
from face2exp_lib.data.formats import ADAPTERS

PRETRAINED = (
    "The training began with torchvision's ImageNet weights of {backbone} (IMAGENET1K_V1). The "
    "library is under the BSD 3-Clause licence; ImageNet's images are for non-commercial research "
    "and education, and whether weights made from them are bound by that is not settled."
)
FROM_SCRATCH = "The training began with random weights: no others are in them."


def weights_terms(config: RunConfig) -> str:
    """Where the weights come from and what that may forbid, in a paragraph."""
    start = FROM_SCRATCH
    if config.network.pretrained:
        start = PRETRAINED.format(backbone=config.network.backbone)
    return " ".join([start, *(f"{title}: {state}" for title, state in set_terms(config).items())])


def set_terms(config: RunConfig) -> dict[str, str]:
    """Licence and state of each set that trained or chose the weights, by its title."""
    data = config.data
    sources = [data.labelled, data.unlabelled]
    if data.validation is not None:
        sources.append(data.validation)
    adapters = [ADAPTERS[source.format] for source in sources]
    return {adapter.title: " ".join(adapter.state.split()) for adapter in adapters}
