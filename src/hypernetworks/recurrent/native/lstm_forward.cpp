// A layer of LSTM or HyperLSTM forward.
//
// Each step: all products on [h; ĥ], each thread some columns; a barrier; all else, each thread some rows, a few at a time, so that
// their scales d never leave the cache; a barrier. W_x x of many steps is one product.
#include "export.h"
#include "lstm_layer.h"
#include "run.h"

namespace hn {
namespace {

// A thread's room for a tile of rows.
template <class T> struct ForwardRoom { T *pre, *z, *gates, *stats; };

template <class T> struct Forward : Layer<T> {
  using Layer<T>::call, Layer<T>::I, Layer<T>::H, Layer<T>::K, Layer<T>::Z, Layer<T>::B, Layer<T>::sequence;
  using Layer<T>::out, Layer<T>::in, Layer<T>::pre_width, Layer<T>::state_width, Layer<T>::z_width, Layer<T>::hyper;

  Forward(const LSTMCall& call, int threads) : Layer<T>(call), pieces(sequence.pieces(ROWS)), workspace(out(call.workspace)) {
    const long rows = most_rows(pieces);
    W_x = workspace.take(packed<T>(I, pre_width()));
    W_h = workspace.take(packed<T>(H, 4 * H));
    hyper_W_h = workspace.take(packed<T>(H + K, 4 * K));
    P = workspace.take(packed<T>(K, z_width()));
    D = workspace.take(12 * packed<T>(Z, H));
    bias = workspace.take(pre_width());
    state = workspace.take(B * state_width());
    pre = call.save ? out(call.saved_pre) : workspace.take(rows * pre_width());
    wh = call.save ? out(call.saved_wh) : workspace.take(B * 4 * H);
    for (int t = 0; t < threads; t++)
      room.push_back({workspace.take(SOME * 4 * H), workspace.take(SOME * z_width()), workspace.take(std::max(H, K)), workspace.take(STATS)});
  }

  const std::vector<Piece> pieces;
  Workspace<T> workspace;
  T *W_x, *W_h, *hyper_W_h, *P, *D, *bias, *state, *pre, *wh;
  std::vector<ForwardRoom<T>> room;

  void run(const Thread& thread) const {
    pack(thread);
    begin(thread);
    for (const Piece& piece : pieces) {
      thread.wait();
      inputs(thread, piece);
      thread.wait();
      for (long s = piece.begin; s < piece.end; s++) {
        const Step& step = sequence.order[s];
        // Where this step's rows of pre and W_h h lie: kept for all steps, or for those of this piece, and of this step.
        T* step_pre = pre + (step.first - (call.save ? 0 : piece.first)) * pre_width();
        T* step_wh = wh + (call.save ? step.first : 0) * 4 * H;
        products(thread, step, other_end_each(s), step_pre, step_wh);
        thread.wait();
        rows(thread, step, step_pre, step_wh);
        thread.wait();
      }
    }
    finish(thread);
  }

  void pack(const Thread& thread) const {
    pack_columns(thread, W_x, I, pre_width(), [&](long c) { return this->input_row(c); }, 0, I);
    pack_columns(thread, W_h, H, 4 * H, [&](long c) { return this->recurrent_row(c); }, 0, H);
    if (!hyper()) return;
    pack_columns(thread, hyper_W_h, H, 4 * K, [&](long c) { return this->hyper_W_h_on_h(c); }, 0, H + K);
    pack_columns(thread, hyper_W_h, K, 4 * K, [&](long c) { return Layer<T>::hyper_W_h + c * K; }, H, H + K);
    pack_columns(thread, P, K, z_width(), [&](long c) { return Layer<T>::P + c * K; }, 0, K);
    for (long a = 0; a < 12; a++)
      pack_columns(thread, D + a * packed<T>(Z, H), Z, H, [&](long j) { return Layer<T>::D + (a * H + j) * Z; }, 0, Z);
  }

  // The bias of the products on x: [b] or [0; b̂], since HyperLSTM's own b waits for the scales. And the state that the steps
  // change: [h; ĥ] for the products, c and ĉ where the answer wants them; a c that is kept for each step is not copied there
  // before the end.
  void begin(const Thread& thread) const {
    if (thread.index == 0) {
      std::fill_n(bias, pre_width(), T(0));
      if (hyper()) std::copy_n(this->hyper_b, 4 * K, bias + 4 * H);
      else if (this->b) std::copy_n(this->b, 4 * H, bias);
    }
    const Range own = thread.share(B);
    for (long r = own.begin; r < own.end; r++) {
      std::copy_n(in(call.h0) + r * H, H, state + r * state_width());
      if (!call.save) std::copy_n(in(call.c0) + r * H, H, out(call.c) + r * H);
      if (!hyper()) continue;
      std::copy_n(in(call.hyper_h0) + r * K, K, state + r * state_width() + H);
      std::copy_n(in(call.hyper_c0) + r * K, K, out(call.hyper_c) + r * K);
    }
  }

  void finish(const Thread& thread) const {
    const Range own = thread.share(B);
    for (long r = own.begin; r < own.end; r++) {
      std::copy_n(state + r * state_width(), H, out(call.h) + r * H);
      if (call.save) std::copy_n(out(call.saved_c) + sequence.last_row(r) * H, H, out(call.c) + r * H);
      if (hyper()) std::copy_n(state + r * state_width() + H, K, out(call.hyper_h) + r * K);
    }
  }

  // [W_x; Ŵ_x] x + the bias for all rows of a piece.
  void inputs(const Thread& thread, const Piece& piece) const {
    const long width = pre_width();
    T* to = pre + (call.save ? piece.first : 0) * width;
    product_into(piece.rows, this->x + piece.first * I, I, W_x, I, width, {0, I}, thread.share(panels<T>(width)), to, width,
                 [&](T* to, long column, Vec<T> v, auto part) { store(to, v + load(bias + column, part), part); });
  }

  // W_h h_{t-1}, and Ŵ_h h_{t-1} + Ŵ_ĥ ĥ_{t-1} on top of the hyper cell's products on x.
  void products(const Thread& thread, const Step& step, From from, T* pre, T* wh) const {
    product_to(step.rows, state, state_width(), W_h, H, 4 * H, thread.share(panels<T>(4 * H)), hyper() ? wh : pre,
               hyper() ? 4 * H : pre_width(), hyper(), from);
    if (hyper())
      product_to(step.rows, state, state_width(), hyper_W_h, H + K, 4 * K, thread.share(panels<T>(4 * K)), pre + 4 * H, pre_width(),
                 false);
  }

  // From the products to the new state.
  void rows(const Thread& thread, const Step& step, T* pre, const T* wh) const {
    const Range own = thread.share(step.rows);
    for (long first = own.begin; first < own.end; first += SOME) {
      const long count = std::min(SOME, own.end - first);
      if (hyper()) {
        hyper_rows(room[thread.index], step, first, count, pre, wh);
        for (long r = 0; r < count; r++) main_row(room[thread.index], step, first + r, room[thread.index].pre + r * 4 * H);
      } else {
        for (long r = 0; r < count; r++) main_row(room[thread.index], step, first + r, pre + (first + r) * pre_width());
      }
    }
  }

  // ĥ_t, z and the scaled sum of some rows, into room.pre.
  void hyper_rows(const ForwardRoom<T>& room, const Step& step, long first, long count, const T* pre, const T* wh) const {
    const long width = pre_width();
    T* z = call.save ? out(call.saved_z) + (step.first + first) * z_width() : room.z;
    for (long r = first; r < first + count; r++) {
      const long row = step.first + r;
      T *hyper_h = state + r * state_width() + H, *hyper_c = out(call.hyper_c) + r * K;
      T* stats = call.save ? out(call.saved_hyper_stats) + row * STATS : room.stats;
      this->hyper_lstm.forward({.pre = pre + r * width + 4 * H, .apart = nullptr, .mask = nullptr, .h_before = nullptr,
                                .c_before = hyper_c, .h = hyper_h, .c = hyper_c, .stats = stats, .room = room.gates});
      if (!call.save) continue;
      std::copy_n(hyper_h, K, out(call.saved_hyper_h) + row * K);
      std::copy_n(hyper_c, K, out(call.saved_hyper_c) + row * K);
    }
    // z_a = P_a ĥ_t + p_a
    product_to(count, state + first * state_width() + H, state_width(), P, K, z_width(), {0, panels<T>(z_width())}, z, z_width(),
               true);
    for (long r = 0; r < count; r++)
      lanes<T>(8 * Z, [&](long j, auto part) { add(z + r * z_width() + j, load(Layer<T>::p + j, part), part); });
    scaled_sum(*this, D, count, z, pre + first * width, wh + first * 4 * H, room.pre, [](long, long, long, Vec<T>, auto) {});
  }

  void main_row(const ForwardRoom<T>& room, const Step& step, long r, const T* pre) const {
    const long row = step.first + r;
    T *h = state + r * state_width(), *c = call.save ? out(call.saved_c) + row * H : out(call.c) + r * H;
    T* stats = call.save ? out(call.saved_stats) + row * STATS : room.stats;
    const T* c_before = call.save ? this->c_before(step, r) : c;
    this->main.forward({.pre = pre, .apart = nullptr, .mask = this->mask_row(row), .h_before = nullptr, .c_before = c_before,
                        .h = h, .c = c, .stats = stats, .room = room.gates});
    std::copy_n(h, H, this->output + row * H);
  }
};

}  // namespace
}  // namespace hn

HN_EXPORT(int64_t, lstm_size)() { return sizeof(hn::LSTMCall); }
HN_EXPORT(int64_t, lstm_forward)(const hn::LSTMCall* call) { return hn::run<hn::Forward<HN_TYPE>>(*call); }
