"""The verbs of the command line, one file each: a frozen dataclass of its options with `run()`, light to import."""

VERBS = {
    "fit": "foreact.commands.fit:Fit",
    "collect": "foreact.commands.collect:Collect",
    "import": "foreact.commands.importing:Import",
    "import-weights": "foreact.commands.import_weights:ImportWeights",
    "inspect": "foreact.commands.inspect:Inspect",
    "train": "foreact.commands.train:Train",
    "act": "foreact.commands.act:Act",
    "plan": "foreact.commands.plan:Plan",
    "drive": "foreact.commands.drive:Drive",
    "evaluate": "foreact.commands.evaluate:Evaluate",
    "claims": "foreact.commands.claims:Claims",
    "report": "foreact.commands.report:Report",
    "benchmark": "foreact.commands.benchmark:Benchmark",
    "envs": "foreact.commands.envs:Envs",
    "cost": "foreact.commands.cost:Cost",
}
"""Verb -> where its command stands. A class method `chosen(arguments)` may say which command the arguments ask for."""
