// The kernels of LSTM and HyperLSTM.
#define HN_LSTM
#include "lstm_cell.h"

#include "backward.h"
#include "export.h"
#include "forward.h"
#include "run.h"

template struct hn::LSTMCell<HN_TYPE>;

HN_EXPORT(int64_t, lstm_forward)(const hn::LayerCall* call) { return hn::run<hn::Forward<HN_TYPE, hn::LSTMCell<HN_TYPE>>>(*call); }
HN_EXPORT(int64_t, lstm_backward)(const hn::LayerCall* call) { return hn::run<hn::Backward<HN_TYPE, hn::LSTMCell<HN_TYPE>>>(*call); }
