"""Networks of other projects by openvino, or by our own convolutions where these are faster."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from srgan.engines.base import EngineError
from srgan.engines.devices import choose_device, native_of
from srgan.engines.foreign import measure
from srgan.engines.foreign.backend import Backend, Runner, Tail
from srgan.engines.foreign.cut import LEAST, Place, cut, place_to_cut
from srgan.engines.foreign.figures import Figures
from srgan.engines.foreign.graphs import (
    AGREES,
    Graph,
    OpenVINORunner,
    form_of,
    make_graph,
    of_one_size,
)
from srgan.engines.foreign.native_graph import UnsuitableError, program
from srgan.engines.foreign.nodes import read_nodes, steady
from srgan.engines.kernels import kernels
from srgan.engines.library import openvino, shared_core
from srgan.engines.openvino import resolve
from srgan.engines.options import EngineOptions, Precision
from srgan.engines.precision import native_is_faster, native_precision
from srgan.engines.processor import quota_cores, usable_cores
from srgan.engines.programs import Program
from srgan.networks.foreign import ForeignNetwork

# Name of the figure: of openvino's, in fp32 or in the precision after it; 0 where results differ.
SPEED = "native cpu speed"
TILE = 56, 72  # height and width of the picture that both compute
TIMED = 3  # runs, of which the fastest counts

log = logging.getLogger("srgan")


def graph_backend(network: ForeignNetwork, options: EngineOptions, figures: Figures) -> Backend:
    """Run a network by openvino, or in fp32 on the CPU by our own convolutions.

    These are taken if they can run the network, agree with openvino, and were faster than its
    fastest precision when both were timed, once on a machine.

    Raises:
        EngineError: the network, the precision or the device cannot run.
        MissingExtraError: PyTorch or spandrel is needed, and not installed.
    """
    graph = make_graph(network, figures)
    form = form_of(graph.model)
    plain = not (form.channels_last_in or form.channels_last_out) and form.dtype == np.float32
    # Gray networks need more than features to give colours.
    place = place_to_cut(graph.model, graph.sizes) if plain and form.channels == 3 else None
    by_openvino = _openvino_backend(graph, place, options)
    fastest = "fp32" if options.engine == "native" else by_openvino.native
    wanted = fastest if options.precision == "auto" else options.precision
    fits = wanted == "fp32" or (options.precision == "auto" and native_is_faster(wanted))
    if options.engine == "openvino" or by_openvino.device != "cpu" or not fits:
        if options.engine == "native":
            raise EngineError("the native engine is for fp32 on the CPU; use --engine openvino")
        return by_openvino
    name = SPEED if wanted == "fp32" else f"{SPEED}, {wanted}"
    speed = figures.get(name)
    if options.engine != "native" and speed is not None and speed <= 1:
        return by_openvino
    try:
        if not plain:
            raise UnsuitableError("the form of its pictures")
        native = _native_backend(graph, place, options)
    except (EngineError, UnsuitableError) as error:
        if options.engine == "native":
            reason = f"it cannot compute {error}" if isinstance(error, UnsuitableError) else error
            raise EngineError(
                f"not by the native engine ({reason}); use --engine openvino"
            ) from error
        log.debug("by openvino: %s", error)
        return by_openvino
    if speed is None:
        speed = _speed(native, graph, by_openvino.whole(wanted))
        figures.put(name, speed)
    if options.engine != "native":
        return native if speed > 1 else by_openvino
    if not speed:
        raise EngineError(
            "not by the native engine: its results differ from openvino's; use --engine openvino"
        )
    return native


def _openvino_backend(graph: Graph, place: Place | None, options: EngineOptions) -> Backend:
    device = choose_device(options.device, shared_core().available_devices)
    if options.precision != "auto" and device == "CPU":
        resolve(options.precision)
    threads = options.threads or quota_cores()

    def runner(model: openvino.Model) -> Callable[[Precision], Runner]:
        return lambda precision: OpenVINORunner(model, precision, threads, device)

    first, tail = graph.model, None
    if place is not None:
        first, second = cut(graph.model, place)
        tail = Tail(place.halo, place.trunk_share, runner(second))
    return Backend(
        f"openvino {device.lower()}",
        device.lower(),
        native_of(device, native_precision()),
        graph.sizes,
        _least_bytes(first, graph),
        runner(first),
        tail,
    )


def _least_bytes(model: openvino.Model, graph: Graph) -> int:
    """An operation reads and writes: twice the largest array of the graph, per LR pixel."""
    height, width = graph.sizes.example(64, 64)
    if graph.sizes.fixed is None:
        model = of_one_size(model, height, width)
    operations: Any = model.get_ordered_ops()
    outputs = [output for operation in operations for output in operation.outputs()]
    known = [out.get_shape() for out in outputs if out.get_partial_shape().is_static]
    return 2 * 4 * max(map(prod, known)) // (height * width)


def _native_backend(graph: Graph, place: Place | None, options: EngineOptions) -> Backend:
    """Raises UnsuitableError, or EngineError if the convolutions cannot run here."""
    kernels()
    threads = options.threads or usable_cores()
    nodes, others = (read_nodes(graph.model, graph.sizes.example(*least)) for least in LEAST)
    if nodes is None or others is None or len(steady(nodes, others)) < len(nodes):
        raise UnsuitableError("constants that depend on the size")
    everything, last = range(len(nodes)), len(nodes) - 1

    def runner(
        run: Sequence[int], inputs: Sequence[int], results: Sequence[int]
    ) -> Callable[[Precision], Runner]:
        steps = program(nodes, run, inputs, results, threads)
        channels = [nodes[number].shape[1] for number in inputs]
        return lambda _precision: partial(_run, steps, channels)

    if place is None:
        first, tail = runner(everything, [0], [last]), None
    else:
        first = runner(place.early, [0], place.features)
        second = runner(place.late, place.features, [last])
        tail = Tail(place.halo, place.trunk_share, second)
    least = 2 * 4 * max(node.shape[1] for node in nodes)
    return Backend("native cpu", "cpu", "fp32", graph.sizes, least, first, tail)


def _run(steps: Program, channels: list[int], x: np.ndarray) -> np.ndarray:
    """Run a program on (1, C, H, W), whose channels are those of its inputs."""
    values = np.ascontiguousarray(x[0].transpose(1, 2, 0))
    inputs = np.split(values, np.cumsum(channels)[:-1], 2)
    results = steps(*inputs)
    joined = results[0] if len(results) == 1 else np.concatenate(results, 2)
    return joined.transpose(2, 0, 1)[None]


def _speed(native: Backend, graph: Graph, run_openvino: Runner) -> float:
    """The speed of the native engine, of openvino's; 0 where results differ from the graph's."""
    channels = form_of(graph.model).channels
    tile = measure.real_tile(*graph.sizes.example(*TILE))[:, :channels]
    run = native.whole("fp32")
    difference = np.abs(run(tile) - OpenVINORunner(graph.model, "fp32", None)(tile))
    if not (difference.max() <= AGREES[0] and difference.mean() <= AGREES[1]):
        return 0.0
    return _seconds(run_openvino, tile) / _seconds(run, tile)


def _seconds(run: Runner, tile: np.ndarray) -> float:
    times: list[float] = []
    for _ in range(TIMED):
        begin = time.perf_counter()
        run(tile)
        times.append(time.perf_counter() - begin)
    return min(times)
