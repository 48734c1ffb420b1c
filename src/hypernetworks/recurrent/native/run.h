// One pass over a layer: how much room it needs, or the pass itself, by a team of threads.
#pragma once

#include "space.h"
#include "team.h"

namespace hn {

// Pass(call, threads) lays out its room in `pass.space` from call.space on; pass.run(team) does the work.
template <class Pass, class Call> int64_t run(const Call& call) {
  const int threads = int(call.threads);
  Pass pass(call, threads);
  if (!call.space) return pass.space.used();
  with_team(threads, [&](const Team& team) { pass.run(team); });
  return 0;
}

}  // namespace hn
