// The kernels of RHN and HyperRHN.
#include "rhn_cell.h"

#include "backward.h"
#include "export.h"
#include "forward.h"
#include "rhn_plain.h"
#include "run.h"

HN_EXPORT(int64_t, rhn_forward)(const hn::LayerCall* call) {
  if (!call->hyper) return hn::run<hn::HighwayForward<HN_TYPE>>(*call);
  return hn::run<hn::Forward<HN_TYPE, hn::RHNCell<HN_TYPE>>>(*call);
}

HN_EXPORT(int64_t, rhn_backward)(const hn::LayerCall* call) {
  if (!call->hyper) return hn::run<hn::HighwayBackward<HN_TYPE>>(*call);
  return hn::run<hn::Backward<HN_TYPE, hn::RHNCell<HN_TYPE>>>(*call);
}
