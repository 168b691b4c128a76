"""The default plan under ten seeds, the table of docs/BENCHMARKS.md: `python docs/seeds.py [KEY=VALUE ...]`."""

import sys

import distill

KEYS = ("teacher_val_accuracy", "student_val_accuracy", "control_val_accuracy", "agreement", "control_agreement")

print("| seed | teacher | student | control | student agrees | control agrees |\n|---|---|---|---|---|---|")
for seed in range(10):
    results = distill.run({}, [*sys.argv[1:], f"distillation.random_seed={seed}"])
    print(f"| {seed} | " + " | ".join(f"{results[key]:.4f}" for key in KEYS) + " |")
