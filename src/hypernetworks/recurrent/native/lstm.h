// What a call for a layer of LSTM or HyperLSTM is given: the fields of the Python side's structure, in its order.
#pragma once

#include <cstdint>

namespace hn {

// T steps, N = Σ B_t rows, B sequences; I input, H hidden, K hyper hidden (0: a plain LSTM), Z embedding.
// Vectors and matrices are contiguous and row-major; what a network has not is null.
struct LSTMCall {
  int64_t threads, steps, batch, rows, input, hidden, hyper, embedding, reverse, save, need_input, need_weights;
  double eps;
  const int64_t* batch_sizes;  // B_t, never growing
  void* workspace;                 // null: tell how much is needed
  // x (N, I), mask (N, H), states (B, ·)
  const void *x, *mask, *h0, *c0, *hyper_h0, *hyper_c0;
  // (4H, I), (4H, H), (4H), and the norm's (4H), (4H), (H), (H)
  const void *weight_x, *weight_h, *bias, *gain, *shift, *cell_gain, *cell_shift;
  // (4K, I + H), (4K, K), (4K), (4K), (4K), (K), (K), (12Z, K), (8Z), (12, H, Z)
  const void *hyper_weight_x, *hyper_weight_h, *hyper_bias, *hyper_gain, *hyper_shift, *hyper_cell_gain,
      *hyper_cell_shift, *P, *p, *D;
  // The answer: (N, H), and the state after the last step (B, ·).
  void *output, *h, *c, *hyper_h, *hyper_c;
  // For the backward pass: what met the gates (N, 4H + 4K), W_h h (N, 4H), c (N, H), ĥ and ĉ (N, K), z (N, 12Z), and the
  // norms' moments (N, STATS) of both cells.
  void *saved_pre, *saved_wh, *saved_c, *saved_hyper_h, *saved_hyper_c, *saved_z, *saved_stats, *saved_hyper_stats;
  // The gradients that came, and those that are asked for, in the order of the inputs.
  const void *grad_output, *grad_h, *grad_c, *grad_hyper_h, *grad_hyper_c;
  void *grad_x, *grad_h0, *grad_c0, *grad_hyper_h0, *grad_hyper_c0;
  void *grad_weight_x, *grad_weight_h, *grad_bias, *grad_gain, *grad_shift, *grad_cell_gain, *grad_cell_shift;
  void *grad_hyper_weight_x, *grad_hyper_weight_h, *grad_hyper_bias, *grad_hyper_gain, *grad_hyper_shift,
      *grad_hyper_cell_gain, *grad_hyper_cell_shift, *grad_P, *grad_p, *grad_D;
};

}  // namespace hn
