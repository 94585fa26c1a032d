"""Settings for tests."""

import config
from aer.settings import PannsSettings


def sample_settings(**changes: object) -> PannsSettings:
    """Return the settings of the sample recipe for PANNs, with some changed."""
    return PannsSettings.model_validate(config.PANNS["sample"].model_dump() | changes)
