"""Networks that generate the weights of other networks.

    import hypernetworks as hn

    rnn = hn.HyperLSTM(input_size, hidden_size)      # called as torch.nn.LSTM is called
    output, state = rnn(input)

Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106.
"""

from . import interop
from .analysis import LayerTrace, Trace, trace
from .recurrent import (
    GRU,
    LSTM,
    RHN,
    RNN,
    GRUCell,
    HyperGRU,
    HyperGRUCell,
    HyperGRUState,
    HyperLSTM,
    HyperLSTMCell,
    HyperLSTMState,
    HyperRHN,
    HyperRHNCell,
    HyperRHNState,
    HyperRNN,
    HyperRNNCell,
    HyperRNNState,
    LSTMCell,
    LSTMState,
    RHNCell,
    RNNCell,
    use_backend,
)
from .weights import (
    ChunkedGenerator,
    ContinualRegularizer,
    Factors,
    FullGenerator,
    Generator,
    GeneratorChain,
    GeneratorSplit,
    HyperConv2d,
    HyperLinear,
    HyperNetwork,
    LowRankGenerator,
    RowScaleGenerator,
    TargetWeight,
    TaskEmbedding,
    TiledKernelGenerator,
    WeightReport,
    outputs_last,
    planned_step,
)

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RHN",
    "RNN",
    "ChunkedGenerator",
    "ContinualRegularizer",
    "Factors",
    "FullGenerator",
    "GRUCell",
    "Generator",
    "GeneratorChain",
    "GeneratorSplit",
    "HyperConv2d",
    "HyperGRU",
    "HyperGRUCell",
    "HyperGRUState",
    "HyperLSTM",
    "HyperLSTMCell",
    "HyperLSTMState",
    "HyperLinear",
    "HyperNetwork",
    "HyperRHN",
    "HyperRHNCell",
    "HyperRHNState",
    "HyperRNN",
    "HyperRNNCell",
    "HyperRNNState",
    "LSTMCell",
    "LSTMState",
    "LayerTrace",
    "LowRankGenerator",
    "RHNCell",
    "RNNCell",
    "RowScaleGenerator",
    "TargetWeight",
    "TaskEmbedding",
    "TiledKernelGenerator",
    "Trace",
    "WeightReport",
    "__version__",
    "interop",
    "outputs_last",
    "planned_step",
    "trace",
    "use_backend",
]
