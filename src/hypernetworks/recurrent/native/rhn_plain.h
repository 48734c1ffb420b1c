// A layer of the plain Recurrent Highway Network in one call, forward and backward.
//
//     h_l = tanh(W_H x_t·1[l=1] + R_H^l s_{l-1} + b_H^l),  t_l = σ(W_T x_t·1[l=1] + R_T^l s_{l-1} + b_T^l)
//     s_l = m ⊙ h_l ⊙ t_l + s_{l-1} ⊙ (1 − t_l)                                      m: the dropout mask, or 1
//
// There is no norm over a row, so the thread that has some columns of a product also does all that follows on them: one barrier
// for each depth of each step. For that a panel holds the columns of h in its first vector and those of t in its second.
#pragma once

#include "layer_call.h"
#include "sequence.h"
#include "weight_gradients.h"
#include "workspace.h"

namespace hn {

template <class T> struct Highway {
  explicit Highway(const LayerCall& call)
      : call(call), I(call.input), H(call.hidden), L(call.depth), B(call.batch),
        sequence(call.batch_sizes, call.steps, call.reverse), W(in(call.weight_x)), R(in(call.weight_h)), b(in(call.bias)),
        x(in(call.x)), mask(in(call.mask)) {}

  static const T* in(const void* p) { return static_cast<const T*>(p); }
  static T* out(void* p) { return static_cast<T*>(p); }

  const LayerCall& call;
  const long I, H, L, B;
  const Sequence sequence;
  const T *W, *R, *b, *x, *mask;

  T* saved_s(long row, long l) const { return out(call.saved_s) + (row * (L - 1) + l) * H; }

  // The dropout mask, or 1, of a row at depth l and column j.
  Vec<T> keep(long row, long l, long j, auto part) const {
    return mask ? load(mask + (row * L + l) * H + j, part) : Vec<T>{} + T(1);
  }
};

template <class T> struct HighwayForward : Highway<T> {
  using Highway<T>::call, Highway<T>::I, Highway<T>::H, Highway<T>::L, Highway<T>::B, Highway<T>::sequence, Highway<T>::in,
      Highway<T>::out;

  // Panels of LANES columns of h and as many of t.
  long both() const { return (H + LANES<T> - 1) / LANES<T>; }
  long width() const { return both() * NR<T>; }

  HighwayForward(const LayerCall& call, int) : Highway<T>(call), pieces(sequence.pieces(ROWS)), workspace(out(call.workspace)) {
    W = workspace.take(width() * I);
    R = workspace.take(L * width() * H);
    b = workspace.take(L * width());
    wx = workspace.take(most_rows(pieces) * width());
    s[0] = workspace.take(B * H);
    s[1] = workspace.take(B * H);
  }

  const std::vector<Piece> pieces;
  Workspace<T> workspace;
  T *W, *R, *b, *wx, *s[2];

  void run(const Thread& thread) const {
    pack(thread);
    // Both rooms for s start as s_0: a row that has not begun is in neither of them written over.
    const Range rows = thread.share(B * H);
    for (T* to : s) std::copy(in(call.h0) + rows.begin, in(call.h0) + rows.end, to + rows.begin);
    int turn = 0;
    for (const Piece& piece : pieces) {
      thread.wait();
      inputs(thread, piece);
      for (long k = piece.begin; k < piece.end; k++) {
        const Step& step = sequence.order[k];
        for (long l = 0; l < L; l++, turn ^= 1) {
          if (k > piece.begin || l > 0) thread.wait();
          highway(thread, step, l, wx + (step.first - piece.first) * width(), s[turn], s[turn ^ 1]);
        }
      }
    }
  }

  void pack(const Thread& thread) const {
    // Row c of the panels is row j of the block of h or of t.
    auto mixed = [&](const T* rows, long k) {
      return [this, rows, k](long c) -> const T* {
        const long j = c / NR<T> * LANES<T> + c % LANES<T>, block = c % NR<T> / LANES<T>;
        return j < H ? rows + (block * H + j) * k : nullptr;
      };
    };
    pack_columns(thread, W, I, width(), mixed(Highway<T>::W, I), 0, I);
    for (long l = 0; l < L; l++) {
      pack_columns(thread, R + l * width() * H, H, width(), mixed(Highway<T>::R + l * 2 * H * H, H), 0, H);
      pack_columns(thread, b + l * width(), 1, width(), mixed(Highway<T>::b + l * 2 * H, 1), 0, 1);
    }
  }

  // W x for all rows of a piece; a thread's own columns are those it needs later.
  void inputs(const Thread& thread, const Piece& piece) const {
    product(piece.rows, this->x + piece.first * I, I, W, I, thread.share(both()), [&](long row, long p, Vec<T> u, Vec<T> v) {
      store(wx + row * width() + p * NR<T>, u);
      store(wx + row * width() + p * NR<T> + LANES<T>, v);
    });
  }

  void highway(const Thread& thread, const Step& step, long l, const T* wx, const T* before, T* after) const {
    product(step.rows, before, H, R + l * width() * H, H, thread.share(both()), [&](long r, long p, Vec<T> u, Vec<T> v) {
      const T* bias = b + l * width() + p * NR<T>;
      u += load(bias);
      v += load(bias + LANES<T>);
      if (l == 0) {
        u += load(wx + r * width() + p * NR<T>);
        v += load(wx + r * width() + p * NR<T> + LANES<T>);
      }
      const long j = p * LANES<T>, row = step.first + r;
      within<T>(j, H, [&](auto part) {
        const Vec<T> h = tanh<T>(u), t = sigmoid<T>(v), s = load(before + r * H + j, part);
        // s_l = m ⊙ h_l ⊙ t_l + s_{l-1} ⊙ (1 − t_l)
        const Vec<T> next = s + t * (this->keep(row, l, j, part) * h - s);
        store(after + r * H + j, next, part);
        if (call.save) {
          store(out(call.saved_gates) + (row * L + l) * 2 * H + j, h, part);
          store(out(call.saved_gates) + (row * L + l) * 2 * H + H + j, t, part);
          if (l < L - 1) store(this->saved_s(row, l) + j, next, part);
        }
        if (l < L - 1) return;
        store(out(call.output) + row * H + j, next, part);
        store(out(call.h) + r * H + j, next, part);  // what a later step does not write over is the row's last
      });
    });
  }
};

template <class T> struct HighwayBackward : Highway<T> {
  using Highway<T>::call, Highway<T>::I, Highway<T>::H, Highway<T>::L, Highway<T>::B, Highway<T>::sequence, Highway<T>::in,
      Highway<T>::out;

  HighwayBackward(const LayerCall& call, int threads) : Highway<T>(call), pieces(sequence.pieces(DEPTH)), workspace(out(call.workspace)) {
    W = call.need_input ? workspace.take(packed<T>(2 * H, I)) : nullptr;
    R = workspace.take(L * packed<T>(2 * H, H));
    grads = workspace.take(most_rows(pieces) * width());
    ds = workspace.take(B * H);
    T* shared = workspace.take(packed<T>(DEPTH, I) + packed<T>(DEPTH, H));
    for (int t = 0; t < threads; t++) outer.push_back({shared, workspace.take(outer_block<T>)});
  }

  const std::vector<Piece> pieces;
  Workspace<T> workspace;
  T *W, *R, *grads, *ds;
  std::vector<OuterSpace<T>> outer;

  // A row of gradients: of what is under tanh and σ, at each depth.
  long width() const { return L * 2 * H; }

  void run(const Thread& thread) const {
    if (W) pack_rows(thread, W, 2 * H, I, [&](long i) { return Highway<T>::W + i * I; });
    for (long l = 0; l < L; l++)
      pack_rows(thread, R + l * packed<T>(2 * H, H), 2 * H, H, [&](long i) { return Highway<T>::R + (l * 2 * H + i) * H; });
    const Range columns = own_columns(thread);
    for (long r = 0; r < B; r++)
      for (long j = columns.begin; j < columns.end; j++) ds[r * H + j] = call.grad_h ? in(call.grad_h)[r * H + j] : T(0);
    bool overwrite = true;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); piece++, overwrite = false) {
      thread.wait();
      for (long k = piece->end - 1; k >= piece->begin; k--)
        for (long l = L - 1; l >= 0; l--) {
          const Step& step = sequence.order[k];
          T* to = grads + (step.first - piece->first) * width() + l * 2 * H;
          gates(columns, step, l, to);
          thread.wait();
          // ds_{l-1} = ds_l ⊙ (1 − t_l) + R^lᵀ [dh; dt]
          product_to(step.rows, to, width(), R + l * packed<T>(2 * H, H), 2 * H, H, thread.share(panels<T>(H)), ds, H, false);
        }
      thread.wait();
      if (W) inputs(thread, *piece);
      if (call.need_weights) weights(thread, *piece, overwrite);
    }
    for (long r = 0; r < B; r++)
      std::copy(ds + r * H + columns.begin, ds + r * H + columns.end, out(call.grad_h0) + r * H + columns.begin);
  }

  Range own_columns(const Thread& thread) const {
    const Range own = thread.share(panels<T>(H));
    return {std::min(own.begin * NR<T>, H), std::min(own.end * NR<T>, H)};
  }

  // From ds_l to the gradients under tanh and σ, and ds_l ⊙ (1 − t_l), in this thread's columns.
  void gates(Range columns, const Step& step, long l, T* to) const {
    for (long r = 0; r < step.rows; r++) {
      const long row = step.first + r;
      const T *gates = in(call.saved_gates) + (row * L + l) * 2 * H, *came = in(call.grad_output);
      const T* before = l > 0 ? this->saved_s(row, l - 1) : state_before(step, r);
      lanes<T>(columns.end - columns.begin, [&](long i, auto part) {
        const long j = columns.begin + i;
        const Vec<T> h = load(gates + j, part), t = load(gates + H + j, part), m = this->keep(row, l, j, part);
        Vec<T> d = load(ds + r * H + j, part);
        if (came && l == L - 1) d += load(came + row * H + j, part);
        store(to + r * width() + j, d * t * m * (T(1) - h * h), part);
        store(to + r * width() + H + j, d * (m * h - load(before + j, part)) * t * (T(1) - t), part);
        store(ds + r * H + j, d * (T(1) - t), part);
      });
    }
  }

  const T* state_before(const Step& step, long r) const {
    return step.before_row(r, in(call.output), in(call.h0), H);
  }

  void inputs(const Thread& thread, const Piece& piece) const {
    product_to(piece.rows, grads, width(), W, 2 * H, I, thread.share(panels<T>(I)), out(call.grad_x) + piece.first * I, I, true);
  }

  void weights(const Thread& thread, const Piece& piece, bool overwrite) const {
    const OuterSpace<T>& own = outer[thread.index];
    std::vector<const T*> x(piece.rows), s(piece.rows);
    std::vector<T*> of_x(2 * H), of_s(2 * H);
    for (long i = 0; i < piece.rows; i++) x[i] = this->x + (piece.first + i) * I;
    for (long c = 0; c < 2 * H; c++) of_x[c] = out(call.grad_weight_x) + c * I;
    for (long l = 0; l < L; l++) {
      for (long i = 0; i < piece.rows; i++) {
        const Step& step = sequence.step_of(piece.first + i);
        s[i] = l > 0 ? this->saved_s(piece.first + i, l - 1) : state_before(step, piece.first + i - step.first);
      }
      for (long c = 0; c < 2 * H; c++) of_s[c] = out(call.grad_weight_h) + (l * 2 * H + c) * H;
      const Factor<T> factor_x{I, x.data(), of_x.data()}, factor_s{H, s.data(), of_s.data()};
      const T* of_level = grads + l * 2 * H;
      if (l == 0) add_outer(thread, 2 * H, piece.rows, of_level, width(), overwrite, own, {factor_x, factor_s});
      else add_outer(thread, 2 * H, piece.rows, of_level, width(), overwrite, own, {factor_s});
    }
    // db: the sum of all rows
    const Range columns = thread.share(width());
    T* bias = out(call.grad_bias);
    for (long c = columns.begin; c < columns.end && overwrite; c++) bias[c] = T(0);
    for (long r = 0; r < piece.rows; r++)
      lanes<T>(columns.end - columns.begin, [&](long i, auto part) {
        add(bias + columns.begin + i, load(grads + r * width() + columns.begin + i, part), part);
      });
  }
};

}  // namespace hn
