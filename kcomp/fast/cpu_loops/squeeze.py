"""Both gradients of the product of images and gate in squeeze and excitation, in one pass.

A thread processes whole images and sums over their pixels.
"""

from kcomp.fast.cpu_loops.machine_code import doubles, floats, loop, run, share, thread
from kcomp.fast.cpu_loops.silu import FLUSH, ZERO, flush

__all__ = ["gate_gradients", "run"]


@loop(10)
def gate_gradients(arguments):
    """Compute the gradients of images and gate.

    Arguments: gradient and images (count, size), gate (count, channels), gradients of the images and of the gate
    (written), work, float32, and sums, float64 (threads, channels), count, size, channels.
    """
    gradient, images, gate, to_images, to_gate, work, sums, count, size, channels = arguments[0]
    start, stop = share(count, 1)
    some, all_of = floats(work, thread() * channels, channels), doubles(sums, thread() * channels, channels)
    for image in range(start, stop):
        by, written = floats(gate, image * channels, channels), floats(to_gate, image * channels, channels)
        for j in range(channels):
            some[j] = ZERO
            all_of[j] = 0.0
        for pixel in range(size // channels):
            at = image * size + pixel * channels
            g, x, y = floats(gradient, at, channels), floats(images, at, channels), floats(to_images, at, channels)
            for j in range(channels):
                y[j] = g[j] * by[j]
            for j in range(channels):  # a separate loop, so that the compiler vectorises
                some[j] += g[j] * x[j]
            if pixel % FLUSH == FLUSH - 1:
                flush(some, all_of)
        flush(some, all_of)
        for j in range(channels):
            written[j] = all_of[j]
