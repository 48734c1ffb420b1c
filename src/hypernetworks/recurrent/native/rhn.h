// What a call for a layer of the Recurrent Highway Network is given.
#pragma once

#include <cstdint>

namespace hn {

// T steps, N = Σ B_t rows, B sequences; I input, H hidden, L depth. As in lstm.h.
struct RHNCall {
  int64_t threads, steps, batch, rows, input, hidden, depth, reverse, save, need_input, need_weights;
  const int64_t* batch_sizes;
  void* workspace;
  // x (N, I), mask (N, L·H), s0 (B, H); (2H, I), (L, 2H, H), (L, 2H)
  const void *x, *mask, *s0, *weight_x, *weight_h, *bias;
  // The answer: (N, H), and the state after the last step (B, H).
  void *output, *s;
  // For the backward pass: h_l and t_l (N, L, 2H), s_l (N, L, H).
  void *saved_gates, *saved_s;
  const void *grad_output, *grad_s;
  void *grad_x, *grad_s0, *grad_weight_x, *grad_weight_h, *grad_bias;
};

}  // namespace hn
