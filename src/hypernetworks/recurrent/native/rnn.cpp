// The kernels of RNN and HyperRNN.
#include "rnn_cell.h"

#include "backward.h"
#include "export.h"
#include "forward.h"
#include "run.h"

HN_EXPORT(int64_t, rnn_forward)(const hn::LayerCall* call) { return hn::run<hn::Forward<HN_TYPE, hn::RNNCell<HN_TYPE>>>(*call); }
HN_EXPORT(int64_t, rnn_backward)(const hn::LayerCall* call) { return hn::run<hn::Backward<HN_TYPE, hn::RNNCell<HN_TYPE>>>(*call); }
