"""Two ends of a pipeline in threads of their own, so that reading and writing overlap work."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")

_POLL_SECONDS = 0.2
_END = object()


class _Stoppable(threading.Thread):
    """A thread with a queue at its side. Both ends of the queue give up when `stopped` is set."""

    def __init__(self, name: str, depth: int) -> None:
        super().__init__(name=name, daemon=True)
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self._queue: queue.Queue[object] = queue.Queue(depth)

    def put(self, item: object) -> bool:
        """Returns False if the other end has stopped."""
        while not self.stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def items(self) -> Iterator[object]:
        while not self.stopped.is_set():
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if item is _END:
                return
            yield item

    def wait(self) -> None:
        """Wait for the end of the thread, so that Ctrl-C is heard on every platform."""
        while self.is_alive():
            self.join(_POLL_SECONDS)


class _Source(_Stoppable):
    def __init__(self, items: Iterable[object], depth: int) -> None:
        super().__init__("srgan-reader", depth)
        self._source = items

    def run(self) -> None:
        try:
            for item in self._source:
                if not self.put(item):
                    return
        except BaseException as error:
            self.error = error
        self.put(_END)


def read_ahead(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The items, produced in another thread; at most `depth` are ready and not yet taken.

    Raises:
        BaseException: errors of `items` pass unchanged, after the items before them.
    """
    source = _Source(items, depth)
    source.start()
    try:
        yield from cast("Iterator[Item]", source.items())
        if source.error is not None:
            raise source.error
    finally:
        source.stopped.set()
        source.wait()


class Sink(_Stoppable, Generic[Item]):
    """Calls `consume` with an iterator in another thread; `send` feeds the iterator.

    A context: at its end, also after an error in the body, the iterator ends and the thread is
    waited for. So `consume` can finish what it has. Its errors pass unchanged.
    """

    def __init__(self, consume: Callable[[Iterator[Item]], None], depth: int) -> None:
        super().__init__("srgan-writer", depth)
        self._consume = consume

    def run(self) -> None:
        try:
            self._consume(cast("Iterator[Item]", self.items()))
        except BaseException as error:
            self.error = error
        finally:
            self.stopped.set()

    def send(self, item: Item) -> None:
        """Hand over an item, when there is room."""
        if not self.put(item):
            self._raise()

    def __enter__(self) -> "Sink[Item]":
        self.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.put(_END)
        self.wait()
        if error is None:
            self._raise()

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error
