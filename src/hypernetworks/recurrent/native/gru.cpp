// The kernels of GRU and HyperGRU.
#include "gru_cell.h"

#include "backward.h"
#include "export.h"
#include "forward.h"
#include "run.h"

HN_EXPORT(int64_t, gru_forward)(const hn::LayerCall* call) { return hn::run<hn::Forward<HN_TYPE, hn::GRUCell<HN_TYPE>>>(*call); }
HN_EXPORT(int64_t, gru_backward)(const hn::LayerCall* call) { return hn::run<hn::Backward<HN_TYPE, hn::GRUCell<HN_TYPE>>>(*call); }
