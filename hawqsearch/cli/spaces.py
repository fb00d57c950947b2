"""`spaces`: the networks that ship, and whether their weights and data are here."""

from __future__ import annotations

import sys
from typing import Any

from hawqsearch.cli import options
from hawqsearch.cli.output import print_json, print_table
from hawqsearch.errors import InputError
from hawqsearch.spaces import (
    DEFAULT,
    SpaceFile,
    data_folder,
    find_space,
    find_weights,
    missing_files,
    space_names,
)

__all__ = ["run"]


def run(as_json: options.Json = False, data: options.Data = None) -> None:
    """Look up, print."""
    folder = data_folder(data)
    found = {name: _document(find_space(name), data) for name in space_names()}
    if as_json:
        print_json({"schema_version": 1, "default": DEFAULT, "data_folder": str(folder), "spaces": found})
        return
    rows = [
        [
            name,
            " ".join(s["precisions"]),
            "none" if s["shapes_only"] else _word(s["weights"] is not None),
            "none" if s["shapes_only"] else _word(not s["missing_data"]),
            s["summary"],
        ]
        for name, s in found.items()
    ]
    print_table(["space", "precisions", "weights", "data", "what it is"], rows)
    for name, space in found.items():
        if space["weights"] is None and not space["shapes_only"]:
            sys.stdout.write(f"{name}: {space['weights_problem']}\n")
        if space["missing_data"]:
            sys.stdout.write(
                f"{name}: no {', '.join(space['missing_data'])} in {folder}; name their folder with --data DIR "
                "or HAWQSEARCH_DATA\n"
            )
    sys.stdout.write(f"without --space: {DEFAULT}; --space FILE.toml names one of your own\n")


def _document(space: SpaceFile, data: options.Data) -> dict[str, Any]:
    weights, problem = None, None
    try:
        weights = str(find_weights(space, data))
    except InputError as error:
        problem = str(error)
    return {
        "summary": space.summary,
        "file": str(space.path),
        "model": space.model,
        "metric": space.metric,
        "precisions": list(map(str, space.space.precisions)),
        "shapes_only": space.is_shapes_only,
        "weights": weights,
        "weights_problem": problem,
        "missing_data": list(missing_files(space, data)),
    }


def _word(here: bool) -> str:
    return "here" if here else "missing"
