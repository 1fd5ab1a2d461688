"""What the tests of offloading share."""

MILLISECOND = 1_000_000
"""In nanoseconds."""


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now_ns = 1000 * MILLISECOND

    def __call__(self):
        return self.now_ns

    def sleep(self, seconds):
        self.now_ns += round(seconds * 1e9)
