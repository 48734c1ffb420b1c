// Memory comes from the caller: a kernel says how much it needs by laying out its buffers without memory first.
#pragma once

#include "vector.h"

namespace hn {

template <class T> class Workspace {
 public:
  explicit Workspace(T* base) : base_(base) {}

  // n numbers at a multiple of 64 bytes, and room behind them to read a whole vector beyond their end.
  T* take(long n) {
    T* start = base_ ? base_ + used_ : nullptr;
    const long line = 64 / sizeof(T);
    used_ += (n + line - 1) / line * line + 2 * line;
    return start;
  }
  long used() const { return used_; }

 private:
  T* base_;
  long used_ = 0;
};

}  // namespace hn
