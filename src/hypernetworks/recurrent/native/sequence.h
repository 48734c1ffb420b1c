// The order in which a layer meets its steps, and where their rows lie.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace hn {

// One step: its rows are first … first + rows. The first `continued` of them have a row in the step run before this one,
// which begins at `before`; the others start from the initial state.
struct Step {
  long first, rows, before, continued;

  // What row r of this step starts from, n wide: its row in the step run before this one, of `all` rows, or in the initial state.
  template <class T> const T* before_row(long r, const T* all, const T* initial, long n) const {
    return r < continued ? all + (before + r) * n : initial + r * n;
  }
};

// Steps that are run one after another, [begin, end), and their rows, which are contiguous: what can be done for many rows at
// once is done for these.
struct Piece { long begin, end, first, rows; };

class Sequence {
 public:
  // B_t rows at step t, never growing with t; run from the last t to the first where `reverse`.
  Sequence(const int64_t* batch_sizes, long steps, bool reverse) {
    std::vector<long> first(steps + 1, 0);
    for (long t = 0; t < steps; t++) first[t + 1] = first[t] + batch_sizes[t];
    for (long s = 0; s < steps; s++) {
      const long t = reverse ? steps - 1 - s : s, before = reverse ? t + 1 : t - 1;
      const long continued = s == 0 ? 0 : std::min(batch_sizes[t], batch_sizes[before]);
      order.push_back({first[t], batch_sizes[t], s == 0 ? 0 : first[before], continued});
    }
    for (long t = 0; t < steps; t++)
      for (long r = 0; r < batch_sizes[t]; r++) step_of_row_.push_back(reverse ? steps - 1 - t : t);
  }

  std::vector<Step> order;

  const Step& step_of(long row) const { return order[step_of_row_[row]]; }

  // Whether all steps have the same number of rows: as many in the last as in the first, since B_t never grows.
  bool equal_steps() const { return order.front().rows == order.back().rows; }

  // The row of sequence r in the last step that has one.
  long last_row(long r) const {
    auto last = order.rbegin();
    while (last->rows <= r) last++;
    return last->first + r;
  }

  // Pieces of at least `least` rows, in the order they are run; the last may have fewer.
  std::vector<Piece> pieces(long least) const {
    std::vector<Piece> all;
    const long steps = order.size();
    for (long begin = 0; begin < steps;) {
      Piece piece{begin, begin, order[begin].first, 0};
      while (piece.end < steps && piece.rows < least) {
        piece.first = std::min(piece.first, order[piece.end].first);
        piece.rows += order[piece.end++].rows;
      }
      all.push_back(piece);
      begin = piece.end;
    }
    return all;
  }

 private:
  std::vector<long> step_of_row_;
};

inline long most_rows(const std::vector<Piece>& pieces) {
  long most = 0;
  for (const Piece& piece : pieces) most = std::max(most, piece.rows);
  return most;
}

}  // namespace hn
