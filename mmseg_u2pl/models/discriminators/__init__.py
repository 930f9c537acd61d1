"""Networks that judge predictions."""

from .region_discriminator import RegionDiscriminator

__all__ = ['RegionDiscriminator']
