"""Networks that score label maps."""

from .region_discriminator import RegionDiscriminator
