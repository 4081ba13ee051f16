// Winograd's convolutions (winograd.h) and their gradients as operators of PyTorch, for training.
// winograd.py compiles and calls it. Pictures are N x C x H x W in channels_last memory.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "winograd.h"

namespace {

template <int64_t M>
inline void gradient_transform(const Vector* y, int64_t in, Vector* result, int64_t out) {  // A y
  const Vector y0 = y[0], y1 = y[in], y2 = y[2 * in], y3 = y[3 * in];
  Vector even1 = y0 + y2, odd1 = y1 + y3, even2 = y0 + 4.f * y2, odd2 = 2.f * y1 + 8.f * y3;
  Vector even3 = y0 + 0.25f * y2, odd3 = 0.5f * y1 + 0.125f * y3;
  if constexpr (M == 6) {
    const Vector y4 = y[4 * in], y5 = y[5 * in];
    even1 += y4, even2 += 16.f * y4, even3 += 0.0625f * y4;
    odd1 += y5, odd2 += 32.f * y5, odd3 += 0.03125f * y5;
  }
  result[0] = y0;
  put_pairs(even1, odd1, result + out, out);
  put_pairs(even2, odd2, result + 3 * out, out);
  put_pairs(even3, odd3, result + 5 * out, out);
  result[7 * out] = y[(M - 1) * in];
}

// A y A^T of the M x M places of each tile of a gradient.
template <int64_t M>
void transform_gradients(const float* gradient, const Tiles<M>& tiles, int64_t first, int64_t last,
                         float* points) {
  transform_places<M, 0>(gradient, tiles, first, last, gradient_transform<M>, points,
                         tiles.of.channels);
}

// Tiles that a thread takes at once, so that all threads have the same to do.
int64_t block_size(int64_t tiles) {
  const int64_t threads = at::get_num_threads();
  const int64_t share = std::max<int64_t>((tiles + threads - 1) / threads, 1);
  const int64_t blocks = (share + BLOCK - 1) / BLOCK;
  return (share + blocks - 1) / blocks;
}

void check_channels(int64_t inputs, int64_t outputs) {
  TORCH_CHECK(inputs % LANES == 0 && outputs % LANES == 0, "channels that fill no registers: ",
              inputs, " to ", outputs);
}

Pictures pictures(const at::Tensor& x) {
  return Pictures(x.size(0), x.size(2), x.size(3), x.size(1));
}

template <int64_t M>
void convolve_tiles(const at::Tensor& x, const at::Tensor& kernels, const float* bias,
                    at::Tensor& y) {
  const Tiles<M> from(pictures(x)), to(pictures(y));
  const int64_t size = block_size(from.count);
  at::parallel_for(0, (from.count + size - 1) / size, 1, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<float> kept_in, kept_out;
    float* in = memory(kept_in, POINTS * point_step(size, from.of.channels));
    float* out = memory(kept_out, POINTS * point_step(size, to.of.channels));
    float* result = y.mutable_data_ptr<float>();
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * size, last = std::min(first + size, from.count);
      transform_inputs(x.const_data_ptr<float>(), from, first, last, in, from.of.channels);
      multiply_points(in, from.of.channels, kernels.const_data_ptr<float>(), to, first, last, out,
                      [&](int64_t at, int64_t c, Vector value) {
                        store(result + at + c, bias ? value + load(bias + c) : value);
                      });
    }
  });
}

// L m L^T of matrices m, places x places x C x K, by L, rows x places: rows x rows x C x K.
at::Tensor transform_all(const at::Tensor& matrices, const at::Tensor& left) {
  const int64_t rows = left.size(0), places = left.size(1);
  const int64_t size = matrices.size(2) * matrices.size(3);
  at::Tensor result =
      at::empty({rows, rows, matrices.size(2), matrices.size(3)}, matrices.options());
  at::parallel_for(0, size / LANES, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin * LANES; c < end * LANES; c += LANES)
      transform_matrices(matrices.const_data_ptr<float>() + c, left.const_data_ptr<float>(), rows,
                         places, size, result.mutable_data_ptr<float>() + c);
  });
  return result;
}

// x N x C x H x W, kernels side x side x C x K with side 3 or 5, G 8 x side, bias K:
// y N x K x H x W.
at::Tensor convolve(const at::Tensor& x, const at::Tensor& kernels, const at::Tensor& transform,
                    const std::optional<at::Tensor>& bias) {
  const int64_t outputs = kernels.size(3);
  check_channels(x.size(1), outputs);
  const at::Tensor points = transform_all(kernels, transform);  // G g G^T
  at::Tensor y = at::empty({x.size(0), outputs, x.size(2), x.size(3)},
                           x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const float* shift = bias ? bias->const_data_ptr<float>() : nullptr;
  if (kernels.size(0) == 3)
    convolve_tiles<6>(x, points, shift, y);
  else
    convolve_tiles<4>(x, points, shift, y);
  return y;
}

// Every thread adds up what is its own: the same threads give the same bits.
template <int64_t M>
void add_gradients(const at::Tensor& x, const at::Tensor& gradient, at::Tensor& sums) {
  const int64_t threads = sums.size(0), inputs = x.size(1), outputs = gradient.size(1);
  const Tiles<M> from(pictures(x)), to(pictures(gradient));
  const int64_t size = block_size(from.count);
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<float> kept_in, kept_out;
    float* in = memory(kept_in, POINTS * point_step(size, inputs));
    float* out = memory(kept_out, POINTS * point_step(size, outputs));
    for (int64_t part = begin; part < end; ++part) {
      float* sum = sums.mutable_data_ptr<float>() + part * POINTS * inputs * outputs;
      for (int64_t first = part * size; first < from.count; first += threads * size) {
        const int64_t last = std::min(first + size, from.count), count = last - first;
        transform_inputs(x.const_data_ptr<float>(), from, first, last, in, inputs);
        transform_gradients(gradient.const_data_ptr<float>(), to, first, last, out);
        for (int64_t point = 0; point < POINTS; ++point)
          multiply(in + point * point_step(count, inputs), 1, inputs,
                   out + point * point_step(count, outputs), sum + point * inputs * outputs, inputs,
                   outputs, count, true);
      }
    }
  });
}

// The gradient of kernels, side x side x C x K, by x and the gradient of y; G 8 x side.
at::Tensor kernel_gradient(const at::Tensor& x, const at::Tensor& gradient,
                           const at::Tensor& transform) {
  const int64_t inputs = x.size(1), outputs = gradient.size(1);
  check_channels(inputs, outputs);
  at::Tensor sums = at::zeros({at::get_num_threads(), POINTS, inputs, outputs}, x.options());
  if (transform.size(1) == 3)
    add_gradients<6>(x, gradient, sums);
  else
    add_gradients<4>(x, gradient, sums);
  const at::Tensor points = sums.sum(0).view({SIDE, SIDE, inputs, outputs});
  return transform_all(points, transform.t().contiguous());  // G^T m G
}

}  // namespace

TORCH_LIBRARY(srgan_winograd, library) {
  library.def("convolve(Tensor x, Tensor kernels, Tensor transform, Tensor? bias) -> Tensor",
              convolve);
  library.def("kernel_gradient(Tensor x, Tensor gradient, Tensor transform) -> Tensor",
              kernel_gradient);
}
