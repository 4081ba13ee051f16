"""Decoding times: packets come in another order than frames are shown."""

import heapq


class DecodingTimes:
    """Chooses the decoding time of each packet, so that it always grows and is never late.

    It is the n-th smallest of all times, `delay` packets before the n-th packet. Encoders choose it
    so; but each part of a video begins anew, and libx265 errs in parts of two frames.

    Args:
        delay: how many packets a packet may come before its turn.
    """

    def __init__(self, delay: int) -> None:
        self._delay = delay
        self._waiting: list[int] = []
        self._started, self._step = 0, 1

    def of(self, pts: int, duration: int) -> int:
        """The decoding time of the next packet, which is shown at `pts`."""
        heapq.heappush(self._waiting, pts)
        if self._started == self._delay:
            return heapq.heappop(self._waiting)
        if self._started == 0:
            self._step = max(duration, 1)
        self._started += 1
        return self._waiting[0] - (self._delay + 1 - self._started) * self._step
