// A layer of LSTM or HyperLSTM backward.
//
// Each step: from dh to the gradients of all products, each thread some rows; a barrier; from there to the dh of the step
// before, each thread some columns; a barrier. What a weight's gradient needs is kept for some hundred rows, then multiplied
// at once. The scales, pre and the gates are made again from z and the products, which are kept.
#include "export.h"
#include "lstm_layer.h"
#include "run.h"

namespace hn {
namespace {

constexpr long PENDING = 24;  // rows whose share of D's gradient is summed at once

// Σ over threads of n numbers that lie `stride` apart, into to[i], each thread some of them.
template <class T, class To> void gather(const Thread& thread, const T* parts, long stride, long n, To to) {
  const Range own = thread.share(n);
  for (long i = own.begin; i < own.end; i++) {
    T total = 0;
    for (int t = 0; t < thread.count; t++) total += parts[t * stride + i];
    *to(i) = total;
  }
}

// A thread's room. `scales` holds d_h and d_x of some rows (SOME, 8H); `pending` and `pending_z` the gradients of the scales (PENDING,
// 12H) and z (PENDING, 12Z) until they are summed into dD (12, Z, H).
template <class T> struct BackwardRoom {
  T *scales, *pre, *dpre, *dh, *dhyper_h, *row, *pending, *pending_z, *dD, *dp;
  VectorGrads<T> main, hyper;
  OuterSpace<T> outer;
  long waiting = 0;
};

template <class T> struct Backward : Layer<T> {
  using Layer<T>::call, Layer<T>::I, Layer<T>::H, Layer<T>::K, Layer<T>::Z, Layer<T>::B, Layer<T>::sequence;
  using Layer<T>::out, Layer<T>::in, Layer<T>::pre_width, Layer<T>::state_width, Layer<T>::z_width, Layer<T>::hyper;

  Backward(const LSTMCall& call, int threads)
      : Layer<T>(call), pieces(sequence.pieces(DEPTH)), workspace(out(call.workspace)) {
    W_h = workspace.take(packed<T>(pre_width(), H));
    hyper_W_h = workspace.take(packed<T>(4 * K, K));
    W_x = call.need_input ? workspace.take(packed<T>(pre_width(), I)) : nullptr;
    P = workspace.take(packed<T>(z_width(), K));
    D = workspace.take(12 * packed<T>(Z, H));
    grads = workspace.take(most_rows(pieces) * width());
    dh = workspace.take(B * H);
    dc = workspace.take(B * H);
    dhyper_h = workspace.take(B * K);
    dhyper_c = workspace.take(B * K);
    T* shared = workspace.take(std::max(packed<T>(DEPTH, I) + packed<T>(DEPTH, H), packed<T>(DEPTH, K)));
    const long before = workspace.used();
    for (int t = 0; t < threads; t++) {
      BackwardRoom<T> r;
      r.scales = workspace.take(SOME * 8 * H * hyper());
      r.pre = workspace.take(SOME * 4 * H * hyper());
      r.dpre = workspace.take(SOME * 4 * H);
      r.dh = workspace.take(H);
      r.dhyper_h = workspace.take(SOME * K);
      r.row = workspace.take(std::max(H, K));
      r.pending = workspace.take(PENDING * 12 * H * hyper());
      r.pending_z = workspace.take(PENDING * z_width());
      r.outer = {shared, workspace.take(outer_block<T>)};
      r.main = {workspace.take(4 * H), nullptr, workspace.take(4 * H), workspace.take(4 * H), workspace.take(H), workspace.take(H)};
      r.hyper = {workspace.take(4 * K), nullptr, workspace.take(4 * K), workspace.take(4 * K), workspace.take(K), workspace.take(K)};
      r.dD = workspace.take(12 * Z * H);
      r.dp = workspace.take(8 * Z);
      room.push_back(r);
      stride = (workspace.used() - before) / (t + 1);
    }
  }

  const std::vector<Piece> pieces;
  Workspace<T> workspace;
  T *W_h, *hyper_W_h, *W_x, *P, *D, *grads, *dh, *dc, *dhyper_h, *dhyper_c;
  std::vector<BackwardRoom<T>> room;
  long stride = 0;  // from a thread's room to the next one's

  // A row of gradients: of W_h h (4H), of the hyper cell's pre (4K), of W_x x (4H), of z (12Z). Without a hyper cell W_h h and W_x x
  // have one gradient.
  long width() const { return hyper() ? 8 * H + 4 * K + z_width() : 4 * H; }
  long from_x() const { return hyper() ? 4 * H : 0; }
  long from_z() const { return 8 * H + 4 * K; }
  // Row c of [Ŵ_x; W_x], in the order of a row of gradients.
  const T* input_row(long c) const { return Layer<T>::input_row(c < 4 * K ? 4 * H + c : c - 4 * K); }

  void run(const Thread& thread) {
    BackwardRoom<T>& own = room[thread.index];
    pack(thread);
    begin(thread, own);
    bool anew = true;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); piece++, anew = false) {
      thread.wait();
      for (long s = piece->end - 1; s >= piece->begin; s--) {
        const Step& step = sequence.order[s];
        T* step_grads = grads + (step.first - piece->first) * width();
        rows(thread, own, step, step_grads);
        thread.wait();
        products(thread, step, other_end_each(s), step_grads);
        thread.wait();
      }
      if (call.need_input) inputs(thread, *piece);
      if (call.need_weights) weights(thread, own, *piece, anew);
    }
    finish(thread, own);
  }

  void pack(const Thread& thread) const {
    pack_rows(thread, W_h, pre_width(), H, [&](long c) { return this->recurrent_row(c); });
    if (W_x) pack_rows(thread, W_x, pre_width(), I, [&](long c) { return input_row(c); });
    if (!hyper()) return;
    pack_rows(thread, hyper_W_h, 4 * K, K, [&](long c) { return Layer<T>::hyper_W_h + c * K; });
    pack_rows(thread, P, z_width(), K, [&](long c) { return Layer<T>::P + c * K; });
    for (long a = 0; a < 12; a++)
      pack_columns(thread, D + a * packed<T>(Z, H), Z, H, [&](long j) { return Layer<T>::D + (a * H + j) * Z; }, 0, Z);
  }

  void begin(const Thread& thread, BackwardRoom<T>& own) const {
    const Range rows = thread.share(B);
    const long first = rows.begin, count = rows.end - rows.begin;
    // a gradient that did not come is zero
    auto start = [&](const void* came, T* to, long n) {
      if (came) std::copy_n(in(came) + first * n, count * n, to + first * n);
      else std::fill_n(to + first * n, count * n, T(0));
    };
    start(call.grad_h, dh, H);
    start(call.grad_c, dc, H);
    start(call.grad_hyper_h, dhyper_h, K);
    start(call.grad_hyper_c, dhyper_c, K);
    for (auto [grads, n] : {std::pair{own.main, H}, {own.hyper, K}}) {
      for (T* p : {grads.bias, grads.gain, grads.shift}) std::fill_n(p, 4 * n, T(0));
      for (T* p : {grads.cell_gain, grads.cell_shift}) std::fill_n(p, n, T(0));
    }
    std::fill_n(own.dD, 12 * Z * H, T(0));
    std::fill_n(own.dp, 8 * Z, T(0));
  }

  // From dh_t to the gradients of all products of the step.
  void rows(const Thread& thread, BackwardRoom<T>& own, const Step& step, T* grads) const {
    const Range range = thread.share(step.rows);
    for (long first = range.begin; first < range.end; first += SOME) {
      const long count = std::min(SOME, range.end - first);
      if (hyper()) {
        const T* z = in(call.saved_z) + (step.first + first) * z_width();
        scaled_sum(*this, D, count, z, in(call.saved_pre) + (step.first + first) * pre_width(),
                   in(call.saved_wh) + (step.first + first) * 4 * H, own.pre,
                   [&](long block, long r, long j, Vec<T> d, auto part) { store(own.scales + r * 8 * H + block * H + j, d, part); });
        for (long r = 0; r < count; r++) main_row(own, step, first + r, own.pre + r * 4 * H, own.dpre + r * 4 * H);
        hyper_rows(own, step, first, count, grads + first * width());
      } else {
        for (long r = first; r < first + count; r++)
          main_row(own, step, r, in(call.saved_pre) + (step.first + r) * 4 * H, grads + r * width());
      }
    }
  }

  void main_row(BackwardRoom<T>& own, const Step& step, long r, const T* pre, T* dpre) const {
    const long row = step.first + r;
    const T* came = call.grad_output ? in(call.grad_output) + row * H : nullptr;
    lanes<T>(H, [&](long j, auto part) {
      store(own.dh + j, load(dh + r * H + j, part) + (came ? load(came + j, part) : Vec<T>{}), part);
    });
    this->main.backward({.pre = pre, .apart = nullptr, .mask = this->mask_row(row), .h_before = nullptr,
                         .c_before = this->c_before(step, r), .c = in(call.saved_c) + row * H,
                         .stats = in(call.saved_stats) + row * STATS, .dh = own.dh, .dc = dc + r * H, .dpre = dpre,
                         .dapart = nullptr, .dh_before = nullptr, .room = own.row},
                        own.main);
  }

  // From dpre of some rows through the scales to z, ĥ and the hyper cell's pre.
  void hyper_rows(BackwardRoom<T>& own, const Step& step, long first, long count, T* grads) const {
    if (own.waiting + count > PENDING) sum_pending(own);
    T* pending = own.pending + own.waiting * 12 * H;
    std::copy_n(in(call.saved_z) + (step.first + first) * z_width(), count * z_width(), own.pending_z + own.waiting * z_width());
    own.waiting += count;
    for (long r = 0; r < count; r++) {
      const long row = step.first + first + r;
      const T *wx = in(call.saved_pre) + row * pre_width(), *wh = in(call.saved_wh) + row * 4 * H;
      const T *d = own.scales + r * 8 * H, *dpre = own.dpre + r * 4 * H;
      T *to = grads + r * width(), *dd = pending + r * 12 * H;
      lanes<T>(4 * H, [&](long j, auto part) {
        Vec<T> v = load(dpre + j, part);
        store(to + j, v * load(d + j, part), part);                            // of W_h h:  dpre ⊙ d_h
        store(to + 4 * H + 4 * K + j, v * load(d + 4 * H + j, part), part);    // of W_x x:  dpre ⊙ d_x
        store(dd + j, v * load(wh + j, part), part);                           // of d_h:    dpre ⊙ W_h h
        store(dd + 4 * H + j, v * load(wx + j, part), part);                   // of d_x:    dpre ⊙ W_x x
        store(dd + 8 * H + j, v, part);                                        // of d_b:    dpre
      });
    }
    // dz_a = D_aᵀ dd_a
    for (long a = 0; a < 12; a++)
      product_turned(count, pending + a * H, 12 * H, D + a * packed<T>(Z, H), Z, H, grads + from_z() + a * Z, width());
    // dĥ_t = what came + Σ_a P_aᵀ dz_a
    std::copy_n(dhyper_h + first * K, count * K, own.dhyper_h);
    product_to(count, grads + from_z(), width(), P, z_width(), K, {0, panels<T>(K)}, own.dhyper_h, K, false);
    for (long r = 0; r < count; r++) {
      const long row = step.first + first + r;
      const T* dz = grads + r * width() + from_z();
      lanes<T>(8 * Z, [&](long j, auto part) { add(own.dp + j, load(dz + j, part), part); });
      const T* c_before = step.before_row(first + r, in(call.saved_hyper_c), in(call.hyper_c0), K);
      this->hyper_lstm.backward({.pre = in(call.saved_pre) + row * pre_width() + 4 * H, .apart = nullptr, .mask = nullptr,
                                 .h_before = nullptr, .c_before = c_before, .c = in(call.saved_hyper_c) + row * K,
                                 .stats = in(call.saved_hyper_stats) + row * STATS, .dh = own.dhyper_h + r * K,
                                 .dc = dhyper_c + (first + r) * K, .dpre = grads + r * width() + 4 * H, .dapart = nullptr,
                                 .dh_before = nullptr, .room = own.row},
                                own.hyper);
    }
  }

  // dD_aᵀ += z_aᵀ dd_a over the rows that wait.
  void sum_pending(BackwardRoom<T>& own) const {
    alignas(64) T sums[MR * NR<T>];
    const long tiles = (Z + MR - 1) / MR;
    for (long a = 0; a < 12; a++)
      for (long column = 0; column < H; column += NR<T>)
        for (long t = 0; t < tiles; t++) {
          const long first = Z * t / tiles, rows = Z * (t + 1) / tiles - first;
          tile_of<T, 1>(rows, own.pending_z + a * Z + first, 1, z_width(), own.pending + a * H + column, 12 * H, 0, own.waiting, {},
                        sums);
          for (long r = 0; r < rows; r++)
            lanes<T>(std::min(NR<T>, H - column), [&](long j, auto part) {
              add(own.dD + (a * Z + first + r) * H + column + j, load(sums + r * NR<T> + j), part);
            });
        }
    own.waiting = 0;
  }

  // dh_{t-1} = W_hᵀ (dpre ⊙ d_h) + Ŵ_hᵀ dhyper_pre,  dĥ_{t-1} = Ŵ_ĥᵀ dhyper_pre
  void products(const Thread& thread, const Step& step, From from, const T* grads) const {
    product_to(step.rows, grads, width(), W_h, pre_width(), H, thread.share(panels<T>(H)), dh, H, true, from);
    if (hyper())
      product_to(step.rows, grads + 4 * H, width(), hyper_W_h, 4 * K, K, thread.share(panels<T>(K)), dhyper_h, K, true);
  }

  // dx = W_xᵀ (dpre ⊙ d_x) + Ŵ_xᵀ dhyper_pre for all rows of a piece.
  void inputs(const Thread& thread, const Piece& piece) const {
    product_to(piece.rows, grads + from_x(), width(), W_x, pre_width(), I, thread.share(panels<T>(I)),
               out(call.grad_x) + piece.first * I, I, true);
  }

  // The matrices' gradients: rows of gradients times what the matrices were multiplied with.
  void weights(const Thread& thread, const BackwardRoom<T>& own, const Piece& piece, bool anew) const {
    // The state before each row of the piece: that of the row in the step run before, or the initial one.
    auto before = [&](const T* all, const T* initial, long n) {
      return [this, &piece, all, initial, n](long i) {
        const Step& step = sequence.step_of(piece.first + i);
        return step.before_row(piece.first + i - step.first, all, initial, n);
      };
    };
    const T *x = this->x + piece.first * I, *hyper_h = in(call.saved_hyper_h) + piece.first * K;
    const Factor of_h{H, before(this->output, in(call.h0), H),
                      [&](long c) { return c < 4 * H ? out(call.grad_weight_h) + c * H : hyper_grad_row(c - 4 * H) + I; }};
    if (!hyper()) {
      const Factor of_x{I, [&](long i) { return x + i * I; }, [&](long c) { return out(call.grad_weight_x) + c * I; }};
      add_outer(thread, 4 * H, piece.rows, grads, width(), anew, own.outer, of_h, of_x);
      return;
    }
    const Factor of_x{I, [&](long i) { return x + i * I; },
                      [&](long c) { return c < 4 * K ? hyper_grad_row(c) : out(call.grad_weight_x) + (c - 4 * K) * I; }};
    const Factor of_hyper_h{K, before(in(call.saved_hyper_h), in(call.hyper_h0), K),
                            [&](long c) { return out(call.grad_hyper_weight_h) + c * K; }};
    const Factor of_z{K, [&](long i) { return hyper_h + i * K; }, [&](long c) { return out(call.grad_P) + c * K; }};
    add_outer(thread, pre_width(), piece.rows, grads, width(), anew, own.outer, of_h);
    add_outer(thread, pre_width(), piece.rows, grads + from_x(), width(), anew, own.outer, of_x);
    add_outer(thread, 4 * K, piece.rows, grads + 4 * H, width(), anew, own.outer, of_hyper_h);
    add_outer(thread, z_width(), piece.rows, grads + from_z(), width(), anew, own.outer, of_z);
  }

  T* hyper_grad_row(long c) const { return out(call.grad_hyper_weight_x) + c * (I + H); }

  // The state's gradients, and the vectors', which each thread has summed for its rows.
  void finish(const Thread& thread, BackwardRoom<T>& own) const {
    if (own.waiting) sum_pending(own);
    thread.wait();
    const Range rows = thread.share(B);
    for (long r = rows.begin; r < rows.end; r++) {
      std::copy_n(dh + r * H, H, out(call.grad_h0) + r * H);
      std::copy_n(dc + r * H, H, out(call.grad_c0) + r * H);
      if (!hyper()) continue;
      std::copy_n(dhyper_h + r * K, K, out(call.grad_hyper_h0) + r * K);
      std::copy_n(dhyper_c + r * K, K, out(call.grad_hyper_c0) + r * K);
    }
    const BackwardRoom<T>& first = room[0];
    auto vector = [&](const T* parts, void* to, long n) {
      if (to) gather(thread, parts, stride, n, [&](long i) { return out(to) + i; });
    };
    vector(first.main.bias, call.grad_bias, 4 * H);
    vector(first.main.gain, call.grad_gain, 4 * H);
    vector(first.main.shift, call.grad_shift, 4 * H);
    vector(first.main.cell_gain, call.grad_cell_gain, H);
    vector(first.main.cell_shift, call.grad_cell_shift, H);
    if (!hyper()) return;
    vector(first.hyper.bias, call.grad_hyper_bias, 4 * K);
    vector(first.hyper.gain, call.grad_hyper_gain, 4 * K);
    vector(first.hyper.shift, call.grad_hyper_shift, 4 * K);
    vector(first.hyper.cell_gain, call.grad_hyper_cell_gain, K);
    vector(first.hyper.cell_shift, call.grad_hyper_cell_shift, K);
    vector(first.dp, call.grad_p, 8 * Z);
    // (12, Z, H) -> (12, H, Z)
    if (call.grad_D) gather(thread, first.dD, stride, 12 * Z * H, [&](long i) {
      return out(call.grad_D) + (i / (Z * H) * H + i % H) * Z + i / H % Z;
    });
  }
};

}  // namespace
}  // namespace hn

HN_EXPORT(int64_t, lstm_backward)(const hn::LSTMCall* call) { return hn::run<hn::Backward<HN_TYPE>>(*call); }
