// Vectors as wide as the machine has them, and σ and tanh on them.
//
// A row of n numbers is walked by lanes(n, f): f is given whole vectors, and at the end a part of one. Loading a part
// fills the other lanes with zeros, storing it leaves the memory beyond alone: no row needs padding.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#define HN_VECTOR_BYTES 64
#elif defined(__AVX__)
#define HN_VECTOR_BYTES 32
#else
#define HN_VECTOR_BYTES 16
#endif

namespace hn {

template <class T> struct VectorOf { typedef T type __attribute__((vector_size(HN_VECTOR_BYTES))); };
template <class T> using Vec = typename VectorOf<T>::type;
template <class T> constexpr long LANES = HN_VECTOR_BYTES / sizeof(T);

// How much of a vector is meant.
struct Whole {};
struct Part { long n; };

template <class T> inline Vec<T> load(const T* p, Whole = {}) { Vec<T> v; std::memcpy(&v, p, sizeof v); return v; }
template <class T> inline Vec<T> load(const T* p, Part part) {
  Vec<T> v{};
  std::memcpy(&v, p, part.n * sizeof(T));
  return v;
}
template <class T> inline void store(T* p, Vec<T> v, Whole = {}) { std::memcpy(p, &v, sizeof v); }
template <class T> inline void store(T* p, Vec<T> v, Part part) {
  std::memcpy(p, &v, part.n * sizeof(T));
}
template <class T> inline void add(T* p, Vec<T> v, auto part) { store(p, load(p, part) + v, part); }

// v with zeros in the lanes that are not meant: before a sum over all lanes.
template <class V> inline V keep(V v, Whole) { return v; }
template <class V> inline V keep(V v, Part part) {
  V kept{};
  std::memcpy(&kept, &v, part.n * sizeof(v[0]));
  return kept;
}

template <class T> inline T sum(Vec<T> v) {
  T numbers[LANES<T>];
  store(numbers, v);
#pragma GCC unroll 8
  for (long half = LANES<T> / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (long i = 0; i < half; i++) numbers[i] += numbers[i + half];
  return numbers[0];
}

template <class T, class F> inline void lanes(long n, F f) {
  long j = 0;
  for (; j + LANES<T> <= n; j += LANES<T>) f(j, Whole{});
  if (j < n) f(j, Part{n - j});
}

// Calls f(part) with the part of the vector at `begin` that is before `end`; does nothing if there is none.
template <class T, class F> inline void within(long begin, long end, F f) {
  if (begin + LANES<T> <= end) f(Whole{});
  else if (begin < end) f(Part{end - begin});
}

template <class T> struct Series;

// The lanes of a and b in groups of `half`: of each two the first (`odd` 0) or the second (1), those of a and of b in turn.
template <class T, int half, int odd, int... lane> inline Vec<T> groups(Vec<T> a, Vec<T> b, std::integer_sequence<int, lane...>) {
  constexpr auto from = [](int l) {
    return l / (2 * half) * (2 * half) + odd * half + l % half + l % (2 * half) / half * int(LANES<T>);
  };
#ifdef __clang__
  return __builtin_shufflevector(a, b, from(lane)...);
#else
  typedef typename Series<T>::Int Ints __attribute__((vector_size(HN_VECTOR_BYTES)));
  return __builtin_shuffle(a, b, Ints{from(lane)...});
#endif
}

// Lane i is the sum over all lanes of v[i], for as many vectors as they have lanes: two are folded into one until one is left.
template <class T, int half = LANES<T> / 2> inline Vec<T> sum_each(Vec<T>* v) {
  if constexpr (half == 0) {
    return v[0];
  } else {
    constexpr std::make_integer_sequence<int, LANES<T>> all{};
    for (int i = 0; i < half; i++)
      v[i] = groups<T, half, 0>(v[i], v[i + half], all) + groups<T, half, 1>(v[i], v[i + half], all);
    return sum_each<T, half / 2>(v);
  }
}

// exp(x) − 1 = 2^n (exp(r) − 1) + (2^n − 1) for x = n ln 2 + r, |r| ≤ ln 2 / 2, exp(r) − 1 by its series: exact to rounding
// also near 0. `scale` is 2^n and `less` exp(r) − 1. x beyond the range of T is taken for the end of the range; NaN stays.
template <> struct Series<float> {
  using Int = int32_t;
  static constexpr int terms = 8, mantissa = 23, bias = 127;
  static constexpr float least = -87.0f, most = 88.0f, round = 12582912.0f;  // 1.5 · 2^23: adding it rounds to a whole number
  static constexpr float high = 0.693145751953125f, low = 1.42860677e-6f;    // ln 2 in two parts
};
template <> struct Series<double> {
  using Int = int64_t;
  static constexpr int terms = 14, mantissa = 52, bias = 1023;
  static constexpr double least = -708.0, most = 709.0, round = 6755399441055744.0;
  static constexpr double high = 0.693147180369123816490, low = 1.90821492927058770002e-10;
};

template <class T> struct Exponential { Vec<T> scale, less; };

template <class T> inline Exponential<T> exponential(Vec<T> x) {
  using S = Series<T>;
  typedef typename S::Int Ints __attribute__((vector_size(HN_VECTOR_BYTES)));
  x = x < S::least ? Vec<T>{} + S::least : x;
  x = x > S::most ? Vec<T>{} + S::most : x;
  Vec<T> shifted = x * T(1.44269504088896340736) + S::round;
  Vec<T> n = shifted - S::round;
  Vec<T> r = x - n * S::high - n * S::low;
  // r + r²/2! + r³/3! + …, from its last term on
  T factorial = 1;
  for (int i = 2; i <= S::terms; i++) factorial *= T(i);
  Vec<T> p = Vec<T>{} + T(1) / factorial;
#pragma GCC unroll 16
  for (int i = S::terms; i > 1; i--) {
    factorial /= T(i);
    p = p * r + T(1) / factorial;
  }
  Ints bits, zero;
  Vec<T> round = Vec<T>{} + S::round, scale;
  std::memcpy(&bits, &shifted, sizeof bits);
  std::memcpy(&zero, &round, sizeof zero);
  bits = (bits - zero + S::bias) << S::mantissa;
  std::memcpy(&scale, &bits, sizeof scale);
  return {scale, p * r};
}

// σ(x) = 1 / (1 + exp(−x)), and exactly 0 where exp(−x) exceeds the range of T, as in torch
template <class T> inline Vec<T> sigmoid(Vec<T> x) {
  Exponential<T> e = exponential<T>(-x);
  Vec<T> y = T(1) / (T(1) + e.scale + e.scale * e.less);
  return x < -Series<T>::most ? Vec<T>{} : y;
}

// tanh|x| = −t / (2 + t) with t = exp(−2|x|) − 1, and the sign of x
template <class T> inline Vec<T> tanh(Vec<T> x) {
  Exponential<T> e = exponential<T>(x < 0 ? 2 * x : -2 * x);
  Vec<T> t = e.scale * e.less + (e.scale - T(1));
  Vec<T> y = -t / (T(2) + t);
  return x < 0 ? -y : y;
}

// σ(x) tanh(y) with one division
template <class T> inline Vec<T> sigmoid_tanh(Vec<T> x, Vec<T> y) {
  Exponential<T> e = exponential<T>(-x), f = exponential<T>(y < 0 ? 2 * y : -2 * y);
  Vec<T> t = f.scale * f.less + (f.scale - T(1));
  Vec<T> z = -t / ((T(1) + e.scale + e.scale * e.less) * (T(2) + t));
  z = x < -Series<T>::most ? Vec<T>{} : z;
  return y < 0 ? -z : z;
}

}  // namespace hn
