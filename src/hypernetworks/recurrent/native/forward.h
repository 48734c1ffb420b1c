// A layer forward.
//
// Each level of a step: all products on [h; ĥ], each thread some columns; a barrier; all else, each thread some rows, a few at a time,
// so that their scales d never leave the cache; a barrier. W_x x of many steps is one product.
//
// Where every thread has rows enough to keep its multipliers busy, and its second cache holds the matrices of a step, each thread
// takes its rows through all steps: no barriers, and no numbers that the other core made.
#pragma once

#include "layer.h"
#include "workspace.h"

namespace hn {

constexpr long ROWS_EACH = 8;   // of a thread that takes its rows through all steps
constexpr long FEW_PANELS = 8;  // which stay in the second cache while they meet the rows of several steps

// A thread's room for some rows.
template <class T> struct ForwardRoom { T *pre, *apart, *row, *stats; };

template <class T, class Cell> struct Forward : Layer<T, Cell> {
  using Base = Layer<T, Cell>;
  using Base::G, Base::A, Base::call, Base::I, Base::H, Base::L, Base::K, Base::Z, Base::B, Base::sequence, Base::in, Base::out,
      Base::pre_width, Base::wh_width, Base::state_width, Base::z_width, Base::hyper, Base::summed, Base::kept;

  Forward(const LayerCall& call, int threads)
      : Base(call), by_rows(rows_suffice(threads)), pieces(sequence.pieces(ROWS)), workspace(out(call.workspace)) {
    W_x = workspace.take(packed<T>(I, pre_width()));
    W_h = workspace.take(packed<T>(H, summed() * H));
    kept_W_h = workspace.take(L * packed<T>(H, kept() * H));
    hyper_W_h = workspace.take(packed<T>(H + K, 4 * K));
    P = workspace.take(packed<T>(K, z_width()));
    D = workspace.take(hyper() ? Base::z_blocks() * packed<T>(Z, H) : 0);
    bias = workspace.take(pre_width());
    state = workspace.take(B * state_width());
    pre = call.save ? out(call.saved_pre) : workspace.take(most_rows(pieces) * pre_width());
    wh = call.save ? out(call.saved_wh) : workspace.take(B * wh_width());
    z = call.save ? out(call.saved_z) : workspace.take(B * z_width());
    for (int t = 0; t < threads; t++)
      room.push_back({workspace.take(SOME * G * H), workspace.take(SOME * A * H), workspace.take(std::max(H, K)),
                      workspace.take(std::max(Base::STATS, Base::HYPER_STATS))});
  }

  const bool by_rows;  // each thread takes its rows through all steps
  const std::vector<Piece> pieces;
  Workspace<T> workspace;
  T *W_x, *W_h, *kept_W_h, *hyper_W_h, *P, *D, *bias, *state, *pre, *wh, *z;
  std::vector<ForwardRoom<T>> room;

  // The rows of one step in pre, wh and z, which are kept for all steps, or for those of a piece (pre) and of one step.
  struct StepRows { T *pre, *wh, *z; };

  void run(const Thread& thread) const {
    pack(thread);
    begin(thread);
    if (by_rows) thread.wait();
    for (const Piece& piece : pieces) {
      wait(thread);
      inputs(thread, piece);
      wait(thread);
      for (long s = piece.begin; s < piece.end; s++) {
        const Step& step = sequence.order[s];
        const long kept = call.save ? step.first : 0;
        const StepRows rows{pre + (step.first - (call.save ? 0 : piece.first)) * pre_width(), wh + kept * wh_width(),
                            z + kept * z_width()};
        for (long level = 0; level < L; level++) {
          products(thread, step, level, other_end_each(s), rows);
          wait(thread);
          new_state(thread, step, level, rows);
          wait(thread);
        }
      }
    }
    finish(thread);
  }

  // Whether each of the threads has rows enough, the same in all steps, and the matrices that it then reads at each step fit.
  bool rows_suffice(int threads) const {
    const long matrices = packed<T>(H, L * G * H) + packed<T>(H + K, 4 * K) + packed<T>(K, z_width()) +
                          (hyper() ? Base::z_blocks() * packed<T>(Z, H) : 0);
    return threads > 1 && B / threads >= ROWS_EACH && sequence.equal_steps() &&
           matrices * long(sizeof(T)) <= second_cache();
  }

  void wait(const Thread& thread) const {
    if (!by_rows) thread.wait();
  }

  // A thread's part of a product of `rows` rows and n columns.
  Range product_rows(const Thread& thread, long rows) const { return by_rows ? thread.share(rows) : Range{0, rows}; }
  Range product_panels(const Thread& thread, long n) const { return by_rows ? Range{0, panels<T>(n)} : thread.share(panels<T>(n)); }

  void pack(const Thread& thread) const {
    auto W_h_row = [this](long c) { return Base::W_h + c * H; };
    pack_columns(thread, W_x, I, pre_width(), [&](long c) { return input_row(c); }, 0, I);
    pack_columns(thread, W_h, H, summed() * H, W_h_row, 0, H);
    for (long l = 0; l < L; l++)
      pack_columns(thread, kept_W_h + l * packed<T>(H, kept() * H), H, kept() * H,
                   [&](long c) { return W_h_row((l * G + summed()) * H + c); }, 0, H);
    if (!hyper()) return;
    pack_columns(thread, hyper_W_h, H, 4 * K, [&](long c) { return this->hyper_W_h_on_h(c); }, 0, H + K);
    pack_columns(thread, hyper_W_h, K, 4 * K, [&](long c) { return Base::hyper_W_h + c * K; }, H, H + K);
    pack_columns(thread, P, K, z_width(), [&](long c) { return Base::P + c * K; }, 0, K);
    for (long a = 0; a < Base::z_blocks(); a++)
      pack_columns(thread, D + a * packed<T>(Z, H), Z, H, [&](long j) { return Base::D + (a * H + j) * Z; }, 0, Z);
  }

  // The bias of the products on x: [b] or [0; b̂], since the b of a scaled cell is added after the scaling. And the state that the
  // steps change: [h; ĥ] for the products, c and ĉ where the answer is wanted; a c that is kept for each step is copied at the end.
  void begin(const Thread& thread) const {
    if (thread.index == 0) {
      std::fill_n(bias, pre_width(), T(0));
      if (hyper()) std::copy_n(this->hyper_b, 4 * K, bias + G * H);
      else if (this->b) std::copy_n(this->b, G * H, bias);
    }
    const Range own = thread.share(B);
    for (long r = own.begin; r < own.end; r++) {
      std::copy_n(in(call.h0) + r * H, H, state + r * state_width());
      if (Cell::has_c && !call.save) std::copy_n(in(call.c0) + r * H, H, out(call.c) + r * H);
      if (!hyper()) continue;
      std::copy_n(in(call.hyper_h0) + r * K, K, state + r * state_width() + H);
      std::copy_n(in(call.hyper_c0) + r * K, K, out(call.hyper_c) + r * K);
    }
  }

  void finish(const Thread& thread) const {
    const Range own = thread.share(B);
    for (long r = own.begin; r < own.end; r++) {
      std::copy_n(state + r * state_width(), H, out(call.h) + r * H);
      if (Cell::has_c && call.save)
        std::copy_n(out(call.saved_c) + sequence.last_row(r) * H, H, out(call.c) + r * H);
      if (hyper()) std::copy_n(state + r * state_width() + H, K, out(call.hyper_h) + r * K);
    }
  }

  // [W_x; Ŵ_x] x + the bias for all rows of a piece.
  void inputs(const Thread& thread, const Piece& piece) const {
    const Range all = product_panels(thread, pre_width());
    if (!by_rows) return inputs(piece.first, piece.rows, piece, all);
    // Its rows of a step are not next to those of the step after: some panels for the rows of all steps, then the next.
    for (long first = 0; first < all.end; first += FEW_PANELS)
      for (long s = piece.begin; s < piece.end; s++) {
        const Step& step = sequence.order[s];
        const Range own = thread.share(step.rows);
        inputs(step.first + own.begin, own.end - own.begin, piece, {first, std::min(first + FEW_PANELS, all.end)});
      }
  }

  void inputs(long first, long rows, const Piece& piece, Range own) const {
    const long width = pre_width();
    T* to = pre + (first - (call.save ? 0 : piece.first)) * width;
    product_into(rows, this->x + first * I, I, W_x, I, width, {0, I}, own, to, width,
                 [&](T* to, long column, Vec<T> v, auto part) { store(to, v + load(bias + column, part), part); });
  }

  // R^l s_{l-1}, of level 0 W_h h_{t-1}, and Ŵ_h h_{t-1} + Ŵ_ĥ ĥ_{t-1} on top of the hyper cell's products on x.
  void products(const Thread& thread, const Step& step, long level, From from, const StepRows& to) const {
    const Range rows = product_rows(thread, step.rows);
    auto product = [&](const T* W, long k, long n, T* to, long stride, bool overwrite, From from) {
      product_to(rows.end - rows.begin, state + rows.begin * state_width(), state_width(), W, k, n, product_panels(thread, n),
                 to + rows.begin * stride, stride, overwrite, from);
    };
    auto on_h = [&](const T* W, long blocks, T* to, long stride, bool overwrite) {
      if (blocks > 0) product(W, H, blocks * H, to, stride, overwrite, from);
    };
    on_h(W_h, summed(), to.pre, pre_width(), false);
    on_h(kept_W_h + level * packed<T>(H, kept() * H), kept(), to.wh + level * G * H, wh_width(), true);
    if (hyper() && level == 0) product(hyper_W_h, H + K, 4 * K, to.pre + G * H, pre_width(), false, From::start);
  }

  // From the products to the new state.
  void new_state(const Thread& thread, const Step& step, long level, const StepRows& from) const {
    const Range own = thread.share(step.rows);
    const ForwardRoom<T>& room = this->room[thread.index];
    for (long first = own.begin; first < own.end; first += SOME) {
      const long count = std::min(SOME, own.end - first);
      T *pre = from.pre + first * pre_width(), *wh = from.wh + first * wh_width(), *z = from.z + first * z_width();
      if (!hyper()) {
        for (long r = 0; r < count; r++) main_row(room, step, first + r, level, pre + r * pre_width(), wh + r * wh_width());
        continue;
      }
      if (level == 0) hyper_rows(room, step, first, count, pre, z);
      auto nothing = [](long, long, long, Vec<T>, auto) {};
      ScaledSum<T, Cell, decltype(nothing)>{*this, D, z, pre, wh, room.pre, room.apart, nothing}(level, count);
      for (long r = 0; r < count; r++) main_row(room, step, first + r, level, room.pre + r * G * H, room.apart + r * A * H);
    }
  }

  // ĥ_t and z of some rows.
  void hyper_rows(const ForwardRoom<T>& room, const Step& step, long first, long count, const T* pre, T* z) const {
    for (long r = 0; r < count; r++) {
      const long row = step.first + first + r;
      T *hyper_h = state + (first + r) * state_width() + H, *hyper_c = out(call.hyper_c) + (first + r) * K;
      this->hyper_cell.forward(
          {.pre = pre + r * pre_width() + G * H, .apart = nullptr, .mask = nullptr, .h_before = nullptr, .c_before = hyper_c,
           .h = hyper_h, .c = hyper_c, .stats = call.save ? out(call.saved_hyper_stats) + row * Base::HYPER_STATS : room.stats,
           .room = room.row});
      if (!call.save) continue;
      std::copy_n(hyper_h, K, out(call.saved_hyper_h) + row * K);
      std::copy_n(hyper_c, K, out(call.saved_hyper_c) + row * K);
    }
    // z_a = P_a ĥ_t + p_a
    product_to(count, state + first * state_width() + H, state_width(), P, K, z_width(), {0, panels<T>(z_width())}, z, z_width(),
               true);
    for (long r = 0; r < count; r++)
      lanes<T>(Base::with_p() * Z, [&](long j, auto part) { add(z + r * z_width() + j, load(Base::p + j, part), part); });
  }

  void main_row(const ForwardRoom<T>& room, const Step& step, long r, long level, const T* pre, const T* apart) const {
    const long row = step.first + r;
    T *h = state + r * state_width(), *c = nullptr;
    const T* c_before = nullptr;
    if constexpr (Cell::has_c) {
      c = call.save ? out(call.saved_c) + row * H : out(call.c) + r * H;
      c_before = call.save ? this->c_before(step, r) : c;
    }
    this->cell.forward({.pre = pre, .apart = apart, .mask = this->mask_row(row, level), .h_before = h, .c_before = c_before, .h = h,
                        .c = c, .stats = call.save ? out(call.saved_stats) + row * Base::STATS : room.stats, .room = room.row});
    if (level == L - 1) std::copy_n(h, H, this->output + row * H);
    else if (call.save) std::copy_n(h, H, this->saved_s(row, level));
  }

  // Row c of [W_x; Ŵ_x].
  const T* input_row(long c) const { return c < G * H ? Base::W_x + c * I : Base::hyper_W_x + (c - G * H) * (I + H); }
};

}  // namespace hn
