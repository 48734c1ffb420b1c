// How the numbers of a big matrix are stored, and the products of such rows with a few vectors.
//
//     Own<T>      as they are
//     Bfloat16    the upper half of a float32; widened when read, the products are in float32
//     Int8        w = scale · q with q from −127 to 127 and a scale for each row. A vector is rounded to 16 bits, x = scale · q, one
//                 scale for each vector; the products are in whole numbers, hence exact, and their sums in float32.
//
// Rows of Bfloat16 and Int8 end with zeros, up to a multiple of PADDING numbers, so that they are read by whole vectors.
#pragma once

#include <algorithm>
#include <type_traits>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vector.h"

namespace hn {

template <class Type> struct Own { using T = Type; using Weight = Type; using Number = Type; };
struct Bfloat16 { using T = float; using Weight = uint16_t; using Number = float; };
struct Int8 { using T = float; using Weight = int8_t; using Number = int16_t; };

constexpr long PADDING = 2 * LANES<float>;

// Rows of weights, `stride` apart, and the scale of each.
template <class S> struct Matrix {
  const typename S::Weight* data;
  long stride;
  const typename S::T* scale;

  Matrix from(long row, long column = 0) const { return {data + row * stride + column, stride, scale ? scale + row : nullptr}; }
};

// The vectors that meet them, `stride` apart, and the scale of each.
template <class S> struct Vectors {
  const typename S::Number* data;
  long stride;
  const typename S::T* scale;

  Vectors from(long row, long column = 0) const { return {data + row * stride + column, stride, scale ? scale + row : nullptr}; }
};

// a b + c, rounded once where the processor can: whether a compiler fuses the two by itself depends on the code around them, and
// the bits of a row would depend on the number of rows.
#if defined(__AVX512F__)
inline Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> c) { return Vec<float>(_mm512_fmadd_ps(a, b, c)); }
inline Vec<double> multiply_add(Vec<double> a, Vec<double> b, Vec<double> c) { return Vec<double>(_mm512_fmadd_pd(a, b, c)); }
#elif defined(__FMA__) && HN_VECTOR_BYTES == 32
inline Vec<float> multiply_add(Vec<float> a, Vec<float> b, Vec<float> c) { return Vec<float>(_mm256_fmadd_ps(a, b, c)); }
inline Vec<double> multiply_add(Vec<double> a, Vec<double> b, Vec<double> c) { return Vec<double>(_mm256_fmadd_pd(a, b, c)); }
#else
template <class V> inline V multiply_add(V a, V b, V c) { return a * b + c; }
#endif

typedef int8_t Bytes __attribute__((vector_size(HN_VECTOR_BYTES / 2)));
typedef uint16_t Halves __attribute__((vector_size(HN_VECTOR_BYTES / 2)));
typedef int16_t Shorts __attribute__((vector_size(HN_VECTOR_BYTES)));
typedef int32_t Words __attribute__((vector_size(HN_VECTOR_BYTES)));

// A vector of twice as wide numbers. GCC makes four instructions of such a __builtin_convertvector, where the processor has one.
inline Shorts widen(Bytes bytes) {
#if defined(__AVX512BW__) && HN_VECTOR_BYTES == 64
  return (Shorts)_mm512_cvtepi8_epi16((__m256i)bytes);
#elif defined(__AVX2__) && HN_VECTOR_BYTES == 32
  return (Shorts)_mm256_cvtepi8_epi16((__m128i)bytes);
#else
  return __builtin_convertvector(bytes, Shorts);
#endif
}
inline Words widen(Halves halves) {
#if HN_VECTOR_BYTES == 64
  return (Words)_mm512_cvtepu16_epi32((__m256i)halves);
#elif defined(__AVX2__) && HN_VECTOR_BYTES == 32
  return (Words)_mm256_cvtepu16_epi32((__m128i)halves);
#else
  return __builtin_convertvector(halves, Words);
#endif
}

// A vector of weights as numbers of T.
template <class T> inline Vec<T> weights_at(const T* w, auto part) { return load(w, part); }
inline Vec<float> weights_at(const uint16_t* w, auto) {
  Halves halves;
  std::memcpy(&halves, w, sizeof halves);
  const Words words = widen(halves) << 16;
  Vec<float> v;
  std::memcpy(&v, &words, sizeof v);
  return v;
}

// sums[i][r] = Σ_j w_ij x_rj, lane by lane, for M rows of W and R vectors of k numbers.
template <class S, int M, int R> struct RowSums {
  using T = typename S::T;
  static void add(const Matrix<S>& W, long k, const Vectors<S>& x, Vec<T> (&sums)[M][R]) {
    lanes<T>(k, [&](long j, auto part) {
      Vec<T> numbers[R];
      for (int r = 0; r < R; r++) numbers[r] = load(x.data + r * x.stride + j, part);
      for (int i = 0; i < M; i++) {
        const Vec<T> w = weights_at(W.data + i * W.stride + j, part);
        for (int r = 0; r < R; r++) sums[i][r] = multiply_add(w, numbers[r], sums[i][r]);
      }
    });
  }
};

// sum + a[2i] b[2i] + a[2i + 1] b[2i + 1] in lane i
inline Words add_pairs(Words sum, Shorts a, Shorts b) {
#if defined(__AVX512VNNI__) && HN_VECTOR_BYTES == 64
  return (Words)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__) && HN_VECTOR_BYTES == 64
  return sum + (Words)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__) && HN_VECTOR_BYTES == 32
  return sum + (Words)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__) && HN_VECTOR_BYTES == 16
  return sum + (Words)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  Words of_a, of_b;
  std::memcpy(&of_a, &a, sizeof a);
  std::memcpy(&of_b, &b, sizeof b);
  return sum + (of_a >> 16) * (of_b >> 16) + ((of_a << 16) >> 16) * ((of_b << 16) >> 16);
#endif
}

template <int M, int R> struct RowSums<Int8, M, R> {
  // 127 · 32767 · 2 · 256 < 2^31: as many pairs of products fit into a lane
  static constexpr long SAFE = 256 * PADDING;

  static void add(const Matrix<Int8>& W, long k, const Vectors<Int8>& x, Vec<float> (&sums)[M][R]) {
    for (long begin = 0; begin < k; begin += SAFE) {
      Words of[M][R]{};
      for (long j = begin; j < std::min(begin + SAFE, k); j += PADDING) {
        Shorts numbers[R];
        for (int r = 0; r < R; r++) std::memcpy(&numbers[r], x.data + r * x.stride + j, sizeof(Shorts));
        for (int i = 0; i < M; i++) {
          Bytes bytes;
          std::memcpy(&bytes, W.data + i * W.stride + j, sizeof bytes);
          const Shorts w = widen(bytes);
          for (int r = 0; r < R; r++) of[i][r] = add_pairs(of[i][r], w, numbers[r]);
        }
      }
      for (int i = 0; i < M; i++)
        for (int r = 0; r < R; r++) sums[i][r] += __builtin_convertvector(of[i][r], Vec<float>);
    }
  }
};

// `rows` vectors of n numbers, `stride` apart, as products with this storage need them. `numbers` and `scales` are room for those
// that have to be rounded, with PADDING numbers behind the last.
template <class S>
inline Vectors<S> vectors(long, long, const typename S::T* x, long stride, typename S::Number*, typename S::T*) {
  return {x, stride, nullptr};
}
template <>
inline Vectors<Int8> vectors<Int8>(long rows, long n, const float* x, long stride, int16_t* numbers, float* scales) {
  typedef int16_t Rounded __attribute__((vector_size(HN_VECTOR_BYTES / 2)));
  for (long r = 0; r < rows; r++) {
    const float* from = x + r * stride;
    int16_t* to = numbers + r * n;
    Vec<float> most{}, invalid{};
    lanes<float>(n, [&](long j, auto part) {
      const Vec<float> v = load(from + j, part), size = v < 0 ? -v : v;
      most = size > most ? size : most;
      invalid += v * 0.0f;  // NaN where a number is not finite
    });
    float largest = 0;
    for (long i = 0; i < LANES<float>; i++) largest = std::max(largest, most[i]);
    scales[r] = largest / 32767 + sum<float>(invalid);
    const float inverse = largest > 0 ? 32767 / largest : 0.0f;
    const Vec<float> round = Vec<float>{} + Series<float>::round;  // adding it rounds to a whole number
    Words zero, words;
    std::memcpy(&zero, &round, sizeof zero);
    lanes<float>(n, [&](long j, auto part) {
      const Vec<float> shifted = load(from + j, part) * inverse + round;
      std::memcpy(&words, &shifted, sizeof words);
      const Rounded q = __builtin_convertvector(words - zero, Rounded);
      if constexpr (std::is_same_v<decltype(part), Whole>) std::memcpy(to + j, &q, sizeof q);
      else std::memcpy(to + j, &q, part.n * sizeof(int16_t));
    });
  }
  return {numbers, n, scales};
}

}  // namespace hn
