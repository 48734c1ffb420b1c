// One step of LSTM or HyperLSTM for a few rows, for generation: each matrix is read once, where it lies; nothing is packed,
// nothing is kept.
#include "export.h"
#include "layer.h"
#include "run.h"
#include "dot.h"

namespace hn {
namespace {

// The answer is the state: h is the output.
template <class T> struct OneStep : Layer<T, LSTMCell<T>> {
  using Layer<T, LSTMCell<T>>::call, Layer<T, LSTMCell<T>>::I, Layer<T, LSTMCell<T>>::H, Layer<T, LSTMCell<T>>::K, Layer<T, LSTMCell<T>>::Z, Layer<T, LSTMCell<T>>::B, Layer<T, LSTMCell<T>>::in, Layer<T, LSTMCell<T>>::out,
      Layer<T, LSTMCell<T>>::W_x, Layer<T, LSTMCell<T>>::W_h, Layer<T, LSTMCell<T>>::b, Layer<T, LSTMCell<T>>::x, Layer<T, LSTMCell<T>>::hyper, Layer<T, LSTMCell<T>>::z_width;

  OneStep(const LayerCall& call, int threads) : Layer<T, LSTMCell<T>>(call), workspace(out(call.workspace)) {
    wx = workspace.take(B * 4 * H);
    wh = workspace.take(B * 4 * H);
    hyper_pre = workspace.take(B * 4 * K);
    scales = workspace.take(B * 12 * H * hyper());
    for (int t = 0; t < threads; t++)
      room.push_back({workspace.take(B * K), workspace.take(B * K), workspace.take(B * z_width()), workspace.take(std::max(H, K)), workspace.take(10)});
  }

  struct Room { T *hyper_h, *hyper_c, *z, *gates, *stats; };
  Workspace<T> workspace;
  T *wx, *wh, *hyper_pre, *scales;
  std::vector<Room> room;

  void run(const Thread& thread) const {
    const Room& own = room[thread.index];
    products(thread);
    thread.wait();
    if (hyper()) {
      // Every thread makes ĥ and z for itself, which is less work than waiting, and scales its own columns.
      make_z(thread, own);
      scale(thread, own);
      thread.wait();
    }
    const Range rows = thread.share(B);
    for (long r = rows.begin; r < rows.end; r++) {
      this->cell.forward({.pre = wx + r * 4 * H, .apart = nullptr, .mask = this->mask_row(r, 0), .h_before = nullptr,
                          .c_before = in(call.c0) + r * H, .h = out(call.h) + r * H, .c = out(call.c) + r * H,
                          .stats = own.stats, .room = own.gates});
    }
  }

  // W_x x, W_h h and the hyper cell's pre, in this order or, where `turned`, in the other; which it is changes no bit.
  void products(const Thread& thread) const {
    const Range main = thread.share(4 * H), of_hyper = thread.share(4 * K);
    const bool turned = call.turned;
    auto x_products = [&] {
      some_at_a_time(main, turned, [&](Range own) { dots(B, own, W_x, I, I, x, I, wx, 4 * H, true); });
    };
    auto h_products = [&] {
      some_at_a_time(main, turned, [&](Range own) { dots(B, own, W_h, H, H, in(call.h0), H, wh, 4 * H, true); });
    };
    auto hyper_products = [&] {
      some_at_a_time(of_hyper, turned, [&](Range own) {
        dots(B, own, this->hyper_W_x, I + H, I, x, I, hyper_pre, 4 * K, true);
        dots(B, own, this->hyper_W_x + I, I + H, H, in(call.h0), H, hyper_pre, 4 * K, false);
        dots(B, own, this->hyper_W_h, K, K, in(call.hyper_h0), K, hyper_pre, 4 * K, false);
      });
    };
    if (turned) {
      hyper_products();
      h_products();
      x_products();
    } else {
      x_products();
      h_products();
      hyper_products();
    }
    if (hyper()) {
      add_bias(of_hyper, this->hyper_b, hyper_pre, 4 * K);
      return;
    }
    for (long r = 0; r < B; r++) add_row(main, wh + r * 4 * H, wx + r * 4 * H);
    if (b) add_bias(main, b, wx, 4 * H);
  }

  static void add_row(Range own, const T* from, T* y) {
    lanes<T>(own.end - own.begin, [&](long j, auto part) { add(y + own.begin + j, load(from + own.begin + j, part), part); });
  }

  void add_bias(Range own, const T* bias, T* y, long stride) const {
    for (long r = 0; r < B; r++) add_row(own, bias, y + r * stride);
  }

  void make_z(const Thread& thread, const Room& own) const {
    for (long r = 0; r < B; r++)
      this->hyper_cell.forward({.pre = hyper_pre + r * 4 * K, .apart = nullptr, .mask = nullptr, .h_before = nullptr,
                                .c_before = in(call.hyper_c0) + r * K, .h = own.hyper_h + r * K, .c = own.hyper_c + r * K,
                                .stats = own.stats, .room = own.gates});
    dots(B, {0, z_width()}, this->P, K, K, own.hyper_h, K, own.z, z_width(), true);
    add_bias({0, 8 * Z}, this->p, own.z, z_width());
    if (thread.index > 0) return;
    std::copy_n(own.hyper_h, B * K, out(call.hyper_h));
    std::copy_n(own.hyper_c, B * K, out(call.hyper_c));
  }

  // d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b, into wx
  void scale(const Thread& thread, const Room& own) const {
    const Range columns = thread.share(H);
    for (long a = 0; a < 12; a++)
      dots(B, columns, this->D + a * H * Z, Z, Z, own.z + a * Z, z_width(), scales + a * H, 12 * H, true);
    for (long r = 0; r < B; r++)
      for (long gate = 0; gate < 4; gate++) {
        const long first = gate * H + columns.begin;
        const T *d = scales + r * 12 * H + first, *of_h = wh + r * 4 * H + first;
        T* pre = wx + r * 4 * H + first;
        lanes<T>(columns.end - columns.begin, [&](long j, auto part) {
          const Vec<T> d_h = load(d + j, part), d_x = load(d + 4 * H + j, part), d_b = load(d + 8 * H + j, part);
          store(pre + j, d_h * load(of_h + j, part) + d_x * load(pre + j, part) + d_b + load(b + first + j, part), part);
        });
      }
  }
};

}  // namespace
}  // namespace hn

HN_EXPORT(int64_t, lstm_step)(const hn::LayerCall* call) { return hn::run<hn::OneStep<HN_TYPE>>(*call); }
