"""Measure the speed of kcomp on JAX on a CPU with each of XLA's settings.

    python scripts/benchmark_xla.py --rounds 9 --sizes 128,224

The network, batches and processes are those of benchmark.py. A ratio is the speed divided by the speed without
settings in the same round. Processes that compile are slower, so repeat the script until every first step is short.
"""

import argparse
import sys

import benchmark

CONTESTANTS = {
    "none": {},
    "width-512": {"xla_cpu_prefer_vector_width": 512},
    "older-product": {"xla_cpu_experimental_ynn_fusion_type": ""},
    "both": {"xla_cpu_prefer_vector_width": 512, "xla_cpu_experimental_ynn_fusion_type": ""},
    "scheduler": {"xla_cpu_enable_concurrency_optimized_scheduler": True},
    "min-max": {"xla_cpu_enable_fast_min_max": True},
    "fast-math": {"xla_cpu_enable_fast_math": True},
}


def serve(name, size, batch, precision):
    from kcomp.system.backends import prepare_backend

    prepare_backend("jax")

    from kcomp.jax_programs import compile as compiling

    compiling.SETTINGS, compiling.PREDICTION = CONTESTANTS[name], {}
    compiling.compile_beside = lambda *_: None  # it would have kcomp's settings
    from kcomp.jax_programs import store as programs

    programs.compile_beside = compiling.compile_beside
    benchmark.serve("jax", size, batch, precision)


def compare(size, batch, rounds):
    contestants = [benchmark.Contestant(name, size, batch, "float32", __file__) for name in CONTESTANTS]
    print("  first steps, s:", *(f"{one.start['first_step']:.1f}" for one in contestants), file=sys.stderr)
    speeds = benchmark.interleaved(contestants, rounds)
    for one in contestants:
        cells = [one.name, str(size)]
        for kind in ("train", "predict"):
            found = speeds[one.name, kind]
            ratios = [mine / plain for mine, plain in zip(found, speeds["none", kind], strict=True)]
            cells += [benchmark.spread(found, 0), benchmark.spread(ratios, 2)]
        print(f"| {' | '.join(cells)} |", flush=True)
        one.close()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", default="128", help="pixels, with commas between")
    options.add_argument("--batches", type=int, default=16)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    options.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    sizes = [int(text) for text in chosen.sizes.split(",")]
    if chosen.serve:
        return serve(chosen.serve, sizes[0], chosen.batches, chosen.precision)
    print("| | px | train, images/s | ratio | predict, images/s | ratio |\n|" + "---|" * 6, flush=True)
    for size in sizes:
        compare(size, chosen.batches, chosen.rounds)
    return None


if __name__ == "__main__":
    main()
