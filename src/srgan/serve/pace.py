"""The measured rate of the queue, and the times that refused clients are told."""

import time
from collections import deque
from collections.abc import Sequence
from math import ceil

from srgan.serve.jobs import Job

LONGEST_RETRY = 300  # seconds


class Pace:
    """The mean time of the last pictures. Not for two threads at once."""

    def __init__(self, slots: int) -> None:
        """slots: of the queue."""
        self._slots = slots
        self._recent: deque[float] = deque([1.0], maxlen=20)  # seconds of the last pictures
        self._promised = 0.0  # when the last client that was refused finds a slot

    def note(self, seconds: float) -> None:
        """Note the time that a picture took."""
        self._recent.append(seconds)

    @property
    def seconds_each(self) -> float:
        """Mean time of a picture."""
        return sum(self._recent) / len(self._recent)

    def promise(self) -> int:
        """Seconds after which a slot is free for one more client, at the measured rate.

        Clients that are refused meanwhile get later times, as in a queue before the door.
        """
        now = time.time()
        latest = now + min(LONGEST_RETRY, 4 * self._slots * self.seconds_each)
        self._promised = min(max(self._promised, now) + self.seconds_each, latest)
        return max(ceil(self._promised - now), 1)

    def seconds_to_room(self, jobs: Sequence[Job], keep_seconds: float) -> int:
        """Seconds after which disk space is free: with the next result, or the oldest's end.

        Args:
            jobs: those that take disk space.
        """
        if not jobs or any(job.is_open for job in jobs):
            return min(ceil(self.seconds_each) + 1, LONGEST_RETRY)
        end = min(job.finished for job in jobs) + keep_seconds
        return max(ceil(end - time.time()), 1)
