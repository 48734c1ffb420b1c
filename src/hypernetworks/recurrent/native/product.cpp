// The products that all networks share, compiled once.
#define HN_EXTERN
#include "weight_gradients.h"
#include "export.h"
#include "layer_call.h"

HN_EXPORT(int64_t, layer_call_size)() { return sizeof(hn::LayerCall); }
