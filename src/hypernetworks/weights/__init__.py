"""Hypernetworks for any module: weight generators, and the network that runs a target with generated weights."""

from .conditions import TaskEmbedding
from .generator import Generator, GeneratorChain, GeneratorSplit
from .generators import ChunkedGenerator, FullGenerator, LowRankGenerator, RowScaleGenerator
from .layers import HyperConv2d, HyperLinear
from .network import HyperNetwork
from .regularizers import ContinualRegularizer
from .report import WeightReport
from .selection import TargetWeight
from .tiled import TiledKernelGenerator

__all__ = [
    "ChunkedGenerator",
    "ContinualRegularizer",
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
]
