// What a stepper's call is given: one time step of a stack of layers, with the state that it starts from and leaves.
#pragma once

#include <cstdint>

namespace hn {

// A layer: I input, H hidden, K hyper hidden (0: a plain network), Z embedding, L depth (1 but for an RHN); G blocks of W_x.
// Matrices are row-major, the rows of the big ones `…_stride` numbers apart; what a network does not have is null.
struct StepperLayer {
  int64_t input, hidden, hyper, embedding, depth;
  double eps;
  // The state (B, ·), and room for as much: a call reads one of them and writes the other.
  void *h, *c, *hyper_h, *hyper_c, *next_h, *next_c, *next_hyper_h, *next_hyper_c;
  // (L·G·H), (H), and the norm's
  const void *bias, *bias_h, *gain, *shift, *cell_gain, *cell_shift;
  // (4K), the norm's, (4K, K), (Z of all blocks, K), (Z of all blocks but those of b)
  const void *hyper_bias, *hyper_gain, *hyper_shift, *hyper_cell_gain, *hyper_cell_shift, *hyper_weight_h, *P, *p;
  // The big matrices: (G·H, I), (L·G·H, H), the hyper cell's on x (4K, I) and on h (4K, H), D (blocks·H, Z).
  const void *weight_x, *weight_h, *hyper_on_x, *hyper_on_h, *D;
  int64_t weight_x_stride, weight_h_stride, hyper_on_x_stride, hyper_on_h_stride, D_stride;
  // One number for each of their rows, where they are stored as int8.
  const void *weight_x_scale, *weight_h_scale, *hyper_on_x_scale, *hyper_on_h_scale, *D_scale;
};

// `cell`: 0 LSTM, 1 GRU, 2 RNN, 3 RHN. `storage`: 0 the numbers' own type, 1 bfloat16, 2 int8. `swapped`: the weights are read from
// their end on, and the state is in `next_…`.
struct StepperCall {
  int64_t threads, batch, layers, cell, storage, swapped;
  void* workspace;    // null: return how much is needed
  const void* layer;  // the layers, from the first
  const void* x;      // (B, I of the first layer)
  void* output;       // (B, H): h of the last layer; may be null
};

}  // namespace hn
