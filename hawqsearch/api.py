"""The whole job in one call: `search`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from hawqsearch import closed_loop, metering, pipeline
from hawqsearch.core.allocation import configuration_bops
from hawqsearch.core.bitconfig import Metric, Origin
from hawqsearch.core.budget import Budget, check_metered
from hawqsearch.core.data import Split, Splits
from hawqsearch.core.design import all_float, all_int8
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.outcome import Candidate, Evaluation, Latency, Outcome
from hawqsearch.core.precision import Precision
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.request import check_request
from hawqsearch.core.result import SearchStrategy
from hawqsearch.core.sensitivity import Score, SensitivityTable
from hawqsearch.core.space import SearchSpace
from hawqsearch.core.target import Target
from hawqsearch.core.verdict import choose
from hawqsearch.device import ModelledDevice, TimedDevice
from hawqsearch.errors import DeviceError, InfeasibleError, InputError, InterruptedRunError
from hawqsearch.pipeline import Context, Network

if TYPE_CHECKING:
    import torch

    from hawqsearch.closed_loop import LoopEnd
    from hawqsearch.core.hardware import HardwareProfile
    from hawqsearch.core.protocols import MeasureBackend, SensitivityAnalyzer
    from hawqsearch.device import Device
    from hawqsearch.hardware.energy.meter import Meter
    from hawqsearch.run_folder import RunFolder
    from hawqsearch.validate.accuracy import Answers

__all__ = ["Options", "search"]

_DEFAULT_PRECISIONS: Final = ("fp32", "w8a8", "w6a8", "w5a8", "w4a8", "w3a8", "w2a8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to search, where the defaults will not do.

    Args:
        runtime: instead of the default of the target that is named.
        analyzer, strategy, backend: None for the built-in default of each.
        interactions: let the solver see pairs, where the analyzer scores them.
        board: what was measured on a machine that is not here, instead of the target's shipped tables or this machine.
        energy: meter it also where the budget does not bound it.
        reader: what meters energy; None for this machine's counters.
        out: the run folder; None writes nothing.
    """

    space: SearchSpace | None = None
    runtime: str | None = None
    analyzer: SensitivityAnalyzer | None = None
    strategy: SearchStrategy | None = None
    backend: MeasureBackend | None = None
    interactions: bool = False
    board: HardwareProfile | None = None
    energy: bool = False
    reader: Meter | None = None
    threads: int = 1
    batch: int = 1
    metric: str = "top-1"
    out: RunFolder | None = None


def search(
    model: torch.nn.Module,
    data: Splits,
    *,
    target: str | Target,
    budget: str | Budget,
    options: Options = Options(),
    context: Context = Context(),  # noqa: B008  (frozen)
) -> Outcome:
    """The precision of every layer of `model` that costs the least accuracy within `budget` on `target`.

    What the command `search` does: sensitivities on the calibration split, kernels timed on this machine, an
    exact solver, the answer exported, timed whole, and chosen against baselines on the search split. The test
    split is read once, at the end. The model comes back as it was.

    Raises:
        InputError: what can be mended before work starts (exit 2 on the command line).
        InfeasibleError: no configuration meets the budget; its `outcome` holds the nearest.
        DeviceError: this machine is not one of the target's, or the runtime failed.
        InterruptedRunError: stopped by Ctrl-C; its `outcome` holds the best so far.
    """
    from hawqsearch.hardware.board_profile import check_stands_for, check_tables
    from hawqsearch.hardware.energy.available import missing_energy
    from hawqsearch.hardware.targets import check_machine, find_target
    from hawqsearch.sensitivity.kl import KlAnalyzer
    from hawqsearch.strategies.ilp import IlpSearch

    start = time.perf_counter()
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    target = find_target(target, options.runtime) if isinstance(target, str) else target
    metered = options.energy or budget.bounds("energy_mj")
    missing = missing_energy(target, options.board) if metered and options.reader is None else None
    check_metered(budget, target, missing_energy=missing)
    if missing is not None:
        raise InputError(f"energy was asked for, but {missing}")
    if options.board is not None:
        check_stands_for(options.board, target, threads=options.threads, batch=options.batch)
    elif target.runtime is not None:
        check_machine(target)
        check_tables(target, threads=options.threads, batch=options.batch)
    space = options.space or SearchSpace(precisions=tuple(map(Precision.parse, _DEFAULT_PRECISIONS)))
    check_request(space, target, budget)
    run = _Run(
        budget=budget,
        strategy=options.strategy or IlpSearch(),
        analyzer=options.analyzer or KlAnalyzer(),
        options=options,
        context=context,
        started=start,
    )
    try:
        run.network = pipeline.open_network(model, data, target, space, batch=options.batch, context=context)
        return run.finish()
    except KeyboardInterrupt:
        best = run.interrupted()
        told = "the best so far is kept" if best else "there is no answer yet, run it again to go on"
        raise InterruptedRunError(f"interrupted; {told}", best) from None


@dataclass(slots=True, kw_only=True)
class _Run:
    """One search under way: what it has found so far, so that stopping loses nothing."""

    budget: Budget
    strategy: SearchStrategy
    analyzer: SensitivityAnalyzer
    options: Options
    context: Context
    started: float
    network: Network = field(init=False)
    device: Device | None = None
    sensitivity: SensitivityTable | None = None
    best: Outcome | None = None

    def finish(self) -> Outcome:
        """Walk the arrows to the end."""
        self.device = self._open_device()
        self._check_energy()
        self._check_feasible()
        self.sensitivity = pipeline.analyze(self.network, self.analyzer, context=self.context)
        end = self._solve(self.sensitivity)
        candidates = self._judged(
            closed_loop.candidates(self.network, self.budget, end, self._others(end), self.device)
        )
        chosen, reason = self._choose_proven(end, candidates)
        metric = self._test(chosen.config)
        outcome = self._outcome(end, "done", chosen.config, reason, candidates, metric=metric)
        self._keep(outcome)
        return outcome

    def interrupted(self) -> Outcome | None:
        """The best so far, marked as interrupted and written down."""
        if self.best is not None:
            self._keep(replace(self.best, state="interrupted", seconds=self._seconds))
        return self.best

    def _open_device(self) -> Device | None:
        if self.network.target.runtime is None:
            return None
        if self.network.target.device == "tables":
            if self.options.board is not None:
                return ModelledDevice.of_board(self.network, self.options.board, self.context)
            return ModelledDevice.open(self.network)
        if self.network.target.on_gpu:
            gpu = self.options.board or self._measured_gpu()
            return ModelledDevice.of_board(self.network, gpu, self.context)
        if self.options.board is not None:
            return ModelledDevice.of_board(self.network, self.options.board, self.context)
        from hawqsearch.hardware.energy.parts import LocalEnergy
        from hawqsearch.hardware.local import LocalBackend

        rig = pipeline.local_rig(self.network.target, threads=self.options.threads, batch=self.options.batch)
        backend = self.options.backend or LocalBackend()
        hardware = pipeline.profile(self.network, rig, backend, context=self.context)
        reader = self._reader()
        if reader is not None:
            parts = LocalEnergy(reader)
            hardware = metering.meter_parts(self.network, hardware, parts, context=self.context)
        return TimedDevice.open(self.network, rig, hardware, self.context, reader=reader)

    def _measured_gpu(self) -> HardwareProfile:
        """The kernels of the network on this machine's GPU."""
        from hawqsearch.hardware.cuda.backend import CudaBackend

        backend = CudaBackend()
        rig = backend.rig(batch=self.options.batch)
        hardware = pipeline.profile(self.network, rig, backend, context=self.context)
        if not self._meters_energy:
            return hardware
        from hawqsearch.hardware.cuda.energy import open_cuda_energy

        parts = open_cuda_energy(self.options.reader)
        return metering.meter_parts(self.network, hardware, parts, context=self.context)

    @property
    def _meters_energy(self) -> bool:
        return self.options.energy or self.budget.bounds("energy_mj")

    def _reader(self) -> Meter | None:
        """What meters energy, where it is asked for."""
        from hawqsearch.hardware.energy.available import survey_for
        from hawqsearch.hardware.energy.meter import open_meter

        if not self._meters_energy:
            return None
        return self.options.reader or open_meter(survey_for(self.network.target))

    def _check_energy(self) -> None:
        """Raise `InputError` where the budget bounds energy and a part that the network may pay was not metered."""
        if self.budget.bounds("energy_mj") and self.device is not None and self.device.energy is None:
            raise InputError(
                f"budget {self.budget} bounds energy, and not every kernel of this network was metered; meter them "
                "with `hawqsearch profile --energy` and the same --space"
            )

    def _check_feasible(self) -> None:
        """Before the long work: raise `InfeasibleError` where the limits cannot be met at any score."""
        problem = self._problem_without_scores()
        try:
            self.strategy.search(problem)
        except InfeasibleError as error:
            self._nearest(problem, error)

    def _solve(self, sensitivity: SensitivityTable) -> LoopEnd:
        """The loop's end; where no answer was predicted to fit, the cheapest, if it fits when measured."""
        try:
            return closed_loop.close_loop(
                self.network,
                sensitivity,
                self.budget,
                self.strategy,
                self.device,
                interactions=self.options.interactions,
                on_met=lambda end: self._keep(self._outcome(end, "running", end.config, "solver", ())),
            )
        except InfeasibleError as error:
            problem = self._problem_without_scores()
            config = self._nearest(problem, error)
            return closed_loop.settled(self.network, sensitivity, self.device, config, problem.limits)

    def _problem_without_scores(self) -> SearchProblem:
        limits = closed_loop.budget_limits(
            self.network, self.budget, self.device.fp32_ms if self.device else None
        )
        return closed_loop.pose(self.network, pipeline.no_scores(self.network), self.device, limits)

    def _nearest(self, problem: SearchProblem, error: InfeasibleError) -> FrozenDict[str, str]:
        """The cheapest configuration, if it meets the budget when measured.

        Raises `InfeasibleError` with the least that can be had of every bounded quantity where none does.
        """
        limits = problem.limits
        nearest, shown = {}, None
        free = replace(problem, limits=FrozenDict())
        for quantity in limits:
            config = closed_loop.cheapest(free, quantity, self.strategy)
            seen = self._seen(config, title="the nearest, whole")
            if not closed_loop.meets(self.network, self.budget, limits, config, seen):
                return config
            cost = free.cost({**config, "input": "fp32", "output": "fp32"})
            known = {"size_bytes": closed_loop.size_bytes(self.network, config)}
            known |= _measurable(seen)
            nearest[quantity] = float(known.get(quantity) or cost.get(quantity) or 0.0)
            shown = shown or config
        told = ", ".join(f"{q} {v:.4g} (limit {limits[q]:.4g})" for q, v in nearest.items())
        assert shown is not None
        outcome = self._outcome(None, "done", shown, "nearest", (), limits=limits, nearest=nearest)
        self._keep(outcome)
        raise InfeasibleError(
            f"no configuration meets {self.budget} on {self.network.target.name}; the least that can be had is {told}",
            outcome,
        ) from error

    def _others(self, end: LoopEnd) -> Mapping[str, Mapping[str, str]]:
        from hawqsearch.strategies.baselines import baselines

        found = {
            n: r.config for n, r in baselines(end.problem, seed=self.context.seed).items() if r is not None
        }
        runner_up = end.result.runner_up
        return ({} if runner_up is None else {"runner_up": runner_up.config}) | found

    def _judged(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Those that meet the budget, judged on the second half of the search split.

        They are ranked by the divergence of their answers from fp32's, which tells configurations apart that
        the labels of as many examples cannot; the loss on the labels stands beside it.
        """
        from hawqsearch.core.clustered import clustered_mean
        from hawqsearch.validate.accuracy import divergences

        split = self.network.splits.search
        half = split[slice(len(split) // 2, None)]
        judged = {
            c.name: self._answers(c.config, half, f"search split: {c.name}") for c in candidates if c.meets
        }
        reference = self._answers(all_float(self.network.spec), half, "search split: fp32")
        apart = {name: divergences(reference, found) for name, found in judged.items()}
        best = min(apart.values(), key=lambda values: float(values.mean()))
        return tuple(
            replace(
                c,
                loss=judged[c.name].mean_loss,
                divergence=clustered_mean(apart[c.name], half.groups),
                versus_best=clustered_mean(apart[c.name] - best, half.groups),
            )
            if c.name in judged
            else c
            for c in candidates
        )

    def _answers(self, config: FrozenDict[str, str], split: Split, title: str) -> Answers:
        return pipeline.judge(self.network, config, split, context=self.context, title=title)

    def _choose_proven(self, end: LoopEnd, candidates: tuple[Candidate, ...]) -> tuple[Candidate, str]:
        """The best that the runtime ran as it says; raises `DeviceError` where it ran none so."""
        chosen, reason = self._choose(end, candidates)
        if self.device is None or not self.device.is_timed:  # the kernels here are not the device's
            return chosen, reason
        try:
            pipeline.prove(self.network, chosen.config)
        except DeviceError as error:
            others = tuple(c for c in candidates if c is not chosen)
            if not any(c.meets for c in others):
                raise
            self.context.progress.note(f"{chosen.name} is not returned: {error}")
            pick, _ = self._choose_proven(end, others)
            return pick, f"proven: {pick.name} is the best that the runtime ran as it says"
        return chosen, reason

    def _choose(self, end: LoopEnd, candidates: tuple[Candidate, ...]) -> tuple[Candidate, str]:
        costs = {}
        for c in candidates:
            total = end.problem.cost({**c.config, "input": "fp32", "output": "fp32"})
            known = {"size_bytes": c.size_bytes, **_measurable(self._seen(c.config))}
            costs[c.name] = {q: float(known.get(q) or total.get(q) or 0.0) for q in end.limits}
        return choose([c for c in candidates if c.meets], costs)

    def _test(self, config: FrozenDict[str, str]) -> Evaluation:
        """Accuracy of fp32, all-int8 and the answer on the test split, which nothing has read before."""
        spec, test = self.network.spec, self.network.splits.test
        configs = {"fp32": all_float(spec), "int8": all_int8(spec, self.network.target), "searched": config}
        scores: dict[str, Score] = {
            name: pipeline.judge(
                self.network, c, test, context=self.context, title=f"test split: {name}"
            ).accuracy
            for name, c in configs.items()
        }
        return Evaluation(
            name=self.options.metric,
            n=len(test),
            n_groups=len(set(test.groups.tolist())),
            runtime=pipeline.judged_by(self.network.target),
            **scores,
        )

    def _outcome(
        self,
        end: LoopEnd | None,
        state: str,
        config: FrozenDict[str, str],
        chosen_by: str,
        candidates: tuple[Candidate, ...],
        *,
        metric: Evaluation | None = None,
        limits: FrozenDict[str, float] | None = None,
        nearest: Mapping[str, float] | None = None,
    ) -> Outcome:
        network, device = self.network, self.device
        spec = network.spec
        result = None if end is None else end.result
        found_limits = limits if end is None else end.limits
        assert found_limits is not None
        return Outcome(
            state=state,
            status="INFEASIBLE" if result is None else result.status.value,
            target=network.target.name,
            budget=str(self.budget),
            limits=found_limits,
            origin=device.origin if device else "predicted: no device, sizes and bit-operations are counted",
            result=result,
            config=config,
            layers=FrozenDict({n.name: config[n.name] for n in spec.layers}),
            chosen_by=chosen_by,
            predicted=device.predicted(config) if device else Latency(),
            measured=device.measured(config) if device else Latency(),
            fp32=self._seen(all_float(spec)),
            int8=self._seen(all_int8(spec, network.target)),
            metric=metric,
            size_bytes=closed_loop.size_bytes(network, config),
            fp32_size_bytes=closed_loop.float_size_bytes(network),
            weight_bits=closed_loop.weight_bits(network, config),
            bops=configuration_bops(spec, config),
            candidates=candidates,
            seconds=self._seconds,
            run_dir=None if self.options.out is None else self.options.out.path,
            nearest=None if nearest is None else FrozenDict(nearest),
        )

    def _seen(self, config: FrozenDict[str, str], *, title: str = "whole networks") -> Latency:
        if self.device is None:
            return Latency()
        self.device.look([config], title=title)
        return self.device.seen(config)

    def _keep(self, outcome: Outcome) -> None:
        self.best = outcome
        if self.options.out is not None:
            text, scales = pipeline.describe(self.network, outcome.config, origin=_origin(outcome))
            files: dict[str, bytes | str] = {"scales.safetensors": scales, "config.json": text}
            if self.network.float_model is not None:
                files["model.onnx"] = pipeline.deploy(self.network, outcome.config)
            self.options.out.save(outcome, self._record(outcome), files)

    def _record(self, outcome: Outcome) -> dict[str, Any]:
        """What `run.json` keeps besides the outcome."""
        splits = self.network.splits
        return {
            "model": self.network.spec.fingerprint,
            "data": {
                n: {"sha256": s.sha256, "n": len(s)}
                for n in ("calibration", "search", "test")
                for s in [getattr(splits, n)]
            },
            "seed": self.context.seed,
            "joins": {n.name: outcome.config[n.name] for n in self.network.spec.joins},
            "layers": [self._layer_row(n.name, outcome) for n in self.network.spec.layers],
        }

    def _layer_row(self, name: str, outcome: Outcome) -> dict[str, Any]:
        spec, precision = self.network.spec.node(name), outcome.config[name]
        weight = Precision.parse(precision).weight.name
        score = None if self.sensitivity is None else self.sensitivity.weight(name, weight)
        return {
            "layer": name,
            "op": spec.op,
            "precision": precision,
            "macs": spec.macs,
            "weights": spec.n_weights,
            "score": None if score is None else score.value,
            "score_stderr": None if score is None else score.stderr,
            "size_bytes": self.network.sizes.layers.get((name, precision)),
        }

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self.started


def _measurable(seen: Latency) -> dict[str, float]:
    """What is known of latency and energy."""
    known = {"latency_ms": seen.latency_ms, "energy_mj": seen.energy_mj}
    return {quantity: value for quantity, value in known.items() if value is not None}


def _origin(outcome: Outcome) -> Origin:
    return Origin(
        target=outcome.target,
        budget=outcome.budget,
        costs=outcome.origin,
        metric=None if outcome.metric is None else _metric(outcome.metric),
        tool=f"hawqsearch {version('hawqsearch')}",
    )


def _metric(found: Evaluation) -> Metric:
    return Metric(
        name=found.name,
        split="test",
        fp32=found.fp32.value,
        value=found.searched.value,
        stderr=found.searched.stderr,
        n=found.n,
        runtime=found.runtime,
    )
