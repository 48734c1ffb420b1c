// What the kernels of all networks are called with: the fields of the Python side's structure, in its order.
#pragma once

#include <cstdint>

namespace hn {

// T steps, N = Σ B_t rows, B sequences; I input, H hidden, L depth (1 but for RHN), K hyper hidden (0: no hyper cell), Z embedding.
// G row blocks of the cell, A of them apart; hyper networks have S = L·G + G blocks with an embedding of their own p and
// M = S + L·G in all. Vectors and matrices are contiguous and row-major; what a network does not have is null.
struct LayerCall {
  int64_t threads, steps, batch, rows, input, hidden, depth, hyper, embedding, reverse, save, need_input, need_weights;
  double eps;
  const int64_t* batch_sizes;  // B_t, never growing
  void* workspace;             // null: return how much is needed
  // x (N, I), mask (N, L·H), states (B, ·)
  const void *x, *mask, *h0, *c0, *hyper_h0, *hyper_c0;
  // (G·H, I), (L·G·H, H), (L·G·H), (A·H), and the norms' (G·H), (G·H), (H), (H)
  const void *weight_x, *weight_h, *bias, *bias_h, *gain, *shift, *cell_gain, *cell_shift;
  // (4K, I + H), (4K, K), (4K), (4K), (4K), (K), (K), (M·Z, K), (S·Z), (M, H, Z)
  const void *hyper_weight_x, *hyper_weight_h, *hyper_bias, *hyper_gain, *hyper_shift, *hyper_cell_gain,
      *hyper_cell_shift, *P, *p, *D;
  // The answer: (N, H), and the state after the last step (B, ·).
  void *output, *h, *c, *hyper_h, *hyper_c;
  // For the backward pass. pre (N, G·H + 4K): W_x x, to which W_h h is added where no hyper cell scales the two, and the hyper
  // cell's pre; wh: R^l h that was not added to pre, (N, L·G·H) or (N, A·H); c (N, H), s_1 … s_{L-1} (N, (L − 1)·H), h_l and t_l
  // of the plain RHN in place of pre (N, L·2H), stats (N, ·); ĥ and ĉ (N, K), z (N, M·Z), the hyper cell's stats (N, ·).
  void *saved_pre, *saved_wh, *saved_c, *saved_s, *saved_gates, *saved_stats, *saved_hyper_h, *saved_hyper_c, *saved_z,
      *saved_hyper_stats;
  // The gradients of the answer, and those that are asked for, in the order of the inputs.
  const void *grad_output, *grad_h, *grad_c, *grad_hyper_h, *grad_hyper_c;
  void *grad_x, *grad_h0, *grad_c0, *grad_hyper_h0, *grad_hyper_c0;
  void *grad_weight_x, *grad_weight_h, *grad_bias, *grad_bias_h, *grad_gain, *grad_shift, *grad_cell_gain, *grad_cell_shift;
  void *grad_hyper_weight_x, *grad_hyper_weight_h, *grad_hyper_bias, *grad_hyper_gain, *grad_hyper_shift,
      *grad_hyper_cell_gain, *grad_hyper_cell_shift, *grad_P, *grad_p, *grad_D;
};

}  // namespace hn
