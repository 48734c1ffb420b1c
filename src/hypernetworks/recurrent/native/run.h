// One pass over a layer: how much room it needs, or the pass itself, by all threads.
#pragma once

#include "workspace.h"
#include "threads.h"

namespace hn {

// Pass(call, threads) lays out its room in `pass.workspace` from call.workspace on; pass.run(thread) does the work.
template <class Pass, class Call> int64_t run(const Call& call) {
  const int threads = int(call.threads);
  Pass pass(call, threads);
  if (!call.workspace) return pass.workspace.used();
  run_threads(threads, [&](const Thread& thread) { pass.run(thread); });
  return 0;
}

}  // namespace hn
