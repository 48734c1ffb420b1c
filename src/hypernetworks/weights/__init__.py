"""Hypernetworks for any module: weight generators, and the network that runs a target with generated weights."""

from .chunked import ChunkedGenerator
from .compose import GeneratorChain, GeneratorSplit
from .conditions import TaskEmbedding
from .factors import Factors, reconstruction_loss, stack_factors
from .full import FullGenerator
from .generator import Generator
from .layers import HyperConv2d, HyperLinear
from .low_rank import LowRankGenerator
from .network import HyperNetwork
from .regularizers import ContinualRegularizer, planned_step
from .report import WeightReport
from .row_scale import RowScaleGenerator
from .selection import TargetWeight
from .storage import outputs_last
from .tiled import TiledKernelGenerator

__all__ = [
    "ChunkedGenerator",
    "ContinualRegularizer",
    "Factors",
    "FullGenerator",
    "Generator",
    "GeneratorChain",
    "GeneratorSplit",
    "HyperConv2d",
    "HyperLinear",
    "HyperNetwork",
    "LowRankGenerator",
    "RowScaleGenerator",
    "TargetWeight",
    "TaskEmbedding",
    "TiledKernelGenerator",
    "WeightReport",
    "outputs_last",
    "planned_step",
    "reconstruction_loss",
    "stack_factors",
]
