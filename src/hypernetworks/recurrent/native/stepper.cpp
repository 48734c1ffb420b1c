// One time step of a stack of layers of any cell and any storage, in one call: one_step.h.
#include "export.h"
#include "gru_cell.h"
#include "one_step.h"
#include "rhn_cell.h"
#include "rnn_cell.h"

namespace hn {
namespace {

template <template <class> class Cell, class S> int64_t run_step(const StepperCall& call) {
  const int threads = int(call.threads);
  OneStep<Cell, S> step(call, threads);
  if (!call.workspace) return step.workspace.used();
  using T = typename S::T;
  run_threads(threads, [&](const Thread& thread) {
    step.run(thread, static_cast<const T*>(call.x), static_cast<T*>(call.output));
  });
  return 0;
}

template <class S> int64_t of_cell(const StepperCall& call) {
  switch (call.cell) {
    case 0: return run_step<LSTMCell, S>(call);
    case 1: return run_step<GRUCell, S>(call);
    case 2: return run_step<RNNCell, S>(call);
    case 3: return run_step<RHNCell, S>(call);
  }
  return -1;
}

template <class T> int64_t of_storage(const StepperCall& call) {
  if constexpr (std::is_same_v<T, float>) {
    if (call.storage == 1) return of_cell<Bfloat16>(call);
    if (call.storage == 2) return of_cell<Int8>(call);
  }
  return call.storage == 0 ? of_cell<Own<T>>(call) : -1;
}

}  // namespace
}  // namespace hn

HN_EXPORT(int64_t, stepper_step)(const hn::StepperCall* call) { return hn::of_storage<HN_TYPE>(*call); }
HN_EXPORT(int64_t, stepper_size)() { return sizeof(hn::StepperCall); }
HN_EXPORT(int64_t, stepper_layer_size)() { return sizeof(hn::StepperLayer); }
HN_EXPORT(int64_t, stepper_padding)() { return hn::PADDING; }
