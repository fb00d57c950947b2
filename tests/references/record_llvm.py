"""Records what LLVM 19 says of instructions and blocks that onnxruntime runs: `llvm_forms.csv`, `llvm_blocks.csv`.

    apt-get install llvm-19
    python tests/references/record_llvm.py ~/.cache/hawqsearch/arm/counts

LLVM's model of neoverse-n1 stands for the Cortex-A76 too: `-mcpu=cortex-a76` has the Cortex-A57's in LLVM 19.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hawqsearch.hardware.arm.counts import ModelRun
from hawqsearch.hardware.arm.forms import decode
from hawqsearch.hardware.arm.port_model import PIPELINES, block_cycles

HERE = Path(__file__).parent
MODELS = {"cortex-a76": "neoverse-n1", "cortex-a72": "cortex-a72"}
RUNS = 300
BLOCKS = 60


def main(folder: Path) -> None:
    """Write both files."""
    forms, hot = most_used(folder)
    with (HERE / "llvm_forms.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["form", "word", "share", *(f"{core}_cycles" for core in MODELS)])
        for form, (word, share) in forms.items():
            found = [throughput(word, model) for model in MODELS.values()]
            if None not in found:
                writer.writerow([form, word.hex(), f"{share:.2e}", *(f"{f:g}" for f in found)])
    with (HERE / "llvm_blocks.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["core", "code", "share", "cycles"])
        for core, blocks in hot.items():
            for code, share in blocks:
                writer.writerow([core, code.hex(), f"{share:.3e}", f"{throughput(code, MODELS[core]):g}"])


def most_used(folder: Path) -> tuple[dict[str, tuple[bytes, float]], dict[str, list[tuple[bytes, float]]]]:
    """Form -> an example and its share of all instructions; core -> blocks that take most of its cycles.

    Every run counts alike, however long.
    """
    paths = sorted(folder.glob("*/*.counts"))
    assert paths, f"no counts of simulated runs in {folder}"
    random.Random(0).shuffle(paths)
    shares: Counter[str] = Counter()
    examples: dict[str, bytes] = {}
    busy: dict[str, Counter[bytes]] = {core: Counter() for core in MODELS}
    for path in paths[:RUNS]:
        whole = ModelRun.parse(path.read_bytes()).whole
        total = sum(len(code) // 4 * n for code, n in whole.items())
        for code, n in whole.items():
            for i, instruction in enumerate(decode(code)):
                form = f"{instruction.form.mnemonic} {instruction.form.operands}"
                shares[form] += n / total
                examples.setdefault(form, code[4 * i : 4 * i + 4])
        for core, counter in busy.items():
            if core == "cortex-a72" and _has_dot_products(whole):
                continue  # kernels that it has not
            cycles = {code: n * block_cycles(code, PIPELINES[core]) for code, n in whole.items()}
            all_cycles = sum(cycles.values())
            counter.update({code: c / all_cycles for code, c in cycles.items()})
    everything = sum(shares.values())
    forms = {form: (examples[form], n / everything) for form, n in shares.most_common()}
    hot = {
        core: [(c, n / counter.total()) for c, n in counter.most_common(BLOCKS)]
        for core, counter in busy.items()
    }
    return forms, hot


def _has_dot_products(counts: Iterable[bytes]) -> bool:
    return any(i.mnemonic == "sdot" for code in counts for i in decode(code))


def throughput(code: bytes, model: str) -> float | None:
    """Reciprocal throughput of a block in cycles; None where LLVM does not know an instruction."""
    text = "\n".join(disassembled(code))
    command = ["llvm-mca-19", "-mtriple=aarch64", f"-mcpu={model}", "-mattr=+dotprod,+fullfp16,+lse"]
    command += ["-iterations=100", "-skip-unsupported-instructions=any", "-json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    try:
        value: float = json.loads(done.stdout)["CodeRegions"][0]["SummaryView"]["BlockRThroughput"]
    except (ValueError, KeyError, IndexError):
        return None
    return value


def disassembled(code: bytes) -> Iterable[str]:
    """The block as LLVM's assembler reads it."""
    text = "\n".join(" ".join(f"{byte:#04x}" for byte in code[i : i + 4]) for i in range(0, len(code), 4))
    command = ["llvm-mc-19", "--disassemble", "-triple=aarch64", "-mattr=+all"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if line.strip() and not line.strip().startswith(".")]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
