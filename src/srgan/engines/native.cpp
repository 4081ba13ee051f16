// The convolutions of a network whose batch norm is folded, for upscaling on a CPU in float32. 3x3 and
// 5x5 kernels go by Winograd's algorithm, a third of the direct way's products. native.py compiles
// and calls it. Pictures are H x W x C.

#include <omp.h>

#include <algorithm>
#include <vector>

#include "../networks/winograd.h"

namespace {

// What happens to the values of a convolution: bias, PReLU of one slope (1: none), + plus, and a
// PixelShuffle whose channels come in the order (row, column, channel).
struct Finish {
  const float *bias, *plus;
  float slope;
  float* y;
  Pictures to;  // y: where the values of each place begin
  std::vector<int64_t> offsets;  // from there, by LANES channels

  Finish(const float* bias, float slope, const float* plus, int64_t shuffle, float* y,
         int64_t height, int64_t width, int64_t channels)
      : bias(bias), plus(plus), slope(slope), y(y), to(1, height, width, channels) {
    const int64_t each = channels / (shuffle * shuffle), row = width * shuffle * each;
    to.across = shuffle * each;
    to.down = shuffle * row;
    for (int64_t c = 0; c < channels; c += LANES) {
      const int64_t block = c / each;
      offsets.push_back(block / shuffle * row + block % shuffle * each + c % each);
    }
  }

  void operator()(int64_t at, int64_t channel, Vector value) const {
    value += load(bias + channel);
    if (slope != 1) value = value > 0 ? value : value * slope;
    if (plus) value += load(plus + at + channel);
    store(y + at + offsets[channel / LANES], value);
  }
};

template <int64_t M>
void winograd(const float* x, const Pictures& from, const float* points, const Finish& finish,
              int64_t threads) {
  const Tiles<M> read(from), written(finish.to);
  const int64_t blocks = (read.count + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t block = 0; block < blocks; ++block) {
    static thread_local std::vector<float> kept_in, kept_out;
    const int64_t last = std::min((block + 1) * BLOCK, read.count);
    convolve_some(x, read, points, written, block * BLOCK, last,
                  memory(kept_in, POINTS * point_step(BLOCK, from.channels)),
                  memory(kept_out, POINTS * point_step(BLOCK, finish.to.channels)), finish);
  }
}

}  // namespace

extern "C" {

// Winograd's convolution. x is H x W x inputs, its places and rows `across` and `down` floats apart;
// points are the transformed kernels, 64 x inputs x outputs; `side` is 3 or 5.
void srgan_winograd(const float* x, int64_t across, int64_t down, int64_t height, int64_t width,
                    int64_t inputs, const float* points, int64_t side, int64_t outputs,
                    const float* bias, float slope, const float* plus, int64_t shuffle, float* y,
                    int64_t threads) {
  Pictures from(1, height, width, inputs);
  from.across = across;
  from.down = down;
  const Finish finish(bias, slope, plus, shuffle, y, height, width, outputs);
  if (side == 3)
    winograd<6>(x, from, points, finish, threads);
  else
    winograd<4>(x, from, points, finish, threads);
}

// The direct convolution, for few inputs. x has the zeros around it: (H + side - 1) x (W + side - 1)
// x inputs; kernels are side x (side * inputs) x outputs.
void srgan_direct(const float* x, int64_t height, int64_t width, int64_t inputs,
                  const float* kernels, int64_t side, int64_t outputs, const float* bias,
                  float slope, const float* plus, int64_t shuffle, float* y, int64_t threads) {
  const int64_t depth = side * inputs, row = (width + side - 1) * inputs;
  const Finish finish(bias, slope, plus, shuffle, y, height, width, outputs);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t i = 0; i < height; ++i) {
    static thread_local std::vector<float> kept;
    float* sums = memory(kept, width * outputs);
    for (int64_t k = 0; k < side; ++k)
      multiply(x + (i + k) * row, inputs, 1, kernels + k * depth * outputs, sums, width, outputs,
               depth, k > 0);
    for (int64_t j = 0; j < width; ++j)
      for (int64_t c = 0; c < outputs; c += LANES)
        finish(i * finish.to.down + j * finish.to.across, c, load(sums + j * outputs + c));
  }
}

int64_t srgan_lanes() { return LANES; }

// The threads of this one end; the next convolution starts new ones.
void srgan_end_threads() { omp_pause_resource_all(omp_pause_hard); }
}
