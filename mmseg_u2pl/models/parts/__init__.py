"""What methods are made of. Each part is registered, and serves every method by config."""

from .alignment import ClassAlignment
from .memory_bank import MemoryBank
from .mixing import ClassMix, CutMix
from .selection import ConfidenceThreshold, EntropyPercentile
from .teacher import Teacher
from .views import PhotometricView
