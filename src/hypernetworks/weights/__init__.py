"""Hypernetworks for any module: weight generators, and the network that runs a target with generated weights."""

from .conditions import TaskEmbedding
from .generators.chunked import ChunkedGenerator
from .generators.compose import GeneratorChain, GeneratorSplit
from .generators.encoders import CosSinEncoder, EncodedGenerator, FourierEncoder
from .generators.factors import Factors, reconstruction_loss, stack_factors
from .generators.full import FullGenerator
from .generators.generator import Generator
from .generators.init import siren_
from .generators.low_rank import LowRankGenerator
from .generators.residual import ResidualGenerator
from .generators.row_scale import RowScaleGenerator
from .generators.shared_low_rank import SharedLowRankGenerator
from .generators.tiled import TiledKernelGenerator
from .layers import HyperConv2d, HyperLinear
from .network import HyperNetwork
from .regularizers import ContinualRegularizer, planned_step
from .report import WeightReport
from .selection import TargetWeight
from .storage import outputs_last

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
