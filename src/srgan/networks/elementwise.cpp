// What a CPU spends most of a training step on, beside convolutions: PReLU, and the work on VGG's
// features. Each is a pass over memory here, and many passes in PyTorch. elementwise.py compiles
// and calls it. Values are float32 or bfloat16; all arithmetic is float32. Every sum is added up in
// an order that does not depend on the number of threads.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int64_t LANES = 16;
#else
constexpr int64_t LANES = 8;
#endif
constexpr int64_t BLOCK = 32768;  // values at once: they stay in the cache

typedef float Vector __attribute__((vector_size(LANES * 4), aligned(4)));
typedef uint32_t Bits __attribute__((vector_size(LANES * 4), aligned(4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2), aligned(2)));

inline Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
inline Vector load(const at::BFloat16* from) {
  return (Vector)(__builtin_convertvector(*reinterpret_cast<const Halves*>(from), Bits) << 16);
}
inline void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
inline void store(at::BFloat16* to, Vector value) {  // to the nearest, half to even
  Bits bits = (Bits)value;
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  bits = value == value ? bits : (bits | 0x7fc0) & 0xffff;  // NaN stays NaN
  *reinterpret_cast<Halves*>(to) = __builtin_convertvector(bits, Halves);
}

inline float sum(Vector value) {
  float total = 0;
  for (int64_t i = 0; i < LANES; ++i) total += value[i];
  return total;
}

// The first `count` < LANES values, then zeros; and back.
template <typename T>
inline Vector load_some(const T* from, int64_t count) {
  T some[LANES] = {};
  std::memcpy(some, from, count * sizeof(T));
  return load(some);
}
template <typename T>
inline void store_some(T* to, Vector value, int64_t count) {
  T some[LANES];
  store(some, value);
  std::memcpy(to, some, count * sizeof(T));
}

// Calls each(i, number of values) for the vectors of [begin, end).
template <typename Each>
inline void vectors(int64_t begin, int64_t end, const Each& each) {
  int64_t i = begin;
  for (; i + LANES <= end; i += LANES) each(i, LANES);
  if (i < end) each(i, end - i);
}

template <typename T>
inline Vector get(const T* from, int64_t count) {
  return count == LANES ? load(from) : load_some(from, count);
}
template <typename T>
inline void put(T* to, Vector value, int64_t count) {
  if (count == LANES)
    store(to, value);
  else
    store_some(to, value, count);
}

template <typename Work>
void by_type(const at::Tensor& x, const Work& work) {
  if (x.scalar_type() == at::kBFloat16)
    work(at::BFloat16());
  else if (x.scalar_type() == at::kFloat)
    work(float());
  else
    TORCH_CHECK(false, "neither float32 nor bfloat16: ", x.scalar_type());
}

// `like` in memory, with the values of x.
at::Tensor laid_out_as(const at::Tensor& x, const at::Tensor& like) {
  if (x.scalar_type() == like.scalar_type() && x.strides() == like.strides()) return x;
  return at::empty_like(like).copy_(x);
}

at::Tensor without_gaps(const at::Tensor& x) {
  return x.is_non_overlapping_and_dense() ? x : x.contiguous();
}

at::Tensor prelu(const at::Tensor& input, double slope) {
  const at::Tensor x = without_gaps(input);
  at::Tensor y = at::empty_like(x);
  const float factor = slope;
  by_type(x, [&](auto type) {
    typedef decltype(type) T;
    const T* from = x.const_data_ptr<T>();
    T* to = y.mutable_data_ptr<T>();
    at::parallel_for(0, x.numel(), BLOCK, [&](int64_t begin, int64_t end) {
      vectors(begin, end, [&](int64_t i, int64_t count) {
        const Vector value = get(from + i, count);
        put(to + i, value > 0 ? value : value * factor, count);
      });
    });
  });
  return y;
}

// The gradients of x and, as a float32 number, of the slope.
std::tuple<at::Tensor, at::Tensor> prelu_backward(const at::Tensor& gradient,
                                                  const at::Tensor& input, double slope) {
  const at::Tensor x = without_gaps(input);
  const at::Tensor given = laid_out_as(gradient, x);
  at::Tensor result = at::empty_like(x);
  const float factor = slope;
  const int64_t size = x.numel(), blocks = (size + BLOCK - 1) / BLOCK;
  std::vector<double> sums(blocks);
  by_type(x, [&](auto type) {
    typedef decltype(type) T;
    const T *values = x.const_data_ptr<T>(), *from = given.const_data_ptr<T>();
    T* to = result.mutable_data_ptr<T>();
    at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block) {
        Vector total{};
        vectors(block * BLOCK, std::min((block + 1) * BLOCK, size), [&](int64_t i, int64_t count) {
          const Vector value = get(values + i, count), g = get(from + i, count);
          put(to + i, value > 0 ? g : g * factor, count);
          total += value > 0 ? Vector{} : value * g;
        });
        sums[block] = sum(total);
      }
    });
  });
  double total = 0;
  for (const double part : sums) total += part;
  return {result, at::scalar_tensor(total, at::kFloat)};
}

void check_features(const at::Tensor& x) {
  TORCH_CHECK(x.is_contiguous(at::MemoryFormat::ChannelsLast) && x.size(1) % LANES == 0,
              "features must be channels_last, in whole registers: ", x.sizes());
}

// The squared distance of features scaled to length 1 over C, the mean over places; and for each
// place a and b, with which a x + b t is the gradient at x, but for the division by the places.
// With u = x / |x|, v = t / |t| and d = u - v it is 2 (d - u (u . d)) / |x|.
std::tuple<at::Tensor, at::Tensor> unit_distance(const at::Tensor& x, const at::Tensor& target,
                                                 double tiny) {
  check_features(x);
  check_features(target);
  const int64_t channels = x.size(1), places = x.numel() / channels;
  const int64_t rows = std::max<int64_t>(BLOCK / channels, 1), blocks = (places + rows - 1) / rows;
  at::Tensor factors = at::empty({places, 2}, x.options().dtype(at::kFloat));
  float* to = factors.mutable_data_ptr<float>();
  std::vector<double> sums(blocks);
  by_type(x, [&](auto x_type) {
    by_type(target, [&](auto target_type) {
      const auto* xs = x.const_data_ptr<decltype(x_type)>();
      const auto* ts = target.const_data_ptr<decltype(target_type)>();
      at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
          double total = 0;
          const int64_t last = std::min((block + 1) * rows, places);
          for (int64_t place = block * rows; place < last; ++place) {
            const auto* p = xs + place * channels;
            const auto* q = ts + place * channels;
            Vector xx{}, tt{}, dd{}, ud{};
            for (int64_t c = 0; c < channels; c += LANES) {
              const Vector a = load(p + c), b = load(q + c);
              xx += a * a, tt += b * b;
            }
            const float one_x = 1 / std::sqrt(sum(xx) + static_cast<float>(tiny));
            const float one_t = 1 / std::sqrt(sum(tt) + static_cast<float>(tiny));
            for (int64_t c = 0; c < channels; c += LANES) {
              const Vector u = load(p + c) * one_x, d = u - load(q + c) * one_t;
              dd += d * d, ud += u * d;
            }
            total += sum(dd);
            to[2 * place] = 2 * one_x * one_x * (1 - sum(ud));
            to[2 * place + 1] = -2 * one_x * one_t;
          }
          sums[block] = total;
        }
      });
    });
  });
  double total = 0;
  for (const double part : sums) total += part;
  return {at::scalar_tensor(total / places, at::kFloat), factors};
}

at::Tensor unit_distance_backward(const at::Tensor& gradient, const at::Tensor& x,
                                  const at::Tensor& target, const at::Tensor& factors) {
  const int64_t channels = x.size(1), places = x.numel() / channels;
  const float share = *gradient.const_data_ptr<float>() / places;
  at::Tensor result = at::empty_like(x);
  const float* from = factors.const_data_ptr<float>();
  by_type(x, [&](auto x_type) {
    by_type(target, [&](auto target_type) {
      const auto* xs = x.const_data_ptr<decltype(x_type)>();
      const auto* ts = target.const_data_ptr<decltype(target_type)>();
      auto* to = result.mutable_data_ptr<decltype(x_type)>();
      at::parallel_for(0, places, BLOCK / channels, [&](int64_t begin, int64_t end) {
        for (int64_t place = begin; place < end; ++place) {
          const float a = from[2 * place] * share, b = from[2 * place + 1] * share;
          for (int64_t i = place * channels; i < (place + 1) * channels; i += LANES)
            store(to + i, load(xs + i) * a + load(ts + i) * b);
        }
      });
    });
  });
  return result;
}

// Each sample divided by its mean, or by `tiny` where that is smaller; and these divisors.
std::tuple<at::Tensor, at::Tensor> by_mean(const at::Tensor& x, at::ScalarType type,
                                           double tiny) {
  check_features(x);
  const int64_t count = x.size(0), size = x.numel() / std::max<int64_t>(count, 1);
  at::Tensor y = at::empty_like(x, x.options().dtype(type));
  at::Tensor divisors = at::empty({count}, x.options().dtype(at::kFloat));
  float* means = divisors.mutable_data_ptr<float>();
  by_type(x, [&](auto x_type) {
    by_type(y, [&](auto y_type) {
      const auto* xs = x.const_data_ptr<decltype(x_type)>();
      auto* to = y.mutable_data_ptr<decltype(y_type)>();
      at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          double total = 0;
          for (int64_t i = n * size; i < (n + 1) * size;) {
            Vector part{};
            for (const int64_t stop = std::min(i + BLOCK, (n + 1) * size); i < stop; i += LANES)
              part += load(xs + i);
            total += sum(part);
          }
          means[n] = static_cast<float>(std::max(total / size, tiny));
          const float factor = 1 / means[n];
          for (int64_t i = n * size; i < (n + 1) * size; i += LANES)
            store(to + i, load(xs + i) * factor);
        }
      });
    });
  });
  return {y, divisors};
}

at::Tensor by_mean_backward(const at::Tensor& gradient, const at::Tensor& x,
                            const at::Tensor& divisors, double tiny) {
  const at::Tensor given = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t count = x.size(0), size = x.numel() / std::max<int64_t>(count, 1);
  at::Tensor result = at::empty_like(x);
  const float* means = divisors.const_data_ptr<float>();
  by_type(x, [&](auto x_type) {
    by_type(given, [&](auto given_type) {
      const auto* xs = x.const_data_ptr<decltype(x_type)>();
      const auto* from = given.const_data_ptr<decltype(given_type)>();
      auto* to = result.mutable_data_ptr<decltype(x_type)>();
      at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          double product = 0;
          for (int64_t i = n * size; i < (n + 1) * size;) {
            Vector part{};
            for (const int64_t stop = std::min(i + BLOCK, (n + 1) * size); i < stop; i += LANES)
              part += load(xs + i) * load(from + i);
            product += sum(part);
          }
          const float factor = 1 / means[n];
          const bool fixed = means[n] <= static_cast<float>(tiny);  // the divisor is no mean
          const float shift = fixed ? 0 : product * factor * factor / size;
          for (int64_t i = n * size; i < (n + 1) * size; i += LANES)
            store(to + i, load(from + i) * factor - shift);
        }
      });
    });
  });
  return result;
}

}  // namespace

TORCH_LIBRARY(srgan_elementwise, library) {
  library.def("prelu(Tensor x, float slope) -> Tensor", prelu);
  library.def("prelu_backward(Tensor gradient, Tensor x, float slope) -> (Tensor, Tensor)",
              prelu_backward);
  library.def("unit_distance(Tensor x, Tensor target, float tiny) -> (Tensor, Tensor)",
              unit_distance);
  library.def(
      "unit_distance_backward(Tensor gradient, Tensor x, Tensor target, Tensor factors) -> Tensor",
      unit_distance_backward);
  library.def("by_mean(Tensor x, ScalarType type, float tiny) -> (Tensor, Tensor)", by_mean);
  library.def("by_mean_backward(Tensor gradient, Tensor x, Tensor divisors, float tiny) -> Tensor",
              by_mean_backward);
}
