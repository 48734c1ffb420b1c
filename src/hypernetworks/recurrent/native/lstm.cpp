// A layer of LSTM or HyperLSTM in one call, plain or layer-normalised, forward and backward.
//
//     ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})                     the hyper cell
//     z_a = P_a ĥ_t + p_a,  d_a = D_a z_a                                   for a of h, x, b and each gate
//     pre = d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b                     (an LSTM: pre = W_h h_{t-1} + W_x x_t + b)
//     h_t, c_t = gates of pre: gates.h
//
// Forward, each step: all products on [h; ĥ], each thread some columns; a barrier; all else, each thread some rows, a tile of rows
// at a time, so that the scales d live in registers and are never written; a barrier. W_x x of many steps is one product.
// Backward, each step: from dh to the gradients of all products, each thread some rows; a barrier; from there to the dh of
// the step before, each thread some columns; a barrier. What a weight's gradient needs is kept for some hundred rows, then
// multiplied at once. The scales, pre and the gates are made again from z and the products, which are kept.
//
// One step alone: each matrix is read once, where it lies.

#include "lstm.h"

#include "export.h"
#include "gates.h"
#include "product.h"
#include "run.h"
#include "step.h"
#include "time.h"

namespace hn {
namespace {

constexpr long PENDING = 4 * MR;  // rows whose share of D's gradient is summed at once

// The call, with its types; symbols are those of the equations.
template <class T> struct Layer {
  explicit Layer(const LSTMCall& call)
      : call(call), I(call.input), H(call.hidden), K(call.hyper), Z(call.embedding), B(call.batch),
        time(call.batch_sizes, call.steps, call.reverse), W_x(in(call.weight_x)), W_h(in(call.weight_h)), b(in(call.bias)),
        hyper_W_x(in(call.hyper_weight_x)), hyper_W_h(in(call.hyper_weight_h)), hyper_b(in(call.hyper_bias)),
        P(in(call.P)), p(in(call.p)), D(in(call.D)), x(in(call.x)), mask(in(call.mask)), output(out(call.output)),
        norm{in(call.gain), in(call.shift), in(call.cell_gain), in(call.cell_shift), T(call.eps)},
        hyper_norm{in(call.hyper_gain), in(call.hyper_shift), in(call.hyper_cell_gain), in(call.hyper_cell_shift), T(call.eps)} {}

  static const T* in(const void* p) { return static_cast<const T*>(p); }
  static T* out(void* p) { return static_cast<T*>(p); }

  const LSTMCall& call;
  const long I, H, K, Z, B;
  const Time time;
  const T *W_x, *W_h, *b, *hyper_W_x, *hyper_W_h, *hyper_b, *P, *p, *D, *x, *mask;
  T* output;
  const Norm<T> norm, hyper_norm;

  bool hyper() const { return K > 0; }
  // Row widths: [W_x x (4H); hyper pre (4K)], the state [h (H); ĥ (K)], z.
  long pre_width() const { return 4 * H + 4 * K; }
  long state_width() const { return H + K; }
  long z_width() const { return 12 * Z; }

  // Row c of [W_x; Ŵ_x].
  const T* input_row(long c) const { return c < 4 * H ? W_x + c * I : hyper_W_x + (c - 4 * H) * (I + H); }
  // Row c of [W_h; Ŵ_h].
  const T* recurrent_row(long c) const { return c < 4 * H ? W_h + c * H : hyper_W_h_on_h(c - 4 * H); }
  const T* hyper_W_h_on_h(long c) const { return hyper_W_x + c * (I + H) + I; }
  const T* mask_row(long row) const { return mask ? mask + row * H : nullptr; }
};

// Σ over threads of n numbers that lie `stride` apart, into to[i], each thread some of them.
template <class T, class To> void gather(const Team& team, const T* parts, long stride, long n, To to) {
  const Range own = team.share(n);
  for (long i = own.begin; i < own.end; i++) {
    T total = 0;
    for (int t = 0; t < team.size; t++) total += parts[t * stride + i];
    *to(i) = total;
  }
}

// ---------------------------------------------------------------------------------------------------------------- forward

// A thread's room for a tile of rows.
template <class T> struct ForwardRoom { T *pre, *z, *gates, *stats; };

template <class T> struct Forward : Layer<T> {
  using Layer<T>::call, Layer<T>::I, Layer<T>::H, Layer<T>::K, Layer<T>::Z, Layer<T>::B, Layer<T>::time;
  using Layer<T>::out, Layer<T>::in, Layer<T>::pre_width, Layer<T>::state_width, Layer<T>::z_width, Layer<T>::hyper;

  Forward(const LSTMCall& call, int threads) : Layer<T>(call), pieces(time.pieces(ROWS)), space(out(call.space)) {
    const long rows = most_rows(pieces);
    W_x = space.take(packed<T>(I, pre_width()));
    W_h = space.take(packed<T>(H, 4 * H));
    hyper_W_h = space.take(packed<T>(H + K, 4 * K));
    P = space.take(packed<T>(K, z_width()));
    D = space.take(12 * packed<T>(Z, H));
    bias = space.take(pre_width());
    state = space.take(B * state_width());
    pre = call.save ? out(call.saved_pre) : space.take(rows * pre_width());
    wh = call.save ? out(call.saved_wh) : space.take(B * 4 * H);
    for (int t = 0; t < threads; t++)
      room.push_back({space.take(MR * 4 * H), space.take(MR * z_width()), space.take(std::max(H, K)), space.take(STATS)});
  }

  const std::vector<Piece> pieces;
  Space<T> space;
  T *W_x, *W_h, *hyper_W_h, *P, *D, *bias, *state, *pre, *wh;
  std::vector<ForwardRoom<T>> room;

  void run(const Team& team) const {
    pack(team);
    begin(team);
    for (const Piece& piece : pieces) {
      team.wait();
      inputs(team, piece);
      team.wait();
      for (long s = piece.begin; s < piece.end; s++) {
        const Step& step = time.order[s];
        // Where this step's rows of pre and W_h h lie: kept for all steps, or for those of this piece, and of this step.
        T* step_pre = pre + (step.first - (call.save ? 0 : piece.first)) * pre_width();
        T* step_wh = wh + (call.save ? step.first : 0) * 4 * H;
        products(team, step, step_pre, step_wh);
        team.wait();
        rows(team, step, step_pre, step_wh);
        team.wait();
      }
    }
    finish(team);
  }

  void pack(const Team& team) const {
    pack_columns(team, W_x, I, pre_width(), [&](long c) { return this->input_row(c); }, 0, I);
    pack_columns(team, W_h, H, 4 * H, [&](long c) { return this->recurrent_row(c); }, 0, H);
    if (!hyper()) return;
    pack_columns(team, hyper_W_h, H, 4 * K, [&](long c) { return this->hyper_W_h_on_h(c); }, 0, H + K);
    pack_columns(team, hyper_W_h, K, 4 * K, [&](long c) { return Layer<T>::hyper_W_h + c * K; }, H, H + K);
    pack_columns(team, P, K, z_width(), [&](long c) { return Layer<T>::P + c * K; }, 0, K);
    for (long a = 0; a < 12; a++)
      pack_columns(team, D + a * packed<T>(Z, H), Z, H, [&](long j) { return Layer<T>::D + (a * H + j) * Z; }, 0, Z);
  }

  // The bias of the products on x: [b] or [0; b̂], since HyperLSTM's own b waits for the scales. And the state that the steps
  // change: [h; ĥ] for the products, c and ĉ where the answer wants them.
  void begin(const Team& team) const {
    if (team.index == 0) {
      std::fill_n(bias, pre_width(), T(0));
      if (hyper()) std::copy_n(this->hyper_b, 4 * K, bias + 4 * H);
      else if (this->b) std::copy_n(this->b, 4 * H, bias);
    }
    const Range own = team.share(B);
    for (long r = own.begin; r < own.end; r++) {
      std::copy_n(in(call.h0) + r * H, H, state + r * state_width());
      std::copy_n(in(call.c0) + r * H, H, out(call.c) + r * H);
      if (!hyper()) continue;
      std::copy_n(in(call.hyper_h0) + r * K, K, state + r * state_width() + H);
      std::copy_n(in(call.hyper_c0) + r * K, K, out(call.hyper_c) + r * K);
    }
  }

  void finish(const Team& team) const {
    const Range own = team.share(B);
    for (long r = own.begin; r < own.end; r++) {
      std::copy_n(state + r * state_width(), H, out(call.h) + r * H);
      if (hyper()) std::copy_n(state + r * state_width() + H, K, out(call.hyper_h) + r * K);
    }
  }

  // [W_x; Ŵ_x] x + the bias for all rows of a piece.
  void inputs(const Team& team, const Piece& piece) const {
    const long width = pre_width();
    T* to = pre + (call.save ? piece.first : 0) * width;
    product_into(piece.rows, this->x + piece.first * I, I, W_x, I, width, team.share(panels<T>(width)),
                 [&](long row, long column, Vec<T> v, auto part) {
                   store(to + row * width + column, v + load(bias + column, part), part);
                 });
  }

  // W_h h_{t-1}, and Ŵ_h h_{t-1} + Ŵ_ĥ ĥ_{t-1} on top of the hyper cell's products on x.
  void products(const Team& team, const Step& step, T* pre, T* wh) const {
    const long width = pre_width();
    product_into(step.rows, state, state_width(), W_h, H, 4 * H, team.share(panels<T>(4 * H)),
                 [&](long row, long column, Vec<T> v, auto part) {
                   if (hyper()) store(wh + row * 4 * H + column, v, part);
                   else add(pre + row * width + column, v, part);
                 });
    if (hyper())
      product_into(step.rows, state, state_width(), hyper_W_h, H + K, 4 * K, team.share(panels<T>(4 * K)),
                   [&](long row, long column, Vec<T> v, auto part) { add(pre + row * width + 4 * H + column, v, part); });
  }

  // From the products to the new state.
  void rows(const Team& team, const Step& step, T* pre, const T* wh) const {
    const Range own = team.share(step.rows);
    for (long first = own.begin; first < own.end; first += MR) {
      const long count = std::min(MR, own.end - first);
      if (hyper()) {
        hyper_rows(room[team.index], step, first, count, pre, wh);
        for (long r = 0; r < count; r++) main_row(room[team.index], step, first + r, room[team.index].pre + r * 4 * H);
      } else {
        for (long r = 0; r < count; r++) main_row(room[team.index], step, first + r, pre + (first + r) * pre_width());
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
      lstm_row<T>(K, this->hyper_norm, pre + r * width + 4 * H, nullptr, hyper_c, hyper_c, hyper_h, stats, room.gates);
      if (!call.save) continue;
      std::copy_n(hyper_h, K, out(call.saved_hyper_h) + row * K);
      std::copy_n(hyper_c, K, out(call.saved_hyper_c) + row * K);
    }
    // z_a = P_a ĥ_t + p_a
    product_into(count, state + first * state_width() + H, state_width(), P, K, z_width(), {0, panels<T>(z_width())},
                 [&](long r, long column, Vec<T> v, auto part) { store(z + r * z_width() + column, v, part); });
    for (long r = 0; r < count; r++)
      lanes<T>(8 * Z, [&](long j, auto part) { add(z + r * z_width() + j, load(Layer<T>::p + j, part), part); });
    scaled_sum(*this, D, count, z, pre + first * width, wh + first * 4 * H, room.pre, [](long, long, long, Vec<T>, auto) {});
  }

  void main_row(const ForwardRoom<T>& room, const Step& step, long r, const T* pre) const {
    const long row = step.first + r;
    T *h = state + r * state_width(), *c = out(call.c) + r * H;
    T* stats = call.save ? out(call.saved_stats) + row * STATS : room.stats;
    lstm_row<T>(H, this->norm, pre, this->mask_row(row), c, c, h, stats, room.gates);
    std::copy_n(h, H, this->output + row * H);
    if (call.save) std::copy_n(c, H, out(call.saved_c) + row * H);
  }
};

// pre = d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b with d_a = D_a z_a, for some rows; keep(block of d, row, column, d, part) sees each d_h
// and d_x: blocks 0 to 3 and 4 to 7.
template <class T, class Keep>
void scaled_sum(const Layer<T>& layer, const T* D, long count, const T* z, const T* wx, const T* wh, T* pre, Keep keep) {
  const long H = layer.H, Z = layer.Z;
  for (long gate = 0; gate < 4; gate++) {
    T* to = pre + gate * H;
    auto scales = [&](long a, auto put) {
      product_into(count, z + a * Z, layer.z_width(), D + a * packed<T>(Z, H), Z, H, {0, panels<T>(H)}, put);
    };
    scales(8 + gate, [&](long r, long j, Vec<T> d, auto part) {
      store(to + r * 4 * H + j, d + load(layer.b + gate * H + j, part), part);
    });
    scales(4 + gate, [&](long r, long j, Vec<T> d, auto part) {
      keep(4 + gate, r, j, d, part);
      add(to + r * 4 * H + j, d * load(wx + r * layer.pre_width() + gate * H + j, part), part);
    });
    scales(gate, [&](long r, long j, Vec<T> d, auto part) {
      keep(gate, r, j, d, part);
      add(to + r * 4 * H + j, d * load(wh + r * 4 * H + gate * H + j, part), part);
    });
  }
}

// --------------------------------------------------------------------------------------------------------------- backward

// A thread's room. `scales` holds d_h and d_x of a tile (MR, 8H); `pending` and `pending_z` the gradients of the scales (PENDING,
// 12H) and z (PENDING, 12Z) until they are summed into dD (12, Z, H).
template <class T> struct BackwardRoom {
  T *scales, *pre, *dpre, *dh, *dhyper_h, *row, *pending, *pending_z, *dD, *dp;
  VectorGrads<T> main, hyper;
  OuterSpace<T> outer;
  long waiting = 0;
};

template <class T> struct Backward : Layer<T> {
  using Layer<T>::call, Layer<T>::I, Layer<T>::H, Layer<T>::K, Layer<T>::Z, Layer<T>::B, Layer<T>::time;
  using Layer<T>::out, Layer<T>::in, Layer<T>::pre_width, Layer<T>::state_width, Layer<T>::z_width, Layer<T>::hyper;

  Backward(const LSTMCall& call, int threads)
      : Layer<T>(call), pieces(time.pieces(DEPTH)), space(out(call.space)) {
    W_h = space.take(packed<T>(pre_width(), H));
    hyper_W_h = space.take(packed<T>(4 * K, K));
    W_x = call.need_input ? space.take(packed<T>(pre_width(), I)) : nullptr;
    P = space.take(packed<T>(z_width(), K));
    D = space.take(12 * packed<T>(Z, H));
    D_back = space.take(12 * packed<T>(H, Z));
    grads = space.take(most_rows(pieces) * width());
    dh = space.take(B * H);
    dc = space.take(B * H);
    dhyper_h = space.take(B * K);
    dhyper_c = space.take(B * K);
    T* shared = space.take(packed<T>(DEPTH, std::max({I, H, K})));
    const long before = space.used();
    for (int t = 0; t < threads; t++) {
      BackwardRoom<T> r;
      r.scales = space.take(MR * 8 * H * hyper());
      r.pre = space.take(MR * 4 * H * hyper());
      r.dpre = space.take(MR * 4 * H);
      r.dh = space.take(H);
      r.dhyper_h = space.take(MR * K);
      r.row = space.take(std::max(H, K));
      r.pending = space.take(PENDING * 12 * H * hyper());
      r.pending_z = space.take(PENDING * z_width());
      r.outer = {shared, space.take(outer_block<T>)};
      r.main = {space.take(4 * H), space.take(4 * H), space.take(4 * H), space.take(H), space.take(H)};
      r.hyper = {space.take(4 * K), space.take(4 * K), space.take(4 * K), space.take(K), space.take(K)};
      r.dD = space.take(12 * Z * H);
      r.dp = space.take(8 * Z);
      room.push_back(r);
      stride = (space.used() - before) / (t + 1);
    }
  }

  const std::vector<Piece> pieces;
  Space<T> space;
  T *W_h, *hyper_W_h, *W_x, *P, *D, *D_back, *grads, *dh, *dc, *dhyper_h, *dhyper_c;
  std::vector<BackwardRoom<T>> room;
  long stride = 0;  // from a thread's room to the next one's

  // A row of gradients: of W_h h (4H), of the hyper cell's pre (4K), of W_x x (4H), of z (12Z). Without a hyper cell W_h h and W_x x
  // have one gradient.
  long width() const { return hyper() ? 8 * H + 4 * K + z_width() : 4 * H; }
  long from_x() const { return hyper() ? 4 * H : 0; }
  long from_z() const { return 8 * H + 4 * K; }
  // Row c of [Ŵ_x; W_x], in the order of a row of gradients.
  const T* input_row(long c) const { return Layer<T>::input_row(c < 4 * K ? 4 * H + c : c - 4 * K); }

  void run(const Team& team) {
    BackwardRoom<T>& own = room[team.index];
    pack(team);
    begin(team, own);
    bool anew = true;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); piece++, anew = false) {
      team.wait();
      for (long s = piece->end - 1; s >= piece->begin; s--) {
        const Step& step = time.order[s];
        T* step_grads = grads + (step.first - piece->first) * width();
        rows(team, own, step, step_grads);
        team.wait();
        products(team, step, step_grads);
        team.wait();
      }
      if (call.need_input) inputs(team, *piece);
      if (call.need_weights) weights(team, own, *piece, anew);
    }
    finish(team, own);
  }

  void pack(const Team& team) const {
    pack_rows(team, W_h, pre_width(), H, [&](long c) { return this->recurrent_row(c); });
    if (W_x) pack_rows(team, W_x, pre_width(), I, [&](long c) { return input_row(c); });
    if (!hyper()) return;
    pack_rows(team, hyper_W_h, 4 * K, K, [&](long c) { return Layer<T>::hyper_W_h + c * K; });
    pack_rows(team, P, z_width(), K, [&](long c) { return Layer<T>::P + c * K; });
    for (long a = 0; a < 12; a++) {
      auto row = [&](long j) { return Layer<T>::D + (a * H + j) * Z; };
      pack_columns(team, D + a * packed<T>(Z, H), Z, H, row, 0, Z);
      pack_rows(team, D_back + a * packed<T>(H, Z), H, Z, row);
    }
  }

  void begin(const Team& team, BackwardRoom<T>& own) const {
    const Range rows = team.share(B);
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
  void rows(const Team& team, BackwardRoom<T>& own, const Step& step, T* grads) const {
    const Range range = team.share(step.rows);
    for (long first = range.begin; first < range.end; first += MR) {
      const long count = std::min(MR, range.end - first);
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
    const T* c_before = r < step.continued ? in(call.saved_c) + (step.before + r) * H : in(call.c0) + r * H;
    lstm_row_backward<T>(H, this->norm, pre, in(call.saved_stats) + row * STATS, this->mask_row(row), c_before,
                         in(call.saved_c) + row * H, own.dh, dc + r * H, dpre, own.main, own.row);
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
      product_into(count, pending + a * H, 12 * H, D_back + a * packed<T>(H, Z), H, Z, {0, panels<T>(Z)},
                   [&](long r, long column, Vec<T> v, auto part) { store(grads + r * width() + from_z() + a * Z + column, v, part); });
    // dĥ_t = what came + Σ_a P_aᵀ dz_a
    product_into(count, grads + from_z(), width(), P, z_width(), K, {0, panels<T>(K)},
                 [&](long r, long column, Vec<T> v, auto part) {
                   store(own.dhyper_h + r * K + column, v + load(dhyper_h + (first + r) * K + column, part), part);
                 });
    for (long r = 0; r < count; r++) {
      const long row = step.first + first + r;
      const T* dz = grads + r * width() + from_z();
      lanes<T>(8 * Z, [&](long j, auto part) { add(own.dp + j, load(dz + j, part), part); });
      const T* c_before = first + r < step.continued ? in(call.saved_hyper_c) + (step.before + first + r) * K
                                                      : in(call.hyper_c0) + (first + r) * K;
      lstm_row_backward<T>(K, this->hyper_norm, in(call.saved_pre) + row * pre_width() + 4 * H,
                           in(call.saved_hyper_stats) + row * STATS, nullptr, c_before, in(call.saved_hyper_c) + row * K,
                           own.dhyper_h + r * K, dhyper_c + (first + r) * K, grads + r * width() + 4 * H, own.hyper, own.row);
    }
  }

  // dD_aᵀ += z_aᵀ dd_a over the rows that wait.
  void sum_pending(BackwardRoom<T>& own) const {
    for (long a = 0; a < 12; a++)
      for (long p = 0; p < panels<T>(H); p++)
        for (long first = 0; first < Z; first += MR)
          tile_of<T, 1>(std::min(MR, Z - first), own.pending_z + a * Z + first, 1, z_width(),
                        own.pending + a * H + p * NR<T>, 12 * H, 0, own.waiting, [&](long r, long, Vec<T> u, Vec<T> v) {
                          T* to = own.dD + (a * Z + first + r) * H;
                          const long column = p * NR<T>;
                          within<T>(column, H, [&](auto part) { add(to + column, u, part); });
                          within<T>(column + LANES<T>, H, [&](auto part) { add(to + column + LANES<T>, v, part); });
                        });
    own.waiting = 0;
  }

  // dh_{t-1} = W_hᵀ (dpre ⊙ d_h) + Ŵ_hᵀ dhyper_pre,  dĥ_{t-1} = Ŵ_ĥᵀ dhyper_pre
  void products(const Team& team, const Step& step, const T* grads) const {
    product_into(step.rows, grads, width(), W_h, pre_width(), H, team.share(panels<T>(H)),
                 [&](long row, long column, Vec<T> v, auto part) { store(dh + row * H + column, v, part); });
    if (hyper())
      product_into(step.rows, grads + 4 * H, width(), hyper_W_h, 4 * K, K, team.share(panels<T>(K)),
                   [&](long row, long column, Vec<T> v, auto part) { store(dhyper_h + row * K + column, v, part); });
  }

  // dx = W_xᵀ (dpre ⊙ d_x) + Ŵ_xᵀ dhyper_pre for all rows of a piece.
  void inputs(const Team& team, const Piece& piece) const {
    product_into(piece.rows, grads + from_x(), width(), W_x, pre_width(), I, team.share(panels<T>(I)),
                 [&](long row, long column, Vec<T> v, auto part) {
                   store(out(call.grad_x) + (piece.first + row) * I + column, v, part);
                 });
  }

  // The matrices' gradients: rows of gradients times what the matrices were multiplied with.
  void weights(const Team& team, const BackwardRoom<T>& own, const Piece& piece, bool anew) const {
    // The state before each row of the piece: that of the row in the step run before, or the initial one.
    auto before = [&](const T* all, const T* initial, long n) {
      return [this, &piece, all, initial, n](long i) {
        const Step& step = time.step_of(piece.first + i);
        const long r = piece.first + i - step.first;
        return r < step.continued ? all + (step.before + r) * n : initial + r * n;
      };
    };
    add_outer(team, pre_width(), H, piece.rows, grads, width(), before(this->output, in(call.h0), H),
              [&](long c) { return c < 4 * H ? out(call.grad_weight_h) + c * H : hyper_grad_row(c - 4 * H) + I; }, anew, own.outer);
    const T* x = this->x + piece.first * I;
    add_outer(team, pre_width(), I, piece.rows, grads + from_x(), width(), [&](long i) { return x + i * I; },
              [&](long c) { return c < 4 * K ? hyper_grad_row(c) : out(call.grad_weight_x) + (c - 4 * K) * I; }, anew, own.outer);
    if (!hyper()) return;
    add_outer(team, 4 * K, K, piece.rows, grads + 4 * H, width(), before(in(call.saved_hyper_h), in(call.hyper_h0), K),
              [&](long c) { return out(call.grad_hyper_weight_h) + c * K; }, anew, own.outer);
    const T* hyper_h = in(call.saved_hyper_h) + piece.first * K;
    add_outer(team, z_width(), K, piece.rows, grads + from_z(), width(), [&](long i) { return hyper_h + i * K; },
              [&](long c) { return out(call.grad_P) + c * K; }, anew, own.outer);
  }

  T* hyper_grad_row(long c) const { return out(call.grad_hyper_weight_x) + c * (I + H); }

  // The state's gradients, and the vectors', which each thread has summed for its rows.
  void finish(const Team& team, BackwardRoom<T>& own) const {
    if (own.waiting) sum_pending(own);
    team.wait();
    const Range rows = team.share(B);
    for (long r = rows.begin; r < rows.end; r++) {
      std::copy_n(dh + r * H, H, out(call.grad_h0) + r * H);
      std::copy_n(dc + r * H, H, out(call.grad_c0) + r * H);
      if (!hyper()) continue;
      std::copy_n(dhyper_h + r * K, K, out(call.grad_hyper_h0) + r * K);
      std::copy_n(dhyper_c + r * K, K, out(call.grad_hyper_c0) + r * K);
    }
    const BackwardRoom<T>& first = room[0];
    auto vector = [&](const T* parts, void* to, long n) {
      if (to) gather(team, parts, stride, n, [&](long i) { return out(to) + i; });
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
    if (call.grad_D) gather(team, first.dD, stride, 12 * Z * H, [&](long i) {
      return out(call.grad_D) + (i / (Z * H) * H + i % H) * Z + i / H % Z;
    });
  }
};

// --------------------------------------------------------------------------------------------------------------- one step

// One step of a few rows, for generation: nothing is packed, nothing is kept. The answer's h and c stand for the step's.
template <class T> struct OneStep : Layer<T> {
  using Layer<T>::call, Layer<T>::I, Layer<T>::H, Layer<T>::K, Layer<T>::Z, Layer<T>::B, Layer<T>::in, Layer<T>::out,
      Layer<T>::W_x, Layer<T>::W_h, Layer<T>::b, Layer<T>::x, Layer<T>::hyper, Layer<T>::z_width;

  OneStep(const LSTMCall& call, int threads) : Layer<T>(call), space(out(call.space)) {
    wx = space.take(B * 4 * H);
    wh = space.take(B * 4 * H);
    hyper_pre = space.take(B * 4 * K);
    for (int t = 0; t < threads; t++)
      room.push_back({space.take(B * K), space.take(B * K), space.take(B * z_width()), space.take(std::max(H, K)), space.take(STATS)});
  }

  struct Room { T *hyper_h, *hyper_c, *z, *gates, *stats; };
  Space<T> space;
  T *wx, *wh, *hyper_pre;
  std::vector<Room> room;

  void run(const Team& team) const {
    const Room& own = room[team.index];
    products(team);
    team.wait();
    if (hyper()) {
      // Every thread makes ĥ and z for itself, which is less work than waiting, and scales its own columns.
      hyper_cell(team, own);
      scale(team, own);
      team.wait();
    }
    const Range rows = team.share(B);
    for (long r = rows.begin; r < rows.end; r++) {
      lstm_row<T>(H, this->norm, wx + r * 4 * H, this->mask_row(r), in(call.c0) + r * H, out(call.c) + r * H,
                  out(call.h) + r * H, own.stats, own.gates);
      std::copy_n(out(call.h) + r * H, H, this->output + r * H);
    }
  }

  void products(const Team& team) const {
    const Range main = team.share(4 * H), of_hyper = team.share(4 * K);
    dots<T>(B, main, W_x, I, I, x, I, [&](long n, long r, T v) { wx[r * 4 * H + n] = v + (hyper() || !b ? T(0) : b[n]); });
    dots<T>(B, main, W_h, H, H, in(call.h0), H,
            [&](long n, long r, T v) { if (hyper()) wh[r * 4 * H + n] = v; else wx[r * 4 * H + n] += v; });
    if (!hyper()) return;
    const T *W = this->hyper_W_x, *on_hyper_h = this->hyper_W_h;
    dots<T>(B, of_hyper, W, I + H, I, x, I, [&](long n, long r, T v) { hyper_pre[r * 4 * K + n] = v + this->hyper_b[n]; });
    dots<T>(B, of_hyper, W + I, I + H, H, in(call.h0), H, [&](long n, long r, T v) { hyper_pre[r * 4 * K + n] += v; });
    dots<T>(B, of_hyper, on_hyper_h, K, K, in(call.hyper_h0), K, [&](long n, long r, T v) { hyper_pre[r * 4 * K + n] += v; });
  }

  void hyper_cell(const Team& team, const Room& own) const {
    for (long r = 0; r < B; r++)
      lstm_row<T>(K, this->hyper_norm, hyper_pre + r * 4 * K, nullptr, in(call.hyper_c0) + r * K, own.hyper_c + r * K,
                  own.hyper_h + r * K, own.stats, own.gates);
    dots<T>(B, {0, z_width()}, this->P, K, K, own.hyper_h, K,
            [&](long n, long r, T v) { own.z[r * z_width() + n] = v + (n < 8 * Z ? this->p[n] : T(0)); });
    if (team.index > 0) return;
    std::copy_n(own.hyper_h, B * K, out(call.hyper_h));
    std::copy_n(own.hyper_c, B * K, out(call.hyper_c));
  }

  // d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b, into wx
  void scale(const Team& team, const Room& own) const {
    const Range columns = team.share(H);
    for (long gate = 0; gate < 4; gate++) {
      auto scales = [&](long a, auto put) {
        dots<T>(B, columns, this->D + a * H * Z, Z, Z, own.z + a * Z, z_width(),
                [&](long j, long r, T d) { put(r * 4 * H + gate * H + j, gate * H + j, d); });
      };
      scales(4 + gate, [&](long at, long, T d) { wx[at] *= d; });
      scales(gate, [&](long at, long, T d) { wx[at] += d * wh[at]; });
      scales(8 + gate, [&](long at, long j, T d) { wx[at] += d + b[j]; });
    }
  }
};

}  // namespace
}  // namespace hn

HN_EXPORT(int64_t, lstm_size)() { return sizeof(hn::LSTMCall); }
HN_EXPORT(int64_t, lstm_forward)(const hn::LSTMCall* call) { return hn::run<hn::Forward<HN_TYPE>>(*call); }
HN_EXPORT(int64_t, lstm_backward)(const hn::LSTMCall* call) { return hn::run<hn::Backward<HN_TYPE>>(*call); }
HN_EXPORT(int64_t, lstm_step)(const hn::LSTMCall* call) { return hn::run<hn::OneStep<HN_TYPE>>(*call); }
