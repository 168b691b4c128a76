"""The default plan under ten seeds, the table of docs/BENCHMARKS.md: `python docs/seeds.py [KEY=VALUE ...]`."""

import sys

import distill

KEYS = ("teacher_accuracy", "student_accuracy", "control_accuracy", "agreement", "control_agreement")

print("| seed | teacher | student | control | student agrees | control agrees |\n|---|---|---|---|---|---|")
for one in distill.run({"evidence": {"seeds": 10}}, sys.argv[1:])["seeds"]:
    print(f"| {one['seed']} | " + " | ".join(f"{one[key]:.4f}" for key in KEYS) + " |")
