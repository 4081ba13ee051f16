"""The openvino engine, the default on CPUs: builds its graph from the arrays of a checkpoint."""

import functools
import logging
import sys
from collections.abc import Iterable
from typing import Any, cast

# Block the import of openvino_telemetry: openvino then sends no telemetry.
cast("dict[str, object]", sys.modules).setdefault("openvino_telemetry", None)

import numpy as np  # noqa: E402
import openvino  # noqa: E402
from openvino import opset13  # noqa: E402

from srgan.engines.base import EngineError, run_whole, srresnet_tiling  # noqa: E402
from srgan.engines.devices import choose_device, native_of  # noqa: E402
from srgan.engines.options import EngineOptions, Precision  # noqa: E402
from srgan.engines.processor import bf16_is_slow, processor_flags, quota_cores  # noqa: E402
from srgan.networks import folding  # noqa: E402
from srgan.networks.architecture import Checkpoint  # noqa: E402

Int8Ranges = dict[str, list[float]]  # convolution -> lowest and highest value of its input

opset: Any = opset13  # its functions are only partly typed

# Convolutions that int8 leaves in float. Each of the last three alone causes more of the int8
# error than all others together. Only upsample.0 costs speed in float (benchmarks/RESULTS.md).
KEPT_FLOAT = ("head.conv", "blocks.0.conv1", "trunk.conv", "upsample.0.conv")
CALIBRATION_SIDE = 64
CALIBRATION_TILES = 16

log = logging.getLogger("srgan")


@functools.cache
def shared_core() -> openvino.Core:
    """The one Core of the process; it lives as long as the process.

    Two Cores can crash the process. On Linux the CPU plugin of a Core gives the thread a signal
    stack, and restores the previous one when the Core ends. If two Cores end in the order in which
    they began, the second restores the stack of the first, which is unmapped by then. The next
    signal that Python handles ends the process by SIGSEGV.
    """
    return openvino.Core()


class GraphOperations:
    """The folded network's operations as nodes of an openvino graph; see `folding.Operations`.

    Convolutions named in `ranges` are computed in int8: openvino's low-precision passes replace
    the fake-quantize nodes around them by int8 arithmetic.

    Attributes:
        ranges: lowest and highest value of the input of each convolution to quantise.
        inputs: the node that each convolution reads, by the convolution's name.
    """

    def __init__(self, ranges: Int8Ranges) -> None:
        self.ranges = ranges
        self.inputs: dict[str, Any] = {}

    def convolution(self, x: Any, convolution: folding.Convolution) -> Any:
        name, pad = convolution.name, convolution.weight.shape[-1] // 2
        self.inputs[name] = x
        weight = opset.constant(convolution.weight)
        if name in self.ranges:
            x = quantised_input(x, *self.ranges[name])
            weight = _quantised_weight(convolution.weight)
        x = opset.convolution(x, weight, [1, 1], [pad, pad], [pad, pad], [1, 1])
        x = opset.add(x, opset.constant(convolution.bias.reshape(1, -1, 1, 1)))
        if convolution.slope is None:
            return x
        return opset.prelu(x, opset.constant(np.array([convolution.slope], np.float32)))

    def add(self, a: Any, b: Any) -> Any:
        return opset.add(a, b)

    def shuffle(self, x: Any, step: int) -> Any:
        return opset.depth_to_space(x, "depth_first", step)

    def unshuffle(self, x: Any, step: int) -> Any:
        return opset.space_to_depth(x, "depth_first", step)

    def to_unit_range(self, x: Any) -> Any:
        half = opset.constant(np.float32(0.5))
        return opset.add(opset.multiply(opset.tanh(x), half), half)

    def normalize(self, x: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        shift, divisor = (np.array(v, np.float32).reshape(1, -1, 1, 1) for v in (mean, std))
        return opset.divide(opset.subtract(x, opset.constant(shift)), opset.constant(divisor))

    def join(self, a: Any, b: Any) -> Any:
        return opset.concat([a, b], 1)

    def split(self, x: Any, channels: int) -> tuple[Any, Any]:
        parts = opset.variadic_split(x, 1, [channels, -1])
        return parts.output(0), parts.output(1)

    def enlarge(self, x: Any, scale: int) -> Any:
        scales = np.array([scale, scale], np.float32)
        return opset.interpolate(x, scales, "linear_onnx", "scales", axes=[2, 3])

    def clamp(self, x: Any) -> Any:
        return opset.clamp(x, 0.0, 1.0)

    def fill(self, x: Any, multiple: int) -> Any:
        missing = opset.floor_mod(opset.negative(_sides(x)), np.int64(multiple))
        ends = opset.concat([opset.constant(np.zeros(2, np.int64)), missing], 0)
        return opset.pad(x, np.zeros(4, np.int64), ends, "edge")

    def cut(self, x: Any, like: Any, scale: int) -> Any:
        ends = opset.multiply(_sides(like), np.int64(scale))
        zeros, ones, axes = (np.array(pair, np.int64) for pair in ([0, 0], [1, 1], [2, 3]))
        return opset.slice(x, zeros, ends, ones, axes)


def _sides(x: Any) -> Any:
    """Height and width of a node's tensor, as a node."""
    return opset.gather(opset.shape_of(x), np.array([2, 3], np.int64), np.int64(0))


def _quantised_weight(weight: np.ndarray) -> Any:
    """Quantise to 255 levels, symmetric around 0, per output channel."""
    top = np.maximum(np.abs(weight).max(axis=(1, 2, 3), keepdims=True), 1e-8)
    return opset.fake_quantize(opset.constant(weight), -top, top, -top, top, 255)


def quantised_input(x: Any, low: float, high: float) -> Any:
    """Quantise to 256 levels from `low` to `high`, per tensor.

    The range is shifted so that zero is one of the levels: the convolution pads with zeros.
    """
    step = (high - low) / 255
    lowest = -round(-low / step) * step
    ends = np.array([lowest, lowest + 255 * step], np.float32).reshape(2, 1, 1, 1, 1)
    return opset.fake_quantize(x, ends[0], ends[1], ends[0], ends[1], 256)


class OpenVINOEngine:
    """CPU inference; see `Engine`. "auto" is bf16 if the processor is fast at it, otherwise fp32.

    int8 takes its ranges from the model file's `info["int8"]`. A model without ranges is
    calibrated on the first tile.

    Raises:
        EngineError: the processor cannot run the precision.
    """

    name = "openvino"
    precision: Precision

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        self._core = shared_core()
        self._device = choose_device(options.device, self._core.available_devices)
        self.device = self._device.lower()
        self._threads = options.threads or quota_cores()  # openvino knows the affinity only
        self._generator = folding.fold(checkpoint)
        self.precision = options.precision
        if self._device == "CPU":
            self.precision = resolve(options.precision)
        elif options.precision == "auto":
            self.precision = native_of(self._device, "fp32")
        self.scale = self._generator.scale
        self.unshuffle = self._generator.unshuffle
        self.tiling = srresnet_tiling(folding.tail_halo(self._generator))
        ranges: Int8Ranges | None = {}
        if self.precision == "int8":
            ranges = checkpoint.info.get("int8")
        self._stages = None if ranges is None else self._build(ranges)

    def _build(self, ranges: Int8Ranges) -> list[openvino.InferRequest]:
        """Compile the two stages for any height and width. Fixed sizes would not be faster."""
        floats = native_precision() if self.precision == "int8" else self.precision
        settings = device_settings(self._device, floats, self._threads)
        stages: list[openvino.InferRequest] = []
        for stage, channels in (
            (folding.features, 3),
            (folding.reconstruct, folding.feature_channels(self._generator)),
        ):
            x = opset.parameter([1, channels, -1, -1], np.float32)
            model = graph_model([stage(self._generator, GraphOperations(ranges), x)], x)
            stages.append(
                self._core.compile_model(model, self._device, settings).create_infer_request()
            )
        return stages

    def features(self, lr: np.ndarray) -> np.ndarray:
        if self._stages is None:
            log.warning("this model has no int8 ranges: measuring them on the first tile")
            self._stages = self._build(calibrate(self._generator, calibration_tiles(lr)))
        return infer(self._stages[0], lr, copy=False)

    def reconstruct(self, features: np.ndarray) -> np.ndarray:
        if self._stages is None:
            raise RuntimeError("call features before reconstruct")
        return infer(self._stages[1], features, copy=True)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return run_whole(self, lr)


def device_settings(device: str, precision: Precision, threads: int | None) -> dict[str, str]:
    """Settings of an openvino plugin.

    Args:
        device: openvino's name, such as "CPU" or "GPU.0".
        precision: fp32, bf16 or fp16.
        threads: of the CPU, by default openvino's choice.
    """
    types = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": types[precision]}
    if device != "CPU":
        return settings
    # Otherwise openvino keeps the kernels of every shape: 2 to 10 MB per picture size.
    settings["CPU_RUNTIME_CACHE_CAPACITY"] = "0"
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
        # With pinning, several processes with one thread each would share the first core.
        settings["ENABLE_CPU_PINNING"] = "NO"
    return settings


def graph_model(results: list[Any], parameter: Any) -> openvino.Model:
    """An openvino model of a graph, from its result nodes and its input node."""
    make_model: Any = openvino.Model  # its types do not admit nodes as results
    return make_model(results, [parameter], "srgan")


def infer(request: openvino.InferRequest, x: np.ndarray, *, copy: bool) -> np.ndarray:
    """Run a compiled model of one input and one output.

    Args:
        copy: the result is the caller's; otherwise it is valid until the next call.

    Raises:
        MemoryError: openvino cannot allocate what the shape needs.
    """
    try:
        inputs = [np.ascontiguousarray(x)]
        return request.infer(inputs, share_inputs=True, share_outputs=not copy)[0]
    except RuntimeError as error:
        if "alloc" in str(error):
            raise MemoryError(str(error)) from error
        raise


def calibrate(generator: folding.FoldedGenerator, tiles: Iterable[np.ndarray]) -> Int8Ranges:
    """Measure the input range of every convolution that int8 quantises, over LR tiles.

    A range goes from the mean of the tiles' lowest values to the mean of their highest values. So
    rare outliers are clipped. That costs less than the coarser steps of a range that holds them.

    Args:
        tiles: (1, 3, H, W) each, RGB float32 in [0, 1].

    Returns:
        [lowest, highest] by the name of the convolution.
    """
    lr = opset.parameter([1, 3, -1, -1], np.float32)
    graph = GraphOperations({})
    folding.whole(generator, graph, lr)
    inputs = {name: x for name, x in graph.inputs.items() if name not in KEPT_FLOAT}
    axes = opset.constant([0, 1, 2, 3])
    ends = [end(x, axes) for x in inputs.values() for end in (opset.reduce_min, opset.reduce_max)]
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = shared_core().compile_model(graph_model(ends, lr), "CPU", settings)
    mean = np.mean([[float(end) for end in model([tile]).values()] for tile in tiles], axis=0)
    lows, highs = np.minimum(mean[::2], 0), np.maximum(mean[1::2], 0)
    highs = np.maximum(highs, lows + 1e-3)  # a flat tile also needs a range
    return {
        name: [float(low), float(high)] for name, low, high in zip(inputs, lows, highs, strict=True)
    }


def calibration_tiles(lr: np.ndarray) -> list[np.ndarray]:
    """Up to CALIBRATION_TILES crops of LR (1, 3, H, W), evenly spread, at most 64 x 64 each."""
    side = CALIBRATION_SIDE
    height, width = lr.shape[2:]
    corners = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    chosen = np.linspace(0, len(corners) - 1, min(len(corners), CALIBRATION_TILES)).astype(int)
    return [
        np.ascontiguousarray(lr[:, :, y : y + side, x : x + side])
        for y, x in (corners[int(i)] for i in chosen)
    ]


def native_precision() -> Precision:
    """The precision of "auto": openvino's default if that is bf16 and fast, otherwise fp32."""
    default = shared_core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    return "bf16" if default == openvino.Type.bf16 and not bf16_is_slow() else "fp32"


def processor_name() -> str:
    """The processor's name, as its maker states it."""
    return shared_core().get_property("CPU", "FULL_DEVICE_NAME").strip()


def resolve(precision: Precision) -> Precision:
    """The precision that runs.

    openvino silently runs another precision if the processor lacks the requested one. This raises
    EngineError instead.
    """
    if precision == "auto":
        return native_precision()
    capabilities = shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    flags = processor_flags()
    able = {
        "fp32": True,
        "bf16": "BF16" in capabilities and (not flags or any("bf16" in flag for flag in flags)),
        "fp16": "FP16" in capabilities,
        "int8": not flags or any("vnni" in flag for flag in flags),
    }
    if not able[precision]:
        alternatives = " or ".join(name for name, possible in able.items() if possible)
        raise EngineError(f"this processor has no {precision}; use --precision {alternatives}")
    return precision
