"""Hypernetworks for any module: weight generators, and the network that runs a target with generated weights."""

from .chunked import ChunkedGenerator
from .compose import GeneratorChain, GeneratorSplit
from .conditions import TaskEmbedding
from .encoders import CosSinEncoder, EncodedGenerator, FourierEncoder
from .factors import Factors, reconstruction_loss, stack_factors
from .full import FullGenerator
from .generator import Generator
from .init import siren_
from .layers import HyperConv2d, HyperLinear
from .low_rank import LowRankGenerator
from .network import HyperNetwork
from .regularizers import ContinualRegularizer, planned_step
from .report import WeightReport
from .residual import ResidualGenerator
from .row_scale import RowScaleGenerator
from .selection import TargetWeight
from .shared_low_rank import SharedLowRankGenerator
from .storage import outputs_last
from .tiled import TiledKernelGenerator

__all__ = [
    "ChunkedGenerator",
    "ContinualRegularizer",
    "CosSinEncoder",
    "EncodedGenerator",
    "Factors",
    "FourierEncoder",
    "FullGenerator",
    "Generator",
    "GeneratorChain",
    "GeneratorSplit",
    "HyperConv2d",
    "HyperLinear",
    "HyperNetwork",
    "LowRankGenerator",
    "ResidualGenerator",
    "RowScaleGenerator",
    "SharedLowRankGenerator",
    "TargetWeight",
    "TaskEmbedding",
    "TiledKernelGenerator",
    "WeightReport",
    "outputs_last",
    "planned_step",
    "reconstruction_loss",
    "siren_",
    "stack_factors",
]
