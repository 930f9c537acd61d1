"""Networks that score label maps."""

from .region_discriminator import RegionDiscriminator

__all__ = ['RegionDiscriminator']
