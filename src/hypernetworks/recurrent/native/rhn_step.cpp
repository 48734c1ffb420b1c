// One step of the plain RHN for a few rows.
#include "dot.h"
#include "export.h"
#include "rhn_plain.h"
#include "run.h"

namespace hn {
namespace {

// One step of a few rows, for generation: nothing is packed, nothing is kept.
template <class T> struct OneStep : Highway<T> {
  using Highway<T>::call, Highway<T>::I, Highway<T>::H, Highway<T>::L, Highway<T>::B, Highway<T>::in, Highway<T>::out;

  OneStep(const LayerCall& call, int) : Highway<T>(call), workspace(out(call.workspace)) {
    pre = workspace.take(B * 2 * H);
    s[0] = workspace.take(B * H);
    s[1] = workspace.take(B * H);
  }

  Workspace<T> workspace;
  T *pre, *s[2];

  void run(const Thread& thread) const {
    const Range own = thread.share(H);
    const T* before = in(call.h0);
    for (long l = 0; l < L; l++) {
      T* after = l == L - 1 ? out(call.h) : s[l % 2];
      // the same columns of h and of t
      for (long block = 0; block < 2; block++) {
        const long first = block * H;
        const Range rows{first + own.begin, first + own.end};
        dots(B, rows, this->R + l * 2 * H * H, H, H, before, H, pre, 2 * H, true);
        if (l == 0) dots(B, rows, this->W, I, I, this->x, I, pre, 2 * H, false);
      }
      for (long r = 0; r < B; r++)
        lanes<T>(own.end - own.begin, [&](long i, auto part) {
          const long j = own.begin + i;
          auto y = [&](long n) { return load(pre + r * 2 * H + n, part) + load(this->b + l * 2 * H + n, part); };
          const Vec<T> h = tanh<T>(y(j)), t = sigmoid<T>(y(H + j));
          const Vec<T> s = load(before + r * H + j, part), next = s + t * (this->keep(r, l, j, part) * h - s);
          store(after + r * H + j, next, part);
        });
      before = after;
      if (l < L - 1) thread.wait();
    }
  }
};

}  // namespace
}  // namespace hn

HN_EXPORT(int64_t, rhn_step)(const hn::LayerCall* call) { return hn::run<hn::OneStep<HN_TYPE>>(*call); }
